//! `tesseral demo`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::demo;

use super::Common;
use crate::progress::{Progress, stop_on_interrupt};

#[derive(Args)]
pub(crate) struct Demo {
    /// Where to write run, prediction, pictures and metrics.json
    #[arg(long, default_value = "demo")]
    out: PathBuf,
    /// Minutes of training, all stages and the control together
    #[arg(long, default_value_t = demo::MINUTES)]
    minutes: f64,
    /// Another set of structures with its split
    #[arg(long)]
    data: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let options = demo::Options {
            out: self.out.clone(),
            minutes: self.minutes,
            data: self.data.clone(),
            set: common.set.clone(),
        };
        let metrics = demo::demo(&options, &mut Progress::new(common.quiet), stop_on_interrupt())?;
        common.print(&metrics, || metrics.table())?;
        Ok(ExitCode::SUCCESS)
    }
}
