//! Fermi level and gap of a structure on a mesh.

use serde::{Deserialize, Serialize};

use super::filling::{Filling, MeshChoice, Method};
use super::solve::{Solved, most_dropped};
use super::{Measure, Sources, Spectrum};
use crate::physics::Result;
use crate::physics::electronic::fermi::FermiLevel;

/// What to compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FermiOptions {
    /// The Hamiltonian.
    pub sources: Sources,
    /// Where states are counted.
    pub mesh: MeshChoice,
    /// How many electrons.
    pub filling: Filling,
    /// How.
    pub method: Method,
}

/// A Fermi level and where it is from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fermi {
    /// Level, gap, electrons, method.
    #[serde(flatten)]
    pub level: FermiLevel,
    /// Name of the structure.
    pub structure: String,
    /// What its Hamiltonian is.
    pub hamiltonian: String,
    /// Divisions of the mesh.
    pub mesh: [usize; 3],
    /// Most eigenvectors of S(k) that were left out at any k.
    pub dropped: usize,
}

impl Measure for FermiOptions {
    type Found = Fermi;

    fn sources(&self) -> &Sources {
        &self.sources
    }

    fn points(&self, spectrum: &Spectrum) -> Result<Vec<[f64; 3]>> {
        // Before hours of work, not after.
        self.filling.required(spectrum)?;
        let mesh = self.mesh.mesh(spectrum)?;
        Ok(if self.method.needs_eigenvalues() { mesh.points } else { vec![] })
    }

    fn finish(&self, spectrum: &Spectrum, solved: &[Vec<Solved>]) -> Result<Fermi> {
        let mesh = self.mesh.mesh(spectrum)?;
        let electrons = self.filling.required(spectrum)?;
        Ok(Fermi {
            level: spectrum.fermi(0, solved, &mesh, electrons, self.method)?,
            structure: spectrum.structure.clone(),
            hamiltonian: spectrum.names.first().cloned().unwrap_or_default(),
            mesh: mesh.divisions,
            dropped: most_dropped(solved, 0),
        })
    }
}

impl Fermi {
    /// A line for people.
    pub fn line(&self) -> String {
        let level = &self.level;
        format!(
            "{}: Fermi level {:.6} eV, gap {:.6} eV, {} electrons, {} on a mesh of {:?}",
            self.structure, level.fermi_ev, level.gap_ev, level.electrons, level.method, self.mesh
        )
    }

    /// One line a structure, a header line first.
    pub fn to_csv(found: &[Fermi]) -> String {
        let mut text = String::from(
            "structure,hamiltonian,fermi_ev,gap_ev,direct_gap_ev,valence_top_ev,conduction_bottom_ev,metal,electrons\n",
        );
        for one in found {
            let l = &one.level;
            text += &format!("{},{},{},{},", one.structure, one.hamiltonian, l.fermi_ev, l.gap_ev);
            // Empty where the method does not give it.
            let direct = l.direct_gap_ev.map_or_else(String::new, |gap| gap.to_string());
            let edges = (direct, l.valence_top_ev, l.conduction_bottom_ev);
            text += &format!("{},{},{},{},{}\n", edges.0, edges.1, edges.2, l.metal, l.electrons);
        }
        text
    }
}
