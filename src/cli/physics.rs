//! `tesseral physics train | evaluate | predict | compare | bands | dos | eigenvalues | fermi | merge | bench`: a file a
//! verb.

mod bands;
mod bench;
mod compare;
mod dos;
mod eigenvalues;
mod evaluate;
mod fermi;
mod merge;
mod options;
mod predict;
mod train;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

use super::Common;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Train the stages that a configuration names
    Train(train::Train),
    /// Errors of a trained model on structures with known H, for each stage
    Evaluate(evaluate::Evaluate),
    /// Errors of predicted Hamiltonians: by elements, orbitals, distance and structure, and of their spectra
    Compare(compare::Compare),
    /// Predict H of structures that need only POSCAR, info.json and overlap.h5
    Predict(predict::Predict),
    /// Bands along a path through the zone, of the folder's H and of others over the same overlap
    Bands(bands::Bands),
    /// Density of states, of the folder's H and of others over the same overlap
    Dos(dos::Dos),
    /// Eigenvalues at given k
    Eigenvalues(eigenvalues::Eigenvalues),
    /// Fermi level and gap on a mesh
    Fermi(fermi::Fermi),
    /// Put the parts of runs with --shard together
    Merge(merge::Merge),
    /// Speed and memory of stage 1 on one structure
    Bench(bench::Bench),
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        if !matches!(self, Verb::Train(_) | Verb::Bench(_)) {
            common.no_config()?;
        }
        match self {
            Verb::Train(verb) => verb.run(common),
            Verb::Evaluate(verb) => verb.run(common),
            Verb::Compare(verb) => verb.run(common),
            Verb::Predict(verb) => verb.run(common),
            Verb::Bands(verb) => verb.run(common),
            Verb::Dos(verb) => verb.run(common),
            Verb::Eigenvalues(verb) => verb.run(common),
            Verb::Fermi(verb) => verb.run(common),
            Verb::Merge(verb) => return verb.run(common),
            Verb::Bench(verb) => verb.run(common),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}
