//! Density of states of one or several Hamiltonians of a structure.

use serde::{Deserialize, Serialize};

use super::filling::{Filling, Level, MeshChoice, Method};
use super::solve::{Solved, most_dropped, values_of};
use super::system::OWN;
use super::{Measure, Sources, Spectrum};
use crate::physics::Result;
use crate::physics::electronic::dos::{self, Dos};

/// How states become a density.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Broadening {
    /// Gaussians of this standard deviation, eV.
    Gaussian(f64),
    /// Linear tetrahedra.
    Tetrahedra,
}

/// What to compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DosOptions {
    /// The Hamiltonians.
    pub sources: Sources,
    /// Gaussians or tetrahedra.
    pub broadening: Broadening,
    /// The mesh.
    pub mesh: MeshChoice,
    /// Energies from the Fermi level, eV; none: all states. Where no Fermi level is known, energies of H itself.
    pub window: Option<[f64; 2]>,
    /// Energies in the window.
    pub points: usize,
    /// The Fermi levels.
    pub level: Level,
    /// How many electrons.
    pub filling: Filling,
}

/// The density of states of one Hamiltonian.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DosCurve {
    /// What the Hamiltonian is.
    pub name: String,
    /// Its Fermi level, eV, if known.
    pub fermi_ev: Option<f64>,
    /// Most eigenvectors of S(k) that were left out at any k.
    pub dropped: usize,
    /// The curve; energies on the scale of H.
    #[serde(flatten)]
    pub dos: Dos,
}

/// Densities of states of a structure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DensityOfStates {
    /// Name of the structure.
    pub structure: String,
    /// Divisions of the mesh.
    pub mesh: [usize; 3],
    /// One for each Hamiltonian.
    pub curves: Vec<DosCurve>,
}

impl DosOptions {
    fn electrons(&self, spectrum: &Spectrum) -> Result<Option<f64>> {
        match self.level {
            Level::Computed(_) => self.filling.required(spectrum).map(Some),
            _ => self.filling.electrons(spectrum),
        }
    }
}

impl Measure for DosOptions {
    type Found = DensityOfStates;

    fn sources(&self) -> &Sources {
        &self.sources
    }

    fn points(&self, spectrum: &Spectrum) -> Result<Vec<[f64; 3]>> {
        self.electrons(spectrum)?;
        Ok(self.mesh.mesh(spectrum)?.points)
    }

    fn finish(&self, spectrum: &Spectrum, solved: &[Vec<Solved>]) -> Result<DensityOfStates> {
        let (mesh, electrons) = (self.mesh.mesh(spectrum)?, self.electrons(spectrum)?);
        let curve = |h: usize| -> Result<DosCurve> {
            let values = values_of(solved, h);
            let own = spectrum.info.fermi_energy_ev.filter(|_| spectrum.names[h] == OWN);
            let computed = |method| -> Result<Option<f64>> {
                let level = |electrons| spectrum.fermi(h, solved, &mesh, electrons, method);
                Ok(electrons.map(level).transpose()?.map(|level| level.fermi_ev))
            };
            let fermi_ev = match self.level {
                Level::Given(level) => Some(level),
                Level::Info => own,
                Level::Computed(method) => computed(method)?,
                // The same rule for all curves where it can be had.
                Level::Auto => computed(match self.broadening {
                    Broadening::Gaussian(_) => Method::Counting,
                    Broadening::Tetrahedra => Method::Tetrahedra,
                })?
                .or(own),
            };
            let zero = fermi_ev.unwrap_or(0.0);
            let energies = dos::energies(self.window.unwrap_or_else(|| self.all(&values, zero)), self.points)?;
            let energies: Vec<f64> = energies.into_iter().map(|e| e + zero).collect();
            let dos = match self.broadening {
                Broadening::Gaussian(sigma) => {
                    dos::gaussian(&values, &mesh.weights, &energies, sigma, spectrum.spinful())?
                }
                Broadening::Tetrahedra => {
                    dos::tetrahedra(&values, &mesh, &spectrum.crystal.lattice, &energies, spectrum.spinful())?
                }
            };
            Ok(DosCurve { name: spectrum.names[h].clone(), fermi_ev, dropped: most_dropped(solved, h), dos })
        };
        Ok(DensityOfStates {
            structure: spectrum.structure.clone(),
            mesh: mesh.divisions,
            curves: (0..spectrum.names.len()).map(curve).collect::<Result<_>>()?,
        })
    }
}

impl DosOptions {
    /// A window of all states and what the Gaussians spread beyond them.
    fn all(&self, values: &[Vec<f64>], zero: f64) -> [f64; 2] {
        let margin = match self.broadening {
            Broadening::Gaussian(sigma) => 5.0 * sigma.abs(),
            Broadening::Tetrahedra => 0.5,
        };
        let all = || values.iter().flatten().copied();
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        [low - margin - zero, high + margin - zero]
    }
}

impl DensityOfStates {
    /// A line a curve, for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for curve in &self.curves {
            let fermi = curve.fermi_ev.map_or("unknown".into(), |e| format!("{e:.6} eV"));
            let energies = &curve.dos.energies_ev;
            let ends = energies.first().zip(energies.last()).map_or((0.0, 0.0), |(a, b)| (*a, *b));
            text += &format!(
                "{}: {}: {} energies from {:.3} to {:.3} eV, Fermi level {fermi}, {} on a mesh of {:?}\n",
                self.structure,
                curve.name,
                energies.len(),
                ends.0,
                ends.1,
                curve.dos.method,
                self.mesh
            );
        }
        text
    }
}
