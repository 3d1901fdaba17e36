//! What all verbs that train share: a configuration, a run folder, an interrupted run to go on with.

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tesseral::lm;
use tesseral::lm::configuration::Configuration;
use tesseral::nn::train::Observer;

use crate::cli::{Common, Usage};
use crate::progress::{Progress, Units, stop_on_interrupt};

#[derive(Args)]
pub(crate) struct Configured {
    /// A TOML file (`tesseral config init`)
    config: PathBuf,
    /// The run folder
    #[arg(long)]
    out: PathBuf,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
}

impl Configured {
    /// Does the work that the configuration asks for, and prints its report.
    pub(crate) fn run<C: Configuration, R: Serialize>(
        &self,
        common: &Common,
        units: Units,
        work: impl FnOnce(&C, &Path, bool, &mut dyn Observer, &AtomicBool) -> lm::Result<R>,
        table: impl FnOnce(&R) -> String,
    ) -> Result<()> {
        let config = C::read(&self.config, &common.set).context(Usage("configuration"))?;
        let mut progress = Progress::with_units(common.quiet, units);
        let found = work(&config, &self.out, self.resume, &mut progress, stop_on_interrupt())?;
        common.print(&found, || table(&found))
    }
}
