//! One structure: what validation finds, the overlap's smallest eigenvalue over k, and the nearest two atoms.

use nalgebra::{Matrix3, Rotation3, Vector3};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tesseral_datasets::deeph::matrix::BlockMatrix;
use tesseral_datasets::deeph::validate::{self, Measured, Problem, Severity};
use tesseral_datasets::deeph::{self, ReadOptions, Record};
use tesseral_datasets::error::Rule;
use tesseral_datasets::files;

use super::{KPoints, Options, problem};
use crate::electronic::{Bloch, Mesh, dense};
use crate::hamiltonian::Basis;
use crate::structure::{Crystal, distance};
use crate::{Error, Result};

/// The numbers of one structure; null where the files do not allow them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its name.
    pub structure: String,
    /// Atoms in the cell.
    pub atoms: Option<usize>,
    /// Orbitals in the cell, spin not counted.
    pub orbitals: Option<usize>,
    /// Pairs, elements, hermiticity and edge symmetry of H, eV.
    pub hamiltonian: Option<Measured>,
    /// The same of S.
    pub overlap: Option<Measured>,
    /// Pairs of H that S does not have.
    pub pairs_outside_overlap: Option<usize>,
    /// S(k) where it is nearest to singular.
    pub smallest_overlap: Option<SmallestOverlap>,
    /// Distance of the two nearest atoms, images included, angstrom.
    pub shortest_distance: Option<f64>,
    /// Those two, counted from 0; twice the same for an atom and its image.
    pub nearest_atoms: Option<[usize; 2]>,
}

/// The smallest eigenvalue of S(k) on a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SmallestOverlap {
    /// The eigenvalue.
    pub eigenvalue: f64,
    /// Where it is, fractional.
    pub k: [f64; 3],
    /// Divisions of the mesh.
    pub mesh: [usize; 3],
}

/// A structure that was looked at.
pub struct Looked {
    /// Its folder.
    pub folder: PathBuf,
    /// Its numbers.
    pub report: Report,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Where it can be compared with its copies.
    pub(super) geometry: Option<Geometry>,
}

/// What tells whether one structure is another one turned.
pub(super) struct Geometry {
    pub(super) crystal: Crystal,
    /// No pair of H reaches another cell: the cell is a box that need not turn with the atoms.
    pub(super) molecule: bool,
    /// The rotation that the folder's `euler_angle` names.
    pub(super) rotation: Option<Matrix3<f64>>,
}

/// Refuses a mesh that no structure can have.
pub(super) fn mesh_is_possible(k_points: KPoints) -> Result<()> {
    match k_points {
        KPoints::Divisions(divisions) => Mesh::new(divisions, true).map(drop),
        KPoints::Spacing(spacing) if spacing.is_finite() && spacing > 0.0 => Ok(()),
        KPoints::Spacing(spacing) => Err(Error::Mismatch {
            what: "spacing of the k mesh".into(),
            expected: "a positive number of inverse angstrom".into(),
            found: spacing.to_string(),
        }),
    }
}

/// Applies every rule that looks at one structure alone.
pub(super) fn look(folder: &Path, options: &Options) -> Looked {
    let (record, found) = validate::check_and_measure(folder, &ReadOptions::present(folder), &options.limits);
    let mut report = Report {
        structure: deeph::id_of(folder),
        hamiltonian: found.hamiltonian,
        overlap: found.overlap,
        pairs_outside_overlap: found.outside_overlap,
        ..Report::default()
    };
    let mut looked =
        Looked { folder: folder.into(), report: Report::default(), problems: found.problems, geometry: None };
    if let Some(record) = &record {
        report.atoms = Some(record.info.atoms_quantity);
        report.orbitals = Some(record.info.orbits_quantity);
        if let Err(error) = physics(record, options, &mut report, &mut looked) {
            let found = error.to_string();
            let severity = Severity::Error;
            looked.problems.push(problem(
                &record.id,
                "structure",
                "physics",
                Rule::Format,
                severity,
                "usable numbers",
                &found,
            ));
        }
    }
    looked.report = report;
    looked
}

