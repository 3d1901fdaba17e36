//! `tesseral lm context generate`.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use tesseral::lm::model::generate::GenerateOptions;
use tesseral::lm::model::sampling::Sampling;
use tesseral::lm::model::weights::Storage;
use tesseral::lm::parallel_context::generate::ContextTextModel;
use tesseral::lm::parallel_context::memory::{Keep, Reading};

use crate::cli::{Common, Usage};

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
    /// The text to continue; `-` reads it from standard input
    #[arg(long)]
    prompt: String,
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
    /// Most new tokens
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// 0: always the most probable token
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Draw from the k most probable tokens; 0: from all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Draw from the fewest tokens that have this probability together
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Of the random stream
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End before this text; may be repeated
    #[arg(long)]
    stop: Vec<String>,
}

impl Generate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let sampling =
            Sampling { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, seed: self.seed };
        sampling.validate().context(Usage("sampling"))?;
        let model = ContextTextModel::open(&self.model, Storage::F32)?;
        let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| path.display().to_string());
        let texts = self.context.iter().map(read).collect::<Result<Vec<_>>>()?;
        let contexts = model.contexts(&texts, self.context_tokens)?;
        let prompt = match self.prompt.as_str() {
            "-" => std::io::read_to_string(std::io::stdin())?,
            text => text.to_string(),
        };
        let keep = match self.keep {
            Kept::States => Keep::States,
            Kept::KeysValues => Keep::KeysValues,
        };
        let options =
            GenerateOptions { max_tokens: self.max_tokens, sampling, stop: self.stop.clone(), ..Default::default() };
        let mut out = std::io::stdout().lock();
        // Text appears as it is made; with --json it comes whole. Nobody reading is no failure.
        let mut tell = |piece: &str| {
            if !common.json {
                let _ = write!(out, "{piece}").and_then(|()| out.flush());
            }
        };
        let reading = Reading { keep, block: self.block };
        let found = model.generate(&prompt, &contexts, reading, &options, &mut tell)?;
        drop(out);
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
