//! Eigenvalues, Fermi level, bands and density of states of structure folders: what `physics eigenvalues | fermi | bands
//! | dos` compute. No file is written here.
//!
//! Modules, each using only those above it: [`system`], [`solve`], [`filling`], [`measure`], [`eigenvalues`], [`fermi`],
//! [`band_options`], [`bands`], [`dos`].

pub mod band_options;
pub mod bands;
pub mod dos;
pub mod eigenvalues;
pub mod fermi;
pub mod filling;
pub mod measure;
pub mod solve;
pub mod system;

pub use band_options::{BandOptions, PathChoice, SolverChoice, SolverKind};
pub use bands::Bands;
pub use dos::{Broadening, DensityOfStates, DosOptions};
pub use eigenvalues::{EigenvalueOptions, Eigenvalues};
pub use fermi::{Fermi, FermiOptions};
pub use filling::{Filling, Level, MeshChoice, Method, Valence};
pub use measure::Measure;
pub use system::{Sources, Spectrum};
