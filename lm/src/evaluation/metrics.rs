//! Metrics of texts and rankings, and the search over passages that benchmarks retrieve with.
//!
//! Modules: [`text`] (short answers), [`sentences`], [`porter`] (stems), [`rouge`], [`answer`] (HELMET's scores of one
//! answer, of both), [`ranking`] (rankings and their measures), [`bm25`] and [`tfidf`] (search).

pub mod answer;
pub mod bm25;
mod inverted;
mod multiset;
pub mod porter;
pub mod ranking;
pub mod rouge;
pub mod sentences;
pub mod text;
pub mod tfidf;

#[cfg(test)]
pub(crate) mod golden;

/// Where these functions differ from the originals.
pub const DEVIATIONS: &[&str] = &[
    "an answer without references scores 0; HELMET's code fails",
    "BM25 stems with NLTK's variant of Porter's algorithm and keeps exact lengths of passages, where Lucene keeps one byte",
];
