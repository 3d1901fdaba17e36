//! Text to token ids and back: byte-pair encodings of Hugging Face folders, or what a GGUF file holds of one.

pub mod learn;

use crate::model::llama::LlamaConfig;
use crate::model::weights::{Layout, gguf};
use crate::{Error, Result};
use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use std::path::{Path, PathBuf};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

/// Rows of a model's vocabulary that may be without a token; of a large one an eighth.
const FILLERS: usize = 512;

/// A tokenizer and where it comes from.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    source: PathBuf,
}

impl Tokenizer {
    /// `tokenizer.json` of the folder of a model (beside a GGUF file too); else from the metadata of the GGUF file.
    ///
    /// # Errors
    /// [`Error::Format`] where there is none, one that cannot be read, or beside a GGUF file one of other tokens than it holds.
    pub fn open(path: &Path) -> Result<Self> {
        let layout = Layout::of(path)?;
        let folder = match &layout {
            Layout::Folder(folder) => folder.clone(),
            Layout::Gguf(file) => file.parent().unwrap_or(Path::new(".")).to_path_buf(),
        };
        let source = folder.join("tokenizer.json");
        match layout {
            Layout::Gguf(file) if source.is_file() => {
                let tokenizer = Self::read(&source)?;
                tokenizer.check_tokens(&file)?;
                Ok(tokenizer)
            }
            Layout::Folder(_) if source.is_file() => Self::read(&source),
            Layout::Gguf(file) => Self::from_gguf(&file),
            Layout::Folder(_) => Err(Error::format(&folder, "tokenizer: expected a tokenizer.json, found none")),
        }
    }

    /// A `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn read(file: &Path) -> Result<Self> {
        let inner = tokenizers::Tokenizer::from_file(file).map_err(|e| Error::format(file, e.to_string()))?;
        Ok(Tokenizer { inner, source: file.into() })
    }

    fn from_gguf(file: &Path) -> Result<Self> {
        let (content, _) = gguf::open(file)?;
        let fail = |e: String| Error::format(file, format!("tokenizer: {e}"));
        let mut inner = tokenizers::Tokenizer::from_gguf(&content).map_err(|e| fail(e.to_string()))?;
        let kind = content.metadata.get("tokenizer.ggml.pre").and_then(|v| v.to_string().ok());
        if kind.is_some_and(|kind| kind == "smollm") {
            // Digits one by one, and no space put before the first word.
            let digits = Digits::new(true).into();
            let pieces = Sequence::new(vec![digits, ByteLevel::new(false, true, true).into()]);
            inner.with_pre_tokenizer(Some(pieces));
        }
        let adds = |key: &str| matches!(content.metadata.get(key), Some(Value::Bool(true)));
        if adds("tokenizer.ggml.add_eos_token") {
            return Err(fail("add_eos_token: expected false (an end after every text is not supported)".into()));
        }
        Ok(Tokenizer { inner, source: file.into() })
    }

    /// Whether the tokens are those of a GGUF file, where it has some: up to one in a hundred, as converters write fillers and added
    /// tokens in ways of their own.
    fn check_tokens(&self, file: &Path) -> Result<()> {
        let tokens = gguf::tokens(file)?;
        let known = |(id, token)| Some((id, token, self.inner.id_to_token(id as u32)?));
        let pairs: Vec<(usize, &String, String)> = tokens.iter().enumerate().filter_map(known).collect();
        let different: Vec<_> = pairs.iter().filter(|(_, expected, found)| *expected != found).collect();
        match different.first() {
            Some((id, expected, found)) if different.len() > pairs.len() / 100 => {
                let (n, file) = (different.len(), file.display());
                let what =
                    format!("token {id}: expected {expected:?} as in {file}, found {found:?} ({n} tokens differ)");
                Err(Error::format(&self.source, what))
            }
            _ => Ok(()),
        }
    }

    /// The file it was read from.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Ids of a text; what is written as a special token becomes that token. `special`: with the tokens that the
    /// tokenizer puts around a text (a beginning-of-text token, for many models).
    ///
    /// # Errors
    /// [`Error::Format`] from the tokenizer.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, special).map_err(|e| Error::format(&self.source, e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Byte ranges of the tokens that [`Tokenizer::encode`] gives; those put around a text have empty ones.
    ///
    /// # Errors
    /// [`Error::Format`] from the tokenizer.
    pub fn offsets(&self, text: &str, special: bool) -> Result<Vec<(usize, usize)>> {
        let encoding = self.inner.encode(text, special).map_err(|e| Error::format(&self.source, e.to_string()))?;
        Ok(encoding.get_offsets().to_vec())
    }

    /// The text of ids; `special`: with special tokens written out.
    ///
    /// # Errors
    /// [`Error::Format`] from the tokenizer.
    pub fn decode(&self, ids: &[u32], special: bool) -> Result<String> {
        self.inner.decode(ids, !special).map_err(|e| Error::format(&self.source, e.to_string()))
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// One more than the highest id.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// Checks that the model has a row for each token, and not many that no token is for (some models have a few hundred, to
    /// fill up their matrices), and that its ends of text are tokens.
    ///
    /// # Errors
    /// [`Error::Format`] for a tokenizer of another vocabulary.
    pub fn check(&self, config: &LlamaConfig) -> Result<()> {
        let (found, rows) = (self.vocabulary(), config.vocab_size);
        let wrong = |what: String| Err(Error::format(&self.source, format!("vocabulary: expected {what}")));
        if found > rows {
            return wrong(format!("at most the {rows} tokens of the model, found {found}"));
        }
        if found + FILLERS < rows && found < rows - rows / 8 {
            return wrong(format!("about the {rows} tokens of the model, found {found}"));
        }
        match config.end_ids().iter().find(|id| self.inner.id_to_token(**id).is_none()) {
            Some(id) => wrong(format!("a token of id {id}, the model's end of text, found none")),
            None => Ok(()),
        }
    }

    /// Text from ids that come one at a time.
    pub fn stream(&self, special: bool) -> TextStream<'_> {
        TextStream { tokenizer: self, special, ids: Vec::new(), start: 0, told: 0 }
    }
}

/// Gives out text as soon as its bytes make whole characters.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    special: bool,
    ids: Vec<u32>,
    /// The ids before it were given out and are only context for those after.
    start: usize,
    /// Bytes of the text from `start` on that were given out.
    told: usize,
}

impl TextStream<'_> {
    /// Takes one more id; the text that is now certain.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids[self.start..], self.special)?;
        if text.ends_with('\u{fffd}') || text.len() <= self.told {
            return Ok(String::new());
        }
        let new = text[self.told..].to_string();
        // Some decoders treat the first token of a text apart: one told token stays as context.
        self.start = self.ids.len() - 1;
        self.told = self.tokenizer.decode(&self.ids[self.start..], self.special)?.len();
        Ok(new)
    }

    /// What is left, with replacement characters for bytes that never became one.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(self) -> Result<String> {
        let text = self.tokenizer.decode(&self.ids[self.start..], self.special)?;
        Ok(text.get(self.told..).unwrap_or_default().to_string())
    }
}
