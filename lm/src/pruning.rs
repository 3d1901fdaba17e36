//! Structured pruning: a smaller model of a wanted shape, cut out of a larger one by learned masks (Sheared LLaMA, Xia et al. 2024,
//! arXiv 2310.06694), while domains are seen as much as they need.
//!
//! Modules, each using only those above it: [`hard_concrete`] (the distribution of masks), [`shape`] (what is asked for), [`masks`],
//! [`constraint`] (the Lagrangian), [`fold`] (the masked decoder), [`mod@extract`], [`scaling_law`] and [`domain_weights`] (dynamic batch
//! loading), [`domains`] (rows), [`task`] (a step), [`config`] (the TOML file), [`report`], [`run`] (a whole run, as the command does it).

pub mod config;
pub mod constraint;
pub mod domain_weights;
pub mod domains;
pub mod extract;
pub mod fold;
pub mod hard_concrete;
pub mod masks;
pub mod report;
pub mod run;
pub mod scaling_law;
pub mod shape;
pub mod task;

pub use config::PruneConfig;
pub use report::Report;
pub use run::prune;

#[cfg(test)]
mod tests;
