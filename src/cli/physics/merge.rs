//! `tesseral physics merge`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Merge {
    /// The --out folder of the shards; the files of the verb are written there too
    out: PathBuf,
}

impl Merge {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let answer = tesseral::merge::merge(&self.out)?;
        common.print(&answer.value, || answer.text)?;
        Ok(if answer.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
