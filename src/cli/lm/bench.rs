//! `tesseral lm bench`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use tesseral::lm::benchmark::train_step;
use tesseral::lm::model::llama::LlamaConfig;
use tesseral::lm::objective::Recompute;

use crate::cli::Common;

#[derive(Args)]
pub(crate) struct Bench {
    /// A config.json
    config: PathBuf,
    /// Tokens of the sequence
    #[arg(long, default_value_t = 1024)]
    tokens: usize,
    /// Measured steps
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Keep only the inputs of layers and make the rest again
    #[arg(long)]
    recompute: bool,
}

impl Bench {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let config = LlamaConfig::read(&self.config)?;
        let recompute = if self.recompute { Recompute::Layers } else { Recompute::None };
        let found = train_step(&config, self.tokens, self.repeats, recompute)?;
        common.print(&found, || serde_json::to_string_pretty(&found).unwrap_or_default())
    }
}
