//! How far the spectrum of a predicted Hamiltonian is from that of the reference, on a mesh of k points.
//!
//! Band errors in a window about the Fermi level, gap and Fermi level, ghost states, and the similarity of the occupied
//! subspaces, Tr(P S P' S) / n at each k, P = sum over occupied c c^dagger. Definitions: docs/conventions.md.

use faer::{Accum, Mat, Par};
use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use super::dense::{self, Conditioning, Solution};
use super::fermi::{self, FermiLevel};
use super::{Bloch, Mesh};
use crate::{Error, Result};

/// A state that is off by more than this is a ghost, eV.
pub const GHOST_EV: f64 = 0.5;
/// Levels closer than this to the last occupied one at the same k count as one shell, eV.
const DEGENERATE: f64 = 1e-3;
/// Memory for the eigenvectors of the points that are solved at once, bytes.
const MEMORY: usize = 256 << 20;
/// With an overlap threshold for the prediction the reference loses only what no arithmetic can keep.
const HARDLY_POSITIVE: f64 = 1e-10;

/// How many states of the reference are occupied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filling {
    /// Electrons in the cell.
    Electrons(f64),
    /// All states below this level, eV.
    FermiLevel(f64),
}

/// What to compare.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// States of the reference between these energies from its Fermi level, eV.
    pub window_ev: [f64; 2],
    /// For the prediction leave out eigenvectors of S(k) below this eigenvalue.
    pub overlap_threshold: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { window_ev: [-6.0, 3.0], overlap_threshold: None }
    }
}

/// Errors of a spectrum; states count as often as their k point stands in the whole mesh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpectralErrors {
    /// Divisions of the mesh.
    pub mesh: [usize; 3],
    /// Electrons in the cell.
    pub electrons: f64,
    /// Whether a band of the reference is partly filled.
    pub metal: bool,
    /// States of the reference in the window.
    pub states: usize,
    /// Added to the prediction so that the mean difference over the occupied states of the window is zero, eV.
    pub shift_ev: f64,
    /// Mean |prediction + shift - reference| over the window; none where it is empty.
    pub band_mae_mev: Option<f64>,
    /// Largest |prediction + shift - reference| in the window.
    pub band_max_mev: Option<f64>,
    /// Mean over the window with both measured from their own Fermi level.
    pub fermi_aligned_mae_mev: Option<f64>,
    /// Fermi level of the reference, eV.
    pub fermi_ev: f64,
    /// Predicted Fermi level less mu less the reference, meV.
    pub fermi_error_mev: f64,
    /// Gap of the reference, eV; 0 for a metal.
    pub gap_ev: f64,
    /// Predicted gap, eV.
    pub gap_predicted_ev: f64,
    /// Their difference, meV.
    pub gap_error_mev: f64,
    /// States up to the top of the window that no common shift brings near the reference: those outside the interval of
    /// 1 eV that holds most differences.
    pub ghost_states: usize,
    /// Predicted states more than 0.5 eV below the lowest band of the reference, after that shift.
    pub ghosts_below: usize,
    /// Mean similarity of the occupied subspaces; 1 where they are equal.
    pub similarity_mean: f64,
    /// Least similarity at a k.
    pub similarity_worst: f64,
    /// Where it is.
    pub similarity_worst_k: [f64; 3],
    /// Most eigenvectors of S that were left out of the prediction at a k.
    pub dropped: usize,
}

/// What is kept of one k.
struct Point {
    reference: Vec<f64>,
    predicted: Vec<f64>,
    /// `[n]` sum over the lowest n + 1 states of both of |c^dagger S c'|^2.
    common: Vec<f64>,
    dropped: usize,
}

