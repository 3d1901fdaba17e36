//! How many electrons there are, on which mesh their states are counted, and where the Fermi level is.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::str::FromStr;

use super::Spectrum;
use super::solve::{Solved, values_of};
use crate::datasets::elements;
use crate::physics::electronic::dense::Conditioning;
use crate::physics::electronic::fermi::{self, FermiLevel};
use crate::physics::electronic::mesh::Mesh;
use crate::physics::electronic::smearing::Smearing;
use crate::physics::{Error, Result};

/// Electrons that each atom of an element brings: `C=4,Mo=14`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Valence(pub BTreeMap<String, f64>);

impl FromStr for Valence {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let entry = |part: &str| {
            let wrong = || format!("expected elements and electrons such as C=4,Mo=14, found `{part}`");
            let (symbol, number) = part.split_once('=').ok_or_else(wrong)?;
            let number = number.trim().parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0).ok_or_else(wrong)?;
            let known = elements::atomic_number(symbol.trim()).is_some();
            if known { Ok((symbol.trim().to_owned(), number)) } else { Err(wrong()) }
        };
        Ok(Valence(text.split(',').map(entry).collect::<std::result::Result<_, _>>()?))
    }
}

/// Where the number of electrons comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Filling {
    /// Electrons in the cell, both spins.
    pub electrons: Option<f64>,
    /// Electrons of each element, summed over the atoms.
    pub valence: Option<Valence>,
}

impl Filling {
    /// Electrons in the cell: given as a number, by the valence, or in info.json; none where none of these says.
    ///
    /// # Errors
    /// An element that the valence does not name.
    pub fn electrons(&self, spectrum: &Spectrum) -> Result<Option<f64>> {
        match (&self.electrons, &self.valence) {
            (Some(electrons), _) => Ok(Some(*electrons)),
            (None, Some(valence)) => {
                let of = |number: &u32| {
                    let symbol = elements::symbol(*number).unwrap_or("?");
                    valence.0.get(symbol).copied().ok_or_else(|| Error::Structure {
                        structure: spectrum.structure.clone(),
                        what: format!("--valence: expected electrons of {symbol}, found none"),
                    })
                };
                spectrum.crystal.species.iter().map(of).sum::<Result<f64>>().map(Some)
            }
            (None, None) => Ok(spectrum.info.occupation),
        }
    }

    /// As [`Self::electrons`]; an unknown number is an error.
    ///
    /// # Errors
    /// No number of electrons, or as there.
    pub fn required(&self, spectrum: &Spectrum) -> Result<f64> {
        self.electrons(spectrum)?.ok_or_else(|| Error::Structure {
            structure: spectrum.structure.clone(),
            what: "info.json: occupation: expected the number of electrons, found nothing (or give --electrons or \
                   --valence)"
                .into(),
        })
    }
}

/// A Gamma-centred mesh, by its divisions or the distance of its points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeshChoice {
    /// Divisions along b1, b2, b3.
    pub divisions: Option<[usize; 3]>,
    /// Else: distance of points, inverse angstrom, 2 pi included.
    pub spacing: f64,
}

impl MeshChoice {
    /// The mesh for a structure; k and -k are one point where all operators are real.
    ///
    /// # Errors
    /// No division, a spacing that is not positive, too many points.
    pub fn mesh(&self, spectrum: &Spectrum) -> Result<Mesh> {
        match self.divisions {
            Some(divisions) => Mesh::new(divisions, spectrum.time_reversal()),
            None => {
                let lattice = &spectrum.crystal.lattice;
                Mesh::with_spacing(lattice, self.spacing, spectrum.dispersive(), spectrum.time_reversal())
            }
        }
    }
}

/// How a Fermi level is found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Half-way between the last filled and the first empty state of the mesh.
    Counting,
    /// States smeared over a width.
    Smearing {
        /// Its shape.
        smearing: Smearing,
        /// Its width, eV.
        width_ev: f64,
    },
    /// Bands interpolated in tetrahedra.
    Tetrahedra,
    /// The same as counting, by the numbers of levels below an energy: hardly any eigenvalue is computed.
    Inertia,
}

impl Method {
    /// Whether it works from the eigenvalues on the mesh.
    pub fn needs_eigenvalues(self) -> bool {
        self != Method::Inertia
    }
}

/// Which Fermi level the energies of a picture are measured from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// That of info.json for the structure's own H; computed by counting where it says none, and for predictions, if
    /// the number of electrons is known.
    Auto,
    /// That of info.json alone, for the structure's own H alone.
    Info,
    /// Computed for every Hamiltonian.
    Computed(Method),
    /// This one, eV, for every Hamiltonian.
    Given(f64),
}

impl Spectrum {
    /// The Fermi level of one Hamiltonian from what was solved on `mesh`.
    ///
    /// # Errors
    /// As the functions of [`fermi`].
    pub fn fermi(
        &self,
        hamiltonian: usize,
        solved: &[Vec<Solved>],
        mesh: &Mesh,
        electrons: f64,
        method: Method,
    ) -> Result<FermiLevel> {
        let (values, spinful) = (values_of(solved, hamiltonian), self.spinful());
        match method {
            Method::Counting => fermi::by_counting(&values, &mesh.weights, electrons, spinful),
            Method::Smearing { smearing, width_ev } => {
                fermi::by_smearing(&values, &mesh.weights, electrons, spinful, smearing, width_ev)
            }
            Method::Inertia => self.fermi_by_inertia(hamiltonian, mesh, electrons),
            Method::Tetrahedra => fermi::by_tetrahedra(&values, mesh, &self.crystal.lattice, electrons, spinful),
        }
    }

    /// The Fermi level of one Hamiltonian without eigenvalues.
    ///
    /// # Errors
    /// An overlap of which eigenvectors are to be left out, or as [`fermi::by_inertia`].
    pub fn fermi_by_inertia(&self, hamiltonian: usize, mesh: &Mesh, electrons: f64) -> Result<FermiLevel> {
        if self.conditioning.get(hamiltonian).is_some_and(|c| *c != Conditioning::Strict) {
            return Err(Error::Mismatch {
                what: "--overlap-threshold".into(),
                expected: "none where the Fermi level is found by inertia".into(),
                found: self.overlap_threshold.map_or_else(String::new, |t| t.to_string()),
            });
        }
        fermi::by_inertia(&self.hamiltonians[hamiltonian], &self.overlap, mesh, electrons, self.spinful())
    }
}
