//! `tesseral physics compare`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::compare::{self, Task};
use tesseral::physics::comparison::{Counting, Options, Sampling, SpectrumOptions};
use tesseral::physics::electronic::spectral_error;

use super::options::{Sharded, absolute};
use crate::cli::{Common, Pictures, divisions, window};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Compare {
    /// Structures with known H, or folders of them
    #[arg(long, required = true, num_args = 1..)]
    reference: Vec<PathBuf>,
    /// Predictions: folders with hamiltonian_pred.h5 or another H, folders of them, or files; paired by folder name
    #[arg(long, required = true, num_args = 1..)]
    prediction: Vec<PathBuf>,
    /// Write comparison.json, tables and pictures here
    #[arg(long)]
    out: Option<PathBuf>,
    /// Leave out blocks without overlap, as DeepH-dock does on request
    #[arg(long)]
    overlap_mask: bool,
    /// Matrix elements alone, no eigenvalues
    #[arg(long)]
    no_spectrum: bool,
    /// States to compare, eV from the Fermi level
    #[arg(long, value_parser = window, default_value = "-6,3", allow_hyphen_values = true)]
    window: [f64; 2],
    /// Distance of k points, inverse angstrom (2 pi included); a molecule has Gamma alone
    #[arg(long, default_value_t = 0.2, conflicts_with = "mesh")]
    spacing: f64,
    /// Divisions of the k mesh instead, such as 12,12,1
    #[arg(long, value_parser = divisions)]
    mesh: Option<[usize; 3]>,
    /// For the predictions leave out eigenvectors of the overlap below this eigenvalue (against ghosts, try 0.005)
    #[arg(long)]
    overlap_threshold: Option<f64>,
    /// Electrons in the cell of every structure, if the files do not say
    #[arg(long)]
    electrons: Option<f64>,
    #[command(flatten)]
    sharded: Sharded,
    #[command(flatten)]
    pictures: Pictures,
}

impl Compare {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let spectral = spectral_error::Options { window_ev: self.window, overlap_threshold: self.overlap_threshold };
        let sampling = self.mesh.map_or(Sampling::Spacing(self.spacing), Sampling::Divisions);
        let spectrum = SpectrumOptions { sampling, spectral, electrons: self.electrons };
        let options = Options {
            counting: Counting { overlap_mask: self.overlap_mask, ..Counting::default() },
            spectrum: (!self.no_spectrum).then_some(spectrum),
        };
        let (references, predictions) = (absolute(&self.reference)?, absolute(&self.prediction)?);
        let task = Task { references, predictions, options, formats: self.pictures.formats.clone() };
        let mut progress = Progress::new(common.quiet);
        if let (Some(shard), Some(out)) = (self.sharded.shard, &self.out) {
            let report = task.compare_shard(out, shard, &mut progress)?;
            return common.print(&report, || report.line());
        }
        let found = task.compare(&mut progress)?;
        if let Some(out) = &self.out {
            compare::write(&found, out, &self.pictures.formats)?;
        }
        common.print(&found, || compare::tables::screen(&found))
    }
}
