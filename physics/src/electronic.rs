//! From H(R) and S(R) to eigenvalues, Fermi level, DOS and bands; all in f64.
//!
//! Modules, each using only those above it: [`bloch`], [`mesh`], [`dense`], `pencil`, `factor`, `krylov`, [`sparse`],
//! [`smearing`], [`tetrahedra`], [`dos`], [`fermi`], [`bands`], [`spectral_error`].

pub mod bands;
pub mod bloch;
pub mod dense;
pub mod dos;
mod factor;
pub mod fermi;
mod krylov;
pub mod mesh;
mod pencil;
pub mod smearing;
pub mod sparse;
pub mod spectral_error;
pub mod tetrahedra;

pub use bands::BandStructure;
pub use bloch::Bloch;
pub use mesh::Mesh;
