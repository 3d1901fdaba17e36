//! The one error type of this crate.

use std::path::PathBuf;

/// What can go wrong on this floor; every message names the place, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed in candle.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file was read but is not what it should be.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Field, expected and found.
        what: String,
    },
    /// Arguments that do not fit each other.
    #[error("{operation}: expected {expected}, found {found}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// What it needs.
        expected: String,
        /// What it got.
        found: String,
    },
    /// A configuration value out of its range.
    #[error("{key}: {what}")]
    Config {
        /// Dotted key.
        key: String,
        /// What is accepted.
        what: String,
    },
    /// A number that is not finite where a finite one is needed.
    #[error("{what} is not finite at step {step}")]
    NonFinite {
        /// Loss, gradient or parameter.
        what: String,
        /// Optimiser step, from 1.
        step: u64,
    },
    /// A backward pass that did not reach every variable with a usable gradient.
    #[error("gradients: {what}")]
    Gradient {
        /// Each variable and its fault.
        what: String,
    },
    /// The run was asked to stop (Ctrl-C); its state is saved.
    #[error("interrupted at step {step}")]
    Interrupted {
        /// Optimiser steps done.
        step: u64,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
