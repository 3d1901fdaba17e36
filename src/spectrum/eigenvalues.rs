//! Eigenvalues at given k.

use serde::{Deserialize, Serialize};

use super::solve::{Solved, Solver};
use super::{Measure, Sources, Spectrum};
use crate::physics::Result;

/// What to compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EigenvalueOptions {
    /// The Hamiltonian.
    pub sources: Sources,
    /// Fractional points.
    pub k: Vec<[f64; 3]>,
}

/// Eigenvalues at some k.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eigenvalues {
    /// Name of the structure.
    pub structure: String,
    /// Fractional points.
    pub k: Vec<[f64; 3]>,
    /// `[K][bands]`, ascending, eV.
    pub eigenvalues_ev: Vec<Vec<f64>>,
    /// Smallest eigenvalue of S at each k.
    pub min_overlap_eigenvalue: Vec<Option<f64>>,
    /// Eigenvectors of S that were left out at each k.
    pub dropped: Vec<usize>,
}

impl Measure for EigenvalueOptions {
    type Found = Eigenvalues;

    fn sources(&self) -> &Sources {
        &self.sources
    }

    fn points(&self, _: &Spectrum) -> Result<Vec<[f64; 3]>> {
        Ok(self.k.clone())
    }

    fn solver(&self, _: &Spectrum) -> Result<Solver> {
        Ok(Solver::Dense { overlap_spectrum: true })
    }

    fn finish(&self, spectrum: &Spectrum, solved: &[Vec<Solved>]) -> Result<Eigenvalues> {
        let first = || solved.iter().filter_map(|row| row.first());
        Ok(Eigenvalues {
            structure: spectrum.structure.clone(),
            k: self.k.clone(),
            eigenvalues_ev: first().map(|s| s.values.clone()).collect(),
            min_overlap_eigenvalue: first().map(|s| s.smallest_overlap).collect(),
            dropped: first().map(|s| s.dropped).collect(),
        })
    }
}

impl Eigenvalues {
    /// A block a k point, for people.
    pub fn table(&self) -> String {
        let mut text = format!("{}\n", self.structure);
        for ((k, values), smallest) in self.k.iter().zip(&self.eigenvalues_ev).zip(&self.min_overlap_eigenvalue) {
            let smallest = smallest.map_or("unknown".into(), |s| format!("{s:.3e}"));
            text += &format!("k = {} {} {}, smallest eigenvalue of S {smallest}\n", k[0], k[1], k[2]);
            for line in values.chunks(8) {
                text += &line.iter().map(|e| format!("{e:>13.6}")).collect::<String>();
                text.push('\n');
            }
        }
        text
    }

    /// One line a k point: k1, k2, k3, smallest eigenvalue of S, then the eigenvalues in eV; a header line first.
    pub fn to_csv(&self) -> String {
        let bands = self.eigenvalues_ev.iter().map(Vec::len).max().unwrap_or(0);
        let mut text = String::from("k1,k2,k3,min_overlap_eigenvalue");
        text.extend((1..=bands).map(|band| format!(",band_{band}_ev")));
        for ((k, values), smallest) in self.k.iter().zip(&self.eigenvalues_ev).zip(&self.min_overlap_eigenvalue) {
            let smallest = smallest.map_or(String::new(), |s| s.to_string());
            text += &format!("\n{},{},{},{smallest}", k[0], k[1], k[2]);
            text.extend(values.iter().map(|e| format!(",{e}")));
        }
        text + "\n"
    }
}