/// Compares `prediction` with `reference`, both over `overlap`, on `mesh`. `mu_ev` is the gauge of the matrices
/// (`hamiltonian::gauge`), taken off the Fermi level.
///
/// # Errors
/// Operators of different sizes, an overlap that is not positive definite, a threshold that is not positive, a filling that the states cannot hold.
pub fn compare(
    reference: &Bloch,
    prediction: &Bloch,
    overlap: &Bloch,
    mesh: &Mesh,
    (filling, spinful): (Filling, bool),
    mu_ev: f64,
    options: Options,
) -> Result<SpectralErrors> {
    if let Some(threshold) = options.overlap_threshold.filter(|t| !(t.is_finite() && *t > 0.0)) {
        let (what, expected) = ("overlap threshold".into(), "a positive number".into());
        return Err(Error::Mismatch { what, expected, found: threshold.to_string() });
    }
    let points = solve(reference, prediction, overlap, mesh, options.overlap_threshold)?;
    let values = |of: fn(&Point) -> &Vec<f64>| points.iter().map(|p| of(p).clone()).collect::<Vec<_>>();
    let (reference, predicted) = (values(|p| &p.reference), values(|p| &p.predicted));
    let electrons = match filling {
        Filling::Electrons(electrons) => electrons,
        Filling::FermiLevel(level) => electrons_below(&reference, &mesh.weights, level, spinful),
    };
    let level = fermi::by_counting(&reference, &mesh.weights, electrons, spinful)?;
    let predicted_level = fermi::by_counting(&predicted, &mesh.weights, electrons, spinful)?;
    let occupied = |point: &Point| occupied_states(&point.reference, &level);

    let [low, high] = options.window_ev.map(|e| e + level.fermi_ev);
    let lowest = reference.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let mut window: Vec<(f64, bool, f64)> = Vec::new();
    let mut below_top: Vec<(f64, usize)> = Vec::new();
    for (point, &weight) in points.iter().zip(&mesh.weights) {
        let filled = occupied(point);
        for (n, (e, p)) in point.reference.iter().zip(&point.predicted).enumerate().filter(|(_, (e, _))| **e <= high) {
            below_top.push((p - e, weight));
            if *e >= low {
                window.push((p - e, n < filled, weight as f64));
            }
        }
    }
    let (common, ghost_states) = common_difference(&mut below_top, mu_ev);
    let below = |point: &Point| point.predicted.iter().filter(|p| **p - common < lowest - GHOST_EV).count();
    let ghosts_below = points.iter().zip(&mesh.weights).map(|(point, weight)| weight * below(point)).sum();
    let shift_ev = match window.iter().any(|state| state.1) {
        true => -mean(window.iter().filter(|state| state.1).map(|s| (s.0, s.2))).unwrap_or(0.0),
        false => -mu_ev,
    };
    let mae = |shift: f64| mean(window.iter().map(|s| ((s.0 + shift).abs(), s.2))).map(|mean| 1e3 * mean);
    let fermi_shift = level.fermi_ev - predicted_level.fermi_ev;

    let mut similarity = (f64::INFINITY, [0.0; 3]);
    let mut similarities = Vec::with_capacity(points.len());
    for ((point, k), &weight) in points.iter().zip(&mesh.points).zip(&mesh.weights) {
        let n = occupied(point).min(point.common.len());
        let here = if n == 0 { 1.0 } else { point.common[n - 1] / n as f64 };
        similarities.push((here, weight as f64));
        if here < similarity.0 {
            similarity = (here, *k);
        }
    }
    Ok(SpectralErrors {
        mesh: mesh.divisions,
        electrons,
        metal: level.metal,
        states: window.iter().map(|state| state.2).sum::<f64>() as usize,
        shift_ev,
        band_mae_mev: mae(shift_ev),
        band_max_mev: window.iter().map(|s| 1e3 * (s.0 + shift_ev).abs()).reduce(f64::max),
        fermi_aligned_mae_mev: mae(fermi_shift),
        fermi_ev: level.fermi_ev,
        fermi_error_mev: -1e3 * (fermi_shift + mu_ev),
        gap_ev: level.gap_ev,
        gap_predicted_ev: predicted_level.gap_ev,
        gap_error_mev: 1e3 * (predicted_level.gap_ev - level.gap_ev),
        ghost_states,
        ghosts_below,
        similarity_mean: mean(similarities.into_iter()).unwrap_or(1.0),
        similarity_worst: similarity.0,
        similarity_worst_k: similarity.1,
        dropped: points.iter().map(|point| point.dropped).max().unwrap_or(0),
    })
}

