//! From tokens to the text that is drawn, and from what was drawn back to the tokens that can be read (PTP's collator).

use crate::Result;
use crate::model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// How tokens are written out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writing {
    /// Put before every text.
    pub prefix: String,
    /// The tokenizer's token in place of hidden ones.
    pub mask_token: String,
    /// What is drawn for it.
    pub drawn_mask: String,
}

impl Default for Writing {
    fn default() -> Self {
        let mask = String::from("<mask>");
        Writing { prefix: "Beginning of the sequence: ".into(), mask_token: mask.clone(), drawn_mask: mask }
    }
}

impl Writing {
    /// The id of the mask token.
    ///
    /// # Errors
    /// [`crate::Error::Config`] where the tokenizer has none.
    pub fn mask(&self, tokenizer: &Tokenizer) -> Result<u32> {
        tokenizer.id(&self.mask_token).ok_or_else(|| {
            let what = format!("expected a token of {}, found {:?}", tokenizer.source().display(), self.mask_token);
            crate::Error::config("mask_token", what)
        })
    }

    /// The text of tokens, those of `hidden` replaced: new lines become `//`, masks that touch become one.
    ///
    /// # Errors
    /// As [`Self::mask`] where anything is hidden; those of the tokenizer.
    pub fn write(&self, tokenizer: &Tokenizer, ids: &[u32], hidden: &[bool]) -> Result<String> {
        let mut ids = ids.to_vec();
        if hidden.contains(&true) {
            let mask = self.mask(tokenizer)?;
            ids.iter_mut().zip(hidden).filter(|(_, hidden)| **hidden).for_each(|(id, _)| *id = mask);
        }
        let mut text = self.line(&tokenizer.decode(&ids, true)?);
        if hidden.contains(&true) {
            let twice = self.mask_token.repeat(2);
            while text.contains(&twice) {
                text = text.replace(&twice, &self.mask_token);
            }
            text = text.replace(&self.mask_token, &self.drawn_mask);
        }
        Ok(text)
    }

    /// A text in one line, behind the prefix.
    pub fn line(&self, text: &str) -> String {
        format!("{}{}", self.prefix, text.replace('\n', "//"))
    }
}

/// How many of `count` tokens can be read where the first `drawn` bytes of `text` are drawn: their share by the tokens of both
/// texts, rounded down.
///
/// # Errors
/// Those of the tokenizer.
pub fn readable(tokenizer: &Tokenizer, text: &str, drawn: usize, count: usize) -> Result<usize> {
    if drawn == text.len() || count == 0 {
        return Ok(count);
    }
    let [part, whole] = [&text[..drawn], text].map(|text| tokenizer.encode(text, true).map(|ids| ids.len() as f64));
    Ok(((part? / (whole?.max(1.0) / count as f64)) as usize).min(count))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A tokenizer of whole words.
    pub(in crate::screenshot) fn words(words: &[&str]) -> serde_json::Value {
        let vocabulary: serde_json::Map<_, _> =
            words.iter().enumerate().map(|(k, w)| (w.to_string(), k.into())).collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
            "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": words[0]}
        })
    }

    fn tokenizer() -> (tempfile::TempDir, Tokenizer) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokenizer.json");
        std::fs::write(&file, words(&["<s>", "<mask>", "a", "b\nc", "dd"]).to_string()).unwrap();
        let tokenizer = Tokenizer::read(&file).unwrap();
        (folder, tokenizer)
    }

    #[test]
    fn masks_prefix_and_new_lines() {
        let (_folder, tokenizer) = tokenizer();
        let writing = Writing { drawn_mask: "_".into(), ..Writing::default() };
        let text = writing.write(&tokenizer, &[2, 3, 4], &[false, false, true]).unwrap();
        assert_eq!(text, "Beginning of the sequence: a b//c _");
        let joined = Writing { mask_token: "a".into(), prefix: String::new(), drawn_mask: "*".into() };
        assert_eq!(joined.line("x\ny"), "x//y");
        let missing = Writing { mask_token: "nothing".into(), ..writing };
        let message = missing.write(&tokenizer, &[2], &[true]).unwrap_err().to_string();
        assert!(message.starts_with("mask_token: expected a token of"), "{message}");
        assert!(missing.write(&tokenizer, &[2], &[false]).is_ok());
    }

    #[test]
    fn what_is_not_drawn_is_not_read() {
        let (_folder, tokenizer) = tokenizer();
        assert_eq!(readable(&tokenizer, "a a dd dd", 9, 7).unwrap(), 7);
        assert_eq!(readable(&tokenizer, "a a dd dd", 4, 4).unwrap(), 2);
        assert_eq!(readable(&tokenizer, "a a dd dd", 0, 4).unwrap(), 0);
    }
}
