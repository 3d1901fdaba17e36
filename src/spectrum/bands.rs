//! Bands of one or several Hamiltonians of a structure along a path.

use serde::{Deserialize, Serialize};

use super::filling::Level;
use super::solve::{Solved, Solver, common_bands, values_of};
use super::system::OWN;
use super::{BandOptions, Measure, Sources, Spectrum};
use crate::datasets::deeph::band_file::{BandFile, Piece};
use crate::physics::electronic::bands::{self, BandComparison, BandStructure};
use crate::physics::electronic::mesh::Mesh;
use crate::physics::structure::KPath;
use crate::physics::{Error, Result};

/// Empty bands that predictions are compared in.
const EMPTY: usize = 4;

/// Bands of one or several Hamiltonians of a structure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Most eigenvectors of S(k) that were left out at any k, for each Hamiltonian.
    pub dropped: Vec<usize>,
    /// How many bands lie below the first that is here: 0 but for a sparse solver.
    pub first_band: usize,
    /// Fermi level of each on the mesh, if it was computed, eV; the comparisons align these.
    pub mesh_fermi_ev: Vec<Option<f64>>,
    /// The path.
    pub path: KPath,
    /// Reciprocal vectors as rows, inverse angstrom, 2 pi included.
    pub reciprocal: [[f64; 3]; 3],
    /// Whether each band holds one electron.
    pub spinful: bool,
}

impl Measure for BandOptions {
    type Found = Bands;

    fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Those of the path, then those of the mesh, if there is one.
    fn points(&self, spectrum: &Spectrum) -> Result<Vec<[f64; 3]>> {
        let mut points = self.k_path(spectrum)?.points();
        if self.computed(spectrum)?.is_some_and(|(method, _)| method.needs_eigenvalues()) {
            points.extend(self.mesh.mesh(spectrum)?.points);
        }
        Ok(points)
    }

    fn solver(&self, spectrum: &Spectrum) -> Result<Solver> {
        if self.is_sparse(spectrum)? {
            return Ok(Solver::Sparse { count: self.solver.bands, around_ev: self.centres(spectrum)? });
        }
        Ok(Solver::Dense { overlap_spectrum: false })
    }

    fn finish(&self, spectrum: &Spectrum, solved: &[Vec<Solved>]) -> Result<Bands> {
        let path = self.k_path(spectrum)?;
        let (on_path, on_mesh) = solved.split_at(path.points().len().min(solved.len()));
        let mesh_fermi_ev = match self.computed(spectrum)? {
            None => vec![None; spectrum.names.len()],
            Some((method, electrons)) => {
                let mesh: Mesh = self.mesh.mesh(spectrum)?;
                let level = |h| Ok(Some(spectrum.fermi(h, on_mesh, &mesh, electrons, method)?.fermi_ev));
                (0..spectrum.names.len()).map(level).collect::<Result<_>>()?
            }
        };
        let shown = |h: usize| match self.level {
            Level::Given(level) => Some(level),
            Level::Computed(_) => mesh_fermi_ev[h],
            Level::Auto | Level::Info if spectrum.names[h] == OWN => spectrum.info.fermi_energy_ev.or(mesh_fermi_ev[h]),
            Level::Auto | Level::Info => mesh_fermi_ev[h],
        };
        let electrons = self.filling.electrons(spectrum)?;
        let window = common_bands(on_path);
        let first_band = window.as_ref().map_or(0, |window| window.start);
        if let Some(window) = window.as_ref().filter(|window| window.is_empty()) {
            let (what, expected) = ("bands that are found at every k".into(), "at least one (try more --bands)".into());
            return Err(Error::Mismatch { what, expected, found: format!("{window:?}") });
        }
        let energies = |h: usize| match &window {
            None => values_of(on_path, h),
            Some(window) => {
                let part = |s: &Solved| s.values[window.start - s.first..window.end - s.first].to_vec();
                on_path.iter().filter_map(|row| row.get(h)).map(part).collect()
            }
        };
        // Counted among the bands that are here.
        let occupied = electrons.map(|electrons| bands::occupied_bands(electrons, spectrum.spinful()));
        let occupied = occupied.and_then(|n| n.checked_sub(first_band));
        let lattice = &spectrum.crystal.lattice;
        let structure = |h: usize| BandStructure {
            k: path.points(),
            distances: path.distances(lattice),
            ticks: path.ticks(lattice),
            energies_ev: energies(h),
            fermi_ev: shown(h),
            occupied,
        };
        let found: Vec<BandStructure> = (0..spectrum.names.len()).map(structure).collect();
        // Levels found in the same way are compared, not one of the DFT code with one of ours.
        let aligned = |h: usize| BandStructure { fermi_ev: mesh_fermi_ev[h], ..found[h].clone() };
        let fewest = found.iter().flat_map(|b| b.energies_ev.iter().map(Vec::len)).min().unwrap_or(0);
        let comparisons = match occupied.filter(|n| first_band == 0 || (1..=fewest).contains(n)) {
            Some(occupied) => {
                let compare = |h| bands::compare(&aligned(h), &aligned(0), occupied, EMPTY);
                (1..found.len()).map(compare).collect::<Result<_>>()?
            }
            None => vec![],
        };
        Ok(Bands {
            structure: spectrum.structure.clone(),
            names: spectrum.names.clone(),
            bands: found,
            comparisons,
            overlap_threshold: spectrum.overlap_threshold,
            dropped: (0..spectrum.names.len()).map(|h| super::solve::most_dropped(solved, h)).collect(),
            first_band,
            mesh_fermi_ev,
            path,
            reciprocal: lattice.reciprocal().transpose().into(),
            spinful: spectrum.spinful(),
        })
    }
}

