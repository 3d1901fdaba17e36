//! What a model is asked and what it answers. The kinds are those of lm-evaluation-harness.

use crate::model::chat::Message;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use tesseral_datasets::files::sha256;

/// What stands before the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Text as it is.
    Text(String),
    /// Turns of a conversation, which the back-end writes out as its model wants them. If the last turn is the
    /// assistant's, the answer continues it.
    Chat(Vec<Message>),
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Prompt::Text(text.into())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Prompt::Text(text)
    }
}

impl From<Vec<Message>> for Prompt {
    fn from(turns: Vec<Message>) -> Self {
        Prompt::Chat(turns)
    }
}

/// How a text is generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// Most tokens that are generated.
    pub max_tokens: usize,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// 0: the most probable token always.
    pub temperature: f64,
    /// Only the fewest tokens that together have this probability.
    pub top_p: f64,
    /// Of the random stream; several samples of one prompt differ in it.
    pub seed: u64,
}

impl Default for Decoding {
    fn default() -> Self {
        Decoding { max_tokens: 128, stop: Vec::new(), temperature: 0.0, top_p: 1.0, seed: 0 }
    }
}

impl Decoding {
    /// Greedy, at most `max_tokens`, up to one of `stop`.
    pub fn greedy(max_tokens: usize, stop: &[&str]) -> Self {
        Decoding { max_tokens, stop: stop.iter().map(|s| (*s).to_string()).collect(), ..Decoding::default() }
    }

    /// # Errors
    /// [`Error::Config`]: no token, a temperature below 0, a `top_p` outside 0 to 1, an empty stop string.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, expected: &str, found: String| {
            Err(Error::config(format!("decoding.{key}"), format!("expected {expected}, found {found}")))
        };
        match self {
            Decoding { max_tokens: 0, .. } => wrong("max_tokens", "at least 1", "0".into()),
            Decoding { temperature, .. } if !(0.0..f64::INFINITY).contains(temperature) => {
                wrong("temperature", "0 or more", temperature.to_string())
            }
            Decoding { top_p, .. } if !(*top_p > 0.0 && *top_p <= 1.0) => {
                wrong("top_p", "more than 0, at most 1", top_p.to_string())
            }
            Decoding { stop, .. } if stop.iter().any(String::is_empty) => {
                wrong("stop", "texts that are not empty", format!("{stop:?}"))
            }
            _ => Ok(()),
        }
    }
}

/// One question to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The log-probability of `continuation` after `prompt`.
    LogLikelihood {
        /// What stands before.
        prompt: Prompt,
        /// What is scored, its blank at the start included.
        continuation: String,
    },
    /// The log-probability of a whole text from nothing, in windows of the model's length.
    Rolling {
        /// The text.
        text: String,
    },
    /// A text after `prompt`.
    Generate {
        /// What stands before.
        prompt: Prompt,
        /// How.
        decoding: Decoding,
    },
}

impl Request {
    /// Log-probability of `continuation` after a text.
    pub fn log_likelihood(prompt: impl Into<Prompt>, continuation: &str) -> Self {
        Request::LogLikelihood { prompt: prompt.into(), continuation: continuation.into() }
    }

    /// A text after a text.
    pub fn generate(prompt: impl Into<Prompt>, decoding: Decoding) -> Self {
        Request::Generate { prompt: prompt.into(), decoding }
    }

    /// SHA-256, in hexadecimal, of the model's identity and everything that is asked: equal keys have equal answers.
    pub fn key(&self, model: &str) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        sha256(format!("{model}\n{text}").as_bytes())
    }
}

/// What a model answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Response {
    /// To [`Request::LogLikelihood`] and [`Request::Rolling`].
    LogLikelihood {
        /// Sum over the tokens, nats.
        sum: f64,
        /// How many tokens.
        tokens: usize,
        /// Whether each token is the most probable one.
        greedy: bool,
    },
    /// To [`Request::Generate`].
    Text {
        /// The answer, up to a stop string.
        text: String,
    },
}

impl Response {
    /// The log-probability; not a number where the answer is a text.
    pub fn sum(&self) -> f64 {
        match self {
            Response::LogLikelihood { sum, .. } => *sum,
            Response::Text { .. } => f64::NAN,
        }
    }

    /// The text; empty where the answer is a log-probability.
    pub fn text(&self) -> &str {
        match self {
            Response::Text { text } => text,
            Response::LogLikelihood { .. } => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodings_that_cannot_be_are_told() {
        assert!(Decoding::default().check().is_ok());
        let like = Decoding::default;
        for (expected, decoding) in [
            ("max_tokens: expected at least 1, found 0", Decoding { max_tokens: 0, ..like() }),
            ("temperature: expected 0 or more, found -1", Decoding { temperature: -1.0, ..like() }),
            ("temperature: expected 0 or more, found NaN", Decoding { temperature: f64::NAN, ..like() }),
            ("top_p: expected more than 0, at most 1, found 0", Decoding { top_p: 0.0, ..like() }),
            ("stop: expected texts that are not empty, found [\"\"]", Decoding { stop: vec!["".into()], ..like() }),
        ] {
            assert_eq!(decoding.check().unwrap_err().to_string(), format!("decoding.{expected}"));
        }
    }

    #[test]
    fn keys_tell_models_prompts_and_decodings_apart() {
        let ask = Request::generate("a", Decoding::default());
        assert_eq!(ask.key("m"), ask.clone().key("m"));
        let others = [
            Request::generate("b", Decoding::default()).key("m"),
            Request::generate("a", Decoding::greedy(3, &[])).key("m"),
            Request::generate(vec![Message::new("user", "a")], Decoding::default()).key("m"),
            Request::log_likelihood("a", "").key("m"),
            ask.key("n"),
        ];
        assert!(others.iter().all(|key| *key != ask.key("m")));
    }

    #[test]
    fn requests_pass_through_json() {
        let chat = Prompt::Chat(vec![Message::new("user", "a")]);
        for request in [Request::log_likelihood("x", " y"), Request::generate(chat, Decoding::greedy(5, &["\n"]))] {
            let text = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
        }
    }
}
