//! `tesseral lm context train | perplexity | generate`: models that read long contexts in parallel (CEPE).

mod generate;
mod perplexity;

use anyhow::Result;
use clap::Subcommand;
use tesseral::lm::parallel_context::training::{Report, train};

use super::configured::Configured;
use crate::cli::Common;
use crate::progress::TEXT;

#[derive(Subcommand)]
pub(crate) enum Context {
    /// One stage of training, as a configuration says: masked, warm-up, contexts, distil
    Train(Configured),
    /// Perplexity by number and kind of contexts
    Perplexity(perplexity::Perplexity),
    /// Continue a prompt, with texts as contexts
    Generate(generate::Generate),
}

impl Context {
    /// Whether the verb has a configuration that `--set` may change.
    pub(crate) fn has_config(&self) -> bool {
        matches!(self, Context::Train(_))
    }

    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        match self {
            Context::Train(run) => run.run(common, TEXT, train, Report::table),
            Context::Perplexity(verb) => verb.run(common),
            Context::Generate(verb) => verb.run(common),
        }
    }
}
