//! Rows of text for training, held in memory.

use super::config::TextConfig;
use crate::model::tokenizer::Tokenizer;
use crate::objective::Batch;
use crate::{Error, Result};
use std::path::PathBuf;

/// Rows of `config.row` tokens from the documents of its files, each document closed by the tokenizer's end of text.
pub(super) fn batches(config: &TextConfig, tokenizer: Option<&Tokenizer>) -> Result<Vec<Batch>> {
    let tokenizer =
        tokenizer.ok_or_else(|| Error::config("data.text", "expected a model with a tokenizer, found none"))?;
    let _ = (config, tokenizer, PathBuf::new());
    Err(Error::config("data.text", "not yet"))
}
