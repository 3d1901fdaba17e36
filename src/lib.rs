//! Equivariant learning of Kohn-Sham Hamiltonians, and language-model recipes, on one floor of primitives.
//!
//! This crate is the facade: it re-exports the floors below and adds what the `tesseral` command is made of, so that
//! every command is one call of a public function.
//!
//! Modules, each using only those above it: [`data`], [`spectrum`], [`plot`].

#![forbid(unsafe_code)]

pub use tesseral_datasets as datasets;
pub use tesseral_lm as lm;
pub use tesseral_nn as nn;
pub use tesseral_physics as physics;

pub mod data;
pub mod plot;
pub mod spectrum;
