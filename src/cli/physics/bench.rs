//! `tesseral physics bench`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::report;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Bench {
    /// A structure, or a folder of them (the first is taken)
    structure: PathBuf,
    /// A TOML file; by default DeepH-E3's own widths
    #[arg(long)]
    config: Option<PathBuf>,
    /// Measured steps
    #[arg(long, default_value_t = 20)]
    repeats: usize,
}

impl Bench {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let config = common.config(self.config.as_deref())?;
        let found = report::bench(&self.structure, &config.covariant, self.repeats)?;
        common.print(&found, || serde_json::to_string_pretty(&found).unwrap_or_default())
    }
}
