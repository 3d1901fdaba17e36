//! The one error type of this crate.

use std::path::PathBuf;

/// What can go wrong on this floor; every message names the place, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A primitive failed.
    #[error(transparent)]
    Primitive(#[from] tesseral_nn::Error),
    /// A data file is missing or wrong.
    #[error(transparent)]
    Data(#[from] tesseral_datasets::Error),
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
    /// A structure that cannot be used, with the reason.
    #[error("structure {structure}: {what}")]
    Structure {
        /// Its name.
        structure: String,
        /// Field, expected and found.
        what: String,
    },
    /// A basis, checkpoint or matrix that does not belong to what it is used with.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What was compared.
        what: String,
        /// What is needed.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Mistakes in a configuration, all of them, one a line.
    #[error("{path}: {}", .problems.join("\n  "))]
    Config {
        /// The configuration file, or `--set`.
        path: PathBuf,
        /// `key: what is wrong; what is accepted`.
        problems: Vec<String>,
    },
    /// An eigenvalue problem that has no solution in floating point.
    #[error("k = ({:.6}, {:.6}, {:.6}): {what}", .k[0], .k[1], .k[2])]
    Eigenproblem {
        /// Fractional k.
        k: [f64; 3],
        /// What failed.
        what: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
