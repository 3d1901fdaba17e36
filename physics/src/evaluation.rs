//! How far a model is from known Hamiltonians: raw, after the gauge fix, by orbitals, by distance, and under rotation.

use crate::Result;
use crate::hamiltonian::basis::Basis;
use crate::hamiltonian::{gauge, symmetry};
use crate::model::Model;
use crate::prediction::block_matrix;
use crate::sample::Sample;
use crate::structure::crystal::Crystal;
use crate::training::random_rotation;
use nalgebra::{Matrix3, Vector3};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
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

/// Errors of one stage. A complex element counts by its modulus.
#[derive(Clone, Debug, Serialize)]
pub struct StageErrors {
    /// `stage1` or `stage2`.
    pub stage: String,
    /// Mean |H_pred - H| over all elements, as the network gives them, meV.
    pub mae_mev: f64,
    /// The same after H_pred is made hermitian (what `predict` writes), meV.
    pub mae_hermitian_mev: f64,
    /// The same after the best mu S of each structure is taken off; none without overlaps, meV.
    pub mae_gauge_fixed_mev: Option<f64>,
    /// Root mean square, meV.
    pub rmse_mev: f64,
    /// Mean |D^T H_pred(R x) D - H_pred(x)| over a random rotation R of each structure, meV.
    pub equivariance_error_mev: f64,
    /// By shells of the two atoms, worst first.
    pub by_orbital_pair: Vec<OrbitalPairError>,
    /// On-site first, then by the length of the edge.
    pub by_distance: Vec<DistanceError>,
    /// By structure, worst first.
    pub by_structure: Vec<StructureError>,
}

/// Error of one target.
#[derive(Clone, Debug, Serialize)]
pub struct OrbitalPairError {
    /// Shells such as `s1-p2`: letter of the degree, place among the shells of that degree.
    pub shells: String,
    /// Mean error, meV.
    pub mae_mev: f64,
    /// Mean |H|, meV.
    pub mean_abs_mev: f64,
}

/// Error of one range of lengths.
#[derive(Clone, Debug, Serialize)]
pub struct DistanceError {
    /// From (angstrom); on-site blocks are 0 to 0.
    pub from: f64,
    /// To (angstrom).
    pub to: f64,
    /// Mean error, meV.
    pub mae_mev: f64,
    /// Mean |H|, meV.
    pub mean_abs_mev: f64,
}

/// Error of one structure.
#[derive(Clone, Debug, Serialize)]
pub struct StructureError {
    /// Its name.
    pub structure: String,
    /// Mean error, meV.
    pub mae_mev: f64,
    /// After the gauge fix, meV.
    pub mae_gauge_fixed_mev: Option<f64>,
    /// The mu that was taken off, meV.
    pub mu_mev: Option<f64>,
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
/// Width of a range of lengths, angstrom.
const RANGE: f64 = 0.5;

#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    squares: f64,
    reference: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, error: f64, reference: f64) {
        self.sum += error;
        self.squares += error * error;
        self.reference += reference;
        self.count += 1.0;
    }
    fn mev(value: f64, count: f64) -> f64 {
        if count > 0.0 { 1e3 * value / count } else { 0.0 }
    }
}

#[derive(Default)]
struct Collected {
    all: Mean,
    hermitian: Mean,
    gauge: Mean,
    rotation: Mean,
    targets: BTreeMap<usize, Mean>,
    ranges: BTreeMap<usize, Mean>,
    structures: Vec<StructureError>,
}

/// Compares the stages of `model` with the Hamiltonians of `paths` (folders of structures or of sets).
///
/// # Errors
/// A structure that cannot be read, has no Hamiltonian, or is of another basis.
pub fn evaluate(model: &Model, paths: &[PathBuf], observer: &mut dyn Observer) -> Result<EvaluationReport> {
    let folders = deeph::find_structures(paths)?;
    let mut collected: Vec<(String, Collected)> = Vec::new();
    let mut parity: Vec<ParityPoint> = Vec::new();
    let streams = Streams::new(model.config.seed);
    for (number, folder) in folders.iter().enumerate() {
        let options = ReadOptions { hamiltonian: true, validate: true, ..ReadOptions::present(folder) };
        let record = deeph::read(folder, &options)?;
        observer.on_message(&format!("evaluating {} ({} of {})", record.id, number + 1, folders.len()));
        let sample = model.sample(&record, true)?;
        // The stored numbers; the sample's labels are rounded to f32.
        let reference = record.hamiltonian.clone().ok_or_else(|| missing(&record.id))?;
        let rotation = random_rotation(&streams, &[number as u64]);
        let turned = model.stages(&model.sample(&rotated(&record, &rotation)?, true)?)?;
        let stages = model.stages(&sample)?;
        let mut matrices = Vec::with_capacity(stages.len());
        for ((k, (name, blocks)), (_, turned)) in stages.iter().enumerate().zip(&turned) {
            if collected.len() == k {
                collected.push((name.to_string(), Collected::default()));
            }
            let c = &mut collected[k].1;
            let predicted = block_matrix(model, &sample, blocks)?;
            let back = turned_back(&block_matrix(model, &sample, turned)?, &record, &model.basis, &rotation)?;
            pairwise(&back, &predicted, |e, r| c.rotation.add(e, r));
            pairwise(&symmetry::hermitised(&predicted)?, &reference, |e, r| c.hermitian.add(e, r));
            let before = c.all;
            by_block(model, &sample, &predicted, &reference, c);
            let mae_mev = Mean::mev(c.all.sum - before.sum, c.all.count - before.count);
            let overlap = record.overlap.as_ref().map(|s| symmetry::reorder_to(s, &reference)).transpose()?;
            let fixed = overlap.map(|s| gauge::compare(&predicted, &reference, &s)).transpose()?;
            if let Some(g) = &fixed {
                let count = c.all.count - before.count;
                c.gauge.sum += g.mae_gauge_fixed_ev * count;
                c.gauge.count += count;
            }
            c.structures.push(StructureError {
                structure: record.id.clone(),
                mae_mev,
                mae_gauge_fixed_mev: fixed.as_ref().map(|g| 1e3 * g.mae_gauge_fixed_ev),
                mu_mev: fixed.as_ref().map(|g| 1e3 * g.mu_ev),
            });
            matrices.push(predicted);
        }
        let step = (reference.entries.len() * folders.len()).div_ceil(PARITY_POINTS).max(1);
        for k in (0..reference.entries.len()).step_by(step) {
            let predicted_ev = matrices.iter().map(|m| real_part(m, k)).collect();
            parity.push(ParityPoint { reference_ev: real_part(&reference, k), predicted_ev });
        }
    }
    let first = collected.first().map(|c| c.1.all).unwrap_or_default();
    Ok(EvaluationReport {
        structures: folders.len(),
        elements: first.count as usize,
        mean_abs_mev: Mean::mev(first.reference, first.count),
        stages: collected.into_iter().map(|(name, c)| c.finish(name, model)).collect(),
        parity,
    })
}

