//! The one error type of this crate: every message names the file, the field, what was expected and what was found.

use std::path::PathBuf;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that does not parse.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong there.
        reason: String,
    },
    /// A model description that contradicts itself; all its problems.
    #[error("{}: {}", path.display(), problems.join("; "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// `field: expected .., found ..`; never empty.
        problems: Vec<String>,
    },
    /// A value of a configuration, or an argument, out of its range.
    #[error("{key}: {what}")]
    Config {
        /// Dotted key, or the name of the argument.
        key: String,
        /// What is expected and what was found.
        what: String,
    },
    /// From the floor of tensors, layers and training.
    #[error(transparent)]
    Nn(#[from] tesseral_nn::Error),
    /// From the floor of files.
    #[error(transparent)]
    Data(#[from] tesseral_datasets::Error),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Error::Nn(error.into())
    }
}

/// What candle says about a file, without the backtrace that it adds where `RUST_BACKTRACE` is set.
pub(crate) fn reason(error: &candle_core::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().into()
}

/// What a value is, in words.
pub(crate) fn kind(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(list) if list.is_empty() => "an empty list",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// For a task that the training loop of the floor below runs.
impl From<Error> for tesseral_nn::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Nn(error) => error,
            Error::Io { path, source } => tesseral_nn::Error::Io { path, source },
            Error::Format { path, reason } => tesseral_nn::Error::Format { path, what: reason },
            Error::Config { key, what } => tesseral_nn::Error::Config { key, what },
            other => tesseral_nn::Error::Config { key: "data".into(), what: other.to_string() },
        }
    }
}

impl Error {
    /// A value that is not what it should be.
    pub fn config(key: impl Into<String>, what: impl Into<String>) -> Self {
        Error::Config { key: key.into(), what: what.into() }
    }

    /// For `map_err` of what reads or writes `path`.
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Error::Io { path: path.into(), source }
    }

    /// A file that is not what it should be.
    pub fn format(path: &std::path::Path, reason: impl Into<String>) -> Self {
        Error::Format { path: path.into(), reason: reason.into() }
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
