//! The two-stage model: an exactly equivariant network predicts a baseline Hamiltonian, a graph Transformer refines it.
//!
//! Modules, each using only those above it: [`geometry`], [`mismatch`], [`covariant`] (stage 1), [`checkpoint_names`], [`refine`]
//! (stage 2), [`hybrid`] (both).

pub mod checkpoint_names;
pub mod covariant;
pub mod geometry;
pub mod hybrid;
pub mod mismatch;
pub mod refine;

pub use hybrid::Model;
