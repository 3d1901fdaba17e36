//! Crystals, Kohn-Sham Hamiltonians in a localised basis, the two-stage model that learns them, and their bands.
//!
//! Modules, each using only those above it: [`error`], [`structure`], [`hamiltonian`], [`graph`], [`model`] (with [`config`]),
//! [`electronic`], [`check`], [`comparison`], [`statistics`], [`sample`], [`benchmark`],
//! [`training`], [`prediction`], [`evaluation`].

pub mod benchmark;
pub mod check;
pub mod comparison;
pub mod config;
pub mod electronic;
pub mod error;
pub mod evaluation;
pub mod graph;
pub mod hamiltonian;
pub mod model;
pub mod prediction;
pub mod sample;
pub mod statistics;
pub mod structure;
pub mod training;

pub use error::{Error, Result};
