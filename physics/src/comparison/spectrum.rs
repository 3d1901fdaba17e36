//! The spectral part of a comparison: one structure, and the summary of many.

use serde::{Deserialize, Serialize};
use tesseral_datasets::deeph::Record;
use tesseral_datasets::deeph::matrix::BlockMatrix;

use crate::electronic::spectral_error::{self, Filling, SpectralErrors};
use crate::electronic::{Bloch, Mesh};
use crate::hamiltonian::{Basis, gauge};
use crate::structure::Crystal;
use crate::{Error, Result};

/// The k points of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sampling {
    /// Divisions along b1, b2, b3.
    Divisions([usize; 3]),
    /// Points at most this far apart, inverse angstrom (2 pi included); one along vectors without dispersion, so a
    /// molecule has Gamma alone.
    Spacing(f64),
}

/// How to compare spectra.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpectrumOptions {
    /// The k points.
    pub sampling: Sampling,
    /// Window and conditioning.
    pub spectral: spectral_error::Options,
    /// Electrons in the cell of every structure, in place of what the files say.
    pub electrons: Option<f64>,
}

/// Where the number of electrons comes from; the first of these that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Given by the caller.
    #[serde(rename = "given")]
    Given,
    /// `occupation` of info.json.
    #[serde(rename = "occupation")]
    Occupation,
    /// Tr(rho S) of the density matrix.
    #[serde(rename = "density_matrix")]
    DensityMatrix,
    /// The states below `fermi_energy_eV` of info.json.
    #[serde(rename = "fermi_energy")]
    FermiEnergy,
}

/// The spectral errors of one structure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StructureSpectrum {
    /// Its name.
    pub structure: String,
    /// What told the number of electrons.
    pub electrons_from: Source,
    /// Its figures.
    #[serde(flatten)]
    pub errors: SpectralErrors,
}

/// Spectral errors of a set. Means over states count every state once, means over structures every structure.
#[derive(Clone, Debug, Serialize)]
pub struct SpectrumSummary {
    /// Structures whose spectra were compared.
    pub structures: usize,
    /// States compared from here to there about the Fermi level of the reference, eV.
    pub window_ev: [f64; 2],
    /// Eigenvectors of S below this were left out of the predictions.
    pub overlap_threshold: Option<f64>,
    /// States of the reference in the window.
    pub states: usize,
    /// Mean over states, each structure aligned at its occupied states in the window.
    pub band_mae_mev: Option<f64>,
    /// Largest of any state.
    pub band_max_mev: Option<f64>,
    /// Mean over states, aligned at the Fermi levels.
    pub fermi_aligned_mae_mev: Option<f64>,
    /// Mean over structures of the modulus of the gap's error.
    pub gap_mae_mev: f64,
    /// Mean over structures of the modulus of the Fermi level's error, gauge fixed.
    pub fermi_mae_mev: f64,
    /// Sum over structures.
    pub ghost_states: usize,
    /// Sum over structures.
    pub ghosts_below: usize,
    /// Mean over structures.
    pub similarity_mean: f64,
    /// Least of any structure and k.
    pub similarity_worst: f64,
    /// The structure that has it.
    pub similarity_worst_structure: String,
    /// Structures of which neither the number of electrons nor a Fermi level is known.
    pub without_filling: Vec<String>,
    /// By structure, worst bands first.
    pub by_structure: Vec<StructureSpectrum>,
}

/// Compares the spectra of one structure; `density` is its density matrix, if there is one, `mu_ev` the gauge of the
/// matrices. None where nothing tells the filling.
///
/// # Errors
/// Blocks that do not fit the structure, or as [`spectral_error::compare`].
pub fn compare(
    record: &Record,
    prediction: &BlockMatrix,
    density: Option<&BlockMatrix>,
    mu_ev: f64,
    options: &SpectrumOptions,
) -> Result<Option<StructureSpectrum>> {
    let Some((filling, electrons_from)) = filling(record, density, options.electrons)? else { return Ok(None) };
    let missing = |what: &str| Error::Structure { structure: record.id.clone(), what: what.into() };
    let crystal = Crystal::from_poscar(&record.poscar)?;
    let basis = Basis::from_info(&record.info)?;
    let bloch = |matrix: &BlockMatrix| Bloch::new(matrix, &basis, &crystal.species);
    let reference = bloch(record.hamiltonian.as_ref().ok_or_else(|| missing("no Hamiltonian to compare with"))?)?;
    let prediction = bloch(prediction)?;
    let overlap = match &record.overlap {
        Some(overlap) => bloch(overlap)?,
        None if record.info.orthogonal_basis => bloch(&gauge::unit_overlap(&basis, &crystal.species)?)?,
        None => return Err(missing("overlap.h5: expected an overlap for the spectrum, found none")),
    };
    let operators = [&reference, &prediction, &overlap];
    let real = operators.iter().all(|operator| operator.is_real());
    let mesh = match options.sampling {
        Sampling::Divisions(divisions) => Mesh::new(divisions, real)?,
        Sampling::Spacing(spacing) => {
            let dispersive = std::array::from_fn(|axis| operators.iter().any(|o| o.dispersive()[axis]));
            Mesh::with_spacing(&crystal.lattice, spacing, dispersive, real)?
        }
    };
    let filling = (filling, basis.spinful());
    let errors = spectral_error::compare(&reference, &prediction, &overlap, &mesh, filling, mu_ev, options.spectral)?;
    Ok(Some(StructureSpectrum { structure: record.id.clone(), electrons_from, errors }))
}

