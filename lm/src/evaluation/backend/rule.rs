//! Simple rules that stand for a model: what a benchmark gives to no understanding at all.

use super::{Backend, Tell};
use crate::evaluation::request::{Prompt, Request, Response};
use crate::{Error, Result};
use std::str::FromStr;

/// How a rule answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The empty text; every continuation is equally probable, character by character (chance for options of a length).
    Empty,
    /// The last line of the prompt that is not empty.
    Echo,
    /// Always this text; a continuation that is this text, blanks apart, is certain and others are as with `Empty`.
    Constant(String),
}

/// A rule as a back-end.
#[derive(Clone, Debug)]
pub struct RuleBackend {
    rule: Rule,
    identity: String,
}

impl FromStr for RuleBackend {
    type Err = Error;

    /// `empty`, `echo` or `constant:TEXT`.
    fn from_str(text: &str) -> Result<Self> {
        let rule = match text.split_once(':') {
            None if text == "empty" => Rule::Empty,
            None if text == "echo" => Rule::Echo,
            Some(("constant", answer)) => Rule::Constant(answer.into()),
            _ => {
                let what = format!("expected empty, echo or constant:TEXT, found {text:?}");
                return Err(Error::config("rule", what));
            }
        };
        Ok(RuleBackend { rule, identity: format!("rule:{text}") })
    }
}

/// Characters of one alphabet: the log-probability of each is that of one among so many.
const CHARACTERS: f64 = 128.0;

impl RuleBackend {
    fn score(&self, text: &str) -> Response {
        let tokens = text.chars().count();
        let certain = matches!(&self.rule, Rule::Constant(answer) if answer.trim() == text.trim());
        let sum = if certain { 0.0 } else { -(tokens as f64) * CHARACTERS.ln() };
        Response::LogLikelihood { sum, tokens, greedy: certain }
    }

    fn say(&self, prompt: &Prompt) -> String {
        let text = match prompt {
            Prompt::Text(text) => text.as_str(),
            Prompt::Chat(turns) => turns.last().map_or("", |turn| turn.content.as_str()),
        };
        match &self.rule {
            Rule::Empty => String::new(),
            Rule::Echo => text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("").to_string(),
            Rule::Constant(answer) => answer.clone(),
        }
    }
}

impl Backend for RuleBackend {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
        for (place, request) in requests.iter().enumerate() {
            let response = match request {
                Request::LogLikelihood { continuation, .. } => self.score(continuation),
                Request::Rolling { text } => self.score(text),
                Request::Generate { prompt, decoding } => {
                    let text = self.say(prompt);
                    let ends = decoding.stop.iter().filter(|stop| !stop.is_empty());
                    let end = ends.filter_map(|stop| text.find(stop.as_str())).min().unwrap_or(text.len());
                    Response::Text { text: text[..end].to_string() }
                }
            };
            tell(place, response)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::request::Decoding;

    fn answers(rule: &str, requests: &[Request]) -> Vec<Response> {
        let mut found = Vec::new();
        let mut tell = |_, response| {
            found.push(response);
            Ok(())
        };
        rule.parse::<RuleBackend>().unwrap().answer(requests, &mut tell).unwrap();
        found
    }

    #[test]
    fn rules_answer_as_they_say() {
        let ask = [
            Request::generate("a\nb; c\n\n", Decoding::greedy(9, &[";", ""])),
            Request::log_likelihood("a", " yes"),
            Request::log_likelihood("a", " no"),
        ];
        let echo = answers("echo", &ask);
        assert_eq!(echo[0].text(), "b");
        assert!(echo[2].sum() > echo[1].sum());
        let constant = answers("constant:yes", &ask);
        assert_eq!((constant[0].text(), constant[1].sum()), ("yes", 0.0));
        assert!(constant[2].sum() < 0.0);
        assert_eq!(answers("empty", &ask)[0].text(), "");
        let message = "loud".parse::<RuleBackend>().unwrap_err().to_string();
        assert!(message.contains("expected empty, echo or constant:TEXT") && message.contains("loud"), "{message}");
    }
}
