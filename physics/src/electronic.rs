//! From H(R) and S(R) to eigenvalues, Fermi level, DOS and bands; all in f64.
//!
//! Modules, each using only those above it: [`bloch`], [`mesh`], [`dense`], [`factor`], [`lanczos`], [`sparse`],
//! [`smearing`], [`tetrahedra`], [`dos`], [`fermi`], [`bands`], [`spectral_error`].

pub mod bands;
pub mod bloch;
pub mod dense;
pub mod dos;
pub mod fermi;
pub mod mesh;
pub mod smearing;
pub mod spectral_error;
pub mod tetrahedra;

pub use bands::BandStructure;
pub use bloch::Bloch;
pub use mesh::Mesh;
