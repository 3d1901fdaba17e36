//! Settings of a strategy as the benchmark keeps them: `config/LLM/STRATEGY.json`, an array of modules.

use super::parse::{Parser, Parsers};
use crate::evaluation::request::Decoding;
use crate::{Error, Result};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// What is added to the logits of the first token of each text to avoid, by the original.
pub const AVOIDED: f64 = -100.0;
/// What is added to the logits of each token of the texts to favour, by the original.
pub const FAVOURED: f64 = 7.0;

/// One module as its file describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleConfig {
    /// Prompt file, below `prompts`.
    pub prompt: String,
    /// The model the benchmark ran.
    pub model_name: String,
    openai_kwargs: Option<OpenAi>,
    palm_kwargs: Option<Palm>,
    generate_kwargs: Option<Generate>,
    /// Patterns of the winner; absent where the completion is read otherwise.
    pub parsing: Option<Patterns>,
}

/// Patterns by the place of the winner.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patterns {
    /// Of Output (a).
    #[serde(rename = "1")]
    pub first: String,
    /// Of Output (b).
    #[serde(rename = "2")]
    pub second: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenAi {
    #[serde(rename = "engine")]
    _engine: String,
    max_tokens: usize,
    temperature: f64,
    #[serde(default)]
    tokens_to_avoid: Vec<String>,
    #[serde(default)]
    tokens_to_favor: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Palm {
    #[serde(rename = "model")]
    _model: String,
    max_output_tokens: usize,
    temperature: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generate {
    max_new_tokens: usize,
}

/// How a completion is generated, whichever the interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generation {
    /// Most tokens.
    pub max_tokens: usize,
    /// None: what the model's checkpoint says.
    pub temperature: Option<f64>,
    /// Texts whose single token the original makes improbable by [`AVOIDED`]; no back-end here does.
    pub avoid: Vec<String>,
    /// Texts whose tokens the original makes probable by [`FAVOURED`]; no back-end here does.
    pub favour: Vec<String>,
}

impl Generation {
    /// As requests have it; greedy where no temperature is set.
    pub fn decoding(&self) -> Decoding {
        Decoding { temperature: self.temperature.unwrap_or(0.0), ..Decoding::greedy(self.max_tokens, &[]) }
    }
}

impl ModuleConfig {
    /// The modules of a file, in order.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        Self::parse(path, &std::fs::read(path).map_err(Error::io(path))?)
    }

    /// The same, of the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Format`], naming `path`.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Self>> {
        let modules: Vec<Self> = serde_json::from_slice(bytes).map_err(|e| Error::format(path, e.to_string()))?;
        if modules.is_empty() {
            return Err(Error::format(path, "expected at least one module, found none"));
        }
        Ok(modules)
    }

    /// How its completions are generated.
    ///
    /// # Errors
    /// [`Error::Format`] naming `path` unless the settings of one interface are there.
    pub fn generation(&self, path: &Path) -> Result<Generation> {
        match (&self.openai_kwargs, &self.palm_kwargs, &self.generate_kwargs) {
            (Some(set), None, None) => Ok(Generation {
                max_tokens: set.max_tokens,
                temperature: Some(set.temperature),
                avoid: set.tokens_to_avoid.clone(),
                favour: set.tokens_to_favor.clone(),
            }),
            (None, Some(set), None) => Ok(Generation {
                max_tokens: set.max_output_tokens,
                temperature: Some(set.temperature),
                ..Generation::default()
            }),
            (None, None, Some(set)) => Ok(Generation { max_tokens: set.max_new_tokens, ..Generation::default() }),
            _ => Err(Error::format(
                path,
                format!(
                    "{}: expected one of openai_kwargs, palm_kwargs, generate_kwargs, found none or several",
                    self.prompt
                ),
            )),
        }
    }

    /// What reads its completions, where a pattern does.
    ///
    /// # Errors
    /// [`Error::Format`] naming `path` where a pattern is none.
    pub fn parser(&self, path: &Path, parsers: &mut Parsers) -> Result<Option<Arc<Parser>>> {
        let parser = self.parsing.as_ref().map(|patterns| parsers.get(&patterns.first, &patterns.second));
        parser.transpose().map_err(|e| Error::format(path, format!("{}: parsing: {e}", self.prompt)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let path = Path::new("c.json");
        let modules = ModuleConfig::parse(path, text.as_bytes());
        let first = modules.and_then(|modules| {
            modules[0].parser(path, &mut Parsers::default())?;
            modules[0].generation(path)
        });
        first.unwrap_err().to_string()
    }

    #[test]
    fn bad_settings_are_named_with_what_is_wrong_in_them() {
        let module = |rest: &str| format!(r#"[{{"prompt": "p", "model_name": "m", {rest}}}]"#);
        assert_eq!(message("[]"), "c.json: expected at least one module, found none");
        assert!(message(&module(r#""kwargs": 1"#)).contains("unknown field `kwargs`"));
        assert!(message(&module(r#""parsing": null"#)).contains("p: expected one of openai_kwargs, palm_kwargs"));
        assert!(message(&module(r#""parsing": {"1": "(", "2": "b"}"#)).starts_with("c.json: p: parsing: "));
    }
}
