//! Checking structures: files and arrays, positive definite overlaps, distances, and rotated copies.
//!
//! Modules, each using only those above it: [`structure`] (one folder), [`equivariance`] (copies).

pub mod equivariance;
pub mod structure;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tesseral_datasets::deeph::validate::{Limits, Problem, Severity};
use tesseral_datasets::error::Rule;
use tesseral_nn::train::Observer;

use crate::Result;
pub use equivariance::Copies;
pub use structure::{Looked, Report};

/// The k points at which S(k) must be positive definite; Gamma-centred, one of k and -k.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KPoints {
    /// At most this far apart, inverse angstrom (2 pi included).
    Spacing(f64),
    /// This many along b1, b2, b3.
    Divisions([usize; 3]),
}

/// What is checked and what is accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Limits of reading, and of hermiticity.
    pub limits: Limits,
    /// Where S(k) is looked at.
    pub k_points: KPoints,
    /// S(k) with an eigenvalue below this gives a warning, below 0 an error.
    pub least_overlap: f64,
    /// Atoms nearer than this are an error, angstrom.
    pub least_distance: f64,
    /// Atoms nearer than this give a warning, angstrom: no bond is shorter than that of H2, 0.74.
    pub close_distance: f64,
    /// Compare rotated copies, whose H may differ by this root mean square, eV.
    pub equivariance: Option<f64>,
}

/// 0.3 inverse angstrom; 1e-4; 0.3 and 0.7 angstrom; no copies.
impl Default for Options {
    fn default() -> Self {
        Options {
            limits: Limits::default(),
            k_points: KPoints::Spacing(0.3),
            least_overlap: 1e-4,
            least_distance: 0.3,
            close_distance: 0.7,
            equivariance: None,
        }
    }
}

/// Applies every rule to each folder, in parallel; as many structures as there are threads are in memory at a time.
///
/// # Errors
/// A mesh without points; everything else is a problem of its structure.
pub fn structures(folders: &[PathBuf], options: &Options, observer: &mut dyn Observer) -> Result<Vec<Looked>> {
    structure::mesh_is_possible(options.k_points)?;
    let mut looked = Vec::with_capacity(folders.len());
    for part in folders.chunks(rayon::current_num_threads()) {
        looked.par_extend(part.par_iter().map(|folder| structure::look(folder, options)));
        observer.on_progress(looked.len(), folders.len(), "structures");
    }
    Ok(looked)
}

/// A problem that is found here and not by the floor below.
fn problem(id: &str, file: &str, field: &str, rule: Rule, severity: Severity, expected: &str, found: &str) -> Problem {
    let message = format!("{file}: {field}: expected {expected}, found {found}");
    Problem { structure: id.into(), file: file.into(), field: field.into(), rule, message, severity }
}
