//! Equivariant learning of Kohn-Sham Hamiltonians, and language-model recipes, on one floor of primitives.
//!
//! This crate is the facade: it re-exports the floors below and adds what the `tesseral` command is made of, so that
//! every command is one call of a public function.
//!
//! ```no_run
//! use tesseral::prelude::*;
//!
//! let config = Config::read("configs/physics-graphene.toml".as_ref(), &[])?;
//! training::train(&config, "runs/graphene".as_ref(), false, &mut Silent, &AtomicBool::new(false))?;
//! let model = Model::load("runs/graphene".as_ref())?;
//! let record = deeph::read("datasets/sample/dft/0001".as_ref(), &ReadOptions::default())?;
//! let hamiltonian = prediction::predict(&model, &record)?;
//! println!("{} blocks", hamiltonian.pairs.len());
//! # Ok::<(), tesseral::physics::Error>(())
//! ```
//!
//! Modules, each using only those above it: [`plot`], [`data`], [`spectrum`], [`report`], [`batch`], [`compare`],
//! [`survey`], [`trained`], [`merge`], [`demo`].

#![forbid(unsafe_code)]

pub use tesseral_datasets as datasets;
pub use tesseral_lm as lm;
pub use tesseral_nn as nn;
pub use tesseral_physics as physics;

pub mod batch;
pub mod compare;
pub mod data;
pub mod demo;
pub mod merge;
pub mod plot;
pub mod report;
pub mod spectrum;
pub mod survey;
pub mod trained;

/// The names that most programs need.
pub mod prelude {
    pub use crate::datasets::deeph::{self, ReadOptions, Record};
    pub use crate::nn::train::{Observer, Silent};
    pub use crate::physics::config::Config;
    pub use crate::physics::model::Model;
    pub use crate::physics::{evaluation, prediction, training};
    pub use std::sync::atomic::AtomicBool;
}
