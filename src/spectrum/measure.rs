//! What all computations from eigenvalues have in common: points first, a result from the solutions at them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::solve::{Solved, Solver};
use super::{Sources, Spectrum};
use crate::nn::train::Observer;
use crate::physics::Result;

/// A computation on one structure, cut where it can be shared out: the eigenvalues at its points, then the rest.
pub trait Measure: Clone + Serialize + DeserializeOwned {
    /// What one structure gives.
    type Found: Clone + Serialize + DeserializeOwned;

    /// Which Hamiltonians.
    fn sources(&self) -> &Sources;

    /// Fractional k at which the eigenvalues are needed.
    ///
    /// # Errors
    /// Options that do not fit the structure.
    fn points(&self, spectrum: &Spectrum) -> Result<Vec<[f64; 3]>>;

    /// Which eigenvalues, and how.
    ///
    /// # Errors
    /// Those of finding the energy around which they are wanted.
    fn solver(&self, spectrum: &Spectrum) -> Result<Solver> {
        let _ = spectrum;
        Ok(Solver::Dense { overlap_spectrum: false })
    }

    /// The result, from the solutions at all points, `[k][hamiltonian]`.
    ///
    /// # Errors
    /// Those of the computation.
    fn finish(&self, spectrum: &Spectrum, solved: &[Vec<Solved>]) -> Result<Self::Found>;

    /// The result of one structure.
    ///
    /// # Errors
    /// Those of all steps.
    fn of(&self, spectrum: &Spectrum, observer: &mut dyn Observer) -> Result<Self::Found> {
        let points = self.points(spectrum)?;
        let solved = spectrum.solve(&points, points.len(), &self.solver(spectrum)?, observer)?;
        self.finish(spectrum, &solved)
    }
}
