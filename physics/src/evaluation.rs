//! How far a model is from known Hamiltonians: raw, after the gauge fix, by orbitals, by distance, and under rotation.

use crate::Result;
use crate::comparison::sums::Sums;
use crate::comparison::{Counting, MatrixErrors, Tally};
use crate::hamiltonian::basis::Basis;
use crate::hamiltonian::symmetry;
use crate::model::Model;
use crate::prediction::block_matrix;
use crate::structure::crystal::Crystal;
use crate::training::random_rotation;
use nalgebra::{Matrix3, Vector3};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_datasets::deeph::{self, ReadOptions, Record};
use tesseral_nn::equivariant::irreps::Parity;
use tesseral_nn::equivariant::wigner::{wigner_d, wigner_d_half};
use tesseral_nn::rng::Streams;
use tesseral_nn::train::observer::Observer;

/// Errors of a model on a set of structures.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationReport {
    /// Number of structures.
    pub structures: usize,
    /// Matrix elements compared.
    pub elements: usize,
    /// Mean |H|, the error of predicting zero, meV.
    pub mean_abs_mev: f64,
    /// One entry a stage.
    pub stages: Vec<StageErrors>,
    /// A sample of elements for the parity plot.
    pub parity: Vec<ParityPoint>,
}

/// Errors of one stage, as the network gives its matrix. A complex element counts by its modulus.
#[derive(Clone, Debug, Serialize)]
pub struct StageErrors {
    /// `stage1` or `stage2`.
    pub stage: String,
    /// Mean |H_pred - H| after H_pred is made hermitian (what `predict` writes), meV.
    pub mae_hermitian_mev: f64,
    /// Mean |D^T H_pred(R x) D - H_pred(x)| over a random rotation R of each structure, meV.
    pub equivariance_error_mev: f64,
    /// All else.
    #[serde(flatten)]
    pub errors: MatrixErrors,
}

/// One matrix element, eV (real part of a complex one).
#[derive(Clone, Debug, Serialize)]
pub struct ParityPoint {
    /// From DFT.
    pub reference_ev: f64,
    /// From each stage.
    pub predicted_ev: Vec<f64>,
}

/// Parity points that are kept, evenly taken.
const PARITY_POINTS: usize = 4000;
/// Errors of all stages on one structure or several; as JSON it can be kept and merged later.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evaluated {
    structures: usize,
    stages: Vec<(String, Collected)>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Collected {
    all: Tally,
    hermitian: Sums,
    rotation: Sums,
}

/// Compares the stages of `model` with the Hamiltonians of `paths` (folders of structures or of sets).
///
/// # Errors
/// A structure that cannot be read, has no Hamiltonian, or is of another basis.
pub fn evaluate(model: &Model, paths: &[PathBuf], observer: &mut dyn Observer) -> Result<EvaluationReport> {
    let folders = deeph::find_structures(paths)?;
    let mut all = Evaluated::default();
    for (number, folder) in folders.iter().enumerate() {
        observer.on_message(&format!("evaluating {} ({} of {})", folder.display(), number + 1, folders.len()));
        all.merge(evaluate_one(model, folder, number, folders.len())?)?;
    }
    Ok(all.report())
}

/// The errors on structure `number` of `structures`, counted from 0; the numbers choose its rotation and how many of its
/// elements the parity plot shows.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_one(model: &Model, folder: &Path, number: usize, structures: usize) -> Result<Evaluated> {
    let counting = Counting { parity: PARITY_POINTS.div_ceil(structures), ..Counting::default() };
    let options = ReadOptions { hamiltonian: true, validate: true, ..ReadOptions::present(folder) };
    let record = deeph::read(folder, &options)?;
    let sample = model.sample(&record, true)?;
    // The stored numbers; the sample's labels are rounded to f32.
    let reference = record.hamiltonian.clone().ok_or_else(|| missing(&record.id))?;
    let rotation = random_rotation(&Streams::new(model.config.seed), &[number as u64]);
    let turned = model.stages(&model.sample(&rotated(&record, &rotation)?, true)?)?;
    let mut found = Evaluated { structures: 1, stages: vec![] };
    for ((name, blocks), (_, turned)) in model.stages(&sample)?.iter().zip(&turned) {
        let mut c = Collected::default();
        let predicted = block_matrix(model, &sample, blocks)?;
        let back = turned_back(&block_matrix(model, &sample, turned)?, &record, &model.basis, &rotation)?;
        pairwise(&back, &predicted, |e, r| c.rotation.add(e, None, r));
        pairwise(&symmetry::hermitised(&predicted)?, &reference, |e, r| c.hermitian.add(e, None, r));
        c.all.add(&record, &predicted, counting)?;
        found.stages.push((name.to_string(), c));
    }
    Ok(found)
}

