//! The number of states below an energy by linear interpolation inside tetrahedra.
//!
//! Jepsen and Andersen (1971), Lehmann and Taut (1972); the formulas as in appendix A of Bloechl, Jepsen and Andersen,
//! Phys. Rev. B 49, 16223 (1994). Their correction beyond linear (section V there) changes how the filling is shared
//! among the corners but not its sum, so neither a number of states nor a Fermi level or a DOS notices it.

use super::Mesh;
use crate::structure::Lattice;
use crate::{Error, Result};

/// Corner energies of every tetrahedron in every band.
#[derive(Clone, Debug)]
pub struct Tetrahedra {
    /// Ascending in each, eV.
    corners: Vec<[f64; 4]>,
    /// States per cell that each holds.
    weight: f64,
}

impl Tetrahedra {
    /// From eigenvalues `[k][band]` (eV, ascending) at the points of `mesh`. Bands that are missing at some k, because
    /// eigenvectors of a nearly singular overlap were left out there, are left out everywhere.
    ///
    /// # Errors
    /// A list of eigenvalues that does not belong to the mesh, or one that is not finite.
    pub fn new(eigenvalues: &[Vec<f64>], mesh: &Mesh, lattice: &Lattice) -> Result<Self> {
        if eigenvalues.len() != mesh.points.len() {
            return Err(Error::Mismatch {
                what: "eigenvalues".into(),
                expected: format!("those of the {} points of the mesh", mesh.points.len()),
                found: eigenvalues.len().to_string(),
            });
        }
        super::dos::check_finite(eigenvalues)?;
        let bands = eigenvalues.iter().map(Vec::len).min().unwrap_or(0);
        let tetrahedra = mesh.tetrahedra(lattice);
        let energies = |points: &[usize; 4], band: usize| {
            let mut energies = points.map(|point| eigenvalues[point][band]);
            energies.sort_by(f64::total_cmp);
            energies
        };
        let corners = (0..bands).flat_map(|band| tetrahedra.iter().map(move |points| energies(points, band))).collect();
        Ok(Self { corners, weight: 1.0 / tetrahedra.len() as f64 })
    }

    /// States per cell below each of the ascending `energies` (eV), not counting spin.
    pub fn states_below(&self, energies: &[f64]) -> Vec<f64> {
        let mut states = vec![0.0; energies.len()];
        // Full tetrahedra, noted where they first count, summed up at the end.
        let mut full = vec![0_usize; energies.len() + 1];
        for corners in &self.corners {
            let first = energies.partition_point(|&e| e <= corners[0]);
            let last = first + energies[first..].partition_point(|&e| e < corners[3]);
            full[last] += 1;
            for (states, &energy) in states[first..last].iter_mut().zip(&energies[first..last]) {
                *states += filled_part(corners, energy);
            }
        }
        let mut count = 0;
        for (states, full) in states.iter_mut().zip(full) {
            count += full;
            *states = (*states + count as f64) * self.weight;
        }
        states
    }

    /// Lowest and highest energy of all, eV; none without bands.
    pub fn range(&self) -> Option<(f64, f64)> {
        let lowest = self.corners.iter().map(|e| e[0]).reduce(f64::min);
        lowest.zip(self.corners.iter().map(|e| e[3]).reduce(f64::max))
    }
}

/// The part of a tetrahedron below `energy`, for e1 < energy < e4 of its ascending corners.
fn filled_part([e1, e2, e3, e4]: &[f64; 4], energy: f64) -> f64 {
    if energy < *e2 {
        (energy - e1).powi(3) / ((e2 - e1) * (e3 - e1) * (e4 - e1))
    } else if energy < *e3 {
        let (x, e21, e32) = (energy - e2, e2 - e1, e3 - e2);
        let cubic = (e3 - e1 + e4 - e2) / (e32 * (e4 - e2)) * x.powi(3);
        (e21 * e21 + 3.0 * e21 * x + 3.0 * x * x - cubic) / ((e3 - e1) * (e4 - e1))
    } else {
        1.0 - (e4 - energy).powi(3) / ((e4 - e1) * (e4 - e2) * (e4 - e3))
    }
}
