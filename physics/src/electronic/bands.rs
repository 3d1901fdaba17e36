//! Bands along a path, and how far predicted bands are from the reference.

use serde::{Deserialize, Serialize};

use super::{Bloch, dense};
use crate::structure::{KPath, Lattice};
use crate::{Error, Result};

/// Eigenvalues along a path, with all that a plot needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandStructure {
    /// `[K]` fractional points.
    pub k: Vec<[f64; 3]>,
    /// `[K]` distance along the path, inverse angstrom (|dk B| / 2 pi).
    pub distances: Vec<f64>,
    /// Places and names of the corners.
    pub ticks: Vec<(f64, String)>,
    /// `[K][bands]` ascending eigenvalues, eV, not shifted.
    pub energies_ev: Vec<Vec<f64>>,
    /// Fermi level on the same scale, eV, if known.
    pub fermi_ev: Option<f64>,
    /// Doubly or (spinful) singly occupied bands: electrons / (2 - spinful), rounded up; if known.
    pub occupied: Option<usize>,
}

/// The bands of one or several Hamiltonians over the same overlap, in their order; `options.vectors` is ignored.
///
/// # Errors
/// As [`dense::solve`].
pub fn along(
    path: &KPath,
    lattice: &Lattice,
    hamiltonians: &[&Bloch],
    overlap: &Bloch,
    options: dense::Options,
) -> Result<Vec<BandStructure>> {
    let (k, distances, ticks) = (path.points(), path.distances(lattice), path.ticks(lattice));
    let options = dense::Options { vectors: false, ..options };
    let spectra = dense::solve(hamiltonians, overlap, &k, options)?;
    let structure = |solutions: Vec<dense::Solution>| BandStructure {
        k: k.clone(),
        distances: distances.clone(),
        ticks: ticks.clone(),
        energies_ev: solutions.into_iter().map(|solution| solution.values).collect(),
        fermi_ev: None,
        occupied: None,
    };
    Ok(spectra.into_iter().map(structure).collect())
}

/// The number of bands that `electrons` fill: electrons / (2 - spinful), rounded up.
pub fn occupied_bands(electrons: f64, spinful: bool) -> usize {
    let bands = electrons / if spinful { 1.0 } else { 2.0 };
    (bands - 1e-9).ceil().max(0.0) as usize
}

impl BandStructure {
    /// With the Fermi level (eV) and the number of occupied bands.
    pub fn with_filling(self, fermi_ev: Option<f64>, occupied: Option<usize>) -> Self {
        Self { fermi_ev, occupied, ..self }
    }

    /// One line per point: distance, k1, k2, k3, then the eigenvalues in eV; a header line first.
    pub fn to_csv(&self) -> String {
        let bands = self.energies_ev.iter().map(Vec::len).max().unwrap_or(0);
        let mut text = String::from("distance,k1,k2,k3");
        text.extend((1..=bands).map(|band| format!(",band_{band}_ev")));
        for ((k, distance), energies) in self.k.iter().zip(&self.distances).zip(&self.energies_ev) {
            text.push_str(&format!("\n{distance},{},{},{}", k[0], k[1], k[2]));
            text.extend(energies.iter().map(|energy| format!(",{energy}")));
        }
        text.push('\n');
        text
    }
}

/// Errors of predicted bands, meV; over the occupied and the lowest empty bands at all k.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandComparison {
    /// Occupied bands compared.
    pub occupied: usize,
    /// Empty bands compared.
    pub empty: usize,
    /// Added to the prediction so that the mean difference over the occupied bands is zero, eV.
    pub shift_ev: f64,
    /// mean |prediction + shift - reference|.
    pub band_mae_mev: f64,
    /// Largest |prediction + shift - reference|.
    pub band_max_mev: f64,
    /// mean |prediction - reference|.
    pub unaligned_mae_mev: f64,
    /// mean |difference| with both measured from their own Fermi level, if both are known.
    pub fermi_aligned_mae_mev: Option<f64>,
}

/// Compare bands on the same points: the `occupied` lowest and up to `empty` above them.
///
/// # Errors
/// Different points, no occupied band, fewer bands than that at some point.
pub fn compare(
    prediction: &BandStructure,
    reference: &BandStructure,
    occupied: usize,
    empty: usize,
) -> Result<BandComparison> {
    let mismatch =
        |what: &str, expected: String, found: String| Err(Error::Mismatch { what: what.into(), expected, found });
    if prediction.k != reference.k || reference.k.is_empty() {
        let found = format!("{} and {}", prediction.k.len(), reference.k.len());
        return mismatch("points of the two band structures", "the same, at least one".into(), found);
    }
    let least = |bands: &BandStructure| bands.energies_ev.iter().map(Vec::len).min().unwrap_or(0);
    let bands = (occupied + empty).min(least(prediction)).min(least(reference));
    if occupied == 0 || bands < occupied {
        return mismatch("occupied bands", format!("1 to {bands}"), occupied.to_string());
    }
    let differences = |first: usize, last: usize| -> Vec<f64> {
        let pairs = prediction.energies_ev.iter().zip(&reference.energies_ev);
        pairs.flat_map(|(p, r)| p[first..last].iter().zip(&r[first..last]).map(|(p, r)| p - r)).collect()
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let shift_ev = -mean(&differences(0, occupied));
    let all = differences(0, bands);
    let mae = |shift: f64| 1e3 * mean(&all.iter().map(|d| (d + shift).abs()).collect::<Vec<_>>());
    let fermi = prediction.fermi_ev.zip(reference.fermi_ev).map(|(p, r)| r - p);
    Ok(BandComparison {
        occupied,
        empty: bands - occupied,
        shift_ev,
        band_mae_mev: mae(shift_ev),
        band_max_mev: 1e3 * all.iter().map(|d| (d + shift_ev).abs()).fold(0.0, f64::max),
        unaligned_mae_mev: mae(0.0),
        fermi_aligned_mae_mev: fermi.map(mae),
    })
}
