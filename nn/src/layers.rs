//! Plain differentiable layers.
//!
//! Modules: [`dense`] (linear with bias), [`activation`], [`arrange`], [`gaussian`] (radial basis), [`loss`], [`norm`].

pub mod activation;
pub mod arrange;
pub mod dense;
pub mod gaussian;
pub mod loss;
pub mod norm;

pub use dense::Dense;
