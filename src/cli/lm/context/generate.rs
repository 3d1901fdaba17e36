//! `tesseral lm context generate`.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tesseral::lm::model::weights::Storage;
use tesseral::lm::parallel_context::generate::ContextTextModel;
use tesseral::lm::parallel_context::memory::{Keep, Reading};

use crate::cli::Common;
use crate::cli::lm::writing::{Writing, tell};

#[derive(Clone, Copy, ValueEnum)]
enum Kept {
    /// The states of the encoder: least memory
    States,
    /// Keys and values of each layer: nothing is projected again
    KeysValues,
}

#[derive(Args)]
pub(crate) struct Generate {
    /// The folder of a model that reads contexts
    #[arg(long)]
    model: PathBuf,
    /// A file with a text to read as contexts; may be repeated
    #[arg(long)]
    context: Vec<PathBuf>,
    /// Tokens of a context: longer texts are cut into pieces
    #[arg(long, default_value_t = 256)]
    context_tokens: usize,
    /// Tokens of context that go through the encoder at a time
    #[arg(long, default_value_t = 4096)]
    block: usize,
    /// What is kept of the contexts
    #[arg(long, value_enum, default_value_t = Kept::States)]
    keep: Kept,
    #[command(flatten)]
    writing: Writing,
}

impl Generate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let options = self.writing.options()?;
        let model = ContextTextModel::open(&self.model, Storage::F32)?;
        let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
        let texts = self.context.iter().map(read).collect::<Result<Vec<_>>>()?;
        let contexts = model.contexts(&texts, self.context_tokens)?;
        let prompt = self.writing.prompt()?;
        let keep = match self.keep {
            Kept::States => Keep::States,
            Kept::KeysValues => Keep::KeysValues,
        };
        let reading = Reading { keep, block: self.block };
        let found = model.generate(&prompt, &contexts, reading, &options, &mut tell(common))?;
        if !common.quiet && !common.json {
            eprintln!(
                "\n{} tokens of {} contexts at {:.0}/s, {} kept bytes; {} new tokens at {:.1}/s",
                found.context_tokens,
                found.contexts,
                found.context_tokens_per_s,
                found.context_bytes,
                found.generated.tokens.len(),
                found.generated.generated_tokens_per_s
            );
        }
        common.print(&found, String::new)
    }
}
