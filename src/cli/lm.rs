//! `tesseral lm pack | train | generate | recall | perplexity | screenshot | eval | bench`: a file a verb.

mod bench;
mod eval;
mod generate;
mod pack;
mod perplexity;
mod recall;
mod screenshot;
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
    /// Pack documents into rows to train on, an MDS folder
    Pack(pack::Pack),
    /// Recall of facts at a distance, by length and depth
    Recall(recall::Recall),
    /// Perplexity of the same tokens with more or less context
    Perplexity(perplexity::Perplexity),
    /// Models that read text as pixels: render, train, evaluate
    #[command(subcommand)]
    Screenshot(screenshot::Screenshot),
    /// Benchmarks: run, ls, validate
    #[command(subcommand)]
    Eval(eval::Eval),
    /// Speed and memory of a train step of a model's shape
    Bench(bench::Bench),
}

impl Verb {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        match self {
            Verb::Train(_) => {}
            Verb::Screenshot(verb) if verb.has_config() => {}
            _ => common.no_config()?,
        }
        match self {
            Verb::Generate(verb) => verb.run(common),
            Verb::Train(verb) => verb.run(common),
            Verb::Pack(verb) => verb.run(common),
            Verb::Recall(verb) => verb.run(common),
            Verb::Perplexity(verb) => verb.run(common),
            Verb::Screenshot(verb) => verb.run(common),
            Verb::Eval(verb) => verb.run(common),
            Verb::Bench(verb) => verb.run(common),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}
