//! HELMET (arXiv 2410.02694): long-context evaluation in seven categories.
//!
//! Modules, each using only those above it: [`output`] (answers in outputs), [`dataset`] (names and settings), [`data`]
//! (rows of files), [`template`], [`example`], [`sampling`], [`load`] (examples of rows), [`truncate`] and [`length`]
//! (prompts of a length), [`scoring`], [`judge`], [`average`], [`correlation`], [`breakdown`].

pub mod average;
pub mod breakdown;
pub mod correlation;
pub mod data;
pub mod dataset;
pub mod example;
#[cfg(test)]
mod golden;
pub mod judge;
pub mod length;
pub mod load;
pub mod output;
pub mod sampling;
pub mod scoring;
pub mod template;
pub mod truncate;
