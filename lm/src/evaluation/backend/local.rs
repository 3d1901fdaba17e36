//! A model on this machine.

use super::{Backend, Tell};
use crate::evaluation::request::{Decoding, Prompt, Request, Response};
use crate::model::generate::{GenerateOptions, PromptReader, TextModel};
use crate::model::sampling::Sampling;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Layout, Storage};
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tesseral_datasets::files::{sha256, sha256_file};

/// A Llama-family model with its tokenizer. Requests are answered in the order of their tokens, so that a prefix which
/// several share goes through the model once; an answer does not depend on the others, to the bit.
pub struct Local {
    model: TextModel,
    identity: String,
    work: AtomicUsize,
}

/// Tokens of a prompt that go through the model at a time. Prompts share whole blocks.
const BLOCK: usize = 256;

/// The token ids of a request: what is read, and what is scored after it.
struct Tokens {
    prompt: Vec<u32>,
    scored: Vec<u32>,
}

impl Local {
    /// Reads a Hugging Face folder or a GGUF file. The identity is the SHA-256 of its files and how weights are kept.
    ///
    /// # Errors
    /// As [`TextModel::open`]; [`Error::Io`].
    pub fn open(path: &Path, storage: Storage) -> Result<Self> {
        let identity = format!("local:{}:{storage:?}", fingerprint(path)?).to_lowercase();
        Ok(Self::new(TextModel::open(path, storage)?, identity))
    }

    /// A model in memory, under a name that stands for its weights.
    pub fn new(model: TextModel, identity: String) -> Self {
        Local { model, identity, work: AtomicUsize::new(0) }
    }

    /// Tokens that went through the model so far, generated ones left out.
    pub fn work(&self) -> usize {
        self.work.load(Ordering::Relaxed)
    }

    /// The text of a prompt, and whether the tokenizer adds its own tokens around it: a template writes them out itself.
    fn text(&self, prompt: &Prompt) -> Result<(String, bool)> {
        match prompt {
            Prompt::Text(text) => Ok((text.clone(), true)),
            Prompt::Chat(turns) => match turns.split_last() {
                Some((last, before)) if last.role == "assistant" => {
                    Ok((self.model.chat_prompt(before)? + &last.content, false))
                }
                _ => Ok((self.model.chat_prompt(turns)?, false)),
            },
        }
    }

    /// As lm-evaluation-harness does: prompt and continuation are written as one text, and the continuation has the tokens
    /// beyond those of the prompt; blanks at the end of the prompt belong to the continuation.
    fn tokens(&self, request: &Request) -> Result<Tokens> {
        let encode = |text: &str, special| self.model.tokenizer.encode(text, special);
        let (prompt, scored) = match request {
            Request::Generate { prompt, .. } => {
                let (text, special) = self.text(prompt)?;
                (encode(&text, special)?, Vec::new())
            }
            Request::LogLikelihood { prompt, continuation } => {
                let (text, special) = self.text(prompt)?;
                let mut whole = encode(&format!("{text}{continuation}"), special)?;
                let scored = whole.split_off(encode(text.trim_end(), special)?.len().min(whole.len()));
                if scored.is_empty() {
                    let what = format!("expected a text that adds a token to its prompt, found {continuation:?}");
                    return Err(Error::config("continuation", what));
                }
                (whole, scored)
            }
            Request::Rolling { text } => (Vec::new(), encode(text, true)?),
        };
        let prompt = if prompt.is_empty() { vec![self.beginning()?] } else { prompt };
        let (limit, found) = (self.model.decoder.config().max_position_embeddings, prompt.len() + scored.len());
        if found > limit && !matches!(request, Request::Rolling { .. }) {
            let what = format!("expected at most the {limit} tokens of the model, found {found}");
            return Err(Error::config("prompt", what));
        }
        Ok(Tokens { prompt, scored })
    }

    /// What stands before a text that begins from nothing: the beginning token, else an end token.
    fn beginning(&self) -> Result<u32> {
        let config = self.model.decoder.config();
        let id = config.other.get("bos_token_id").and_then(serde_json::Value::as_u64);
        id.and_then(|id| u32::try_from(id).ok())
            .or(config.end_ids().first().copied())
            .ok_or_else(|| Error::config("prompt", "expected a token, or a model that names its beginning token"))
    }

