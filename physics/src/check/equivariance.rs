//! Rotated copies of one structure among those that were looked at: do H and S turn with them?

use rayon::prelude::*;
use serde::Serialize;
use tesseral_datasets::deeph::matrix::BlockMatrix;
use tesseral_datasets::deeph::validate::{Problem, Severity};
use tesseral_datasets::deeph::{self, ReadOptions, Record};
use tesseral_datasets::error::Rule;
use tesseral_nn::train::Observer;

use super::problem;
use super::structure::{Geometry, Looked};
use crate::hamiltonian::covariance::{self, Spread};
use crate::hamiltonian::{Basis, symmetry};
use crate::structure::alignment::{self, Alignment};
use crate::{Error, Result};

/// Atoms of a copy may be this far from where the rotation puts them, angstrom.
const TOLERANCE: f64 = 1e-3;

/// How well the matrices of rotated copies agree once they are rotated back to the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Copies {
    /// Names of the folders; the first is the one that the others are compared with.
    pub structures: Vec<String>,
    /// Angle of each copy's rotation, radian; an improper one is that times the inversion.
    pub angles: Vec<f64>,
    /// Whether each copy's rotation is improper.
    pub improper: Vec<bool>,
    /// Largest distance of an atom from where the rotation puts it, angstrom.
    pub deviation: f64,
    /// Pairs that not all copies have; they are left out.
    pub pairs_not_common: usize,
    /// mean |H| over all copies, eV.
    pub mean_h_ev: f64,
    /// H: mean over copies of the root mean square about the mean of the copies, eV.
    pub rmse_ev: f64,
    /// H: that of each copy, eV.
    pub rmse_by_copy_ev: Vec<f64>,
    /// H: largest difference from the mean of the copies, eV.
    pub max_ev: f64,
    /// The same after H -> H + mu S of each copy; null without S.
    pub rmse_gauge_fixed_ev: Option<f64>,
    /// Largest difference after that.
    pub max_gauge_fixed_ev: Option<f64>,
    /// S: as `rmse_ev`.
    pub rmse_overlap: Option<f64>,
    /// S: as `max_ev`.
    pub max_overlap: Option<f64>,
}

/// Finds the sets of copies by their geometry (or the rotation that a folder's `euler_angle` names) and compares each;
/// a root mean square of H above `limit` (eV, after the gauge is fixed) is an error.
pub fn compare(looked: &[Looked], limit: f64, observer: &mut dyn Observer) -> (Vec<Copies>, Vec<Problem>) {
    let usable: Vec<(&Looked, &Geometry)> =
        looked.iter().filter_map(|one| Some((one, one.geometry.as_ref()?))).collect();
    let mut sets: Vec<Set<'_>> = Vec::new();
    let mut problems = Vec::new();
    for &(one, geometry) in &usable {
        let joined = sets.iter_mut().find_map(|set| Some((onto(set.first.1, geometry)?, set)));
        match joined {
            Some((alignment, set)) => set.copies.push((one, alignment)),
            None => sets.push(Set { first: (one, geometry), copies: vec![] }),
        }
    }
    let (copied, single): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| !set.copies.is_empty());
    let warning = |one: &Looked, expected: &str, severity| {
        let id = &one.report.structure;
        problem(id, "structure", "equivariance", Rule::Equivariance, severity, expected, "none")
    };
    for set in &single {
        let (one, geometry) = set.first;
        if geometry.rotation.is_some() {
            let expected = "a structure that the rotation of euler_angle turns into this one";
            problems.push(warning(one, expected, Severity::Error));
        }
    }
    if let (true, Some(set)) = (copied.is_empty(), single.first()) {
        problems.push(warning(set.first.0, "structures that are rotated copies of each other", Severity::Warning));
    }
    let mut found = Vec::with_capacity(copied.len());
    for part in copied.chunks(rayon::current_num_threads()) {
        let results: Vec<_> = part.par_iter().map(Set::compared).collect();
        for (set, result) in part.iter().zip(results) {
            let id = &set.first.0.report.structure;
            let mut add = |expected: &str, found: &str| {
                let (rule, error) = (Rule::Equivariance, Severity::Error);
                problems.push(problem(id, "hamiltonian", "equivariance", rule, error, expected, found));
            };
            match result {
                Err(error) => add("copies that can be compared", &error.to_string()),
                Ok(copies) => {
                    let rmse = copies.rmse_gauge_fixed_ev.unwrap_or(copies.rmse_ev);
                    if rmse.is_nan() || rmse > limit {
                        add(&format!("copies within {limit:e} eV of their mean"), &format!("{rmse:.3e} eV"));
                    }
                    found.push(copies);
                }
            }
        }
        observer.on_progress(found.len(), copied.len(), "sets of copies");
    }
    (found, problems)
}

