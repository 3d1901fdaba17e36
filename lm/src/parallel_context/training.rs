//! The stages of training: masked pre-training of the encoder, warm-up on copies, contexts, distillation.
//!
//! Modules: [`config`] (the TOML file), `data` (documents, windows and contexts), `task`, [`run`] (a whole stage, as the
//! command does it).

pub mod config;
mod data;
pub mod run;
mod task;

pub use config::{ContextConfig, Stage};
pub use run::{Report, train};

#[cfg(test)]
mod tests;
