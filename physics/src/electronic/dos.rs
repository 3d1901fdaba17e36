//! Density of states: Gaussians, or linear tetrahedra.
//!
//! Both count the cell's states per eV, two for each band in a spinless basis and one in a spinful one, on the energies
//! that the caller gives; a caller who wants them relative to the Fermi level adds it.

use serde::{Deserialize, Serialize};

use super::Mesh;
use super::smearing::step;
use super::tetrahedra::Tetrahedra;
use crate::structure::Lattice;
use crate::{Error, Result};

/// Gaussians are cut off beyond this many widths, where they have fallen to 1e-18 (DeepH-dock's window).
const REACH: f64 = 9.0;

/// A density of states and its integral.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dos {
    /// `[E]` ascending, eV.
    pub energies_ev: Vec<f64>,
    /// `[E]` states per eV and cell, spin counted.
    pub states_per_ev: Vec<f64>,
    /// `[E]` states per cell below each energy, spin counted.
    pub states_below: Vec<f64>,
    /// How it was found.
    pub method: String,
}

impl Dos {
    /// One line per energy: `energy_ev,states_per_ev,states_below`, a header line first.
    pub fn to_csv(&self) -> String {
        let mut text = String::from("energy_ev,states_per_ev,states_below\n");
        for ((energy, density), below) in self.energies_ev.iter().zip(&self.states_per_ev).zip(&self.states_below) {
            text.push_str(&format!("{energy},{density},{below}\n"));
        }
        text
    }
}

/// `points` energies from `window[0]` to `window[1]`, both included, eV.
///
/// # Errors
/// Fewer than two points, more than ten million, a window that is not finite or does not ascend.
pub fn energies(window: [f64; 2], points: usize) -> Result<Vec<f64>> {
    let [low, high] = window;
    if !(low.is_finite() && high.is_finite() && low < high) {
        return mismatch("energy window", "two finite ascending energies", format!("{low}, {high}"));
    }
    if !(2..=10_000_000).contains(&points) {
        return mismatch("points of the energy window", "2 to 10000000", points.to_string());
    }
    let step = (high - low) / (points - 1) as f64;
    Ok((0..points).map(|n| if n + 1 == points { high } else { low + step * n as f64 }).collect())
}

/// Every eigenvalue `[k][band]` (eV) a Gaussian of standard deviation `sigma_ev`, cut off at nine of them; `weights` of
/// the k points as in [`Mesh`].
///
/// # Errors
/// A width that is not positive, energies that do not ascend, an eigenvalue that is not finite, no k point.
pub fn gaussian(
    eigenvalues: &[Vec<f64>],
    weights: &[usize],
    energies: &[f64],
    sigma_ev: f64,
    spinful: bool,
) -> Result<Dos> {
    check_energies(energies)?;
    check_width("width of the Gaussians", sigma_ev)?;
    check_finite(eigenvalues)?;
    let scale = check_weights(eigenvalues, weights)?.recip() * if spinful { 1.0 } else { 2.0 };
    let height = scale / (sigma_ev * std::f64::consts::TAU.sqrt());
    let (mut density, mut partly) = (vec![0.0; energies.len()], vec![0.0; energies.len()]);
    let mut wholly = vec![0_usize; energies.len() + 1];
    for (values, &weight) in eigenvalues.iter().zip(weights) {
        for &value in values {
            let first = energies.partition_point(|&e| e < value - REACH * sigma_ev);
            let last = first + energies[first..].partition_point(|&e| e <= value + REACH * sigma_ev);
            wholly[last] += weight;
            for n in first..last {
                let x = (energies[n] - value) / sigma_ev;
                density[n] += weight as f64 * height * (-x * x / 2.0).exp();
                partly[n] += weight as f64 * scale * step(x * std::f64::consts::FRAC_1_SQRT_2);
            }
        }
    }
    let mut count = 0;
    for (states, whole) in partly.iter_mut().zip(wholly) {
        count += whole;
        *states += count as f64 * scale;
    }
    let method = format!("gaussian, sigma {sigma_ev} eV");
    Ok(Dos { energies_ev: energies.to_vec(), states_per_ev: density, states_below: partly, method })
}

/// By linear tetrahedra between the eigenvalues `[k][band]` (eV) of `mesh`. The density at an energy is the mean over
/// its bin, which reaches half-way to its neighbours, so that the sum over bins is the exact number of states also
/// where a band is flat (one k point; a molecule).
///
/// # Errors
/// Energies that do not ascend, or as [`Tetrahedra::new`].
pub fn tetrahedra(
    eigenvalues: &[Vec<f64>],
    mesh: &Mesh,
    lattice: &Lattice,
    energies: &[f64],
    spinful: bool,
) -> Result<Dos> {
    check_energies(energies)?;
    let tetrahedra = Tetrahedra::new(eigenvalues, mesh, lattice)?;
    let scale = if spinful { 1.0 } else { 2.0 };
    let last = energies.len() - 1;
    let middle = |n: usize| (energies[n] + energies[n + 1]) / 2.0;
    // Bins at the two ends are as wide on their outer side as on their inner one.
    let mut edges = vec![energies[0] * 1.5 - energies[1] * 0.5];
    edges.extend((0..last).map(middle));
    edges.push(energies[last] * 1.5 - energies[last - 1] * 0.5);
    let at_edges = tetrahedra.states_below(&edges);
    let density = at_edges.windows(2).zip(edges.windows(2)).map(|(n, e)| scale * (n[1] - n[0]) / (e[1] - e[0]));
    Ok(Dos {
        energies_ev: energies.to_vec(),
        states_per_ev: density.collect(),
        states_below: tetrahedra.states_below(energies).into_iter().map(|n| scale * n).collect(),
        method: "linear tetrahedra".into(),
    })
}

fn mismatch<T>(what: &str, expected: &str, found: String) -> Result<T> {
    Err(Error::Mismatch { what: what.into(), expected: expected.into(), found })
}

fn check_energies(energies: &[f64]) -> Result<()> {
    let ascending = energies.windows(2).all(|pair| pair[0] < pair[1]);
    if energies.len() < 2 || !ascending || !energies.iter().all(|e| e.is_finite()) {
        return mismatch(
            "energies of the DOS",
            "at least two, finite and ascending",
            format!("{} energies", energies.len()),
        );
    }
    Ok(())
}

pub(super) fn check_width(what: &str, width_ev: f64) -> Result<()> {
    if width_ev.is_finite() && width_ev > 0.0 {
        return Ok(());
    }
    mismatch(what, "a positive number of eV", width_ev.to_string())
}

pub(super) fn check_finite(eigenvalues: &[Vec<f64>]) -> Result<()> {
    match eigenvalues.iter().flatten().find(|e| !e.is_finite()) {
        Some(value) => mismatch("eigenvalues", "finite numbers", value.to_string()),
        None => Ok(()),
    }
}

/// The number of points of the whole mesh.
pub(super) fn check_weights(eigenvalues: &[Vec<f64>], weights: &[usize]) -> Result<f64> {
    let total: usize = weights.iter().sum();
    if weights.len() != eigenvalues.len() || total == 0 {
        let found = format!("{} weights, sum {total}", weights.len());
        return mismatch("weights of the k points", &format!("{}, with a positive sum", eigenvalues.len()), found);
    }
    Ok(total as f64)
}
