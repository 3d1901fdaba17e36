//! `tesseral physics train`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::physics::training;
use tesseral::report;

use crate::cli::{Common, Pictures};
use crate::progress::{Progress, stop_on_interrupt};

#[derive(Args)]
pub(crate) struct Train {
    /// A TOML file (`tesseral config init physics`)
    config: PathBuf,
    /// The run folder
    #[arg(long)]
    out: PathBuf,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    pictures: Pictures,
}

impl Train {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let config = common.config(Some(&self.config))?;
        let mut progress = Progress::new(common.quiet);
        let report = training::train(&config, &self.out, self.resume, &mut progress, stop_on_interrupt())?;
        report::write_loss_curves(&self.out, &self.pictures.formats)?;
        common.print(&report, || report::training_table(&report))
    }
}
