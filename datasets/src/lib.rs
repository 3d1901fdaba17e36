//! Floor 0 of Tesseral: file formats, splits, sampling and atomic files. It knows no tensor library.
//!
//! Modules in order, each using only those before it: [`error`], [`files`], [`elements`], [`poscar`], [`orbital_order`],
//! [`deeph::matrix`], [`hdf5`], the rest of [`deeph`], `blocks`, [`import`] with its readers [`deeptb`], [`abacus`],
//! [`siesta`]; text and tokens: [`jsonl`], [`tokens`], [`mds`]; then [`sampler`], [`split`]. Files are described in docs/formats.md.

#![forbid(unsafe_code)]

pub mod abacus;
mod blocks;
pub mod deeph;
pub mod deeptb;
pub mod elements;
pub mod error;
pub mod files;
pub mod hdf5;
pub mod import;
pub mod jsonl;
pub mod mds;
pub mod orbital_order;
pub mod poscar;
pub mod sampler;
pub mod siesta;
pub mod split;
pub mod tokens;

pub use error::{Error, Result, Rule};
