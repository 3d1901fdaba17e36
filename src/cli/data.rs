//! `tesseral data check | inspect | stats | split | convert`.

mod check;
mod convert;
mod inspect;
mod split;
mod stats;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

use super::Common;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Check structures by every rule; exit code 1 when one is broken
    Check(check::Check),
    /// Sum up what there is: elements, orbitals, pairs, sizes
    Inspect(inspect::Inspect),
    /// Distribution of H and S by elements, orbitals and distance; on-site energies
    Stats(stats::Stats),
    /// Draw a random split and write it as dataset_split.json
    Split(split::Split),
    /// Write structures of DeepH, DeePTB, ABACUS or SIESTA in a DeepH layout
    Convert(convert::Convert),
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        common.no_config()?;
        match self {
            Verb::Check(verb) => verb.run(common),
            Verb::Inspect(verb) => verb.run(common),
            Verb::Stats(verb) => verb.run(common),
            Verb::Split(verb) => verb.run(common),
            Verb::Convert(verb) => verb.run(common),
        }
    }
}
