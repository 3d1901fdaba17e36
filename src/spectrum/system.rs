//! A structure made ready for eigenvalues: its Hamiltonians by name and their overlap.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use crate::datasets::deeph::info::Info;
use crate::datasets::deeph::matrix::BlockMatrix;
use crate::datasets::deeph::{self, ReadOptions, Record, unified};
use crate::physics::electronic::dense::Conditioning;
use crate::physics::electronic::{Bloch, sparse};
use crate::physics::hamiltonian::basis::Basis;
use crate::physics::hamiltonian::gauge;
use crate::physics::structure::Crystal;
use crate::physics::{Error, Result};

/// The file of a predicted Hamiltonian.
pub const PREDICTION: &str = "hamiltonian_pred.h5";

/// What the folder's own Hamiltonian is called.
pub const OWN: &str = "DFT";

/// Which Hamiltonians of a structure are looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sources {
    /// Matrix files over the structure's overlap; or folders with such a file, or with a folder of the structure's name
    /// that has one.
    pub hamiltonians: Vec<PathBuf>,
    /// Whether they take the place of the folder's own H, or stand beside it.
    pub replace: bool,
    /// Leave out eigenvectors of S(k) below this eigenvalue; none: an S that is not positive definite is an error. It is
    /// for the predictions alone where they stand beside the folder's own H.
    pub overlap_threshold: Option<f64>,
}

/// A structure with H and S ready for Bloch sums.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Name of the structure.
    pub structure: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Spin, Fermi level, electrons.
    pub info: Info,
    /// Geometry.
    pub crystal: Crystal,
    /// What each Hamiltonian is: [`OWN`], or the name of its file.
    pub names: Vec<String>,
    /// Eigenvectors of S(k) below this are left out for predictions.
    pub overlap_threshold: Option<f64>,
    pub(super) hamiltonians: Vec<Bloch>,
    pub(super) conditioning: Vec<Conditioning>,
    pub(super) overlap: Bloch,
}

impl Spectrum {
    /// Reads a structure folder of either layout. Without an H of its own, but with [`PREDICTION`], that is its first.
    ///
    /// # Errors
    /// No H at all, a missing or broken file, blocks that do not fit the structure, a threshold that is not positive.
    pub fn read(folder: &Path, sources: &Sources) -> Result<Self> {
        let present = ReadOptions::present(folder);
        let replaced = sources.replace && !sources.hamiltonians.is_empty();
        let own = present.hamiltonian && !replaced;
        let record = deeph::read(folder, &ReadOptions { overlap: true, hamiltonian: own, ..present })?;
        let mut files =
            sources.hamiltonians.iter().map(|path| file_of(path, &record.id)).collect::<Result<Vec<_>>>()?;
        let prediction = folder.join(PREDICTION);
        if !present.hamiltonian && !replaced && prediction.is_file() {
            files.retain(|file| !same(file, &prediction));
            files.insert(0, prediction);
        }
        let names = names_of(&files);
        let read = |(file, name): (&PathBuf, String)| Ok((name, unified::read_matrix(file)?));
        let others = files.iter().zip(names).map(read).collect::<Result<Vec<_>>>()?;
        let mut spectrum = Self::new(record, others, sources.overlap_threshold)?;
        if sources.replace {
            spectrum.conditioning.fill(conditioning(sources.overlap_threshold)?);
        }
        Ok(spectrum)
    }

    /// From a record (with H of its own or without; S is needed but for an orthogonal basis) and named predictions.
    /// Where the overlap is nearly singular, a small error of a predicted H becomes a large one of its bands (ghost
    /// bands far below all others): `threshold` leaves the eigenvectors of S(k) below it out, for the predictions
    /// alone, so that the reference stays exact.
    ///
    /// # Errors
    /// No H at all, blocks that do not fit the structure, a threshold that is not positive.
    pub fn new(record: Record, predictions: Vec<(String, BlockMatrix)>, threshold: Option<f64>) -> Result<Self> {
        let crystal = Crystal::from_poscar(&record.poscar)?;
        let basis = Basis::from_info(&record.info)?;
        let bloch = |matrix: &BlockMatrix| Bloch::new(matrix, &basis, &crystal.species);
        let overlap = match &record.overlap {
            Some(overlap) => bloch(overlap)?,
            None => bloch(&gauge::unit_overlap(&basis, &crystal.species)?)?,
        };
        let (mut names, mut hamiltonians, mut conditions) = (vec![], vec![], vec![]);
        if let Some(own) = &record.hamiltonian {
            names.push(OWN.to_owned());
            hamiltonians.push(bloch(own)?);
            conditions.push(Conditioning::Strict);
        }
        for (name, matrix) in predictions {
            hamiltonians.push(
                bloch(&matrix)
                    .map_err(|e| Error::Structure { structure: record.id.clone(), what: format!("{name}: {e}") })?,
            );
            names.push(name);
            conditions.push(conditioning(threshold)?);
        }
        if hamiltonians.is_empty() {
            let what =
                format!("hamiltonian.h5: expected a Hamiltonian (or {PREDICTION}, or --hamiltonian FILE), found none");
            return Err(Error::Structure { structure: record.id, what });
        }
        Ok(Self {
            structure: record.id,
            folder: record.path,
            info: record.info,
            crystal,
            names,
            overlap_threshold: threshold,
            hamiltonians,
            conditioning: conditions,
            overlap,
        })
    }

