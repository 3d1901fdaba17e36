//! Tuning a model to a task: MeZO (Malladi et al. 2023, arXiv 2305.17333) beside AdamW, and what needs no tuning: zero-shot,
//! demonstrations, linear probes.
//!
//! Modules, each using only those above it: [`task`] (TOML), [`example`] (tokens), [`tuned`] (all weights, low-rank
//! additions, a prefix), [`objective`], [`score`], [`logistic`], [`config`], [`material`] (examples of a run), [`save`],
//! [`run`] (a whole run, as the command does it).

pub mod config;
pub mod example;
pub mod logistic;
pub mod material;
pub mod objective;
pub mod run;
pub mod save;
pub mod score;
pub mod task;
pub mod tuned;

pub use config::TuneConfig;
pub use run::{Report, tune};
