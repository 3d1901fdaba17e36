//! `tesseral lm generate`.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use tesseral::lm::model::chat::Message;
use tesseral::lm::model::generate::{GenerateOptions, TextModel};
use tesseral::lm::model::sampling::Sampling;
use tesseral::lm::model::weights::Storage;

use crate::cli::{Common, Usage};

#[derive(Clone, Copy, ValueEnum)]
enum Memory {
    /// Weights in f32
    F32,
    /// Matrices in bf16: half the memory
    Bf16,
}

#[derive(Args)]
pub(crate) struct Generate {
    /// A Hugging Face folder, a GGUF file, or a folder with one
    #[arg(long)]
    model: PathBuf,
    /// The text to continue; `-` reads it from standard input
    #[arg(long)]
    prompt: String,
    /// Take the prompt as a user's turn and write it out with the model's chat template
    #[arg(long)]
    chat: bool,
    /// With --chat: what the system's turn says
    #[arg(long, requires = "chat")]
    system: Option<String>,
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
    /// How weights are kept
    #[arg(long, value_enum, default_value_t = Memory::F32)]
    dtype: Memory,
}

impl Generate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let sampling =
            Sampling { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p, seed: self.seed };
        sampling.validate().context(Usage("sampling"))?;
        let storage = match self.dtype {
            Memory::F32 => Storage::F32,
            Memory::Bf16 => Storage::Bf16,
        };
        let model = TextModel::open(&self.model, storage)?;
        let text = match self.prompt.as_str() {
            "-" => std::io::read_to_string(std::io::stdin())?,
            text => text.to_string(),
        };
        let prompt = if self.chat {
            let system = self.system.iter().map(|text| Message::new("system", text));
            let turns: Vec<Message> = system.chain([Message::new("user", &text)]).collect();
            model.chat_prompt(&turns)?
        } else {
            text
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
        let generated = model.generate(&prompt, &options, &mut tell)?;
        drop(out);
        if !common.quiet && !common.json {
            eprintln!(
                "\n{} tokens of prompt at {:.0}/s, {} new at {:.1}/s",
                generated.prompt_tokens,
                generated.prompt_tokens_per_s,
                generated.tokens.len(),
                generated.generated_tokens_per_s
            );
        }
        common.print(&generated, String::new)
    }
}
