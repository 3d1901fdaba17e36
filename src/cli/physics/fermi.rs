//! `tesseral physics fermi`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Fermi {
    /// A structure folder
    structure: PathBuf,
    /// Another Hamiltonian in place of the folder's
    #[arg(long)]
    hamiltonian: Option<PathBuf>,
    /// Distance of mesh points, inverse angstrom (2 pi included)
    #[arg(long, default_value_t = 0.1)]
    spacing: f64,
    /// Electrons in the cell, if info.json does not say
    #[arg(long)]
    electrons: Option<f64>,
    /// Leave out eigenvectors of the overlap below this eigenvalue
    #[arg(long)]
    overlap_threshold: Option<f64>,
}

impl Fermi {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let spectrum = super::open(&self.structure, &self.hamiltonian, &self.overlap_threshold)?;
        let found = spectrum.fermi(self.spacing, self.electrons)?;
        common.print(&found, || {
            format!("Fermi level {:.6} eV, gap {:.6} eV, {} electrons", found.fermi_ev, found.gap_ev, found.electrons)
        })
    }
}
