//! ALCE (arXiv 2305.14627): answers with citations.
//!
//! Modules, each using only those above it: [`data`] (rows), [`text`] (citation marks, statements), [`prompt`], [`search`]
//! (one of a few documents), [`interactive`] (answers in turns), [`post_hoc`] (citations put in afterwards), [`citations`]
//! and [`correctness`] (metrics), [`rerank`] (the best of several answers), [`score`] (all metrics of answers), [`options`],
//! [`task`].

pub mod citations;
pub mod correctness;
pub mod data;
pub mod interactive;
pub mod options;
pub mod post_hoc;
pub mod prompt;
#[cfg(test)]
mod recorded;
pub mod rerank;
pub mod score;
pub mod search;
pub mod task;
pub mod text;

/// Where the numbers may differ from the original's. Those marked "mended" do not hold with `compat = "original"`.
pub const DEVIATIONS: &[&str] = &[
    "Mended: [0] is a citation out of range; to the original it is the last document.",
    "Mended: a score that does not apply (string match without questions) is absent; the original says 0.",
    "Mended: reranking judges a statement by the documents it cites; the original by all documents.",
    "Mended: reranking never answers nothing; the original does where no statement of any answer has support.",
    "Mended: a document or question that holds a place of the template, such as {ID}, stays as it is.",
    "Documents are searched for by BM25 or TF-IDF; the original has the dense retriever GTR.",
    "Each pair is judged once; the original asks again for equal pairs. The scores are the same.",
    "ROUGE-Lsum is the mean; the original takes the middle of 1000 random resamples.",
    "Samples of one prompt differ in the seed of their decoding; the original draws from one global generator.",
    "Without a tokenizer and a context length of the back-end the room for an answer is not limited by the prompt.",
    "MAUVE and the question answering model are not computed; their inputs and the scores of given answers are.",
    "Answers without a statement are left out of the means of citation scores, as in the original; how many is reported.",
];
