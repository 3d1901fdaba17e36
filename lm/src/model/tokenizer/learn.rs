//! Byte-pair encodings learnt from text (Sennrich, Haddow and Birch 2016), over bytes as GPT-2 writes them, for models that
//! are made from nothing.

use crate::{Error, Result};
use std::io::Write;
use std::path::Path;
use tesseral_datasets::files::write_atomic;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// Learns at most `vocabulary` tokens from texts and writes a `tokenizer.json`; token 0 is `end`. Needs at least 257.
///
/// # Errors
/// [`Error::Config`] for a smaller vocabulary; [`Error::Format`] from the tokenizer; a folder that cannot be written.
pub fn byte_pairs(texts: &[String], vocabulary: usize, end: &str, file: &Path) -> Result<()> {
    if vocabulary < 257 {
        return Err(Error::config("vocabulary", format!("expected at least 257, found {vocabulary}")));
    }
    let fail = |e: tokenizers::Error| Error::format(file, e.to_string());
    let mut tokenizer = Tokenizer::new(BPE::default());
    let level = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(level)).with_decoder(Some(level));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocabulary)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(end, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer.train(&mut TrainerWrapper::from(trainer), texts.iter()).map_err(fail)?;
    let text = tokenizer.to_string(true).map_err(fail)?;
    Ok(write_atomic(file, |w| w.write_all(text.as_bytes()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_pairs_become_tokens_and_every_text_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokenizer.json");
        byte_pairs(&vec!["the cat and the hat".to_string(); 8], 264, "<end>", &file).unwrap();
        let tokenizer = crate::model::tokenizer::Tokenizer::read(&file).unwrap();
        assert_eq!((tokenizer.id("<end>"), tokenizer.vocabulary()), (Some(0), 264));
        for text in ["the hat", "Григориански 日本 \u{0} x"] {
            let ids = tokenizer.encode(text, true).unwrap();
            assert!(ids.len() <= text.len());
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        }
        assert!(tokenizer.encode("the the the", true).unwrap().len() < 11);
        assert!(byte_pairs(&[], 256, "<end>", &file).is_err());
    }
}
