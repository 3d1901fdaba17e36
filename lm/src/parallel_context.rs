//! CEPE: long contexts read in parallel (Yen, Gao and Chen, "Long-Context Language Modeling with Parallel Context Encoding",
//! ACL 2024, arXiv 2402.16617).
//!
//! A small bidirectional encoder reads a long context in pieces, each alone; the decoder, which stays as it is, reads their
//! states by cross-attention that is added to its layers. Only the encoder and cross-attention are trained.
//!
//! Modules, each using only those above it: [`shape`], [`cross`], [`encoder`], [`model`], [`start`] (values before training),
//! [`files`], [`memory`] (contexts kept while text is generated), [`windows`], [`examples`] (what the model gets of them),
//! [`masked`] (pre-training of the encoder), [`distil`], [`objective`] (losses), [`replug`] (the baseline
//! that mixes passes), [`retrieval`], [`evaluate`] (perplexity), [`generate`], [`training`].

pub mod cross;
pub mod distil;
pub mod encoder;
pub mod evaluate;
pub mod examples;
pub mod files;
pub mod generate;
pub mod masked;
pub mod memory;
pub mod model;
pub mod objective;
pub mod replug;
pub mod retrieval;
pub mod shape;
pub mod start;
pub mod training;
pub mod windows;

pub use encoder::{Context, States};
pub use model::ContextModel;
pub use shape::{ContextShape, EncodeMode};

#[cfg(test)]
mod tests;
