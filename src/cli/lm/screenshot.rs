//! `tesseral lm screenshot render | train | evaluate`: language models that read text as pixels (PTP).

mod evaluate;
mod render;
mod train;

use anyhow::Result;
use clap::Subcommand;

use crate::cli::Common;

#[derive(Subcommand)]
pub(crate) enum Screenshot {
    /// Draw a text as such a model sees it
    Render(render::Render),
    /// Train a masked or autoregressive model, or a classifier, as a configuration says
    Train(train::Train),
    /// What a trained model reads, beside wrong and empty images
    Evaluate(evaluate::Evaluate),
}

impl Screenshot {
    /// Whether the verb has a configuration that `--set` may change.
    pub(crate) fn has_config(&self) -> bool {
        matches!(self, Screenshot::Train(_))
    }

    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        match self {
            Screenshot::Render(verb) => verb.run(common),
            Screenshot::Train(verb) => verb.run(common),
            Screenshot::Evaluate(verb) => verb.run(common),
        }
    }
}
