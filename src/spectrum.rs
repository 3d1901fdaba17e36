//! Eigenvalues, Fermi level and bands of a structure folder: what `physics eigenvalues | fermi | bands` compute.

use serde::Serialize;
use std::path::{Path, PathBuf};

use crate::datasets::deeph::matrix::{BlockMatrix, Entries};
use crate::datasets::deeph::{self, ReadOptions, Record, unified};
use crate::physics::electronic::bands::{self, BandComparison, BandStructure};
use crate::physics::electronic::fermi::{self, FermiLevel};
use crate::physics::electronic::{Bloch, dense};
use crate::physics::hamiltonian::basis::Basis;
use crate::physics::structure::{Crystal, KPath};
use crate::physics::{Error, Result};

/// How H and S are read and S is treated.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A matrix file that takes the place of the folder's own H.
    pub hamiltonian: Option<PathBuf>,
    /// Leave out eigenvectors of S(k) below this eigenvalue; none: an S that is not positive definite is an error.
    pub overlap_threshold: Option<f64>,
}

/// A structure with H and S ready for Bloch sums.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// The structure, without its matrices where they were not needed.
    pub record: Record,
    /// Geometry.
    pub crystal: Crystal,
    basis: Basis,
    hamiltonian: Bloch,
    overlap: Bloch,
    options: dense::Options,
}

/// Eigenvalues at some k.
#[derive(Clone, Debug, Serialize)]
pub struct Eigenvalues {
    /// Fractional points.
    pub k: Vec<[f64; 3]>,
    /// `[K][bands]`, ascending, eV.
    pub eigenvalues_ev: Vec<Vec<f64>>,
    /// Smallest eigenvalue of S at each k.
    pub min_overlap_eigenvalue: Vec<f64>,
    /// Eigenvectors of S that were left out at each k.
    pub dropped: Vec<usize>,
}

/// Bands of one or several Hamiltonians of a structure.
#[derive(Clone, Debug, Serialize)]
pub struct Bands {
    /// Name of the structure.
    pub structure: String,
    /// What each of `bands` is: "DFT" for the folder's own H, else the name of the file.
    pub names: Vec<String>,
    /// On the same points, energies not shifted.
    pub bands: Vec<BandStructure>,
    /// Every other one against the first: occupied and four lowest empty bands.
    pub comparisons: Vec<BandComparison>,
    /// Eigenvectors of S(k) below this were left out for all but the first.
    pub overlap_threshold: Option<f64>,
}

impl Spectrum {
    /// Reads a structure folder of either layout, with S and H.
    ///
    /// # Errors
    /// A missing or broken file, blocks that do not fit the structure, a threshold that is not positive.
    pub fn read(folder: &Path, options: &Options) -> Result<Self> {
        let own = options.hamiltonian.is_none();
        let mut record = deeph::read(folder, &ReadOptions { overlap: true, hamiltonian: own, validate: true })?;
        if let Some(file) = &options.hamiltonian {
            record.hamiltonian = Some(unified::read_matrix(file)?);
        }
        Self::new(record, options.overlap_threshold)
    }

    /// From a record that has H (and S, but for an orthogonal basis).
    ///
    /// # Errors
    /// No H, blocks that do not fit the structure, a threshold that is not positive.
    pub fn new(record: Record, overlap_threshold: Option<f64>) -> Result<Self> {
        let conditioning = conditioning(overlap_threshold)?;
        let options = dense::Options { conditioning, ..dense::Options::default() };
        let crystal = Crystal::from_poscar(&record.poscar)?;
        let basis = Basis::from_info(&record.info)?;
        let hamiltonian = record.hamiltonian.as_ref().ok_or_else(|| Error::Structure {
            structure: record.id.clone(),
            what: "hamiltonian.h5: expected a Hamiltonian (or --hamiltonian FILE), found none".into(),
        })?;
        let hamiltonian = Bloch::new(hamiltonian, &basis, &crystal.species)?;
        let overlap = match &record.overlap {
            Some(overlap) => Bloch::new(overlap, &basis, &crystal.species)?,
            None => Bloch::new(&identity(&basis, &crystal.species)?, &basis, &crystal.species)?,
        };
        Ok(Self { record, crystal, basis, hamiltonian, overlap, options })
    }

    /// Eigenvalues at `points` (fractional).
    ///
    /// # Errors
    /// As [`dense::solve`].
    pub fn eigenvalues(&self, points: &[[f64; 3]]) -> Result<Eigenvalues> {
        let options = dense::Options { overlap_spectrum: true, ..self.options };
        let solutions = dense::solve(&[&self.hamiltonian], &self.overlap, points, options)?;
        let mut found =
            Eigenvalues { k: points.to_vec(), eigenvalues_ev: vec![], min_overlap_eigenvalue: vec![], dropped: vec![] };
        for solution in solutions.into_iter().flatten() {
            found.eigenvalues_ev.push(solution.values);
            found.min_overlap_eigenvalue.push(solution.smallest_overlap.unwrap_or(f64::NAN));
            found.dropped.push(solution.dropped);
        }
        Ok(found)
    }

