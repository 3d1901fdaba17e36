//! Plain differentiable layers.
//!
//! Modules: [`dense`] (linear with bias), [`activation`], [`gaussian`] (radial basis).

pub mod activation;
pub mod dense;
pub mod gaussian;

pub use dense::Dense;