/// What is known of the filling, and from where.
fn filling(record: &Record, density: Option<&BlockMatrix>, given: Option<f64>) -> Result<Option<(Filling, Source)>> {
    if let Some(electrons) = given {
        return Ok(Some((Filling::Electrons(electrons), Source::Given)));
    }
    if let Some(electrons) = record.info.occupation {
        return Ok(Some((Filling::Electrons(electrons), Source::Occupation)));
    }
    if let Some((density, overlap)) = density.zip(record.overlap.as_ref()) {
        let electrons = gauge::electrons(density, overlap)?;
        // Rounding of the sum must not empty a state.
        let whole = electrons.round();
        let electrons = if (electrons - whole).abs() < 1e-4 { whole } else { electrons };
        return Ok(Some((Filling::Electrons(electrons), Source::DensityMatrix)));
    }
    Ok(record.info.fermi_energy_ev.map(|level| (Filling::FermiLevel(level), Source::FermiEnergy)))
}

impl SpectrumSummary {
    /// Of these structures; `without_filling` are those that could not be compared.
    pub fn new(
        mut by_structure: Vec<StructureSpectrum>,
        without_filling: Vec<String>,
        options: &spectral_error::Options,
    ) -> Self {
        let over_states = |of: fn(&SpectralErrors) -> Option<f64>| {
            let weighted = by_structure.iter().filter_map(|s| Some((of(&s.errors)?, s.errors.states as f64)));
            let (sum, states) = weighted.fold((0.0, 0.0), |sum, (mae, n)| (sum.0 + mae * n, sum.1 + n));
            (states > 0.0).then(|| sum / states)
        };
        let mean = |of: fn(&SpectralErrors) -> f64| {
            by_structure.iter().map(|s| of(&s.errors)).sum::<f64>() / by_structure.len().max(1) as f64
        };
        let sum = |of: fn(&SpectralErrors) -> usize| by_structure.iter().map(|s| of(&s.errors)).sum::<usize>();
        let worst = by_structure.iter().min_by(|a, b| a.errors.similarity_worst.total_cmp(&b.errors.similarity_worst));
        let (similarity_worst, similarity_worst_structure) =
            worst.map_or((1.0, String::new()), |s| (s.errors.similarity_worst, s.structure.clone()));
        let mut summary = Self {
            structures: by_structure.len(),
            window_ev: options.window_ev,
            overlap_threshold: options.overlap_threshold,
            states: sum(|e| e.states),
            band_mae_mev: over_states(|e| e.band_mae_mev),
            band_max_mev: by_structure.iter().filter_map(|s| s.errors.band_max_mev).reduce(f64::max),
            fermi_aligned_mae_mev: over_states(|e| e.fermi_aligned_mae_mev),
            gap_mae_mev: mean(|e| e.gap_error_mev.abs()),
            fermi_mae_mev: mean(|e| e.fermi_error_mev.abs()),
            ghost_states: sum(|e| e.ghost_states),
            ghosts_below: sum(|e| e.ghosts_below),
            similarity_mean: mean(|e| e.similarity_mean),
            similarity_worst,
            similarity_worst_structure,
            without_filling,
            by_structure: vec![],
        };
        let size = |s: &StructureSpectrum| s.errors.band_mae_mev.unwrap_or(0.0);
        by_structure.sort_by(|a, b| size(b).total_cmp(&size(a)));
        summary.by_structure = by_structure;
        summary
    }
}
