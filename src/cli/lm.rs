//! `tesseral lm generate | train | bench`: a file a verb.

mod bench;
mod generate;
mod train;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

use super::Common;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Continue a prompt, or answer in a conversation
    Generate(generate::Generate),
    /// Train or continue to train a model as a configuration says
    Train(train::Train),
    /// Speed and memory of a train step of a model's shape
    Bench(bench::Bench),
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        if !matches!(self, Verb::Train(_)) {
            common.no_config()?;
        }
        match self {
            Verb::Generate(verb) => verb.run(common),
            Verb::Train(verb) => verb.run(common),
            Verb::Bench(verb) => verb.run(common),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}
