//! ALCE (arXiv 2305.14627): answers with citations.
//!
//! Modules, each using only those above it: [`data`] (rows), [`text`] (citation marks, statements), [`prompt`], [`search`]
//! (one of a few documents), [`interactive`] (answers in turns), [`post_hoc`] (citations put in afterwards), [`citations`]
//! and [`correctness`] (metrics), [`rerank`] (the best of several answers).

pub mod citations;
pub mod correctness;
pub mod data;
pub mod interactive;
pub mod post_hoc;
pub mod prompt;
#[cfg(test)]
mod recorded;
pub mod rerank;
pub mod search;
pub mod text;
