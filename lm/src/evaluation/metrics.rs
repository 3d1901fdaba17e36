//! Metrics of texts and rankings, and the search over passages that benchmarks retrieve with.
//!
//! Modules: [`text`] (short answers), [`sentences`], [`porter`] (stems), [`rouge`], [`answer`] (HELMET's scores of one
//! answer, of both), [`ranking`] (rankings and their measures), [`bm25`] and [`tfidf`] (search).

pub mod answer;
pub mod bm25;
mod inverted;
pub mod porter;
pub mod ranking;
pub mod rouge;
pub mod sentences;
pub mod text;
pub mod tfidf;

#[cfg(test)]
pub(crate) mod golden;
