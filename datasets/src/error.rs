//! The one error type of this crate: every message names the file, the field, what was expected and what was found.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The rule that an input breaks; its kebab-case name is part of the `--json` contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// A file or folder is absent.
    Missing,
    /// The operating system or the HDF5 layer could not read the file.
    Unreadable,
    /// Text that does not parse, a key that is absent, a value out of its range.
    Format,
    /// An array of the wrong rank or shape.
    Rank,
    /// An array of the wrong element type.
    Dtype,
    /// `chunk_boundaries` that do not follow from `chunk_shapes`, or do not end at the length of `entries`.
    Boundaries,
    /// An atom index outside the structure, or a cell index beyond any crystal.
    AtomIndex,
    /// An element that POSCAR has and `info.json` does not know.
    Symbol,
    /// Block shapes or totals that do not follow from the orbitals of the elements.
    OrbitalCount,
    /// Sizes beyond the configured limit, or beyond what the file can hold.
    Size,
    /// NaN or infinity among the matrix elements.
    NotFinite,
    /// The same ordered pair twice.
    DuplicatePair,
    /// A pair without its reverse `(-R, j, i)`.
    Reverse,
    /// An atom without its on-site block.
    OnSite,
    /// Pairs of H that S does not have.
    Support,
    /// H or S differs from its adjoint by more than the limit.
    Hermiticity,
    /// No pair at all, or none between two different atoms.
    NoEdge,
    /// An overlap that is not, or nearly not, positive definite at some k.
    PositiveDefinite,
    /// Two atoms nearer than any two atoms are.
    Distance,
    /// Copies of one structure, turned, whose matrices do not turn with them.
    Equivariance,
    /// Ids in two parts of a split, twice in one, or unknown.
    Split,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Rule::Missing => "missing",
            Rule::Unreadable => "unreadable",
            Rule::Format => "format",
            Rule::Rank => "rank",
            Rule::Dtype => "dtype",
            Rule::Boundaries => "boundaries",
            Rule::AtomIndex => "atom-index",
            Rule::Symbol => "symbol",
            Rule::OrbitalCount => "orbital-count",
            Rule::Size => "size",
            Rule::NotFinite => "not-finite",
            Rule::DuplicatePair => "duplicate-pair",
            Rule::Reverse => "reverse",
            Rule::OnSite => "on-site",
            Rule::Support => "support",
            Rule::Hermiticity => "hermiticity",
            Rule::NoEdge => "no-edge",
            Rule::PositiveDefinite => "positive-definite",
            Rule::Distance => "distance",
            Rule::Equivariance => "equivariance",
            Rule::Split => "split",
        };
        f.write_str(name)
    }
}

/// Whether a problem forbids the use of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The structure must not be used.
    Error,
    /// Unusual; the structure can be used.
    Warning,
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The id of the structure.
    pub structure: String,
    /// The file, relative to the structure's folder where it lies in it.
    pub file: String,
    /// The field or dataset.
    pub field: String,
    /// The rule.
    pub rule: Rule,
    /// "file: field: expected .., found ..".
    pub message: String,
    /// Error or warning.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that must be there is not.
    #[error("{}: expected {expected}, found nothing", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// What it should be.
        expected: String,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The HDF5 layer cannot make sense of the file: truncated, damaged, or a feature that is not supported.
    #[error("{}: {field}: expected a readable HDF5 object, found: {reason}", path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// The dataset, or "file".
        field: String,
        /// The layer's reason.
        reason: String,
    },
    /// A readable file with a content that breaks a rule.
    #[error("{}: {field}: expected {expected}, found {found}", path.display())]
    Invalid {
        /// The rule.
        rule: Rule,
        /// The file.
        path: PathBuf,
        /// The field, line or dataset.
        field: String,
        /// What the rule asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A structure that reads but does not pass validation; all its problems of severity `error`.
    #[error("{}: {}", path.display(), list(problems))]
    Problems {
        /// The structure's folder.
        path: PathBuf,
        /// What is wrong, in file order; never empty.
        problems: Vec<Problem>,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        match self {
            Error::Missing { .. } => Rule::Missing,
            Error::Io { .. } | Error::Hdf5 { .. } => Rule::Unreadable,
            Error::Invalid { rule, .. } => *rule,
            Error::Problems { problems, .. } => problems.first().map_or(Rule::Format, |problem| problem.rule),
        }
    }

    /// The file or folder at fault.
    pub fn path(&self) -> &Path {
        match self {
            Error::Missing { path, .. }
            | Error::Io { path, .. }
            | Error::Hdf5 { path, .. }
            | Error::Invalid { path, .. }
            | Error::Problems { path, .. } => path,
        }
    }

    pub(crate) fn invalid(
        rule: Rule,
        path: &Path,
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Error::Invalid {
            rule,
            path: path.to_path_buf(),
            field: field.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// Wraps a system error; an absent file becomes [`Error::Missing`].
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Error::Io { path: path.to_path_buf(), action, source }
    }
}

fn list(problems: &[Problem]) -> String {
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("{} problem{}: {}", shown.len(), if shown.len() == 1 { "" } else { "s" }, shown.join("; "))
}
