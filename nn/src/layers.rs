//! Plain differentiable layers.
//!
//! Modules: [`dense`] (linear with bias), [`activation`], [`gaussian`] (radial basis), [`norm`].

pub mod activation;
pub mod dense;
pub mod gaussian;
pub mod norm;

pub use dense::Dense;
