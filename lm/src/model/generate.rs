//! Text from a model: the prompt in blocks, then one token at a time from the cache.

use crate::model::chat::{ChatTemplate, Message};
use crate::model::decoder::{Cache, Decoder};
use crate::model::sampling::{Sampling, StopStrings};
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Layout, Storage, Weights};
use crate::{Error, Result};
use candle_core::Tensor;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Tokens of a prompt that go through the model at a time.
const BLOCK: usize = 512;

/// How a text is continued.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Most tokens that are generated.
    pub max_tokens: usize,
    /// Which tokens.
    pub sampling: Sampling,
    /// The text ends before the first of these.
    pub stop: Vec<String>,
    /// Ids that end the text; none: those of the model.
    pub end_ids: Option<Vec<u32>>,
    /// Whether special tokens are written out.
    pub show_special: bool,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        GenerateOptions {
            max_tokens: 128,
            sampling: Sampling::default(),
            stop: Vec::new(),
            end_ids: None,
            show_special: false,
        }
    }
}

/// What was generated, and how fast.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generated {
    /// The new text, up to a stop string.
    pub text: String,
    /// The new tokens, an end token included.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Why it ended: `end` (an end token), `stop` (a string), `length`.
    pub finish: &'static str,
    /// Tokens of the prompt per second.
    pub prompt_tokens_per_s: f64,
    /// New tokens per second, the first (which is the prompt's) left out.
    pub generated_tokens_per_s: f64,
}

/// A model with its tokenizer.
pub struct TextModel {
    /// The network.
    pub decoder: Decoder,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How conversations are written out, if the model says.
    pub chat: Option<ChatTemplate>,
}

impl TextModel {
    /// Reads a model folder or GGUF file with its tokenizer.
    ///
    /// # Errors
    /// Those of [`Weights::open`] and [`Tokenizer::open`]; a tokenizer of another vocabulary.
    pub fn open(path: &Path, storage: Storage) -> Result<Self> {
        let weights = Weights::open(path, storage)?;
        let tokenizer = Tokenizer::open(path)?;
        tokenizer.check(&weights.config)?;
        let folder = match Layout::of(path)? {
            Layout::Folder(folder) => folder,
            Layout::Gguf(file) => file.parent().unwrap_or(Path::new(".")).to_path_buf(),
        };
        let decoder = Decoder::from_tensors(&weights.config, &weights.tensors)?;
        Ok(TextModel { decoder, tokenizer, chat: ChatTemplate::open(&folder)? })
    }

    /// The prompt of a conversation.
    ///
    /// # Errors
    /// [`Error::Config`] for a model without a chat template; those of the template.
    pub fn chat_prompt(&self, messages: &[Message]) -> Result<String> {
        match &self.chat {
            Some(chat) => chat.render(messages, true),
            None => Err(Error::config("chat", "expected a model with a chat template, found none")),
        }
    }

    /// Continues a text; `tell` gets the new text piece by piece.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty prompt or a sampling value out of range; those of the model.
    pub fn generate(&self, prompt: &str, options: &GenerateOptions, tell: &mut dyn FnMut(&str)) -> Result<Generated> {
        let ids = self.tokenizer.encode(prompt, true)?;
        options.sampling.validate()?;
        if ids.is_empty() {
            return Err(Error::config("prompt", "expected at least one token, found none"));
        }
        let end_ids = options.end_ids.clone().unwrap_or_else(|| self.decoder.config().end_ids());
        let mut cache = Cache::new(self.decoder.config(), ids.len() + options.max_tokens);
        let (mut stream, mut stops) = (self.tokenizer.stream(options.show_special), StopStrings::new(&options.stop));
        let (mut text, mut tokens, mut finish) = (String::new(), Vec::new(), "length");
        let clock = Instant::now();
        let mut logits = read_prompt(&self.decoder, &mut cache, &ids)?;
        let prompt_seconds = clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let mut say = |piece: String| {
            if !piece.is_empty() {
                tell(&piece);
                text.push_str(&piece);
            }
        };
        while tokens.len() < options.max_tokens {
            let id = options.sampling.choose(&logits, cache.len() as u64);
            tokens.push(id);
            let (piece, stopped) = stops.push(&stream.push(id)?);
            say(piece);
            if stopped || end_ids.contains(&id) {
                finish = if stopped { "stop" } else { "end" };
                break;
            }
            if tokens.len() < options.max_tokens {
                logits = next_logits(&self.decoder, &mut cache, id)?;
            }
        }
        let seconds = clock.elapsed().as_secs_f64();
        if finish != "stop" {
            let (piece, stopped) = stops.push(&stream.finish()?);
            say(piece);
            if !stopped {
                say(stops.finish());
            }
        }
        Ok(Generated {
            text,
            prompt_tokens: ids.len(),
            finish,
            prompt_tokens_per_s: ids.len() as f64 / prompt_seconds.max(f64::MIN_POSITIVE),
            generated_tokens_per_s: tokens.len().saturating_sub(1) as f64 / seconds.max(f64::MIN_POSITIVE),
            tokens,
        })
    }
}

/// Puts a prompt into the cache, in blocks; the logits after its last token.
///
/// # Errors
/// Those of the model; [`Error::Config`] for an empty prompt.
pub fn read_prompt(decoder: &Decoder, cache: &mut Cache, ids: &[u32]) -> Result<Vec<f32>> {
    let mut last = Err(Error::config("prompt", "expected at least one token, found none"));
    for block in ids.chunks(BLOCK) {
        last = Ok(decoder.continue_from(cache, block)?);
    }
    let hidden = last?;
    let row = hidden.narrow(0, hidden.dim(0)? - 1, 1)?;
    to_vec(&decoder.logits(&row)?)
}

/// The logits after one more token.
///
/// # Errors
/// Those of the model.
pub fn next_logits(decoder: &Decoder, cache: &mut Cache, id: u32) -> Result<Vec<f32>> {
    to_vec(&decoder.logits(&decoder.continue_from(cache, &[id])?)?)
}

fn to_vec(logits: &Tensor) -> Result<Vec<f32>> {
    Ok(logits.flatten_all()?.to_vec1()?)
}
