//! The shape of a model that reads contexts: a decoder, an encoder, and in which layers the one reads the other.
//!
//! `config.json` is that of the original (princeton-nlp/CEPE): the keys of the decoder, and beside them `encoder_config`,
//! `num_cross_attn_layers`, `num_cross_attn_hidden_states` and `encode_mode`.

use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// What the encoder reads beside each context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EncodeMode {
    /// The context alone.
    #[default]
    ContextOnly,
    /// After it so many first tokens of the decoder's text, whose states the decoder reads too.
    WithQuery(usize),
    /// The same, but their states are left out.
    WithQueryDropped(usize),
}

impl EncodeMode {
    /// First tokens of the decoder's text that follow each context.
    pub fn query(self) -> usize {
        match self {
            EncodeMode::ContextOnly => 0,
            EncodeMode::WithQuery(n) | EncodeMode::WithQueryDropped(n) => n,
        }
    }
}

impl fmt::Display for EncodeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeMode::ContextOnly => f.write_str("context_only"),
            EncodeMode::WithQuery(n) => write!(f, "with_query-{n}"),
            EncodeMode::WithQueryDropped(n) => write!(f, "with_query_no_hid-{n}"),
        }
    }
}

impl FromStr for EncodeMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mode = match text.rsplit_once('-') {
            None if text == "context_only" => Some(EncodeMode::ContextOnly),
            Some(("with_query", n)) => n.parse().ok().map(EncodeMode::WithQuery),
            Some(("with_query_no_hid", n)) => n.parse().ok().map(EncodeMode::WithQueryDropped),
            _ => None,
        };
        mode.ok_or_else(|| format!("expected context_only, with_query-N or with_query_no_hid-N, found {text:?}"))
    }
}

impl TryFrom<String> for EncodeMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EncodeMode> for String {
    fn from(mode: EncodeMode) -> Self {
        mode.to_string()
    }
}

/// Sizes of a model that reads contexts.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextShape {
    /// The model that is wrapped.
    pub decoder: LlamaConfig,
    /// The encoder: the same kind of layers, without the causal mask.
    pub encoder: LlamaConfig,
    /// The last so many layers of the decoder read the contexts.
    pub cross_layers: usize,
    /// What the encoder reads beside each context.
    pub mode: EncodeMode,
}

