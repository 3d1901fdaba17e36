//! Metrics of texts and rankings.

pub mod answer;
pub mod porter;
pub mod rouge;
pub mod sentences;
pub mod text;

#[cfg(test)]
pub(crate) mod golden;
