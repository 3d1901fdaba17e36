//! `tesseral data stats`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::data;

use crate::cli::{Common, Pictures};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Stats {
    /// Structures, or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// A folder for tables (CSV, JSON) and pictures
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    pictures: Pictures,
}

impl Stats {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let found = data::stats(&self.paths, &mut Progress::new(common.quiet))?;
        if let Some(out) = &self.out {
            data::write_stats(&found, out, &self.pictures.formats)?;
        }
        common.print(&found, || data::stats_screen(&found))?;
        Ok(ExitCode::SUCCESS)
    }
}
