//! Crystals and the paths through their reciprocal space: geometry alone, no orbital.
//!
//! Modules, each using only those above it: [`lattice`], [`crystal`], [`distance`], [`alignment`], [`kpath`].

pub mod alignment;
pub mod crystal;
pub mod distance;
pub mod kpath;
pub mod lattice;

pub use crystal::Crystal;
pub use kpath::KPath;
pub use lattice::Lattice;
