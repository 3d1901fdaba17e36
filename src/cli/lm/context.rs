//! `tesseral lm context train | perplexity | generate`: models that read long contexts in parallel (CEPE).

mod generate;
mod perplexity;
mod train;

use anyhow::Result;
use clap::Subcommand;

use crate::cli::Common;

#[derive(Subcommand)]
pub(crate) enum Context {
    /// One stage of training, as a configuration says: masked, warm-up, contexts, distil
    Train(train::Train),
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
            Context::Train(verb) => verb.run(common),
            Context::Perplexity(verb) => verb.run(common),
            Context::Generate(verb) => verb.run(common),
        }
    }
}
