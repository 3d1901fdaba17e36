//! From H(R) and S(R) to eigenvalues, Fermi level and bands; all in f64.
//!
//! Modules, each using only those above it: [`bloch`], [`dense`], [`fermi`], [`bands`].

pub mod bands;
pub mod bloch;
pub mod dense;
pub mod fermi;

pub use bands::BandStructure;
pub use bloch::Bloch;
