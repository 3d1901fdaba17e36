//! `tesseral lm bench`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tesseral::lm::benchmark::train_step;
use tesseral::lm::model::llama::LlamaConfig;
use tesseral::lm::objective::Recompute;

use crate::cli::{Common, at_least_one};

#[derive(Clone, Copy, ValueEnum)]
enum Again {
    None,
    FeedForward,
    Layers,
}

#[derive(Args)]
pub(crate) struct Bench {
    /// A config.json
    config: PathBuf,
    /// Tokens of the sequence
    #[arg(long, default_value_t = 1024, value_parser = at_least_one)]
    tokens: usize,
    /// Measured steps
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    repeats: usize,
    /// What the backward pass makes again
    #[arg(long, value_enum, default_value_t = Again::None)]
    recompute: Again,
}

impl Bench {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let config = LlamaConfig::read(&self.config)?;
        let recompute = match self.recompute {
            Again::None => Recompute::None,
            Again::FeedForward => Recompute::FeedForward,
            Again::Layers => Recompute::Layers,
        };
        let found = train_step(&config, self.tokens, self.repeats, recompute)?;
        common.print(&found, || serde_json::to_string_pretty(&found).unwrap_or_default())
    }
}
