//! Checking structures by every rule.

use serde::Serialize;
use std::path::PathBuf;

use super::{SPLIT, name};
use crate::datasets::deeph::validate::{self, Limits, Problem, Severity};
use crate::datasets::deeph::{self, ReadOptions};
use crate::datasets::error::Result;
use crate::datasets::split::Split;

/// Result of [`check`].
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// No problem of severity `error`.
    pub ok: bool,
    /// Structures that were looked at.
    pub structures: usize,
    /// All problems, warnings included.
    pub problems: Vec<Problem>,
}

/// Checks every structure below the roots, and the `dataset_split.json` of each root that has one.
///
/// # Errors
/// A root that does not exist or holds no structure; everything else is a problem in the result.
pub fn check(roots: &[PathBuf], limits: &Limits) -> Result<Checked> {
    let folders = deeph::find_structures(roots)?;
    let mut problems = Vec::new();
    for folder in &folders {
        problems.extend(validate::check(folder, &ReadOptions::present(folder), limits).1);
    }
    for root in roots {
        let path = root.join(SPLIT);
        if !path.exists() {
            continue;
        }
        let known: Vec<String> = folders.iter().filter(|f| f.starts_with(root)).map(|f| name(f)).collect();
        if let Err(error) = Split::read(&path).and_then(|split| split.check_known(&known, &path)) {
            problems.push(validate::problem_of(&name(root), root, &error));
        }
    }
    let ok = problems.iter().all(|problem| problem.severity != Severity::Error);
    Ok(Checked { ok, structures: folders.len(), problems })
}
