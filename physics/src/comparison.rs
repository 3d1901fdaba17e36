//! How far a predicted Hamiltonian is from its reference: matrix elements by group, and the spectrum.
//!
//! Modules, each using only those above it: [`sums`], [`report`], `difference`, `grid`, [`tally`], [`spectrum`].

mod difference;
pub(crate) mod grid;
pub mod report;
pub mod spectrum;
pub mod sums;
pub mod tally;

pub use report::MatrixErrors;
pub use spectrum::{Sampling, SpectrumOptions, SpectrumSummary, StructureSpectrum};
pub use tally::{Counting, Tally};

use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tesseral_datasets::deeph::Record;
use tesseral_datasets::deeph::matrix::BlockMatrix;
use tesseral_nn::train::observer::Observer;

use crate::{Error, Result};

/// What to compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// How matrix elements are counted.
    pub counting: Counting,
    /// How spectra are compared; none: not at all.
    pub spectrum: Option<SpectrumOptions>,
}

/// The errors of one structure, small enough to keep while the next ones are read; as JSON it can be kept for later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StructureErrors {
    /// Its name.
    pub structure: String,
    /// Of its matrix.
    pub tally: Tally,
    /// Of its spectrum; none where it was not asked for or nothing tells the filling.
    pub spectrum: Option<StructureSpectrum>,
}

/// Errors of predictions against references.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Structures compared.
    pub structures: usize,
    /// Of the matrices.
    #[serde(flatten)]
    pub errors: MatrixErrors,
    /// Of the spectra, if asked for.
    pub spectrum: Option<SpectrumSummary>,
}

/// One structure to compare.
#[derive(Clone, Debug)]
pub struct Case {
    /// The reference: structure, S and H.
    pub record: Record,
    /// The predicted H.
    pub prediction: BlockMatrix,
    /// Where the prediction comes from, for messages.
    pub source: PathBuf,
    /// Density matrix of the reference, if there is one and no other number of electrons.
    pub density: Option<BlockMatrix>,
}

/// Compares one structure.
///
/// # Errors
/// As [`Tally::add`] and [`spectrum::compare`]; the structure and the file of the prediction are named.
pub fn compare_structure(case: &Case, options: &Options) -> Result<StructureErrors> {
    let compared = || {
        let mut tally = Tally::default();
        tally.add(&case.record, &case.prediction, options.counting)?;
        let mu_ev = tally.last_mu_ev().unwrap_or(0.0);
        let spectrum = match &options.spectrum {
            Some(options) => spectrum::compare(&case.record, &case.prediction, case.density.as_ref(), mu_ev, options)?,
            None => None,
        };
        Ok(StructureErrors { structure: case.record.id.clone(), tally, spectrum })
    };
    compared().map_err(|error| match error {
        Error::Structure { .. } => error,
        other => {
            let what = format!("{}: {other}", case.source.display());
            Error::Structure { structure: case.record.id.clone(), what }
        }
    })
}

/// Structures compared so far, in the order in which they are added.
#[derive(Clone, Debug, Default)]
pub struct Collection {
    structures: usize,
    tally: Tally,
    spectra: Vec<StructureSpectrum>,
    without_filling: Vec<String>,
}

impl Collection {
    /// Adds one structure; errors as [`Tally::merge`].
    pub fn add(&mut self, errors: StructureErrors) -> Result<()> {
        self.tally.merge(errors.tally)?;
        self.structures += 1;
        match errors.spectrum {
            Some(spectrum) => self.spectra.push(spectrum),
            None => self.without_filling.push(errors.structure),
        }
        Ok(())
    }

    /// The report; `options` are those of [`compare_structure`].
    pub fn finish(self, options: &Options) -> Comparison {
        let summary = |o: &SpectrumOptions| SpectrumSummary::new(self.spectra, self.without_filling, &o.spectral);
        Comparison {
            structures: self.structures,
            errors: self.tally.errors(),
            spectrum: options.spectrum.as_ref().map(summary),
        }
    }
}

/// Compares `count` structures, each read by `load` when its turn comes: as many at a time as there are threads, so
/// that memory does not grow with their number. The report does not depend on the threads.
///
/// # Errors
/// Those of `load` and [`compare_structure`], of the first structure that has one; elements whose shells differ between
/// structures.
pub fn compare(
    count: usize,
    load: impl Fn(usize) -> Result<Case> + Sync,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Comparison> {
    let mut collection = Collection::default();
    let numbers: Vec<usize> = (0..count).collect();
    for together in numbers.chunks(rayon::current_num_threads().max(1)) {
        let one = |number: &usize| compare_structure(&load(*number)?, options);
        let found: Vec<Result<StructureErrors>> = together.par_iter().map(one).collect();
        for (errors, number) in found.into_iter().zip(together) {
            let errors = errors?;
            observer.on_message(&format!("compared {} ({} of {count})", errors.structure, number + 1));
            collection.add(errors)?;
        }
    }
    Ok(collection.finish(options))
}
