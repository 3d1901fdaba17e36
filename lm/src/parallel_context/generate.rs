//! Text from a model that reads contexts: these once, the prompt in blocks, then one token at a time.

use super::encoder::Context;
use super::examples::pieces;
use super::files::ContextWeights;
use super::memory::{Memory, Reading};
use super::model::ContextModel;
use crate::Result;
use crate::model::decoder::Cache;
use crate::model::generate::{GenerateOptions, Generated, Prompt, sample};
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::Storage;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Tokens of a prompt that go through the model at a time.
const BLOCK: usize = 512;

/// A model that reads contexts, with its tokenizer.
pub struct ContextTextModel {
    /// The network.
    pub model: ContextModel,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
}

/// What was generated, and what the contexts cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WithContexts {
    /// The text.
    #[serde(flatten)]
    pub generated: Generated,
    /// Contexts.
    pub contexts: usize,
    /// Tokens of all contexts.
    pub context_tokens: usize,
    /// Of them per second through the encoder.
    pub context_tokens_per_s: f64,
    /// Bytes that are kept of them.
    pub context_bytes: usize,
}

impl ContextTextModel {
    /// Reads a model folder with its tokenizer.
    ///
    /// # Errors
    /// Those of [`ContextWeights::open`] and [`Tokenizer::open`]; a tokenizer of another vocabulary.
    pub fn open(folder: &Path, storage: Storage) -> Result<Self> {
        let weights = ContextWeights::open(folder, storage)?;
        let tokenizer = Tokenizer::open(folder)?;
        tokenizer.check(&weights.shape.decoder)?;
        Ok(ContextTextModel { model: weights.model()?, tokenizer })
    }

    /// Texts as contexts: each in pieces of at most `length` tokens.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn contexts(&self, texts: &[String], length: usize) -> Result<Vec<Context>> {
        let mut all = Vec::new();
        for text in texts {
            all.extend(pieces(&self.tokenizer.encode(text, true)?, length));
        }
        Ok(all)
    }

    /// Continues a text; `tell` gets the new text piece by piece.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for an empty prompt or a sampling value out of range; those of the model.
    pub fn generate(
        &self,
        prompt: &str,
        contexts: &[Context],
        reading: Reading,
        options: &GenerateOptions,
        tell: &mut dyn FnMut(&str),
    ) -> Result<WithContexts> {
        options.sampling.validate()?;
        let ids = self.tokenizer.encode(prompt, true)?;
        let clock = Instant::now();
        let memory = self.model.read(contexts, &ids, reading)?;
        let seconds = clock.elapsed().as_secs_f64();
        let decoder = self.model.decoder();
        let mut cache = Cache::new(decoder.config(), ids.len() + options.max_tokens);
        let clock = Instant::now();
        let logits = self.model.last_logits(&mut cache, &ids, &memory)?;
        let read = Prompt { tokens: ids.len(), seconds: clock.elapsed().as_secs_f64(), logits };
        let end_ids = options.end_ids.clone().unwrap_or_else(|| decoder.config().end_ids());
        let mut next = |id| self.model.last_logits(&mut cache, &[id], &memory);
        let generated = sample(&self.tokenizer, read, &end_ids, options, &mut next, tell)?;
        let context_tokens = contexts.iter().map(Vec::len).sum();
        Ok(WithContexts {
            generated,
            contexts: contexts.len(),
            context_tokens,
            context_tokens_per_s: context_tokens as f64 / seconds.max(f64::MIN_POSITIVE),
            context_bytes: memory.bytes(),
        })
    }
}

impl ContextModel {
    /// The logits after the last of some tokens that follow those in the cache, read in blocks.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for no token; those of [`ContextModel::continue_from`].
    pub fn last_logits(&self, cache: &mut Cache, ids: &[u32], memory: &Memory) -> Result<Vec<f32>> {
        let mut last = Err(crate::Error::config("prompt", "expected at least one token, found none"));
        for block in ids.chunks(BLOCK) {
            last = Ok(self.continue_from(cache, block, memory)?);
        }
        let hidden = last?;
        let row = hidden.narrow(0, hidden.dim(0)? - 1, 1)?;
        Ok(self.decoder().logits(&row)?.flatten_all()?.to_vec1()?)
    }
}
