//! Fermi level and gap on a mesh of k points: by counting, by smearing, by tetrahedra, and [`inertia`] without eigenvalues.
//!
//! By counting, E_F is half-way between the last filled and the first empty of all eigenvalues of the mesh, sorted; the number of
//! filled ones is floor(mesh points x electrons / (2 - spinful)). This is DeepH-dock's rule.

use serde::{Deserialize, Serialize};

pub mod inertia;

pub use inertia::by_inertia;

pub use super::mesh::Mesh;
use super::smearing::Smearing;
use super::tetrahedra::Tetrahedra;
use super::{Bloch, dense, dos};
use crate::structure::Lattice;
use crate::{Error, Result};

/// Fermi level and gap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FermiLevel {
    /// Half-way between the last filled and the first empty state, eV.
    pub fermi_ev: f64,
    /// Lowest empty minus highest filled state, eV; 0 for a metal.
    pub gap_ev: f64,
    /// Least difference at one k, eV; 0 for a metal; none where most points are never solved ([`by_inertia`]).
    pub direct_gap_ev: Option<f64>,
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
        direct_gap_ev: Some(direct_gap_ev),
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

/// Fermi level of states smeared by `width_ev`: sum over the mesh of weight x filling = electrons. Gap and edges are
/// those of [`by_counting`] on the same eigenvalues. Where a gap leaves the level open to rounding it is put half-way
/// between the energies at which rounding would be seen.
///
/// # Errors
/// A width that is not positive, or as [`by_counting`].
pub fn by_smearing(
    eigenvalues: &[Vec<f64>],
    weights: &[usize],
    electrons: f64,
    spinful: bool,
    smearing: Smearing,
    width_ev: f64,
) -> Result<FermiLevel> {
    dos::check_width("width of the smearing", width_ev)?;
    dos::check_finite(eigenvalues)?;
    let counted = by_counting(eigenvalues, weights, electrons, spinful)?;
    let scale = if spinful { 1.0 } else { 2.0 } / dos::check_weights(eigenvalues, weights)?;
    let sum = |smearing: Smearing, level: f64| -> f64 {
        let filling = |values: &Vec<f64>| values.iter().map(|e| smearing.filling((level - e) / width_ev)).sum::<f64>();
        scale * eigenvalues.iter().zip(weights).map(|(values, &weight)| weight as f64 * filling(values)).sum::<f64>()
    };
    let all = || eigenvalues.iter().flatten().copied();
    // Wide enough that every state is empty or full to rounding at the ends (a Fermi-Dirac tail at 60 widths is 1e-26).
    let range = (
        all().fold(f64::INFINITY, f64::min) - 60.0 * width_ev,
        all().fold(f64::NEG_INFINITY, f64::max) + 60.0 * width_ev,
    );
    // The cold step overfills, so its sum can pass the number of electrons several times; the root next to the
    // Gaussian one is meant.
    let fermi_ev = match smearing {
        Smearing::Cold => {
            let near = crossing(|e| sum(Smearing::Gaussian, e), electrons, range);
            let mut reach = width_ev / 4.0;
            while sum(smearing, near - reach) > electrons || sum(smearing, near + reach) < electrons {
                reach *= 2.0;
                if reach > range.1 - range.0 {
                    break;
                }
            }
            crossing(|e| sum(smearing, e), electrons, (near - reach, near + reach))
        }
        _ => crossing(|e| sum(smearing, e), electrons, range),
    };
    let name = match smearing {
        Smearing::FermiDirac => "fermi-dirac",
        Smearing::Gaussian => "gaussian",
        Smearing::Cold => "cold",
    };
    Ok(FermiLevel { fermi_ev, method: format!("smearing ({name}, {width_ev} eV)"), ..counted })
}

/// Fermi level by linear tetrahedra: the energy below which the interpolated bands hold the electrons. An insulator's
/// is half-way between the edges, as in [`by_counting`], whose gap and edges are given with either.
///
/// # Errors
/// As [`by_counting`] and [`Tetrahedra::new`].
pub fn by_tetrahedra(
    eigenvalues: &[Vec<f64>],
    mesh: &Mesh,
    lattice: &Lattice,
    electrons: f64,
    spinful: bool,
) -> Result<FermiLevel> {
    let tetrahedra = Tetrahedra::new(eigenvalues, mesh, lattice)?;
    let counted = by_counting(eigenvalues, &mesh.weights, electrons, spinful)?;
    let bands = electrons / if spinful { 1.0 } else { 2.0 };
    let fermi_ev = match tetrahedra.range() {
        Some(range) if counted.metal => crossing(|e| tetrahedra.states_below(&[e])[0], bands, range),
        _ => counted.fermi_ev,
    };
    Ok(FermiLevel { fermi_ev, method: "tetrahedra".into(), ..counted })
}

/// Where the rising `count` passes `target`, between the ends of `range`, by bisection; the middle of a plateau.
fn crossing(count: impl Fn(f64) -> f64, target: f64, range: (f64, f64)) -> f64 {
    let tolerance = 1e-12 * target.abs().max(1.0);
    let first_above = |target: f64| {
        let (mut low, mut high) = range;
        // To the last bit: 64 halvings of any range of doubles that matters here.
        for _ in 0..80 {
            let middle = low + (high - low) / 2.0;
            if middle <= low || middle >= high {
                break;
            }
            if count(middle) > target { high = middle } else { low = middle }
        }
        high
    };
    (first_above(target - tolerance) + first_above(target + tolerance)) / 2.0
}
