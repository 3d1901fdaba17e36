//! `tesseral lm replay`.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tesseral::lm::configuration::Configuration;
use tesseral::lm::model::weights::save::SaveOptions;
use tesseral::lm::tuning::TuneConfig;
use tesseral::lm::tuning::run::replayed;

use crate::cli::{Common, Usage};

#[derive(Args)]
pub(crate) struct Replay {
    /// The folder of a run of `lm tune` with `method = "zeroth-order"`
    run: PathBuf,
    /// Where the model goes, a Hugging Face folder
    #[arg(long)]
    out: PathBuf,
    /// Its first steps alone
    #[arg(long)]
    steps: Option<u64>,
}

impl Replay {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let config = TuneConfig::read(&self.run.join("config.toml"), &common.set).context(Usage("configuration"))?;
        let tuned = replayed(&config, &self.run, self.steps)?;
        tuned.weights()?.save(&self.out, SaveOptions::default())?;
        common.print(&json!({"model": self.out}), || format!("model: {}\n", self.out.display()))
    }
}
