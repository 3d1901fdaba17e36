//! `tesseral physics predict`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::physics::model::Model;
use tesseral::report;
use tesseral::trained::{Trained, predicted};

use super::options::{Sharded, absolute};
use crate::cli::{Common, listed};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Predict {
    /// A run folder
    run: PathBuf,
    /// Structures, or folders of them
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Each structure becomes a folder in it, with hamiltonian_pred.h5
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    sharded: Sharded,
}

impl Predict {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        if let Some(shard) = self.sharded.shard {
            let trained = Trained {
                run: std::path::absolute(&self.run)?,
                structures: absolute(&self.structures)?,
                formats: vec![],
            };
            let report = trained.predict(&self.out, shard, &mut Progress::new(common.quiet))?;
            return common.print(&report, || report.line());
        }
        let model = Model::load(&self.run)?;
        let written = report::predict(&model, &self.structures, &self.out, &mut Progress::new(common.quiet))?;
        common.print(&predicted(&written), || listed(&written).replace(' ', "\n"))
    }
}
