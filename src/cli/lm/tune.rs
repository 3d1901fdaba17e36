//! `tesseral lm tune`.

use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use tesseral::lm::tuning::{TuneConfig, tune};

use crate::cli::{Common, Usage};
use crate::progress::{EXAMPLES, Progress, stop_on_interrupt};

#[derive(Args)]
pub(crate) struct Tune {
    /// A TOML file (configs/tune)
    config: PathBuf,
    /// The run folder
    #[arg(long)]
    out: PathBuf,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
}

impl Tune {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let config = TuneConfig::read(&self.config, &common.set).context(Usage("configuration"))?;
        let mut progress = Progress::with_units(common.quiet, EXAMPLES);
        let found = tune(&config, &self.out, self.resume, &mut progress, stop_on_interrupt())?;
        common.print(&found, || found.table())
    }
}
