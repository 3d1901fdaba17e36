//! Metrics of texts and rankings.

#[cfg(test)]
pub(crate) mod golden;