/// A structure and the structures that it turns into.
struct Set<'a> {
    first: (&'a Looked, &'a Geometry),
    copies: Vec<(&'a Looked, Alignment)>,
}

fn onto(from: &Geometry, to: &Geometry) -> Option<Alignment> {
    let molecule = from.molecule && to.molecule;
    match &to.rotation {
        Some(rotation) => alignment::by(&from.crystal, &to.crystal, rotation, molecule, TOLERANCE),
        None => alignment::find(&from.crystal, &to.crystal, molecule, TOLERANCE),
    }
}

impl Set<'_> {
    fn compared(&self) -> Result<Copies> {
        let read = |one: &Looked| -> Result<Record> {
            Ok(deeph::read(&one.folder, &ReadOptions { validate: false, ..ReadOptions::present(&one.folder) })?)
        };
        let first = read(self.first.0)?;
        let basis = Basis::from_info(&first.info)?;
        let species = &self.first.1.crystal.species;
        let hamiltonian = |record: Record| {
            record.hamiltonian.ok_or_else(|| Error::Structure {
                structure: record.id,
                what: "hamiltonian.h5: expected a Hamiltonian, found none".into(),
            })
        };
        let mut overlaps = first.overlap.clone().map(|overlap| vec![overlap]);
        let mut hamiltonians = vec![hamiltonian(first)?];
        for (one, alignment) in &self.copies {
            let record = read(one)?;
            let back = |matrix: &BlockMatrix| covariance::turned_back(matrix, alignment, &basis, species);
            overlaps = match (overlaps, &record.overlap) {
                (Some(mut overlaps), Some(overlap)) => {
                    // S has no spin, whatever the basis.
                    overlaps.push(back(overlap)?);
                    Some(overlaps)
                }
                _ => None,
            };
            hamiltonians.push(back(&hamiltonian(record)?)?);
        }
        let longest = hamiltonians.iter().map(|h| h.pairs.len()).max().unwrap_or(0);
        let common = common(&mut hamiltonians)?;
        overlaps.as_mut().map(|overlaps| self::common(overlaps)).transpose()?;
        let h = covariance::spread(&hamiltonians)?;
        let s = overlaps.as_deref().map(covariance::spread).transpose()?;
        let fixed = match overlaps.as_deref() {
            Some([overlap, ..]) => Some(covariance::spread_gauge_fixed(&hamiltonians, overlap)?),
            _ => None,
        };
        Ok(self.summed_up(longest - common, h, s, fixed))
    }

    fn summed_up(&self, pairs_not_common: usize, h: Spread, s: Option<Spread>, fixed: Option<Spread>) -> Copies {
        let improper = |a: &Alignment| a.rotation.determinant() < 0.0;
        let angle = |a: &Alignment| {
            let proper = if improper(a) { -a.rotation } else { a.rotation };
            ((proper.trace() - 1.0) / 2.0).clamp(-1.0, 1.0).acos()
        };
        let alignments = || self.copies.iter().map(|(_, alignment)| alignment);
        let names = self.copies.iter().map(|(one, _)| *one);
        Copies {
            structures: [self.first.0].into_iter().chain(names).map(|one| one.report.structure.clone()).collect(),
            angles: [0.0].into_iter().chain(alignments().map(angle)).collect(),
            improper: [false].into_iter().chain(alignments().map(improper)).collect(),
            deviation: alignments().map(|a| a.deviation).fold(0.0, f64::max),
            pairs_not_common,
            mean_h_ev: h.mean,
            rmse_ev: h.rmse,
            rmse_by_copy_ev: h.rmse_by_copy,
            max_ev: h.max,
            rmse_gauge_fixed_ev: fixed.as_ref().map(|f| f.rmse),
            max_gauge_fixed_ev: fixed.as_ref().map(|f| f.max),
            rmse_overlap: s.as_ref().map(|s| s.rmse),
            max_overlap: s.as_ref().map(|s| s.max),
        }
    }
}

/// Keeps the pairs that all copies have, in the order of the first; how many those are.
fn common(copies: &mut [BlockMatrix]) -> Result<usize> {
    let pairs = covariance::common_pairs(&copies.iter().collect::<Vec<_>>());
    for copy in copies.iter_mut() {
        *copy = symmetry::select(copy, &pairs)?;
    }
    Ok(pairs.len())
}