impl ContextShape {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`], or as [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read_to_string(path).map_err(Error::io(path))?, path)
    }

    /// Parses the text of a `config.json`; `path` is for the messages only.
    ///
    /// # Errors
    /// [`Error::Format`] for a key that is missing or of another kind, [`Error::Invalid`] for sizes that do not fit.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut all: Value = serde_json::from_str(text).map_err(|e| Error::format(path, e.to_string()))?;
        let mut take = |key: &str| all.as_object_mut().and_then(|keys| keys.remove(key));
        let problem = |key: &str, expected: &str, found: &Value| {
            Error::format(path, format!("{key}: expected {expected}, found {found}"))
        };
        let encoder = take("encoder_config").unwrap_or(Value::Null);
        if !encoder.is_object() {
            return Err(problem("encoder_config", "the keys of the encoder", &encoder));
        }
        let states = take("num_cross_attn_hidden_states").unwrap_or(json!(1));
        if states != json!(1) {
            return Err(problem("num_cross_attn_hidden_states", "1 (the last state of the encoder)", &states));
        }
        let mode = take("encode_mode").unwrap_or(json!("context_only"));
        let cross = take("num_cross_attn_layers");
        for key in ["do_cross_attention", "encoder_hidden_size", "architectures"] {
            take(key); // said again by other keys
        }
        let decoder = LlamaConfig::parse(&all.to_string(), path)?;
        let mode = mode
            .as_str()
            .unwrap_or_default()
            .parse()
            .map_err(|_| problem("encode_mode", "context_only, with_query-N or with_query_no_hid-N", &mode))?;
        let cross_layers = match &cross {
            None => decoder.num_hidden_layers,
            Some(value) => value
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| problem("num_cross_attn_layers", "a number from 0 on", value))?,
        };
        let mut encoder: LlamaConfig = LlamaConfig::parse(&encoder.to_string(), path)?;
        encoder.tie_word_embeddings = true; // it has no output matrix
        encoder.other.remove("architectures");
        let shape = ContextShape { decoder, encoder, cross_layers, mode };
        let problems = shape.problems();
        if problems.is_empty() { Ok(shape) } else { Err(Error::Invalid { path: path.into(), problems }) }
    }

    /// Everything that is wrong, as `field: expected .., found ..`.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.decoder.problems();
        problems.extend(self.encoder.problems().into_iter().map(|problem| format!("encoder_config.{problem}")));
        let (layers, vocabularies) =
            (self.decoder.num_hidden_layers, [&self.encoder, &self.decoder].map(|c| c.vocab_size));
        if self.cross_layers > layers {
            let found = self.cross_layers;
            problems.push(format!("num_cross_attn_layers: expected at most {layers}, found {found}"));
        }
        if vocabularies[0] < vocabularies[1] {
            let [found, expected] = vocabularies;
            problems.push(format!("encoder_config.vocab_size: expected at least {expected}, found {found}"));
        }
        problems
    }

    /// The `config.json`.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written so (a bug).
    pub fn to_json(&self) -> Result<Value> {
        let value = |config: &LlamaConfig| {
            serde_json::to_value(config).map_err(|e| Error::config("configuration", e.to_string()))
        };
        let mut all = value(&self.decoder)?;
        let mut encoder = value(&self.encoder)?;
        (encoder["is_decoder"], encoder["is_encoder"]) = (false.into(), true.into());
        all["architectures"] = json!(["LlamaForCausalContextLM"]);
        all["encoder_config"] = encoder;
        all["num_cross_attn_layers"] = self.cross_layers.into();
        all["num_cross_attn_hidden_states"] = 1.into();
        all["do_cross_attention"] = true.into();
        all["encode_mode"] = self.mode.to_string().into();
        all["encoder_hidden_size"] = self.encoder.hidden_size.into();
        Ok(all)
    }

    /// The first layer of the decoder that reads contexts.
    pub fn first_cross(&self) -> usize {
        self.decoder.num_hidden_layers - self.cross_layers.min(self.decoder.num_hidden_layers)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const TINY: &str = r#"{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 23, "rope_theta": 100.0,
        "encoder_config": {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": 24, "rope_theta": 100.0}, "num_cross_attn_layers": 2}"#;

    pub(crate) fn tiny() -> ContextShape {
        ContextShape::parse(TINY, Path::new("config.json")).unwrap()
    }

    #[test]
    fn survives_a_round_trip_and_names_mistakes() {
        let shape = ContextShape { mode: EncodeMode::WithQueryDropped(3), ..tiny() };
        let mut again = ContextShape::parse(&shape.to_json().unwrap().to_string(), Path::new("config.json")).unwrap();
        for key in ["is_decoder", "is_encoder"] {
            again.encoder.other.remove(key);
        }
        assert_eq!(again, shape);
        for (from, to, message) in [
            (
                "\"num_cross_attn_layers\": 2",
                "\"num_cross_attn_layers\": 4",
                "num_cross_attn_layers: expected at most 3",
            ),
            ("\"vocab_size\": 24", "\"vocab_size\": 22", "encoder_config.vocab_size: expected at least 23, found 22"),
            ("encoder_config", "encoder", "encoder_config: expected the keys of the encoder"),
            ("\"num_cross", "\"encode_mode\": \"with\", \"num_cross", "encode_mode: expected context_only"),
            ("\"num_cross", "\"num_cross_attn_hidden_states\": 2, \"num_cross", "num_cross_attn_hidden_states"),
        ] {
            let text = ContextShape::parse(&TINY.replacen(from, to, 1), Path::new("c")).unwrap_err().to_string();
            assert!(text.contains(message), "{text}");
        }
    }
}
