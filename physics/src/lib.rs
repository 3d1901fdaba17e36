//! Crystals, Kohn-Sham Hamiltonians in a localised basis, the two-stage model that learns them, and their bands.
//!
//! Modules, each using only those above it: [`error`], [`structure`], [`hamiltonian`], [`graph`], [`model`],
//! [`electronic`], [`training`], [`evaluation`].

pub mod electronic;
pub mod error;
pub mod evaluation;
pub mod graph;
pub mod hamiltonian;
pub mod model;
pub mod structure;
pub mod training;

pub use error::{Error, Result};
