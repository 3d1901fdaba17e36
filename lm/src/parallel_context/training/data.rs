//! Documents made into samples: texts with their contexts, or texts in which tokens will be hidden.

use super::config::{ContextDataConfig, Stage, Supply};
use crate::data::documents::{Content, Reader};
use crate::model::tokenizer::Tokenizer;
use crate::parallel_context::examples::{ContextBatch, Contexts, Example, Selection, pieces};
use crate::parallel_context::retrieval::Retriever;
use crate::parallel_context::windows::{self, Windows};
use crate::{Error, Result};
use rand::Rng;
use std::path::PathBuf;

/// Token ids of the documents of some files, `skip` of them left out, `most` at most.
pub(super) fn documents(
    paths: &[PathBuf],
    field: &str,
    tokenizer: &Tokenizer,
    skip: usize,
    most: Option<usize>,
) -> Result<Vec<Vec<u32>>> {
    let content = Content::Text(field.into());
    let reader = Reader::new(&content, Some(tokenizer));
    let end = most.map_or(usize::MAX, |most| most.saturating_add(skip));
    let mut all: Vec<Vec<u32>> = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|e| e == "npy") {
            all.extend(windows::read(path)?);
        } else {
            for document in reader.open(path)? {
                if all.len() >= end {
                    break;
                }
                all.push(document?.ids);
            }
        }
    }
    all.truncate(end);
    Ok(all.split_off(skip.min(all.len())))
}

/// Samples by number, a function of that alone but for what is left out at random.
pub(super) struct Samples<'a> {
    windows: Windows,
    selection: Selection,
    texts: usize,
    /// Numbers of samples, spread over all.
    numbers: Vec<usize>,
    retriever: Option<&'a Retriever<'a>>,
}

impl<'a> Samples<'a> {
    pub(super) fn new(
        config: &ContextDataConfig,
        stage: Stage,
        documents: &[Vec<u32>],
        samples: Option<usize>,
        retriever: Option<&'a Retriever<'a>>,
    ) -> Result<Self> {
        let (count, length, decoder) = (config.contexts, config.context_tokens, config.decoder_tokens);
        let (contexts, previous) = match (stage, config.supply) {
            (Stage::WarmUp, _) => (Contexts::Duplicate, 0),
            (_, Supply::Retrieved) => (Contexts::None, length),
            (_, Supply::Previous) => (Contexts::Previous, count * length),
        };
        let windows = Windows::new(documents, previous, decoder, config.placing)?;
        let all = windows.len() / config.texts;
        let wanted = samples.unwrap_or(all).min(all);
        if wanted == 0 {
            let needed = previous + decoder;
            let what = format!(
                "expected documents of {needed} tokens and {} windows of them, found {}",
                config.texts,
                windows.len()
            );
            return Err(Error::config("data", what));
        }
        let numbers = (0..wanted).map(|k| k * all / wanted).collect();
        let selection = Selection { contexts, count, length, decoder, counted: None };
        let retriever = retriever.filter(|_| config.supply == Supply::Retrieved && stage != Stage::WarmUp);
        Ok(Samples { windows, selection, texts: config.texts, numbers, retriever })
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Tokens with a loss in each sample.
    pub(super) fn counted(&self) -> usize {
        self.texts * (self.selection.decoder - 1)
    }

    /// Tokens that go through encoder and decoder in each sample.
    pub(super) fn tokens(&self) -> usize {
        self.texts * (self.selection.decoder + self.selection.count * self.selection.length)
    }

    /// Texts of a sample.
    pub(super) fn examples(&self, number: usize) -> Result<Vec<Example>> {
        // Texts of one sample lie far apart, so that those of others are negatives.
        let apart = self.windows.len() / self.texts;
        let window = |text: usize| self.numbers[number] + text * apart;
        let example = |window: usize| {
            let (previous, tokens) = self.windows.get(window);
            let mut example = self.selection.example(previous, tokens);
            if let Some(retriever) = self.retriever {
                example.contexts =
                    retriever.find(previous, self.selection.count, Some(self.windows.document(window)))?;
            }
            Ok(example)
        };
        (0..self.texts).map(window).map(example).collect()
    }

    pub(super) fn batch(&self, number: usize) -> Result<ContextBatch> {
        ContextBatch::new(&self.examples(number)?)
    }
}

/// Texts of the masked stage: pieces of all documents in a row, some to a sample.
pub(super) struct Texts {
    pieces: Vec<Vec<u32>>,
    numbers: Vec<usize>,
    texts: usize,
}

impl Texts {
    pub(super) fn new(config: &ContextDataConfig, documents: &[Vec<u32>], samples: Option<usize>) -> Result<Self> {
        let ids: Vec<u32> = documents.iter().flatten().copied().collect();
        let pieces = pieces(&ids, config.context_tokens);
        let all = pieces.len() / config.texts;
        let wanted = samples.unwrap_or(all).min(all);
        if wanted == 0 {
            let what = format!("expected {} texts, found {}", config.texts, pieces.len());
            return Err(Error::config("data", what));
        }
        let numbers = (0..wanted).map(|k| k * all / wanted).collect();
        Ok(Texts { pieces, numbers, texts: config.texts })
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn get(&self, number: usize) -> Vec<&[u32]> {
        let apart = self.pieces.len() / self.texts;
        (0..self.texts).map(|text| self.pieces[self.numbers[number] + text * apart].as_slice()).collect()
    }

    pub(super) fn tokens(&self, number: usize) -> usize {
        self.get(number).iter().map(|text| text.len()).sum()
    }
}

/// Leaves out contexts of a sample.
pub(super) fn mask(config: &ContextDataConfig, batch: &mut ContextBatch, random: &mut impl Rng) {
    if let Some(masking) = &config.masking {
        batch.contexts.iter_mut().for_each(|contexts| masking.apply(contexts, random));
    }
}