impl Evaluated {
    /// Adds the structures of `other`, behind those that are here.
    ///
    /// # Errors
    /// Other stages, other shells of the same element.
    pub fn merge(&mut self, other: Evaluated) -> Result<()> {
        if self.structures == 0 {
            *self = other;
            return Ok(());
        }
        let names = |e: &Evaluated| e.stages.iter().map(|stage| stage.0.clone()).collect::<Vec<_>>();
        if names(self) != names(&other) {
            let (expected, found) = (format!("{:?}", names(self)), format!("{:?}", names(&other)));
            return Err(crate::Error::Mismatch { what: "stages".into(), expected, found });
        }
        for ((_, here), (_, there)) in self.stages.iter_mut().zip(other.stages) {
            here.all.merge(there.all)?;
            here.hermitian.merge(&there.hermitian);
            here.rotation.merge(&there.rotation);
        }
        self.structures += other.structures;
        Ok(())
    }

    /// The report.
    pub fn report(self) -> EvaluationReport {
        let stages: Vec<StageErrors> = self.stages.into_iter().map(|(name, c)| c.finish(name)).collect();
        let first = stages.first().map(|stage| stage.errors.figures).unwrap_or_default();
        EvaluationReport {
            structures: self.structures,
            elements: first.elements,
            mean_abs_mev: first.mean_abs_mev,
            parity: parity(&stages),
            stages,
        }
    }
}

impl Collected {
    fn finish(self, stage: String) -> StageErrors {
        StageErrors {
            stage,
            mae_hermitian_mev: self.hermitian.mae_mev(),
            equivariance_error_mev: self.rotation.mae_mev(),
            errors: self.all.errors(),
        }
    }
}

/// The points of all stages, which are of the same elements.
fn parity(stages: &[StageErrors]) -> Vec<ParityPoint> {
    let points = stages.first().map_or(0, |stage| stage.errors.parity.len());
    let point = |n: usize| ParityPoint {
        reference_ev: stages[0].errors.parity[n].reference_ev,
        predicted_ev: stages.iter().filter_map(|s| Some(s.errors.parity.get(n)?.predicted_ev)).collect(),
    };
    (0..points).map(point).collect()
}

fn pairwise(a: &BlockMatrix, b: &BlockMatrix, mut add: impl FnMut(f64, f64)) {
    for k in 0..a.entries.len().min(b.entries.len()) {
        add(difference(a, b, k), modulus(b, k));
    }
}

fn difference(a: &BlockMatrix, b: &BlockMatrix, k: usize) -> f64 {
    match (&a.entries, &b.entries) {
        (Entries::Real(a), Entries::Real(b)) => (a[k] - b[k]).abs(),
        (Entries::Complex(a), Entries::Complex(b)) => (a[k] - b[k]).norm(),
        _ => f64::NAN,
    }
}

fn modulus(a: &BlockMatrix, k: usize) -> f64 {
    match &a.entries {
        Entries::Real(a) => a[k].abs(),
        Entries::Complex(a) => a[k].norm(),
    }
}

fn missing(structure: &str) -> crate::Error {
    crate::Error::Structure { structure: structure.into(), what: "no Hamiltonian to compare with".into() }
}

/// The structure after r' = R r; its matrices stay, only their pairs are used.
fn rotated(record: &Record, rotation: &Matrix3<f64>) -> Result<Record> {
    let mut record = record.clone();
    let turn = |v: &[f64; 3]| -> [f64; 3] { (rotation * Vector3::from(*v)).into() };
    record.poscar.lattice = record.poscar.lattice.map(|row| turn(&row));
    record.poscar.positions = record.poscar.positions.iter().map(turn).collect();
    Ok(record)
}

/// H of the turned structure, seen in the axes of the unturned one.
fn turned_back(h: &BlockMatrix, record: &Record, basis: &Basis, rotation: &Matrix3<f64>) -> Result<BlockMatrix> {
    let species = Crystal::from_poscar(&record.poscar)?.species;
    let back = rotation.transpose();
    let d = |l: usize| wigner_d(l, Parity::of_spherical_harmonic(l as u32), &back);
    let half = wigner_d_half(&back);
    symmetry::rotated(h, basis, &species, d, basis.spinful().then_some(&half))
}
