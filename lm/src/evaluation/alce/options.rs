//! Settings of the benchmark.

use super::data::Dataset;
use super::prompt::Passages;
use super::rerank::Mode;
use super::score;
use super::search::Method;
use crate::evaluation::compat::Compat;
use crate::evaluation::entailment::source::Source;
use crate::evaluation::request::Decoding;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How an answer comes about. The prompt files are made for one of them each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answering {
    /// At once (VANILLA, SUMM, SNIPPET, CLOSEDBOOK).
    #[default]
    Plain,
    /// In turns; the model may check documents (INTERACT).
    Check,
    /// In turns; the model may search (INLINESEARCH).
    Search,
}

/// Which statements are cited after the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostHoc {
    /// Those without a citation.
    Missing,
    /// All, anew.
    Overwrite,
}

/// Settings of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Name in results; absent: `alce_` and the name of the prompt file.
    #[serde(default)]
    pub name: Option<String>,
    /// The questions, JSON.
    pub data: PathBuf,
    /// The prompts, JSON.
    pub prompts: PathBuf,
    /// Which set; absent: by the name of the file.
    #[serde(default)]
    pub dataset: Option<Dataset>,
    /// How an answer comes about.
    #[serde(default)]
    pub answering: Answering,
    /// What is shown of the documents.
    #[serde(default)]
    pub passages: Passages,
    /// Demonstrations.
    #[serde(default = "two")]
    pub shots: usize,
    /// Documents shown; 0: none (then the prompt has no place for them).
    #[serde(default = "five")]
    pub documents: usize,
    /// Documents shown in demonstrations; absent: as many.
    #[serde(default)]
    pub demonstration_documents: Option<usize>,
    /// Draws the demonstrations.
    #[serde(default = "seed")]
    pub seed: u32,
    /// How is generated; its seed goes up by one with each sample. Absent: at most 300 tokens of one line at temperature
    /// 0.5. Where only some settings are given, the others are those of [`Decoding::default`].
    #[serde(default = "decoding")]
    pub decoding: Decoding,
    /// As a conversation: the original's system message, and the prompt as the user's turn.
    #[serde(default)]
    pub chat: bool,
    /// Answers to each question; several only with `rerank`.
    #[serde(default = "one")]
    pub samples: usize,
    /// How the best of several answers is found.
    #[serde(default)]
    pub rerank: Option<Mode>,
    /// Most turns of an answer.
    #[serde(default = "ten")]
    pub turns: usize,
    /// Most documents that are shown at one check.
    #[serde(default = "three")]
    pub checked: usize,
    /// In turns: the documents shown last are cited, whatever the model cites.
    #[serde(default)]
    pub cite_shown: bool,
    /// All documents of a question may be searched and cited, not only those shown.
    #[serde(default)]
    pub all_documents: bool,
    /// How a document is searched for.
    #[serde(default)]
    pub search: Method,
    /// Passages, one a line, from which the documents of each question are taken by BM25 instead of its own.
    #[serde(default)]
    pub collection: Option<PathBuf>,
    /// How many are taken.
    #[serde(default = "hundred")]
    pub retrieved: usize,
    /// Citations put in after the answer, from all documents of the question.
    #[serde(default)]
    pub post_hoc: Option<PostHoc>,
    /// What judges citations and claims.
    pub entailment: Source,
    /// Verdicts are kept in this file; it must be used with one model only.
    #[serde(default)]
    pub verdicts: Option<PathBuf>,
    /// What is scored.
    #[serde(default)]
    pub score: score::Options,
    /// Whether defects of the original are kept.
    #[serde(default)]
    pub compat: Compat,
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn three() -> usize {
    3
}

fn five() -> usize {
    5
}

fn ten() -> usize {
    10
}

fn hundred() -> usize {
    100
}

fn seed() -> u32 {
    42
}

fn decoding() -> Decoding {
    Decoding { max_tokens: 300, stop: vec!["\n".into()], temperature: 0.5, ..Decoding::default() }
}

impl Options {
    /// Whether they go together.
    ///
    /// # Errors
    /// [`Error::Config`], naming the setting.
    pub fn check(&self) -> Result<()> {
        self.decoding.check()?;
        let wrong = |key: &str, what: &str| Err(Error::config(key, what));
        match self {
            _ if self.samples == 0 => wrong("samples", "expected at least 1, found 0"),
            _ if self.samples > 1 && self.rerank.is_none() => {
                wrong("rerank", "expected a way to choose among several samples, found none")
            }
            _ if self.answering != Answering::Plain && self.turns == 0 => {
                wrong("turns", "expected at least 1, found 0")
            }
            _ if self.answering == Answering::Check && self.documents == 0 => {
                wrong("documents", "expected at least 1 to check, found 0")
            }
            _ if self.answering == Answering::Search && self.documents == 0 && !self.all_documents => wrong(
                "all_documents",
                "expected true where none is shown (else there is nothing to search), found false",
            ),
            _ if (self.all_documents || self.post_hoc.is_some())
                && self.documents > 0
                && self.passages != Passages::Text =>
            {
                wrong("passages", "expected text where all documents can be cited (their numbers are those shown)")
            }
            _ => Ok(()),
        }
    }
}
