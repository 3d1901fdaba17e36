//! Differentiable primitives on candle, shared by the Hamiltonian and the language models.
//!
//! Modules, each using only those above it: [`error`], [`configuration`], [`rng`], [`parameters`], [`kernels`], [`layers`],
//! [`equivariant`], [`attention`], [`optim`], [`train`].

pub mod attention;
pub mod configuration;
pub mod equivariant;
pub mod error;
pub mod kernels;
pub mod layers;
pub mod optim;
pub mod parameters;
pub mod rng;
pub mod train;

pub use error::{Error, Result};
pub use parameters::{Init, Parameters, Scope};
