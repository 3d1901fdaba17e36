//! Fermi level and gap by counting states on a mesh of k points.
//!
//! E_F is half-way between the last filled and the first empty of all eigenvalues of the mesh, sorted; the number of
//! filled ones is floor(mesh points x electrons / (2 - spinful)). This is DeepH-dock's rule.

use serde::{Deserialize, Serialize};

use super::{Bloch, dense};
use crate::structure::Lattice;
use crate::{Error, Result};

/// Most points of a mesh.
const MOST_POINTS: usize = 10_000_000;

/// A Gamma-centred mesh k = i / n.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// Divisions along b1, b2, b3.
    pub divisions: [usize; 3],
    /// Fractional points.
    pub points: Vec<[f64; 3]>,
    /// How many points of the whole mesh each stands for.
    pub weights: Vec<usize>,
}

impl Mesh {
    /// The mesh of these divisions; with `time_reversal` only one of k and -k is kept, at double weight.
    ///
    /// # Errors
    /// A zero division, more than ten million points.
    pub fn new(divisions: [usize; 3], time_reversal: bool) -> Result<Self> {
        let total = divisions.iter().try_fold(1_usize, |total, &n| total.checked_mul(n));
        if !total.is_some_and(|total| (1..=MOST_POINTS).contains(&total)) {
            return Err(Error::Mismatch {
                what: "k mesh".into(),
                expected: format!("1 to {MOST_POINTS} points"),
                found: format!("{divisions:?}"),
            });
        }
        let mut mesh = Self { divisions, points: vec![], weights: vec![] };
        for first in 0..divisions[0] {
            for second in 0..divisions[1] {
                for third in 0..divisions[2] {
                    let index = [first, second, third];
                    let opposite: [usize; 3] = std::array::from_fn(|i| (divisions[i] - index[i]) % divisions[i]);
                    if time_reversal && opposite < index {
                        continue;
                    }
                    mesh.weights.push(if time_reversal && opposite != index { 2 } else { 1 });
                    mesh.points.push(std::array::from_fn(|i| index[i] as f64 / divisions[i] as f64));
                }
            }
        }
        Ok(mesh)
    }

    /// Points at most `spacing` (inverse angstrom, 2 pi included) apart: n_i = ceil(|b_i| / spacing), and 1 along
    /// vectors without dispersion.
    ///
    /// # Errors
    /// A spacing that is not positive, or as [`Self::new`].
    pub fn with_spacing(lattice: &Lattice, spacing: f64, dispersive: [bool; 3], time_reversal: bool) -> Result<Self> {
        if !(spacing.is_finite() && spacing > 0.0) {
            return Err(Error::Mismatch {
                what: "spacing of the k mesh".into(),
                expected: "a positive number of inverse angstrom".into(),
                found: spacing.to_string(),
            });
        }
        let reciprocal = lattice.reciprocal();
        let divisions = std::array::from_fn(|axis| {
            if dispersive[axis] { (reciprocal.row(axis).norm() / spacing).ceil() as usize } else { 1 }
        });
        Self::new(divisions, time_reversal)
    }
}

/// Fermi level and gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FermiLevel {
    /// Half-way between the last filled and the first empty state, eV.
    pub fermi_ev: f64,
    /// Lowest empty minus highest filled state, eV; 0 for a metal.
    pub gap_ev: f64,
    /// Least difference at one k, eV; 0 for a metal.
    pub direct_gap_ev: f64,
    /// Highest filled state, eV.
    pub valence_top_ev: f64,
    /// Lowest empty state, eV.
    pub conduction_bottom_ev: f64,
    /// Whether some band is partly filled on this mesh.
    pub metal: bool,
    /// Electrons in the cell.
    pub electrons: f64,
    /// How it was found.
    pub method: String,
}

/// Fermi level of eigenvalues `[k][band]` (eV, ascending in each k) with the weights of the points. Each state holds
/// one electron in a `spinful` basis, else two.
///
/// # Errors
/// More electrons than states, none at all, or no point.
pub fn by_counting(eigenvalues: &[Vec<f64>], weights: &[usize], electrons: f64, spinful: bool) -> Result<FermiLevel> {
    let per_state = if spinful { 1.0 } else { 2.0 };
    let points: usize = weights.iter().sum();
    let bands = electrons / per_state;
    let filled = (points as f64 * bands) as usize;
    let mut states: Vec<(f64, usize)> = eigenvalues
        .iter()
        .zip(weights)
        .flat_map(|(values, &weight)| values.iter().map(move |&e| (e, weight)))
        .collect();
    states.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The first state that reaches `count`, states counted with their weights.
    let nth = |count: usize| {
        let mut seen = 0;
        states
            .iter()
            .find(|(_, weight)| {
                seen += weight;
                seen >= count
            })
            .map(|state| state.0)
    };
    let (Some(valence_top_ev), Some(conduction_bottom_ev), true) = (nth(filled), nth(filled + 1), filled > 0) else {
        let total: usize = states.iter().map(|state| state.1).sum();
        return Err(Error::Mismatch {
            what: "electrons in the cell".into(),
            expected: format!("more than 0 and fewer than {}", per_state * total as f64 / points.max(1) as f64),
            found: electrons.to_string(),
        });
    };
    let whole = bands.round() as usize;
    let insulating = (bands - bands.round()).abs() < 1e-6
        && eigenvalues.iter().all(|values| {
            values.get(whole - 1).is_some_and(|&e| e <= valence_top_ev)
                && values.get(whole).is_none_or(|&e| e > valence_top_ev)
        });
    let direct = |values: &Vec<f64>| values.get(whole).map_or(f64::INFINITY, |empty| empty - values[whole - 1]);
    let (gap_ev, direct_gap_ev) = if insulating {
        (conduction_bottom_ev - valence_top_ev, eigenvalues.iter().map(direct).fold(f64::INFINITY, f64::min))
    } else {
        (0.0, 0.0)
    };
    Ok(FermiLevel {
        fermi_ev: (valence_top_ev + conduction_bottom_ev) / 2.0,
        gap_ev,
        direct_gap_ev,
        valence_top_ev,
        conduction_bottom_ev,
        metal: !insulating,
        electrons,
        method: "counting".into(),
    })
}

/// Fermi level of H and S on a mesh of the given spacing (inverse angstrom); k and -k are counted once where both
/// operators are real.
///
/// # Errors
/// As [`Mesh::with_spacing`], [`dense::solve`] and [`by_counting`].
pub fn fermi_level(
    hamiltonian: &Bloch,
    overlap: &Bloch,
    lattice: &Lattice,
    spacing: f64,
    electrons: f64,
    spinful: bool,
) -> Result<FermiLevel> {
    let (first, second) = (hamiltonian.dispersive(), overlap.dispersive());
    let dispersive = std::array::from_fn(|axis| first[axis] || second[axis]);
    let mesh = Mesh::with_spacing(lattice, spacing, dispersive, hamiltonian.is_real() && overlap.is_real())?;
    by_counting(&dense::eigenvalues(hamiltonian, overlap, &mesh.points)?, &mesh.weights, electrons, spinful)
}
