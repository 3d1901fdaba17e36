//! Attention primitives.
//!
//! Module: [`edges`], softmax attention of the nodes of a graph over the edges that start at them.

pub mod edges;
