//! HELMET (arXiv 2410.02694): long-context evaluation in seven categories.
//!
//! Modules, each using only those above it: [`output`] (answers in outputs), [`dataset`] (names and settings), [`data`]
//! (rows of files), [`template`], [`example`], [`sampling`], [`load`] (examples of rows), [`truncate`] and [`length`]
//! (prompts of a length), [`generate`] (data of any length), [`scoring`], [`judge`],
//! [`task`]; and of their scores [`average`], [`correlation`], [`breakdown`], [`report`].

pub mod average;
pub mod breakdown;
pub mod correlation;
pub mod data;
pub mod dataset;
pub mod example;
pub mod generate;
#[cfg(test)]
mod golden;
pub mod judge;
pub mod length;
pub mod load;
pub mod output;
pub mod report;
pub mod sampling;
pub mod scoring;
pub mod task;
pub mod template;
pub mod truncate;

/// What differs from the original's code unless [`Compat::Original`](super::compat::Compat::Original) is asked for, and
/// what differs always.
pub const DEVIATIONS: &[&str] = &[
    "Answers of RAG, re-ranking and in-context learning stop at a newline: the original's configuration means them to, but \
     names the setting wrongly.",
    "A prompt that is still too long after its context was cut is cut again; the original cuts once.",
    "Demonstrations of ALCE questions depend on the question alone; the original draws them from one stream for all, so \
     that they depend on the order of the file.",
    "Rankings are scored up to ranks that the question's own passages reach; the original takes the first question's for \
     all.",
    "Verdicts of a judge with a number out of its range do not count, and a judge answers with its most probable tokens \
     (original: temperature 0.1).",
    "A category with a data set that was not run has no average, and names it; the original leaves the data set out of the \
     mean.",
    "Always: verdicts that do not parse are left out and counted, where the original fails (a key that is missing, no \
     answer, none that parses).",
    "Always: demonstrations of NarrativeQA and Multi-LexSum are drawn from the seed; the original draws them unseeded.",
    "Always: contexts are cut and lengths built by the model's own tokenizer, or one that is named; the original takes \
     Llama 2's. Its filters for stories of more than 131072 and books of more than 65536 tokens are left to the data.",
];
