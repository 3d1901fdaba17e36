//! `tesseral lm generate`.

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use tesseral::lm::model::chat::Message;
use tesseral::lm::model::generate::TextModel;
use tesseral::lm::model::weights::Storage;

use super::writing::{Writing, tell};
use crate::cli::Common;

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
    /// Take the prompt as a user's turn and write it out with the model's chat template
    #[arg(long)]
    chat: bool,
    /// With --chat: what the system's turn says
    #[arg(long, requires = "chat")]
    system: Option<String>,
    #[command(flatten)]
    writing: Writing,
    /// How weights are kept
    #[arg(long, value_enum, default_value_t = Memory::F32)]
    dtype: Memory,
}

impl Generate {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let options = self.writing.options()?;
        let storage = match self.dtype {
            Memory::F32 => Storage::F32,
            Memory::Bf16 => Storage::Bf16,
        };
        let model = TextModel::open(&self.model, storage)?;
        let text = self.writing.prompt()?;
        let prompt = if self.chat {
            let system = self.system.iter().map(|text| Message::new("system", text));
            let turns: Vec<Message> = system.chain([Message::new("user", &text)]).collect();
            model.chat_prompt(&turns)?
        } else {
            text
        };
        let ids = model.tokenizer.encode(&prompt, true)?;
        let (length, limit) = (ids.len(), model.decoder.config().max_position_embeddings);
        if length.saturating_add(options.max_tokens) > limit && !common.quiet {
            let new = options.max_tokens;
            eprintln!("{length} tokens of prompt and up to {new} new ones: the model is made for {limit}");
        }
        let generated = model.generate_from(&ids, &options, &mut tell(common))?;
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
