//! Language models: Llama-family decoders, their files, their data, and training recipes on them.
//!
//! Modules, each using only those above it: [`error`], [`configuration`], [`python`], [`model`], [`objective`], [`data`], [`training`], [`pruning`],
//! [`long_context`], [`evaluation`], [`parallel_context`], [`screenshot`], [`tuning`], [`benchmark`].

#![forbid(unsafe_code)]

pub mod benchmark;
pub mod configuration;
pub mod data;
pub mod error;
pub mod evaluation;
pub mod long_context;
pub mod model;
pub mod objective;
pub mod parallel_context;
pub mod pruning;
pub mod python;
pub mod screenshot;
pub mod training;
pub mod tuning;

pub use error::{Error, Result};
