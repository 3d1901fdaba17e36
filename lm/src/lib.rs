//! Language models: what a model is, before any weight is read. Training recipes and evaluation follow.
//!
//! Modules, each using only those above it: [`error`], [`model`].

#![forbid(unsafe_code)]

pub mod error;
pub mod model;

pub use error::{Error, Result};
