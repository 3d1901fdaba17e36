//! `tesseral physics eigenvalues`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::spectrum::{EigenvalueOptions, Sources};
use tesseral::survey::outputs::EigenvaluesVerb;

use super::options::{Sharded, absolute, answer};
use crate::cli::{Common, three_numbers};

#[derive(Args)]
pub(crate) struct Eigenvalues {
    /// Structures, or folders of them
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// A fractional k; may be repeated
    #[arg(long, value_parser = three_numbers, required = true, allow_hyphen_values = true)]
    k: Vec<[f64; 3]>,
    /// Another Hamiltonian in place of the folder's, or a folder of predictions
    #[arg(long)]
    hamiltonian: Option<PathBuf>,
    /// Leave out eigenvectors of the overlap below this eigenvalue
    #[arg(long)]
    overlap_threshold: Option<f64>,
    /// Write eigenvalues.json and a table here
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    sharded: Sharded,
}

impl Eigenvalues {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let hamiltonians = absolute(self.hamiltonian.as_slice())?;
        let sources = Sources { hamiltonians, replace: true, overlap_threshold: self.overlap_threshold };
        let options = EigenvalueOptions { sources, k: self.k.clone() };
        let verb = EigenvaluesVerb { structures: absolute(&self.structures)?, options };
        answer(&verb, self.out.as_deref(), &self.sharded, common)
    }
}
