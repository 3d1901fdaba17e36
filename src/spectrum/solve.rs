//! Eigenvalues of all Hamiltonians of a structure at many k, the same to the bit whether they are asked for together or
//! in pieces.

use serde::{Deserialize, Serialize};

use super::Spectrum;
use crate::nn::train::Observer;
use crate::physics::Result;
use crate::physics::electronic::dense::{self, Solution};
use crate::physics::electronic::{Bloch, sparse};

/// The eigenvalues of one Hamiltonian at one k.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Solved {
    /// Ascending, eV.
    pub values: Vec<f64>,
    /// Eigenvectors of S(k) that were left out.
    pub dropped: usize,
    /// Smallest eigenvalue of S(k), where it was asked for or needed.
    pub smallest_overlap: Option<f64>,
    /// How many levels lie below the first of `values`, where these are a part of the spectrum.
    pub first: usize,
}

/// Which eigenvalues are computed, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Solver {
    /// All of them, by dense matrices.
    Dense {
        /// Whether the smallest eigenvalue of S(k) is wanted too.
        overlap_spectrum: bool,
    },
    /// Those nearest an energy, by sparse factors.
    Sparse {
        /// At least so many.
        count: usize,
        /// The energy, eV, for each Hamiltonian.
        around_ev: Vec<f64>,
    },
}

/// Points that are solved between two words about progress.
const STRIDE: usize = 32;

impl Spectrum {
    /// Every Hamiltonian at `points` (fractional), some or all of `points_in_all`: `[k][hamiltonian]`.
    ///
    /// # Errors
    /// As [`dense::solve`] and [`sparse::solve`].
    pub fn solve(
        &self,
        points: &[[f64; 3]],
        points_in_all: usize,
        solver: &Solver,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Vec<Solved>>> {
        let mut found: Vec<Vec<Solved>> = Vec::with_capacity(points.len());
        for part in points.chunks(STRIDE) {
            let mut rows = vec![Vec::with_capacity(self.hamiltonians.len()); part.len()];
            let columns = match solver {
                Solver::Dense { overlap_spectrum } => self.dense(part, points_in_all, *overlap_spectrum)?,
                Solver::Sparse { count, around_ev } => self.sparse(part, points_in_all, *count, around_ev)?,
            };
            for column in columns {
                rows.iter_mut().zip(column).for_each(|(row, solved)| row.push(solved));
            }
            found.append(&mut rows);
            observer.on_progress(found.len(), points.len(), &format!("{}: k points", self.structure));
        }
        Ok(found)
    }

    /// `[hamiltonian][k]`.
    fn dense(&self, part: &[[f64; 3]], points_in_all: usize, overlap_spectrum: bool) -> Result<Vec<Vec<Solved>>> {
        let mut columns = Vec::with_capacity(self.hamiltonians.len());
        let mut first = 0;
        // Hamiltonians that treat the overlap alike share its factors.
        for group in self.conditioning.chunk_by(|a, b| a == b) {
            let hamiltonians: Vec<_> = self.hamiltonians[first..first + group.len()].iter().collect();
            first += group.len();
            let conditioning = group.first().copied().unwrap_or_default();
            let points_in_all = Some(points_in_all);
            let options = dense::Options { conditioning, overlap_spectrum, points_in_all, ..Default::default() };
            for solutions in dense::solve(&hamiltonians, &self.overlap, part, options)? {
                columns.push(solutions.into_iter().map(Solved::from).collect());
            }
        }
        Ok(columns)
    }

    /// `[hamiltonian][k]`.
    fn sparse(
        &self,
        part: &[[f64; 3]],
        points_in_all: usize,
        count: usize,
        around_ev: &[f64],
    ) -> Result<Vec<Vec<Solved>>> {
        let of = |(hamiltonian, &around_ev): (&Bloch, &f64)| {
            let options = sparse::Options { around_ev, count, vectors: false, points_in_all: Some(points_in_all) };
            let windows = sparse::solve(hamiltonian, &self.overlap, part, options)?;
            let solved =
                |w: sparse::Window| Solved { values: w.values, dropped: 0, smallest_overlap: None, first: w.first };
            Ok(windows.into_iter().map(solved).collect())
        };
        self.hamiltonians.iter().zip(around_ev).map(of).collect()
    }
}

impl From<Solution> for Solved {
    fn from(solution: Solution) -> Self {
        // Not a number has no place in the JSON of a part.
        let smallest_overlap = solution.smallest_overlap.filter(|s| s.is_finite());
        Solved { values: solution.values, dropped: solution.dropped, smallest_overlap, first: 0 }
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

/// The bands that every Hamiltonian has at every k, from the first to before the last; all where none is missing below.
pub fn common_bands(solved: &[Vec<Solved>]) -> Option<std::ops::Range<usize>> {
    let all = || solved.iter().flatten();
    if all().all(|s| s.first == 0) {
        return None;
    }
    let first = all().map(|s| s.first).max()?;
    let end = all().map(|s| s.first + s.values.len()).min()?;
    Some(first..end)
}
