//! `tesseral physics eigenvalues`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::report;

use crate::cli::{Common, three_numbers};

#[derive(Args)]
pub(crate) struct Eigenvalues {
    /// A structure folder
    structure: PathBuf,
    /// A fractional k; may be repeated
    #[arg(long, value_parser = three_numbers, required = true, allow_hyphen_values = true)]
    k: Vec<[f64; 3]>,
    /// Another Hamiltonian in place of the folder's
    #[arg(long)]
    hamiltonian: Option<PathBuf>,
    /// Leave out eigenvectors of the overlap below this eigenvalue
    #[arg(long)]
    overlap_threshold: Option<f64>,
}

impl Eigenvalues {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let found = super::open(&self.structure, &self.hamiltonian, &self.overlap_threshold)?.eigenvalues(&self.k)?;
        common.print(&found, || report::eigenvalue_table(&found))
    }
}