fn physics(record: &Record, options: &Options, report: &mut Report, looked: &mut Looked) -> Result<()> {
    let crystal = Crystal::from_poscar(&record.poscar)?;
    if let Some(nearest) = distance::nearest(&crystal) {
        report.shortest_distance = Some(nearest.distance);
        report.nearest_atoms = Some(nearest.atoms);
        let (severity, least) = match nearest.distance {
            d if d < options.least_distance => (Severity::Error, options.least_distance),
            _ => (Severity::Warning, options.close_distance),
        };
        if nearest.distance < least {
            let expected = format!("atoms at least {least} angstrom apart");
            let found = format!("{:.4} between atoms {} and {}", nearest.distance, nearest.atoms[0], nearest.atoms[1]);
            let add = problem(&record.id, "structure", "positions", Rule::Distance, severity, &expected, &found);
            looked.problems.push(add);
        }
    }
    // What validation refused has no Bloch sum: NaN, pairs twice.
    let sound = |measured: &Option<Measured>| measured.as_ref().is_some_and(|m| m.pairs > 0);
    let broken = |p: &Problem| matches!(p.rule, Rule::NotFinite | Rule::DuplicatePair) && p.severity == Severity::Error;
    if looked.problems.iter().any(broken) {
        return Ok(());
    }
    if let Some(overlap) = record.overlap.as_ref().filter(|_| sound(&report.overlap)) {
        let smallest = smallest_overlap(record, overlap, &crystal, options.k_points)?;
        report.smallest_overlap = Some(smallest);
        let (severity, expected) = match smallest.eigenvalue > 0.0 {
            false => (Severity::Error, "S(k) positive definite".to_string()),
            true => (Severity::Warning, format!("eigenvalues of S(k) of at least {:e}", options.least_overlap)),
        };
        if smallest.eigenvalue.is_nan() || smallest.eigenvalue <= options.least_overlap.max(0.0) {
            let found = format!("{:.3e} at k = {}", smallest.eigenvalue, point(smallest.k));
            let rule = Rule::PositiveDefinite;
            looked.problems.push(problem(&record.id, "overlap", "entries", rule, severity, &expected, &found));
        }
    }
    let inside = |matrix: &BlockMatrix| matrix.pairs.iter().all(|pair| pair[..3] == [0, 0, 0]);
    if let (Some(h), Some(atoms)) = (&record.hamiltonian, report.atoms) {
        let rotation = euler_angle(&looked.folder).transpose();
        match rotation {
            Ok(rotation) => looked.geometry = Some(Geometry { crystal, molecule: atoms > 1 && inside(h), rotation }),
            Err(found) if options.equivariance.is_some() => {
                let (rule, severity) = (Rule::Format, Severity::Error);
                let expected = "three angles in radian";
                looked.problems.push(problem(&record.id, EULER, "file", rule, severity, expected, &found));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn smallest_overlap(
    record: &Record,
    overlap: &BlockMatrix,
    crystal: &Crystal,
    k_points: KPoints,
) -> Result<SmallestOverlap> {
    // S has no spin.
    let basis = Basis::new(Basis::from_info(&record.info)?.elements().to_vec(), false)?;
    let bloch = Bloch::new(overlap, &basis, &crystal.species)?;
    let mesh = match k_points {
        KPoints::Divisions(divisions) => Mesh::new(divisions, bloch.is_real())?,
        KPoints::Spacing(spacing) => {
            Mesh::with_spacing(&crystal.lattice, spacing, bloch.dispersive(), bloch.is_real())?
        }
    };
    let values = dense::spectrum(&bloch, &mesh.points)?;
    let smallest = values.iter().map(|v| v.first().copied().unwrap_or(f64::NAN)).zip(&mesh.points);
    let (eigenvalue, k) = smallest.fold((f64::INFINITY, [0.0; 3]), |a, b| if a.0 <= b.0 { a } else { (b.0, *b.1) });
    Ok(SmallestOverlap { eigenvalue, k, mesh: mesh.divisions })
}

/// A fractional k for people.
pub fn point(k: [f64; 3]) -> String {
    let [a, b, c] = k.map(|x| format!("{:.4}", x).trim_end_matches('0').trim_end_matches('.').to_string());
    format!("({a}, {b}, {c})")
}

/// The file of a rotated copy in DeepH-dock's test of equivariance.
const EULER: &str = "euler_angle";

/// The rotation r' = Rz(a) Ry(b) Rz(c) r of a folder whose `euler_angle` holds a, b, c; `None` without that file.
fn euler_angle(folder: &Path) -> Option<Result<Matrix3<f64>, String>> {
    let path = folder.join(EULER);
    if !path.is_file() {
        return None;
    }
    let text = match files::read_text(&path, "an euler_angle file", 1 << 16) {
        Ok(text) => text,
        Err(error) => return Some(Err(error.to_string())),
    };
    let angles: Vec<f64> =
        text.split_whitespace().filter_map(|w| w.parse().ok()).filter(|a: &f64| a.is_finite()).collect();
    let turn = |axis: Vector3<f64>, angle: f64| Rotation3::new(axis * angle);
    Some(match (<[f64; 3]>::try_from(angles), text.split_whitespace().count()) {
        (Ok([a, b, c]), 3) => Ok((turn(Vector3::z(), a) * turn(Vector3::y(), b) * turn(Vector3::z(), c)).into_inner()),
        _ => Err(format!("{:?}", text.chars().take(60).collect::<String>())),
    })
}
