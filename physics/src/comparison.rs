//! How far a predicted Hamiltonian is from its reference: matrix elements by group, and the spectrum.
//!
//! Modules, each using only those above it: [`sums`], [`report`], [`tally`].

pub mod report;
pub mod sums;
pub mod tally;

pub use report::MatrixErrors;
pub use tally::{Counting, Tally};