    /// Fermi level by counting on a mesh of this spacing (inverse angstrom, 2 pi included); `electrons` in the cell,
    /// by default those of `info.json`.
    ///
    /// # Errors
    /// No number of electrons, or as [`fermi::by_counting`] and [`dense::solve`].
    pub fn fermi(&self, spacing: f64, electrons: Option<f64>) -> Result<FermiLevel> {
        let electrons = electrons.or(self.record.info.occupation).ok_or_else(|| Error::Structure {
            structure: self.record.id.clone(),
            what: "info.json: occupation: expected the number of electrons, found nothing (or give --electrons)".into(),
        })?;
        let real = self.hamiltonian.is_real() && self.overlap.is_real();
        let (first, second) = (self.hamiltonian.dispersive(), self.overlap.dispersive());
        let dispersive = std::array::from_fn(|axis| first[axis] || second[axis]);
        let mesh = fermi::Mesh::with_spacing(&self.crystal.lattice, spacing, dispersive, real)?;
        let solutions = dense::solve(&[&self.hamiltonian], &self.overlap, &mesh.points, self.options)?;
        let values: Vec<Vec<f64>> = solutions.into_iter().flatten().map(|solution| solution.values).collect();
        fermi::by_counting(&values, &mesh.weights, electrons, self.basis.spinful())
    }

    /// Bands of this H, then of the `others`, along `path`. Where the overlap is nearly singular, a small error of a
    /// predicted H becomes a large one of the bands (ghost bands far below all others): `threshold` leaves the
    /// eigenvectors of S(k) below it out, for the others alone, so that the reference stays exact.
    ///
    /// # Errors
    /// Blocks that do not fit the structure, a threshold that is not positive, or as [`bands::along`].
    pub fn bands(
        &self,
        path: &KPath,
        name: &str,
        others: &[(String, BlockMatrix)],
        threshold: Option<f64>,
    ) -> Result<Bands> {
        let bloch = |(_, matrix): &(String, BlockMatrix)| Bloch::new(matrix, &self.basis, &self.crystal.species);
        let others_bloch: Vec<Bloch> = others.iter().map(bloch).collect::<Result<_>>()?;
        let along = |hamiltonians: &[&Bloch], options| {
            bands::along(path, &self.crystal.lattice, hamiltonians, &self.overlap, options)
        };
        let mut found = along(&[&self.hamiltonian], self.options)?;
        if !others.is_empty() {
            let options = dense::Options { conditioning: conditioning(threshold)?, ..self.options };
            found.extend(along(&others_bloch.iter().collect::<Vec<_>>(), options)?);
        }
        let info = &self.record.info;
        let occupied = info.occupation.map(|electrons| bands::occupied_bands(electrons, self.basis.spinful()));
        let mut found: Vec<BandStructure> = found.into_iter().map(|bands| bands.with_filling(None, occupied)).collect();
        if let Some(first) = found.first_mut() {
            first.fermi_ev = info.fermi_energy_ev;
        }
        let comparisons = match (occupied, found.split_first()) {
            (Some(occupied), Some((reference, predictions))) => {
                predictions.iter().map(|p| bands::compare(p, reference, occupied, 4)).collect::<Result<_>>()?
            }
            _ => vec![],
        };
        let names = std::iter::once(name.to_owned()).chain(others.iter().map(|(name, _)| name.clone())).collect();
        let structure = self.record.id.clone();
        Ok(Bands { structure, names, bands: found, comparisons, overlap_threshold: threshold })
    }
}

/// How to treat S.
fn conditioning(threshold: Option<f64>) -> Result<dense::Conditioning> {
    match threshold {
        None => Ok(dense::Conditioning::Strict),
        Some(threshold) if threshold.is_finite() && threshold > 0.0 => Ok(dense::Conditioning::Project { threshold }),
        Some(other) => {
            let (what, expected) = ("overlap threshold".into(), "a positive number".into());
            Err(Error::Mismatch { what, expected, found: other.to_string() })
        }
    }
}

/// Bands of a structure folder: of its own H and of each of the `hamiltonians` files; without an H of its own, of the
/// files alone. `threshold` is for the files, see [`Spectrum::bands`]. `path` is a `K_PATH` file; by default the folder's `K_PATH`, else the usual path of a layer.
///
/// # Errors
/// No H at all, a missing or broken file, blocks that do not fit the structure.
pub fn bands_of(
    folder: &Path,
    hamiltonians: &[PathBuf],
    threshold: Option<f64>,
    path: Option<&Path>,
    points: usize,
) -> Result<Bands> {
    let present = ReadOptions::present(folder);
    let mut record = deeph::read(folder, &ReadOptions { overlap: true, ..present })?;
    let name = |file: &PathBuf| file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let read = |file: &PathBuf| Ok((name(file), unified::read_matrix(file)?));
    let mut others = hamiltonians.iter().map(read).collect::<Result<Vec<_>>>()?;
    let mut first = "DFT".to_owned();
    if record.hamiltonian.is_none() && !others.is_empty() {
        let (name, matrix) = others.remove(0);
        (first, record.hamiltonian) = (name, Some(matrix));
    }
    let spectrum = Spectrum::new(record, threshold.filter(|_| first != "DFT"))?;
    let own = folder.join("K_PATH");
    let path = match path.or(own.is_file().then_some(own.as_path())) {
        Some(file) => KPath::read(file)?,
        None => KPath::two_dimensional(&spectrum.crystal.lattice, points),
    };
    spectrum.bands(&path, &first, &others, threshold)
}

/// The overlap of an orthogonal basis.
fn identity(basis: &Basis, species: &[u32]) -> Result<BlockMatrix> {
    let sizes = species.iter().map(|&number| basis.orbitals(number)).collect::<Result<Vec<_>>>()?;
    let shapes: Vec<[usize; 2]> = sizes.iter().map(|&n| [n, n]).collect();
    let entries = sizes.iter().flat_map(|&n| (0..n * n).map(move |k| if k % (n + 1) == 0 { 1.0 } else { 0.0 }));
    Ok(BlockMatrix {
        pairs: (0..species.len() as i64).map(|atom| [0, 0, 0, atom, atom]).collect(),
        boundaries: BlockMatrix::boundaries_of(&shapes),
        entries: Entries::Real(entries.collect()),
        shapes,
    })
}
