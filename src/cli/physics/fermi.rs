//! `tesseral physics fermi`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::spectrum::{FermiOptions, Sources};
use tesseral::survey::outputs::FermiVerb;

use super::options::{MethodName, Sharded, Smeared, States, absolute, answer};
use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Fermi {
    /// Structures, or folders of them
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Another Hamiltonian in place of the folder's, or a folder of predictions
    #[arg(long)]
    hamiltonian: Option<PathBuf>,
    /// Leave out eigenvectors of the overlap below this eigenvalue
    #[arg(long)]
    overlap_threshold: Option<f64>,
    /// How it is found
    #[arg(long, value_enum, default_value = "counting")]
    method: MethodName,
    #[command(flatten)]
    smeared: Smeared,
    #[command(flatten)]
    states: States,
    /// Write fermi.json and a table here
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    sharded: Sharded,
}

impl Fermi {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let hamiltonians = absolute(self.hamiltonian.as_slice())?;
        let sources = Sources { hamiltonians, replace: true, overlap_threshold: self.overlap_threshold };
        let method = self.smeared.method(self.method);
        let options = FermiOptions { sources, mesh: self.states.mesh(), filling: self.states.filling(), method };
        let verb = FermiVerb { structures: absolute(&self.structures)?, options };
        answer(&verb, self.out.as_deref(), &self.sharded, common)
    }
}
