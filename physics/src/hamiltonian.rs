//! Operators in a localised basis: who the orbitals are, and what may be done to a matrix without changing physics.
//!
//! Modules, each using only those above it: [`basis`], [`orbital_order`], [`single_atoms`], [`symmetry`], [`gauge`],
//! [`covariance`], [`targets`], [`wigner_eckart`].

pub mod basis;
pub mod covariance;
pub mod gauge;
pub mod orbital_order;
pub mod single_atoms;
pub mod symmetry;
pub mod targets;
pub mod wigner_eckart;

pub use basis::Basis;
