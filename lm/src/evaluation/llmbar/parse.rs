//! Completions read: winners, ratings, explanations for the other order.

use super::winner::Winner;
use crate::python::text::strip;
use regex::Regex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Finds the winner in a completion.
#[derive(Clone, Debug)]
pub struct Parser {
    first: Regex,
    second: Regex,
}

impl Parser {
    /// Of the patterns of the two places that outputs are shown at.
    ///
    /// # Errors
    /// Those of a pattern.
    pub fn new(first: &str, second: &str) -> Result<Self, regex::Error> {
        Ok(Parser { first: Regex::new(first)?, second: Regex::new(second)? })
    }

    /// The place of the winner: the first pattern wins over the second, wherever they match.
    pub fn winner(&self, completion: &str) -> Option<Winner> {
        let text = strip(completion);
        if self.first.is_match(text) {
            Some(Winner::First)
        } else if self.second.is_match(text) {
            Some(Winner::Second)
        } else {
            None
        }
    }

    /// Whether a bare answer is understood, without an explanation before it.
    pub fn is_direct(&self) -> bool {
        self.winner("Output (a)") == Some(Winner::First) && self.winner("Output (b)") == Some(Winner::Second)
    }
}

/// Parsers made once for each pair of patterns: making one takes as long as reading some hundred completions.
#[derive(Debug, Default)]
pub struct Parsers(HashMap<(String, String), Arc<Parser>>);

impl Parsers {
    /// That of a pair of patterns.
    ///
    /// # Errors
    /// Those of a pattern.
    pub fn get(&mut self, first: &str, second: &str) -> Result<Arc<Parser>, regex::Error> {
        let patterns = (first.to_string(), second.to_string());
        if let Some(parser) = self.0.get(&patterns) {
            return Ok(parser.clone());
        }
        let parser = Arc::new(Parser::new(first, second)?);
        self.0.insert(patterns, parser.clone());
        Ok(parser)
    }
}

/// A rating as `int(text)` of Python reads it: blanks around, a sign, digits of any script, single underscores between
/// digits. Values beyond 128 bits are the largest that fit.
pub fn rating(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let mut value: i128 = 0;
    let mut after_digit = false;
    for c in digits.chars() {
        match digit(c) {
            Some(digit) => {
                value = value.saturating_mul(10).saturating_add(digit);
                after_digit = true;
            }
            None if c == '_' && after_digit => after_digit = false,
            None => return None,
        }
    }
    after_digit.then_some(if negative { -value } else { value })
}

/// Value of a decimal digit of any script.
fn digit(c: char) -> Option<i128> {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\d$").ok());
    if c.is_ascii() {
        return c.to_digit(10).map(i128::from);
    }
    let is_digit = |c: char| DIGIT.as_ref().is_some_and(|digit| digit.is_match(c.encode_utf8(&mut [0; 4])));
    // Unicode's decimal digits stand in runs from 0 to 9, so that a digit is as many as stand before it, modulo 10.
    let before = || (0..u32::from(c)).rev().map_while(char::from_u32).take_while(|c| is_digit(*c)).count();
    is_digit(c).then(|| (before() % 10) as i128)
}

/// An explanation as it reads with the outputs shown in the other order: "Output (a)" and "Output (b)" exchanged, and
/// the same in lower case.
pub fn exchange_outputs(text: &str) -> Cow<'_, str> {
    let mut exchanged = String::new();
    let mut rest = text;
    while let Some(place) = rest.find("utput (") {
        let (before, after) = rest.split_at(place + "utput (".len());
        exchanged.push_str(before);
        let other = match (before.strip_suffix("utput (").unwrap_or_default().ends_with(['O', 'o']), after.get(..2)) {
            (true, Some("a)")) => Some("b)"),
            (true, Some("b)")) => Some("a)"),
            _ => None,
        };
        rest = match other {
            Some(other) => {
                exchanged.push_str(other);
                after.get(2..).unwrap_or_default()
            }
            None => after,
        };
    }
    if exchanged.is_empty() {
        return Cow::Borrowed(text);
    }
    exchanged.push_str(rest);
    Cow::Owned(exchanged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_are_read_as_python_reads_integers() {
        // Each pair is what `int` of Python 3.11 says.
        for (text, value) in [
            (" 8 ", Some(8)),
            ("2\n", Some(2)),
            ("+4", Some(4)),
            ("-0", Some(0)),
            ("1_0", Some(10)),
            ("007", Some(7)),
            ("٣_٤", Some(34)),
            ("５", Some(5)),
            ("𝟗", Some(9)),
            ("\u{85}5", Some(5)),
            ("\u{3000}5", Some(5)),
            ("", None),
            ("+", None),
            ("- 4", None),
            ("+-4", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("²", None),
            ("1e3", None),
            ("8.0", None),
            ("Score: 8", None),
            ("\u{1c}5", None),
            ("5\u{200b}", None),
        ] {
            assert_eq!(rating(text), value, "{text:?}");
        }
    }

    #[test]
    fn only_names_of_outputs_are_exchanged() {
        let text = "Output (a)/output (b), throughput (a) OUTPUT (b) Output (c) Output (";
        assert_eq!(exchange_outputs(text), "Output (b)/output (a), throughput (a) OUTPUT (b) Output (c) Output (");
        assert!(matches!(exchange_outputs("nothing"), Cow::Borrowed(_)));
    }
}
