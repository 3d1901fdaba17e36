//! `tesseral physics evaluate`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::physics::evaluation;
use tesseral::physics::model::Model;
use tesseral::report;

use crate::cli::Common;
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
}

impl Evaluate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let model = Model::load(&self.run)?;
        let found = evaluation::evaluate(&model, &self.data, &mut Progress::new(common.quiet))?;
        if let Some(out) = &self.out {
            report::write_evaluation(&found, out)?;
        }
        common.print(&report::without_points(&found)?, || report::evaluation_table(&found))
    }
}
