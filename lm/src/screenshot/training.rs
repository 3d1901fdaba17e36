//! Training and evaluation of screenshot models, as `tesseral lm screenshot` does them.
//!
//! Modules, each using only those above it: [`config`] (the TOML file), [`corpus`] (texts and the examples made of them),
//! [`model`] (any of the three), [`run`] (a whole run), [`evaluation`].

pub mod config;
pub mod corpus;
pub mod evaluation;
pub mod model;
pub mod run;

pub use config::ScreenshotConfig;
pub use evaluation::evaluate;
pub use run::train;

#[cfg(test)]
mod tests;