    fn score(&self, reader: &mut PromptReader, tokens: &Tokens) -> Result<Response> {
        let decoder = &self.model.decoder;
        let first = reader.read(decoder, &tokens.prompt)?.to_vec();
        // The last token predicts nothing that is asked for.
        let rest = reader.rows_after(decoder, &tokens.scored[..tokens.scored.len() - 1])?;
        let (mut sum, mut greedy) = (0.0, true);
        for (logits, id) in std::iter::once(&first).chain(&rest).zip(&tokens.scored) {
            let (log_probability, best) = log_probability(logits, *id)?;
            sum += log_probability;
            greedy &= best;
        }
        Ok(Response::LogLikelihood { sum, tokens: tokens.scored.len(), greedy })
    }

    /// Windows of the model's length one after the other; the first token of each window is predicted from the last token
    /// of the one before alone.
    fn roll(&self, reader: &mut PromptReader, tokens: &Tokens) -> Result<Response> {
        let window = self.model.decoder.config().max_position_embeddings.saturating_sub(1).max(1);
        let (mut sum, mut greedy, mut before) = (0.0, true, tokens.prompt.clone());
        for part in tokens.scored.chunks(window) {
            let piece = Tokens { prompt: before, scored: part.to_vec() };
            if let Response::LogLikelihood { sum: more, greedy: all, .. } = self.score(reader, &piece)? {
                sum += more;
                greedy &= all;
            }
            before = part.last().copied().into_iter().collect();
        }
        Ok(Response::LogLikelihood { sum, tokens: tokens.scored.len(), greedy })
    }

    fn generate(&self, reader: &mut PromptReader, prompt: &[u32], decoding: &Decoding) -> Result<Response> {
        let room = self.model.decoder.config().max_position_embeddings.saturating_sub(prompt.len());
        let options = GenerateOptions {
            max_tokens: decoding.max_tokens.min(room),
            sampling: Sampling {
                temperature: decoding.temperature,
                top_k: 0,
                top_p: decoding.top_p,
                seed: decoding.seed,
            },
            stop: decoding.stop.clone(),
            ..GenerateOptions::default()
        };
        let generated = self.model.continue_ids(reader, prompt, &options, &mut |_| ())?;
        Ok(Response::Text { text: generated.text })
    }
}

impl Backend for Local {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
        let tokens = requests.iter().map(|request| self.tokens(request)).collect::<Result<Vec<_>>>()?;
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by(|a, b| (&tokens[*a].prompt, &tokens[*a].scored).cmp(&(&tokens[*b].prompt, &tokens[*b].scored)));
        let mut reader = PromptReader::new(self.model.decoder.config(), 0).with_block(BLOCK);
        for place in order {
            let (request, tokens) = (&requests[place], &tokens[place]);
            let response = match request {
                Request::LogLikelihood { .. } => self.score(&mut reader, tokens)?,
                Request::Rolling { .. } => self.roll(&mut reader, tokens)?,
                Request::Generate { decoding, .. } => self.generate(&mut reader, &tokens.prompt, decoding)?,
            };
            tell(place, response)?;
        }
        self.work.fetch_add(reader.work(), Ordering::Relaxed);
        Ok(())
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(&self.model.tokenizer)
    }

    fn context(&self) -> Option<usize> {
        Some(self.model.decoder.config().max_position_embeddings)
    }
}

/// The log-probability of one id under logits, nats, and whether it is the most probable (the lowest of equals).
fn log_probability(logits: &[f32], id: u32) -> Result<(f64, bool)> {
    let Some(mine) = logits.get(id as usize).copied() else {
        return Err(Error::config("token", format!("expected an id below {}, found {id}", logits.len())));
    };
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(l - top).exp()).sum();
    let found = f64::from(mine - top) - sum.ln();
    if !found.is_finite() {
        return Err(Error::config("model", format!("expected finite logits, found a log-probability of {found}")));
    }
    let best = logits.iter().position(|l| *l == top) == Some(id as usize);
    Ok((found, best))
}

/// SHA-256 over the names and checksums of the files that make a model.
fn fingerprint(path: &Path) -> Result<String> {
    let (folder, weights) = match Layout::of(path)? {
        Layout::Folder(folder) => (folder, None),
        Layout::Gguf(file) => (file.parent().unwrap_or(Path::new(".")).to_path_buf(), Some(file)),
    };
    let part = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tensors = weights.is_none() && name.ends_with(".safetensors");
        let text = name.ends_with(".json") || name.ends_with(".jinja");
        weights.as_ref() == Some(file) || tensors || (text && !name.contains("trainer"))
    };
    let entries = fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut files: Vec<PathBuf> = entries.map_err(Error::io(&folder))?.iter().map(fs::DirEntry::path).collect();
    files.retain(|file| file.is_file() && part(file));
    files.sort();
    let mut all = String::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.push_str(&format!("{name} {}\n", sha256_file(&file)?));
    }
    Ok(sha256(all.as_bytes()))
}

#[cfg(test)]
mod tests;