/// Eigenvalues and common subspaces at all points, a few at a time, so that only their eigenvectors are in memory.
fn solve(
    reference: &Bloch,
    prediction: &Bloch,
    overlap: &Bloch,
    mesh: &Mesh,
    threshold: Option<f64>,
) -> Result<Vec<Point>> {
    let options = |conditioning| dense::Options { vectors: true, conditioning, ..dense::Options::default() };
    let vectors = 2 * size_of::<Complex64>() * overlap.size() * overlap.size();
    let at_once = (MEMORY / vectors.max(1)).max(1);
    let mut found = Vec::with_capacity(mesh.points.len());
    for points in mesh.points.chunks(at_once) {
        let both = match threshold {
            None => dense::solve(&[reference, prediction], overlap, points, options(Conditioning::Strict))?,
            Some(threshold) => {
                let exact = options(Conditioning::Project { threshold: HARDLY_POSITIVE });
                let mut both = dense::solve(&[reference], overlap, points, exact)?;
                both.extend(dense::solve(
                    &[prediction],
                    overlap,
                    points,
                    options(Conditioning::Project { threshold }),
                )?);
                both
            }
        };
        let mut both = both.into_iter();
        let (Some(first), Some(second)) = (both.next(), both.next()) else { continue };
        for ((reference, predicted), k) in first.into_iter().zip(second).zip(points) {
            let common = common_subspaces(&reference, &predicted, &overlap.at(*k));
            let dropped = predicted.dropped;
            found.push(Point { reference: reference.values, predicted: predicted.values, common, dropped });
        }
    }
    if found.is_empty() {
        let (what, expected) = ("k mesh".into(), "at least one point".into());
        return Err(Error::Mismatch { what, expected, found: "none".into() });
    }
    Ok(found)
}

/// `[n]` sum over i, j <= n of |c_i^dagger S c'_j|^2.
fn common_subspaces(reference: &Solution, predicted: &Solution, overlap: &Mat<Complex64>) -> Vec<f64> {
    let (Some(c), Some(d)) = (&reference.vectors, &predicted.vectors) else { return vec![] };
    let product = |a: faer::MatRef<'_, Complex64>, b: faer::MatRef<'_, Complex64>| {
        let mut result = Mat::zeros(a.nrows(), b.ncols());
        faer::linalg::matmul::matmul(result.as_mut(), Accum::Replace, a, b, Complex64::new(1.0, 0.0), Par::rayon(0));
        result
    };
    let projected = product(c.adjoint().to_owned().as_ref(), product(overlap.as_ref(), d.as_ref()).as_ref());
    let mut sum = 0.0;
    let grow = |n: usize| {
        sum += (0..n).map(|i| projected[(i, n)].norm_sqr() + projected[(n, i)].norm_sqr()).sum::<f64>();
        sum += projected[(n, n)].norm_sqr();
        sum
    };
    (0..projected.nrows().min(projected.ncols())).map(grow).collect()
}

/// The common part of `differences` (with weights), and the weight of those that are not within [`GHOST_EV`] of it: the
/// mean of the interval of twice that width that holds most of them. Unlike a mean of all it does not notice ghosts. Of
/// equal intervals the one nearest to `mu` counts.
fn common_difference(differences: &mut [(f64, usize)], mu: f64) -> (f64, usize) {
    differences.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: usize = differences.iter().map(|d| d.1).sum();
    let (mut best, mut most) = (mu, 0);
    let (mut end, mut weight, mut sum) = (0, 0, 0.0);
    for start in 0..differences.len() {
        while end < differences.len() && differences[end].0 - differences[start].0 <= 2.0 * GHOST_EV {
            weight += differences[end].1;
            sum += differences[end].0 * differences[end].1 as f64;
            end += 1;
        }
        let middle = sum / weight as f64;
        if weight > most || (weight == most && (middle - mu).abs() < (best - mu).abs()) {
            (best, most) = (middle, weight);
        }
        weight -= differences[start].1;
        sum -= differences[start].0 * differences[start].1 as f64;
    }
    (best, total - most)
}

/// Electrons of the states below `level`.
fn electrons_below(energies: &[Vec<f64>], weights: &[usize], level: f64, spinful: bool) -> f64 {
    let below = |(energies, weight): (&Vec<f64>, &usize)| weight * energies.iter().filter(|e| **e < level).count();
    let states: usize = energies.iter().zip(weights).map(below).sum();
    let points: usize = weights.iter().sum();
    // A hair more, so that the division does not lose the last state when counting multiplies again.
    (states as f64 + 1e-6) / points.max(1) as f64 * if spinful { 1.0 } else { 2.0 }
}

/// Occupied states at one k: those up to the highest filled one of the mesh, a degenerate shell whole. For an insulator
/// this is the same number everywhere.
fn occupied_states(energies: &[f64], level: &FermiLevel) -> usize {
    let mut n = energies.iter().filter(|e| **e <= level.valence_top_ev).count();
    while n > 0 && n < energies.len() && energies[n] - energies[n - 1] < DEGENERATE {
        n += 1;
    }
    n
}

/// Weighted mean; none without weight.
fn mean(values: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, weight) = values.fold((0.0, 0.0), |(sum, total), (value, weight)| (sum + weight * value, total + weight));
    (weight > 0.0).then(|| sum / weight)
}