    /// Whether each state holds one electron.
    pub fn spinful(&self) -> bool {
        self.info.spinful
    }

    /// Rows of H(k).
    pub fn size(&self) -> usize {
        self.overlap.size()
    }

    /// Whether k and -k have the same eigenvalues for all Hamiltonians.
    pub fn time_reversal(&self) -> bool {
        self.operators().all(Bloch::is_real)
    }

    /// Along which lattice vectors there are bands at all.
    pub fn dispersive(&self) -> [bool; 3] {
        std::array::from_fn(|axis| self.operators().any(|operator| operator.dispersive()[axis]))
    }

    /// The part of H(k) that is filled, largest of all Hamiltonians.
    ///
    /// # Errors
    /// Operators of different sizes.
    pub fn filled_part(&self) -> Result<f64> {
        let parts = self.hamiltonians.iter().map(|h| sparse::filling(h, &self.overlap));
        parts.collect::<Result<Vec<_>>>().map(|parts| parts.into_iter().fold(0.0, f64::max))
    }

    fn operators(&self) -> impl Iterator<Item = &Bloch> {
        self.hamiltonians.iter().chain([&self.overlap])
    }
}

/// How to treat S.
fn conditioning(threshold: Option<f64>) -> Result<Conditioning> {
    match threshold {
        None => Ok(Conditioning::Strict),
        Some(threshold) if threshold.is_finite() && threshold > 0.0 => Ok(Conditioning::Project { threshold }),
        Some(other) => {
            let (what, expected) = ("overlap threshold".into(), "a positive number".into());
            Err(Error::Mismatch { what, expected, found: other.to_string() })
        }
    }
}

/// The matrix file that a path given for H means for the structure `id`.
fn file_of(path: &Path, id: &str) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let places = [path.join(id), path.join("dft").join(id), path.to_path_buf()];
    let files = places.iter().flat_map(|place| [PREDICTION, "hamiltonian.h5"].map(|name| place.join(name)));
    files.into_iter().find(|file| file.is_file()).ok_or_else(|| Error::Mismatch {
        what: path.display().to_string(),
        expected: format!("{id}/{PREDICTION} or {id}/hamiltonian.h5 in it"),
        found: "neither".into(),
    })
}

/// Names of matrix files: their stems, or as much more of their paths as tells them apart.
fn names_of(files: &[PathBuf]) -> Vec<String> {
    let tail = |file: &PathBuf, parts: usize| -> String {
        let mut names: Vec<_> = file.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).collect();
        names.split_off(names.len().saturating_sub(parts)).join("/")
    };
    let longest = files.iter().map(|file| file.iter().count()).max().unwrap_or(1);
    let of = |file: &PathBuf| {
        let unique = |parts: &usize| {
            let name = tail(file, *parts);
            name != OWN && files.iter().filter(|other| tail(other, *parts) == name).count() == 1
        };
        tail(file, (1..longest).find(unique).unwrap_or(longest))
    };
    files.iter().map(of).collect()
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_files_apart() {
        let names = |files: &[&str]| names_of(&files.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["a/0001/hamiltonian_pred.h5"]), ["hamiltonian_pred"]);
        let two = ["a/0001/hamiltonian_pred.h5", "b/0001/hamiltonian_pred.h5", "c/other.h5"];
        assert_eq!(names(&two), ["a/0001/hamiltonian_pred", "b/0001/hamiltonian_pred", "other"]);
        assert_eq!(names(&["x/DFT.h5"]), ["x/DFT"]);
    }
}
