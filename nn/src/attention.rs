//! Attention primitives.
//!
//! Modules: [`edges`], softmax attention of the nodes of a graph over the edges that start at them; [`varlen`], attention
//! within segments of packed sequences.

pub mod edges;
pub mod varlen;
