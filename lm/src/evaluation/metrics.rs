//! Metrics of texts and rankings.
