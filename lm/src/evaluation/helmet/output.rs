//! The answer within what a model wrote.

use crate::python::text::strip;
use crate::{Error, Result};
use regex::Regex;
use std::sync::LazyLock;

/// Words that stand before an answer (`Answer:`), found whatever their case.
#[derive(Clone, Debug)]
pub struct Prefix {
    anywhere: Regex,
    start: Regex,
}

static ANSWER: LazyLock<Result<Prefix>> = LazyLock::new(|| Prefix::new("Answer:"));
static LABEL: LazyLock<Result<Prefix>> = LazyLock::new(|| Prefix::new("label:"));
static VALUE: LazyLock<Result<Prefix>> = LazyLock::new(|| Prefix::new("corresponding value:"));
static SUMMARY: LazyLock<Result<Prefix>> = LazyLock::new(|| Prefix::new("Summary:"));

impl Prefix {
    /// A prefix of these words, taken literally.
    ///
    /// # Errors
    /// [`Error::Config`] for a text too long for an expression.
    pub fn new(words: &str) -> Result<Self> {
        Self::expression(&regex::escape(words), words)
    }

    /// A prefix that is looked for as a regular expression, and literally where it is repeated: so the original takes it.
    ///
    /// # Errors
    /// [`Error::Config`] for what is no expression.
    pub fn expression(pattern: &str, words: &str) -> Result<Self> {
        let compile = |pattern: String| Regex::new(&pattern).map_err(|e| Error::config("prefix", e.to_string()));
        let start = compile(format!("(?i)^{}", regex::escape(words)))?;
        Ok(Prefix { anywhere: compile(format!("(?i)(?:{pattern})"))?, start })
    }
}

/// The rest of the line after the first `prefix`; without one, the first line. Blanks around it go, and so does one more
/// prefix at its start (chat models repeat it).
pub fn parse_output(output: &str, prefix: &Prefix) -> String {
    let from = prefix.anywhere.find(output).map_or(0, |found| found.end());
    let line = strip(output.get(from..).and_then(|rest| rest.split('\n').next()).unwrap_or_default());
    strip(&prefix.start.replace(line, "")).to_string()
}

/// [`parse_output`] with one of the prefixes of the benchmark: `Answer:`, `label:`, `corresponding value:`, `Summary:`.
pub(super) fn parse_known(output: &str, prefix: Known) -> String {
    let prefix = match prefix {
        Known::Answer => &*ANSWER,
        Known::Label => &*LABEL,
        Known::Value => &*VALUE,
        Known::Summary => &*SUMMARY,
    };
    prefix.as_ref().map(|prefix| parse_output(output, prefix)).unwrap_or_default()
}

/// The prefixes of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Answer,
    Label,
    Value,
    Summary,
}

/// The text without its citations (`[3]`), as the benchmark takes them out: every `]` and every ` |` goes as well.
pub fn remove_citations(text: &str) -> String {
    static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r" ?\[\d+").ok());
    let without = MARK.as_ref().map_or(text.into(), |mark| mark.replace_all(text, ""));
    without.replace(" |", "").replace(']', "")
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    #[test]
    fn outputs_are_parsed_as_by_the_original() {
        for case in golden::cases("parse_output.json") {
            let prefix = case["prefix"].as_str().unwrap();
            let prefix = Prefix::expression(prefix, prefix).unwrap();
            let output = case["output"].as_str().unwrap();
            assert_eq!(parse_output(output, &prefix), case["parsed"].as_str().unwrap(), "{output:?}");
        }
    }

    #[test]
    fn citations_go_as_in_the_original() {
        for case in golden::cases("remove_citations.json") {
            assert_eq!(remove_citations(case["in"].as_str().unwrap()), case["out"].as_str().unwrap(), "{case}");
        }
    }

    #[test]
    fn an_answer_is_one_line_after_its_prefix() {
        assert_eq!(parse_known("So: ANSWER: answer: x \u{1f}\ny", Known::Answer), "x");
        assert_eq!(parse_known("Label: 3", Known::Answer), "Label: 3");
        assert_eq!(parse_known("Label: 3", Known::Label), "3");
        assert_eq!(parse_known("Summary: s\n", Known::Summary), "s");
        assert_eq!(parse_known("Corresponding Value: v", Known::Value), "v");
        assert_eq!(parse_output("a.b x", &Prefix::new("a.").unwrap()), "b x");
        assert!(Prefix::expression("(", "(").unwrap_err().to_string().starts_with("prefix: "));
    }
}
