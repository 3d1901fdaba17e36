//! Checking structures by every rule, and the splits of their folders.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{SPLIT, name};
use crate::datasets::deeph;
use crate::datasets::deeph::validate::{self, Problem, Severity};
use crate::datasets::error::Rule;
use crate::datasets::split::Split;
use crate::nn::train::Observer;
use crate::physics::Result;
use crate::physics::check::{self, Copies, Options, Report};

/// How often a rule was broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Problems that forbid the use of a structure.
    pub errors: usize,
    /// Others.
    pub warnings: usize,
}

/// Result of [`check`].
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// No problem of severity `error`.
    pub ok: bool,
    /// Structures that were looked at.
    pub structures: usize,
    /// All problems, warnings included.
    pub problems: Vec<Problem>,
    /// The broken rules.
    pub rules: BTreeMap<Rule, Count>,
    /// The numbers of each structure, in the order of the folders.
    pub reports: Vec<Report>,
    /// Sets of rotated copies, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equivariance: Option<Vec<Copies>>,
}

/// Checks every structure below the roots, and the `dataset_split.json` of each root that has one. Structures run in
/// parallel; as many as there are threads are in memory at a time.
///
/// # Errors
/// A root that does not exist or holds no structure, a mesh without points; everything else is a problem in the
/// result.
pub fn check(roots: &[PathBuf], options: &Options, observer: &mut dyn Observer) -> Result<Checked> {
    let folders = deeph::find_structures(roots)?;
    let mut looked = check::structures(&folders, options, observer)?;
    let mut problems = Vec::new();
    looked.iter_mut().for_each(|one| problems.append(&mut one.problems));
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
    let equivariance = options.equivariance.map(|limit| {
        let (copies, found) = check::equivariance::compare(&looked, limit, observer);
        problems.extend(found);
        copies
    });
    let mut rules: BTreeMap<Rule, Count> = BTreeMap::new();
    for problem in &problems {
        let count = rules.entry(problem.rule).or_default();
        match problem.severity {
            Severity::Error => count.errors += 1,
            Severity::Warning => count.warnings += 1,
        }
    }
    Ok(Checked {
        ok: rules.values().all(|count| count.errors == 0),
        structures: folders.len(),
        problems,
        rules,
        reports: looked.into_iter().map(|one| one.report).collect(),
        equivariance,
    })
}