impl Collected {
    fn finish(self, stage: String, model: &Model) -> StageErrors {
        let mut by_orbital_pair: Vec<_> = self
            .targets
            .iter()
            .map(|(t, m)| OrbitalPairError {
                shells: shell_names(model, *t),
                mae_mev: Mean::mev(m.sum, m.count),
                mean_abs_mev: Mean::mev(m.reference, m.count),
            })
            .collect();
        by_orbital_pair.sort_by(|a, b| b.mae_mev.total_cmp(&a.mae_mev));
        let range = |(k, m): (&usize, &Mean)| DistanceError {
            from: RANGE * k.saturating_sub(1) as f64,
            to: RANGE * *k as f64,
            mae_mev: Mean::mev(m.sum, m.count),
            mean_abs_mev: Mean::mev(m.reference, m.count),
        };
        let mut by_structure = self.structures;
        by_structure.sort_by(|a, b| b.mae_mev.total_cmp(&a.mae_mev));
        StageErrors {
            stage,
            mae_mev: Mean::mev(self.all.sum, self.all.count),
            mae_hermitian_mev: Mean::mev(self.hermitian.sum, self.hermitian.count),
            mae_gauge_fixed_mev: (self.gauge.count > 0.0).then(|| Mean::mev(self.gauge.sum, self.gauge.count)),
            rmse_mev: 1e3 * (self.all.squares / self.all.count.max(1.0)).sqrt(),
            equivariance_error_mev: Mean::mev(self.rotation.sum, self.rotation.count),
            by_orbital_pair,
            by_distance: self.ranges.iter().map(range).collect(),
            by_structure,
        }
    }
}

/// `s1-p2`: the shells of a target.
fn shell_names(model: &Model, target: usize) -> String {
    let species = model.basis.elements().len();
    for i in 0..species {
        for j in 0..species {
            let Some(place) = model.targets.places(i, j).iter().find(|p| p.target == target) else { continue };
            let name = |species: usize, first: usize| {
                let (mut orbital, mut ranks) = (0, [0usize; 16]);
                for l in &model.basis.elements()[species].1 {
                    ranks[*l] += 1;
                    if orbital == first {
                        return format!("{}{}", b"spdfghijk"[*l] as char, ranks[*l]);
                    }
                    orbital += 2 * l + 1;
                }
                String::from("?")
            };
            return format!("{}-{}", name(i, place.corner[0]), name(j, place.corner[1]));
        }
    }
    format!("target {target}")
}

/// Adds the errors of every block to the sums by target, by distance and over all.
fn by_block(model: &Model, sample: &Sample, predicted: &BlockMatrix, reference: &BlockMatrix, c: &mut Collected) {
    let spins = if model.targets.spinful() { 2 } else { 1 };
    for edge in &sample.graph.edges {
        let [i, j] = [3, 4].map(|end| sample.graph.species[edge.pair[end] as usize]);
        let (start, [rows, columns]) = (reference.boundaries[edge.stored], reference.shapes[edge.stored]);
        let r = edge.vector.norm();
        let range = if r < 1e-8 { 0 } else { 1 + (r / RANGE) as usize };
        for place in model.targets.places(i, j) {
            let [l1, l2] = model.targets.list()[place.target].degrees;
            for (s, t) in (0..spins).flat_map(|s| (0..spins).map(move |t| (s, t))) {
                for a in 0..2 * l1 + 1 {
                    for b in 0..2 * l2 + 1 {
                        let row = s * (rows / spins) + place.corner[0] + a;
                        let column = t * (columns / spins) + place.corner[1] + b;
                        let k = start + row * columns + column;
                        let (error, size) = (difference(predicted, reference, k), modulus(reference, k));
                        c.all.add(error, size);
                        c.targets.entry(place.target).or_default().add(error, size);
                        c.ranges.entry(range).or_default().add(error, size);
                    }
                }
            }
        }
    }
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

fn real_part(a: &BlockMatrix, k: usize) -> f64 {
    match &a.entries {
        Entries::Real(a) => a[k],
        Entries::Complex(a) => a[k].re,
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
