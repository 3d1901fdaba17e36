//! `tesseral lm screenshot evaluate`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::lm::screenshot::training::evaluate;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Evaluate {
    /// The run folder of `tesseral lm screenshot train`
    run: PathBuf,
    /// Lines of JSON; without any, the texts that it was validated on
    paths: Vec<PathBuf>,
}

impl Evaluate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let found = evaluate(&self.run, &self.paths)?;
        common.print(&found, || found.table())
    }
}
