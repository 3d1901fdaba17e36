//! `tesseral data inspect`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::data;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Inspect {
    /// A structure, or a folder of them
    path: PathBuf,
}

impl Inspect {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let found = data::inspect(&self.path)?;
        common.print(&found, || found.screen())?;
        Ok(ExitCode::SUCCESS)
    }
}
