//! `tesseral lm screenshot train`.

use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;
use tesseral::lm::screenshot::training::{ScreenshotConfig, train};

use crate::cli::{Common, Usage};
use crate::progress::{Progress, TEXT, stop_on_interrupt};

#[derive(Args)]
pub(crate) struct Train {
    /// A TOML file (see configs/screenshot)
    config: PathBuf,
    /// The run folder
    #[arg(long)]
    out: PathBuf,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
}

impl Train {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let config = ScreenshotConfig::read(&self.config, &common.set).context(Usage("configuration"))?;
        let mut progress = Progress::with_units(common.quiet, TEXT);
        let found = train(&config, &self.out, self.resume, &mut progress, stop_on_interrupt())?;
        common.print(&found, || found.table())
    }
}
