//! Rows of text for training: documents of JSON lines made into rows here, or rows that were packed before, in MDS folders,
//! mixed by proportion.

use super::config::{RowsConfig, TextConfig};
use super::corpus::Corpus;
use crate::data::collate::Collator;
use crate::data::documents::{Content, Reader};
use crate::data::mixing::{Mixture, Pick, Source};
use crate::data::packing::{Method, Packer, Packing};
use crate::data::prepare::{Place, files};
use crate::data::rows::mds::MdsRows;
use crate::data::rows::{Row, RowSource};
use crate::model::tokenizer::Tokenizer;
use crate::objective::Batch;
use crate::{Error, Result};
use std::path::Path;
use tesseral_nn::rng::Streams;

/// Rows of `config.row` tokens from the documents of its files, each closed by the end of text `end`.
pub(crate) fn batches(config: &TextConfig, tokenizer: Option<&Tokenizer>, end: Option<u32>) -> Result<Vec<Batch>> {
    let content = Content::Text(config.field.clone());
    let reader = Reader { end, ..Reader::new(&content, tokenizer) };
    let method = Method::Single { min_length: config.min_document, intact: false, overlap: 0, continuation: None };
    let refuse_longer = config.refuse_longer;
    let mut packer = Packer::new(Packing { eos: end, method, refuse_longer, ..Packing::new(config.row) })?;
    let wanted = config.rows.map_or(usize::MAX, |rows| rows.saturating_add(config.skip));
    let mut rows: Vec<Row> = Vec::new();
    let (mut documents, mut tokens) = (0, 0);
    'files: for path in &files(&config.paths)? {
        for (number, document) in reader.open(path)?.enumerate() {
            let document = document?;
            documents += 1;
            tokens += packer.tokens(&document);
            let place = Place { file: path, number: number + 1 };
            rows.extend(packer.push(document).map_err(|error| place.name(error))?);
            if rows.len() >= wanted {
                break 'files;
            }
        }
    }
    rows.extend(packer.finish());
    if rows.len() <= config.skip {
        let (expected, row) = (config.skip + 1, config.row);
        let what = format!(
            "expected text for {expected} rows of {row} tokens, found {documents} documents of {tokens} tokens"
        );
        return Err(Error::format(config.paths.first().map_or(Path::new(""), |path| path), what));
    }
    let collator = Collator { single_sequence: config.unmasked, ..Collator::default() };
    let kept = rows.iter().skip(config.skip).take(config.rows.unwrap_or(usize::MAX));
    kept.map(|row| batch(row, &collator)).collect()
}

fn batch(row: &Row, collator: &Collator) -> Result<Batch> {
    let flat = collator.batch([row])?;
    Batch::new(&flat.input_ids, &flat.labels, &flat.segments)
}

/// Packed rows of several folders in the order of their mixture.
pub(crate) struct MixedRows {
    sources: Vec<MdsRows>,
    order: Vec<Pick>,
    collator: Collator,
    vocabulary: usize,
}

/// Bytes of all sources together up to which the hash of every file and every row are looked at before a run begins.
const CHECKED_BEFORE: u64 = 1 << 26;

impl MixedRows {
    /// Opens the folders, relative ones from that of the configuration, for a model of so many tokens. Files are
    /// compared with the hashes of their index and rows with the vocabulary, here up to some size; rows again when
    /// they are read.
    pub(crate) fn open(config: &RowsConfig, vocabulary: usize, streams: Streams) -> Result<Self> {
        let (mut sources, mut shares) = (Vec::new(), Vec::new());
        for text in &config.sources {
            let source: Source = text.parse()?;
            let rows = MdsRows::open(&config.folder.join(&source.path))?;
            shares.push((rows.len(), source.share));
            sources.push(rows);
        }
        let key = |key: &str| if key == "epoch" { "data.rows.per_epoch".into() } else { format!("data.rows.{key}") };
        let named = |error| match error {
            Error::Config { key: short, what } => Error::Config { key: key(&short), what },
            other => other,
        };
        let order = Mixture::new(&shares, config.per_epoch, streams).map_err(named)?.epoch(0);
        let collator = Collator {
            instruct_masks: config.instruct_masks,
            single_sequence: config.unmasked,
            max_tokens: config.max_tokens,
        };
        let mixed = MixedRows { sources, order, collator, vocabulary };
        mixed.check()?;
        Ok(mixed)
    }

    fn check(&self) -> Result<()> {
        let mut left = CHECKED_BEFORE;
        for source in &self.sources {
            let Some(rest) = left.checked_sub(source.bytes()) else { continue };
            left = rest;
            source.verify()?;
            (0..source.len()).try_for_each(|number| self.row(source, number).map(drop))?;
        }
        Ok(())
    }

    /// A row that this model can be trained on.
    fn row(&self, source: &MdsRows, number: usize) -> Result<Row> {
        let row = source.row(number)?;
        let wrong = |what: String| Err(Error::format(source.folder(), format!("row {number}: {what}")));
        if let Some(id) = row.input_ids.iter().find(|id| **id as usize >= self.vocabulary) {
            let rows = self.vocabulary;
            return wrong(format!("input_ids: expected ids below the model's vocabulary of {rows}, found {id}"));
        }
        if self.collator.instruct_masks && row.mask.is_none() {
            return wrong("mask: expected one because of data.rows.instruct_masks, found none".into());
        }
        Ok(row)
    }
}

impl Corpus for MixedRows {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn batch(&self, number: usize) -> Result<Batch> {
        let pick = self.order[number];
        batch(&self.row(&self.sources[pick.source as usize], pick.row as usize)?, &self.collator)
    }
}
