//! `tesseral physics evaluate`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::physics::evaluation;
use tesseral::physics::model::Model;
use tesseral::report;
use tesseral::trained::Trained;

use super::options::{Sharded, absolute};
use crate::cli::{Common, Pictures};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Evaluate {
    /// A run folder
    run: PathBuf,
    /// Structures, or folders of them
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// Write the report, the parity plot and its points here
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: Pictures,
    #[command(flatten)]
    sharded: Sharded,
}

impl Evaluate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        if let (Some(shard), Some(out)) = (self.sharded.shard, &self.out) {
            let trained = Trained {
                run: std::path::absolute(&self.run)?,
                structures: absolute(&self.data)?,
                formats: self.pictures.formats.clone(),
            };
            let report = trained.evaluate(out, shard, &mut Progress::new(common.quiet))?;
            return common.print(&report, || report.line());
        }
        let model = Model::load(&self.run)?;
        let found = evaluation::evaluate(&model, &self.data, &mut Progress::new(common.quiet))?;
        if let Some(out) = &self.out {
            report::write_evaluation(&found, out, &self.pictures.formats)?;
        }
        common.print(&report::without_points(&found)?, || report::evaluation_table(&found))
    }
}
