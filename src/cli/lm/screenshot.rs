//! `tesseral lm screenshot render | train | evaluate`: language models that read text as pixels (PTP).

mod evaluate;
mod render;

use anyhow::Result;
use clap::Subcommand;
use tesseral::lm::screenshot::training::run::Report;
use tesseral::lm::screenshot::training::train;

use super::configured::Configured;
use crate::cli::Common;
use crate::progress::TEXT;

#[derive(Subcommand)]
pub(crate) enum Screenshot {
    /// Draw a text as such a model sees it
    Render(render::Render),
    /// Train a masked or autoregressive model, or a classifier, as a configuration says
    Train(Configured),
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
            Screenshot::Train(run) => run.run(common, TEXT, train, Report::table),
            Screenshot::Evaluate(verb) => verb.run(common),
        }
    }
}
