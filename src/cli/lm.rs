//! `tesseral lm train | tune | replay | prune | context | screenshot | generate | pack | recall | perplexity | eval | bench`: a
//! file a verb.

mod bench;
mod configured;
mod context;
mod eval;
mod generate;
mod pack;
mod perplexity;
mod prune;
mod recall;
mod replay;
mod screenshot;
mod writing;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;
use tesseral::lm::{training, tuning};

use super::Common;
use crate::progress::{EXAMPLES, TEXT};
use configured::Configured;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Continue a prompt, or answer in a conversation
    Generate(generate::Generate),
    /// Train or continue to train a model as a configuration says
    Train(Configured),
    /// Tune a model to a task: by its loss alone (MeZO) or by gradients, beside what needs no tuning
    Tune(Configured),
    /// Make the model of a zeroth-order run from its first weights and its scalars
    Replay(replay::Replay),
    /// Cut a smaller model of a wanted shape out of a larger one
    Prune(prune::Prune),
    /// Pack documents into rows to train on, an MDS folder
    Pack(pack::Pack),
    /// Recall of facts at a distance, by length and depth
    Recall(recall::Recall),
    /// Perplexity of the same tokens with more or less context
    Perplexity(perplexity::Perplexity),
    /// Long contexts read in parallel (CEPE): train, perplexity, generate
    #[command(subcommand)]
    Context(context::Context),
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
            Verb::Train(_) | Verb::Tune(_) | Verb::Prune(_) => {}
            Verb::Context(verb) if verb.has_config() => {}
            Verb::Screenshot(verb) if verb.has_config() => {}
            _ => common.no_config()?,
        }
        match self {
            Verb::Generate(verb) => verb.run(common),
            Verb::Train(run) => run.run(common, TEXT, training::train, training::Report::table),
            Verb::Tune(run) => run.run(common, EXAMPLES, tuning::tune, tuning::Report::table),
            Verb::Replay(verb) => verb.run(common),
            Verb::Prune(verb) => verb.run(common),
            Verb::Pack(verb) => verb.run(common),
            Verb::Recall(verb) => verb.run(common),
            Verb::Perplexity(verb) => verb.run(common),
            Verb::Context(verb) => verb.run(common),
            Verb::Screenshot(verb) => verb.run(common),
            Verb::Eval(verb) => verb.run(common),
            Verb::Bench(verb) => verb.run(common),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}
