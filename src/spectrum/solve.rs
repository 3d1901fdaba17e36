//! Eigenvalues of all Hamiltonians of a structure at many k, the same to the bit whether they are asked for together or
//! in pieces.

use serde::{Deserialize, Serialize};

use super::Spectrum;
use crate::nn::train::Observer;
use crate::physics::Result;
use crate::physics::electronic::dense::{self, Solution};

/// The eigenvalues of one Hamiltonian at one k.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solved {
    /// Ascending, eV.
    pub values: Vec<f64>,
    /// Eigenvectors of S(k) that were left out.
    pub dropped: usize,
    /// Smallest eigenvalue of S(k), where it was asked for or needed.
    pub smallest_overlap: Option<f64>,
}

/// Points that are solved between two words about progress.
const STRIDE: usize = 32;

impl Spectrum {
    /// Every Hamiltonian at `points` (fractional), some or all of `points_in_all`: `[k][hamiltonian]`.
    ///
    /// # Errors
    /// As [`dense::solve`].
    pub fn solve(
        &self,
        points: &[[f64; 3]],
        points_in_all: usize,
        overlap_spectrum: bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<Solved>>> {
        let mut found: Vec<Vec<Solved>> = Vec::with_capacity(points.len());
        for part in points.chunks(STRIDE) {
            let mut rows = vec![Vec::with_capacity(self.hamiltonians.len()); part.len()];
            let mut first = 0;
            // Hamiltonians that treat the overlap alike share its factors.
            for group in self.conditioning.chunk_by(|a, b| a == b) {
                let hamiltonians: Vec<_> = self.hamiltonians[first..first + group.len()].iter().collect();
                first += group.len();
                let conditioning = group.first().copied().unwrap_or_default();
                let points_in_all = Some(points_in_all);
                let options = dense::Options { conditioning, overlap_spectrum, points_in_all, ..Default::default() };
                for solutions in dense::solve(&hamiltonians, &self.overlap, part, options)? {
                    rows.iter_mut().zip(solutions).for_each(|(row, solution)| row.push(solution.into()));
                }
            }
            found.append(&mut rows);
            observer.on_progress(found.len(), points.len(), &format!("{}: k points", self.structure));
        }
        Ok(found)
    }
}

impl From<Solution> for Solved {
    fn from(solution: Solution) -> Self {
        // Not a number has no place in the JSON of a part.
        let smallest_overlap = solution.smallest_overlap.filter(|s| s.is_finite());
        Solved { values: solution.values, dropped: solution.dropped, smallest_overlap }
    }
}

/// The eigenvalues of one Hamiltonian: `[k][band]`.
pub fn values_of(solved: &[Vec<Solved>], hamiltonian: usize) -> Vec<Vec<f64>> {
    solved.iter().filter_map(|row| row.get(hamiltonian)).map(|solved| solved.values.clone()).collect()
}

/// Most eigenvectors of S(k) that were left out at any k, for one Hamiltonian.
pub fn most_dropped(solved: &[Vec<Solved>], hamiltonian: usize) -> usize {
    solved.iter().filter_map(|row| row.get(hamiltonian)).map(|solved| solved.dropped).max().unwrap_or(0)
}
