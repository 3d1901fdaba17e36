//! Architectures.

pub mod llama;
