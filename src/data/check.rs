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

/// Result of [`check()`].
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
    let found = looked.iter_mut().map(|one| (std::mem::take(&mut one.problems), one.report.clone())).collect();
    let mut checked = conclude(roots, &folders, found);
    if let Some(limit) = options.equivariance {
        let (copies, problems) = check::equivariance::compare(&looked, limit, observer);
        checked.problems.extend(problems);
        checked.equivariance = Some(copies);
        checked.count();
    }
    Ok(checked)
}

/// The result, from what was found on each of the folders, and the splits of the roots.
pub fn conclude(roots: &[PathBuf], folders: &[PathBuf], found: Vec<(Vec<Problem>, Report)>) -> Checked {
    let (problems, reports): (Vec<Vec<Problem>>, Vec<Report>) = found.into_iter().unzip();
    let mut problems = problems.concat();
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
    let (structures, rules) = (folders.len(), BTreeMap::new());
    let mut checked = Checked { ok: true, structures, problems, rules, reports, equivariance: None };
    checked.count();
    checked
}

impl Checked {
    /// Counts the problems by their rules.
    fn count(&mut self) {
        self.rules.clear();
        for problem in &self.problems {
            let count = self.rules.entry(problem.rule).or_default();
            match problem.severity {
                Severity::Error => count.errors += 1,
                Severity::Warning => count.warnings += 1,
            }
        }
        self.ok = self.rules.values().all(|count| count.errors == 0);
    }
}
