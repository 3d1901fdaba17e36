//! What bands are asked for: the path, the solver, the Fermi levels.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::filling::{Filling, Level, MeshChoice, Method};
use super::system::OWN;
use super::{Sources, Spectrum};
use crate::physics::structure::KPath;
use crate::physics::{Error, Result};

/// Where the path comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathChoice {
    /// The folder's `K_PATH`, else from the crystal.
    Folder,
    /// From the crystal.
    Crystal,
    /// A file.
    File(PathBuf),
}

/// Which solver is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SolverKind {
    /// Sparse for large cells of which little is filled, else dense.
    Auto,
    /// All bands.
    Dense,
    /// Bands next to an energy.
    Sparse,
}

/// From this size on sparse factors may pay; below this filling of H(k) they do.
const SPARSE: (usize, f64) = (3000, 0.2);

/// A solver and what it needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SolverChoice {
    /// Which.
    pub kind: SolverKind,
    /// Bands at each k, of a sparse one.
    pub bands: usize,
    /// The energy that they are nearest to, eV; none: the Fermi level.
    pub around_ev: Option<f64>,
}

/// What to compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BandOptions {
    /// The Hamiltonians.
    pub sources: Sources,
    /// The path.
    pub path: PathChoice,
    /// Points of a path that no file gives.
    pub points: usize,
    /// All bands or some.
    pub solver: SolverChoice,
    /// The Fermi levels.
    pub level: Level,
    /// Where states are counted for them.
    pub mesh: MeshChoice,
    /// How many electrons.
    pub filling: Filling,
}

impl BandOptions {
    /// The path through the zone of a structure.
    ///
    /// # Errors
    /// A file that is missing or broken.
    pub fn k_path(&self, spectrum: &Spectrum) -> Result<KPath> {
        let own = spectrum.folder.join("K_PATH");
        match &self.path {
            PathChoice::File(file) => KPath::read(file),
            PathChoice::Folder if own.is_file() => KPath::read(&own),
            _ => KPath::usual(&spectrum.crystal, spectrum.dispersive(), self.points),
        }
    }

    /// How Fermi levels are computed, and with how many electrons, if at all.
    pub(super) fn computed(&self, spectrum: &Spectrum) -> Result<Option<(Method, f64)>> {
        match self.level {
            Level::Info | Level::Given(_) => Ok(None),
            Level::Computed(method) if method.needs_eigenvalues() && self.is_sparse(spectrum)? => {
                let (what, expected) = ("--fermi".into(), "inertia with the sparse solver".into());
                Err(Error::Mismatch { what, expected, found: "a method that needs all eigenvalues".into() })
            }
            Level::Computed(method) => Ok(Some((method, self.filling.required(spectrum)?))),
            Level::Auto => {
                let told = spectrum.info.fermi_energy_ev.is_some() && spectrum.names == [OWN];
                let electrons = self.filling.electrons(spectrum)?.filter(|_| !told);
                let method = if self.is_sparse(spectrum)? { Method::Inertia } else { Method::Counting };
                Ok(electrons.map(|electrons| (method, electrons)))
            }
        }
    }

    pub(super) fn is_sparse(&self, spectrum: &Spectrum) -> Result<bool> {
        match self.solver.kind {
            SolverKind::Dense => Ok(false),
            SolverKind::Sparse if spectrum.overlap_threshold.is_some() => Err(Error::Mismatch {
                what: "--overlap-threshold".into(),
                expected: "none with the sparse solver".into(),
                found: spectrum.overlap_threshold.map_or_else(String::new, |t| t.to_string()),
            }),
            SolverKind::Sparse => Ok(true),
            SolverKind::Auto => Ok(spectrum.overlap_threshold.is_none()
                && spectrum.size() >= SPARSE.0
                && spectrum.filled_part()? < SPARSE.1),
        }
    }

    /// The Fermi level of each Hamiltonian, or another energy, for a window of bands.
    pub(super) fn centres(&self, spectrum: &Spectrum) -> Result<Vec<f64>> {
        let one = |h: usize| match (self.solver.around_ev, self.level) {
            (Some(energy), _) | (None, Level::Given(energy)) => Ok(energy),
            _ => match spectrum.info.fermi_energy_ev.filter(|_| spectrum.names[h] == OWN) {
                Some(level) => Ok(level),
                None => {
                    let electrons = self.filling.required(spectrum)?;
                    Ok(spectrum.fermi_by_inertia(h, &self.mesh.mesh(spectrum)?, electrons)?.fermi_ev)
                }
            },
        };
        (0..spectrum.names.len()).map(one).collect()
    }
}
