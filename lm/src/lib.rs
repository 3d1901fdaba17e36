//! Language models: Llama-family decoders, their files, their data, and training recipes on them.
//!
//! Modules, each using only those above it: [`error`], [`model`], [`objective`], [`data`].

#![forbid(unsafe_code)]

pub mod data;
pub mod error;
pub mod model;
pub mod objective;

pub use error::{Error, Result};
