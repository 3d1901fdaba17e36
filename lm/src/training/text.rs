//! Rows of text for training: documents of JSON lines made into rows here, or rows that were packed before, in MDS folders,
//! mixed by proportion.

use super::config::{RowsConfig, TextConfig};
use super::corpus::Corpus;
use crate::data::collate::Collator;
use crate::data::documents::{Content, Reader};
use crate::data::mixing::{Mixture, Pick, Source};
use crate::data::packing::{Method, Packer, Packing};
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
    let reader = Reader { content: &content, tokenizer, template: None, end };
    let method = Method::Single { min_length: config.min_document, intact: false, overlap: 0, continuation: None };
    let mut packer = Packer::new(Packing { eos: end, method, ..Packing::new(config.row) })?;
    let wanted = config.rows.map_or(usize::MAX, |rows| rows.saturating_add(config.skip));
    let mut rows: Vec<Row> = Vec::new();
    'files: for path in &config.paths {
        for document in reader.open(path)? {
            rows.extend(packer.push(document?)?);
            if rows.len() >= wanted {
                break 'files;
            }
        }
    }
    rows.extend(packer.finish());
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
}

impl MixedRows {
    /// Opens the folders; relative ones are taken from `folder`.
    pub(crate) fn open(config: &RowsConfig, folder: &Path, streams: Streams) -> Result<Self> {
        let (mut sources, mut shares) = (Vec::new(), Vec::new());
        for text in &config.sources {
            let source: Source = text.parse()?;
            let rows = MdsRows::open(&folder.join(&source.path))?;
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
        Ok(MixedRows { sources, order, collator })
    }
}

impl Corpus for MixedRows {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn batch(&self, number: usize) -> Result<Batch> {
        let pick = self.order[number];
        batch(&self.sources[pick.source as usize].row(pick.row as usize)?, &self.collator)
    }
}
