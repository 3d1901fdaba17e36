//! Text from a model: the prompt in blocks, then one token at a time from the cache.

use crate::model::chat::{ChatTemplate, Message};
use crate::model::decoder::{Cache, Decoder};
use crate::model::llama::LlamaConfig;
use crate::model::sampling::{Sampling, StopStrings};
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Storage, Weights};
use crate::{Error, Result};
use candle_core::Tensor;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Tokens of a prompt that go through the model at a time: at half as many a prompt takes a sixth more time.
pub(crate) const BLOCK: usize = 512;

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
        let decoder = Decoder::from_tensors(&weights.config, &weights.tensors)?.compacted()?;
        Ok(TextModel { decoder, tokenizer, chat: ChatTemplate::open(path)? })
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
        self.generate_from(&self.tokenizer.encode(prompt, true)?, options, tell)
    }

    /// As [`Self::generate`] for a prompt in token ids.
    ///
    /// # Errors
    /// As there.
    pub fn generate_from(
        &self,
        ids: &[u32],
        options: &GenerateOptions,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Generated> {
        let mut reader = PromptReader::new(self.decoder.config(), ids.len() + options.max_tokens);
        self.continue_ids(&mut reader, ids, options, tell)
    }

    /// Continues the text of some token ids. What the reader has read before is not read again.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn continue_ids(
        &self,
        reader: &mut PromptReader,
        ids: &[u32],
        options: &GenerateOptions,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Generated> {
        options.sampling.validate()?;
        let end_ids = options.end_ids.clone().unwrap_or_else(|| self.decoder.config().end_ids());
        let clock = Instant::now();
        let logits = reader.read(&self.decoder, ids)?.to_vec();
        let prompt = Prompt { tokens: ids.len(), seconds: clock.elapsed().as_secs_f64(), logits };
        let mut next = |id| next_logits(&self.decoder, &mut reader.cache, id);
        sample(&self.tokenizer, prompt, &end_ids, options, &mut next, tell)
    }
}

/// A prompt that was read.
pub(crate) struct Prompt {
    /// Its tokens.
    pub(crate) tokens: usize,
    /// Time that it took, s.
    pub(crate) seconds: f64,
    /// After its last token.
    pub(crate) logits: Vec<f32>,
}

/// Draws token after token; `next` gives the logits after one more.
pub(crate) fn sample(
    tokenizer: &Tokenizer,
    prompt: Prompt,
    end_ids: &[u32],
    options: &GenerateOptions,
    next: &mut dyn FnMut(u32) -> Result<Vec<f32>>,
    tell: &mut dyn FnMut(&str),
) -> Result<Generated> {
    let (mut stream, mut stops) = (tokenizer.stream(options.show_special), StopStrings::new(&options.stop));
    let (mut text, mut tokens, mut finish) = (String::new(), Vec::new(), "length");
    let mut logits = prompt.logits;
    let clock = Instant::now();
    let mut say = |piece: String| {
        if !piece.is_empty() {
            tell(&piece);
            text.push_str(&piece);
        }
    };
    while tokens.len() < options.max_tokens {
        let id = options.sampling.choose(&logits, (prompt.tokens + tokens.len()) as u64);
        tokens.push(id);
        let (piece, stopped) = stops.push(&stream.push(id)?);
        say(piece);
        if stopped || end_ids.contains(&id) {
            finish = if stopped { "stop" } else { "end" };
            break;
        }
        if tokens.len() < options.max_tokens {
            logits = next(id)?;
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
        prompt_tokens: prompt.tokens,
        finish,
        prompt_tokens_per_s: prompt.tokens as f64 / prompt.seconds.max(f64::MIN_POSITIVE),
        generated_tokens_per_s: tokens.len().saturating_sub(1) as f64 / seconds.max(f64::MIN_POSITIVE),
        tokens,
    })
}

/// Reads prompts one after the other; of what a prompt shares with the one before it, whole blocks are not read again.
/// Blocks begin at fixed places, so that what comes of a prompt does not depend on what was read before, to the bit.
pub struct PromptReader {
    cache: Cache,
    /// The prompt in the cache; what was generated after it is not part of it.
    ids: Vec<u32>,
    /// After its last token.
    logits: Vec<f32>,
    /// Tokens of a block.
    block: usize,
    /// Tokens that went through the model in all.
    work: usize,
}

impl PromptReader {
    /// With room for `tokens` tokens before anything is moved.
    pub fn new(config: &LlamaConfig, tokens: usize) -> Self {
        let cache = Cache::new(config, tokens);
        PromptReader { cache, ids: Vec::new(), logits: Vec::new(), block: BLOCK, work: 0 }
    }

    /// In blocks of so many tokens: more is shared of small ones, and they are slower.
    pub fn with_block(self, tokens: usize) -> Self {
        PromptReader { block: tokens.max(1), ..self }
    }

    /// The logits after the last token of a prompt.
    ///
    /// # Errors
    /// Those of the model; [`Error::Config`] for an empty prompt.
    pub fn read(&mut self, decoder: &Decoder, ids: &[u32]) -> Result<&[f32]> {
        if ids.is_empty() {
            return Err(Error::config("prompt", "expected at least one token, found none"));
        }
        if self.ids == ids {
            self.cache.truncate(ids.len());
            return Ok(&self.logits);
        }
        let shared = self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count().min(ids.len() - 1);
        let kept = shared / self.block * self.block;
        self.cache.truncate(kept);
        self.ids.clear();
        self.work += ids.len() - kept;
        self.logits = read_blocks(decoder, &mut self.cache, &ids[kept..], self.block)?;
        self.ids.extend_from_slice(ids);
        Ok(&self.logits)
    }

    /// Logits of the rows of `ids` that follow the prompt just read, the cache being as before afterwards.
    ///
    /// # Errors
    /// Those of the model.
    pub fn rows_after(&mut self, decoder: &Decoder, ids: &[u32]) -> Result<Vec<Vec<f32>>> {
        let before = self.cache.len();
        let mut rows = Vec::with_capacity(ids.len());
        for block in ids.chunks(self.block) {
            let hidden = decoder.continue_from(&mut self.cache, block)?;
            rows.extend(decoder.logits(&hidden)?.to_vec2::<f32>()?);
        }
        self.cache.truncate(before);
        self.work += ids.len();
        Ok(rows)
    }

    /// Tokens that went through the model in all: prompts without what they shared, and rows after them.
    pub fn work(&self) -> usize {
        self.work
    }
}

pub(crate) fn read_blocks(decoder: &Decoder, cache: &mut Cache, ids: &[u32], block: usize) -> Result<Vec<f32>> {
    let mut last = Err(Error::config("prompt", "expected at least one token, found none"));
    for block in ids.chunks(block) {
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