impl Bands {
    /// What the bands span, and how far predictions are from the first; for people.
    pub fn table(&self) -> String {
        let mut text = format!("{}: {} points\n", self.structure, self.bands.first().map_or(0, |b| b.k.len()));
        for (name, c) in self.names.iter().skip(1).zip(&self.comparisons) {
            text += &format!(
                "{name}: mean {:.3} meV, largest {:.3} meV ({} occupied, {} empty bands, aligned)",
                c.band_mae_mev, c.band_max_mev, c.occupied, c.empty
            );
            text += &c.fermi_aligned_mae_mev.map_or("\n".into(), |mae| format!(", {mae:.3} meV from E_F\n"));
        }
        if self.first_band > 0 {
            let count = self.bands.first().and_then(|b| b.energies_ev.first()).map_or(0, Vec::len);
            text += &format!("{count} bands, {} below them\n", self.first_band);
        }
        for (name, dropped) in self.names.iter().zip(&self.dropped).filter(|(_, dropped)| **dropped > 0) {
            text += &format!("{name}: up to {dropped} eigenvectors of the overlap left out\n");
        }
        text
    }

    /// The contents of DeepH's `band.h5` for one of the Hamiltonians; none where no Fermi level is known, not even that
    /// of the first by the shift of the comparison.
    ///
    /// # Errors
    /// No Hamiltonian of this number.
    pub fn band_file(&self, hamiltonian: usize) -> Result<Option<BandFile>> {
        let (Some(bands), Some(first)) = (self.bands.get(hamiltonian), self.bands.first()) else {
            let (what, expected) = ("bands".into(), format!("one of {}", self.bands.len()));
            return Err(Error::Mismatch { what, expected, found: hamiltonian.to_string() });
        };
        let shift = hamiltonian.checked_sub(1).and_then(|n| self.comparisons.get(n)).map(|c| c.shift_ev);
        let Some(fermi_ev) = bands.fermi_ev.or(first.fermi_ev.zip(shift).map(|(fermi, shift)| fermi - shift)) else {
            return Ok(None);
        };
        let piece = |s: &crate::physics::structure::kpath::Segment| Piece {
            points: s.points.max(2),
            ends: [s.from, s.to],
            labels: s.labels.clone(),
        };
        Ok(Some(BandFile {
            reciprocal: self.reciprocal,
            spinful: self.spinful,
            fermi_ev,
            path: self.path.segments.iter().map(piece).collect(),
            points: bands.k.clone(),
            distances: bands.distances.clone(),
            corners: bands.ticks.iter().map(|tick| tick.0).collect(),
            energies_ev: bands.energies_ev.clone(),
        }))
    }
}
