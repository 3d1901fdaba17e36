//! The documents of files: lines of JSON with a text or a conversation, or arrays of token ids.

use super::packing::Document;
use super::sft;
use crate::error::kind;
use crate::model::chat::{ChatTemplate, Message};
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;
use tesseral_datasets::jsonl::Lines;
use tesseral_datasets::tokens::Tokens;

/// What a line holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text, in this field.
    Text(String),
    /// A list of turns, `{"role": .., "content": ..}`, in this field; only what the assistant says is trained on.
    Conversation(String),
}

/// How documents become token ids.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// What lines hold.
    pub content: &'a Content,
    /// For lines; arrays of ids do without.
    pub tokenizer: Option<&'a Tokenizer>,
    /// For conversations.
    pub template: Option<&'a ChatTemplate>,
    /// The id that closes a document in an array of ids.
    pub end: Option<u32>,
    /// Bytes of an id in a `.bin` file, 2 or 4.
    pub id_bytes: usize,
}

/// Documents, one in memory at a time.
pub type Documents<'a> = Box<dyn Iterator<Item = Result<Document>> + 'a>;

impl<'a> Reader<'a> {
    /// Without a chat template and an end of text; ids of two bytes.
    pub fn new(content: &'a Content, tokenizer: Option<&'a Tokenizer>) -> Self {
        Reader { content, tokenizer, template: None, end: None, id_bytes: 2 }
    }

    /// The documents of a file, in order: `.npy` (NumPy) and `.bin` (little-endian ids) are arrays of ids, anything
    /// else is lines of JSON; of a folder, its `.jsonl` files.
    ///
    /// # Errors
    /// A missing file; [`Error::Config`] for a tokenizer, template or end of text that is needed and missing; with each
    /// document, [`Error::Format`] naming file, line (from 1) and field.
    pub fn open(self, path: &Path) -> Result<Documents<'a>> {
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let tokens = match ending {
            "npy" => Tokens::npy(path)?,
            "bin" => Tokens::bin(path, self.id_bytes)?,
            _ => return self.lines(path),
        };
        let end = self.end.ok_or_else(|| {
            Error::config("eos", "expected the id that closes a document in an array of ids, found none")
        })?;
        Ok(Box::new(tokens.documents(end).map(|ids| Ok(Document::from(ids?)))))
    }

    fn lines(self, path: &Path) -> Result<Documents<'a>> {
        let missing = |what: &str| Error::config(what, format!("expected a model with a {what}, found none"));
        let tokenizer = self.tokenizer.ok_or_else(|| missing("tokenizer"))?;
        if matches!(self.content, Content::Conversation(_)) && self.template.is_none() {
            return Err(missing("chat template"));
        }
        let mut lines = Lines::<Map<String, Value>>::open(path)?;
        let documents = std::iter::from_fn(move || {
            let document = lines.next()?.map_err(Error::from).and_then(|line| {
                self.document(line, tokenizer).map_err(|error| match lines.place() {
                    Some((file, number)) => Error::format(file, format!("line {number}: {error}")),
                    None => error,
                })
            });
            Some(document)
        });
        Ok(Box::new(documents))
    }

    fn document(self, mut line: Map<String, Value>, tokenizer: &Tokenizer) -> Result<Document> {
        match self.content {
            Content::Text(field) => match line.get(field) {
                Some(Value::String(text)) => Ok(tokenizer.encode(text, true)?.into()),
                other => Err(Error::config(field, format!("expected a text, found {}", other.map_or("none", kind)))),
            },
            Content::Conversation(field) => {
                let turns = Vec::<Message>::deserialize(line.remove(field).unwrap_or(Value::Null));
                let turns = turns.map_err(|e| Error::config(field, format!("expected a list of turns, {e}")))?;
                let render = |turns: &[Message], open| match self.template {
                    Some(template) => template.render(turns, open),
                    None => Err(Error::config("chat template", "expected one, found none")),
                };
                let encode = |text: &str| tokenizer.encode(text, false);
                sft::document(&turns, &sft::Format { encode: &encode, render: &render })
            }
        }
    }
}
