//! What answers with citations look like: marks `[1]`, statements, and the text without marks.

use super::data::Dataset;
use crate::evaluation::compat::Compat;
use crate::evaluation::metrics::sentences;
use crate::python::text::{is_space, strip};
use regex::Regex;
use std::sync::LazyLock;

/// `[` and digits; the closing bracket is not looked at.
static MARK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[\d+").ok());

/// The places of the documents that a text cites, from 0: `[3]` is 2, and `[0]` is -1.
pub fn citations(text: &str) -> Vec<i64> {
    let Some(mark) = MARK.as_ref() else { return Vec::new() };
    mark.find_iter(text).map(|found| number(found.as_str().trim_start_matches('[')) - 1).collect()
}

/// Digits of any script as a number; one too large for a document is as good as another.
fn number(digits: &str) -> i64 {
    digits.chars().fold(0i64, |number, digit| number.saturating_mul(10).saturating_add(value(digit)))
}

/// Decimal digits stand in runs of ten, so the value is the way back to the start of the run.
fn value(digit: char) -> i64 {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\d$").ok());
    if let Some(value) = digit.to_digit(10) {
        return i64::from(value);
    }
    let is_digit = |code: u32| {
        let letter = char::from_u32(code);
        letter.is_some_and(|c| DIGIT.as_ref().is_some_and(|d| d.is_match(c.encode_utf8(&mut [0; 4]))))
    };
    let code = digit as u32;
    let before = (1..=code).take_while(|back| is_digit(code - back)).count();
    before as i64 % 10
}

/// A text without its marks, and without every `]` and ` |`, as the original has it.
pub fn remove_citations(text: &str) -> String {
    static SPACED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r" \[\d+").ok());
    let mut text = text.to_string();
    for mark in [SPACED.as_ref(), MARK.as_ref()].into_iter().flatten() {
        text = mark.replace_all(&text, "").into_owned();
    }
    text.replace(" |", "").replace(']', "")
}

/// The statements of an answer, each to be supported by what it cites: sentences, or the parts of a list, each after the
/// question.
pub fn statements(dataset: Dataset, question: &str, output: &str) -> Vec<String> {
    match dataset {
        Dataset::Qampari => parts(output).map(|part| format!("{question} {}", strip(part))).collect(),
        _ => sentences::split(output),
    }
}

/// The parts of a list between commas; spaces, points and commas at its end apart, in this order.
pub fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.trim_end_matches(is_space).trim_end_matches('.').trim_end_matches(',').split(',')
}

/// Which part of an output is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The first line, as ALCE has it.
    FirstLine,
    /// Everything, as HELMET has it: newlines become blanks.
    Everything,
}

impl Answer {
    /// The answer that is scored.
    pub fn of(self, output: &str) -> String {
        let answer = match self {
            Answer::FirstLine => strip(output).split('\n').next().unwrap_or_default().to_string(),
            Answer::Everything => {
                static NEWLINES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\n+").ok());
                NEWLINES.as_ref().map_or_else(|| output.into(), |lines| lines.replace_all(output, " ").into_owned())
            }
        };
        answer.replace("<|im_end|>", "")
    }
}

/// Moves marks that a model wrote after the period before it: `A is b. [1] C is d.` becomes `A is b [1]. C is d.`
///
/// The sentence splitter gives such marks to the next sentence, so that a right answer scores 0 (issue 26 of the
/// original).
pub fn reattach(text: &str) -> String {
    static AFTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"([.!?])[ \t]*((?:\[\d+\][ \t]*)+)").ok());
    let Some(after) = AFTER.as_ref() else { return text.to_string() };
    let moved = after.replace_all(text, |found: &regex::Captures<'_>| {
        let (end, marks) = (&found[1], &found[2]);
        let blank = if marks.ends_with([' ', '\t']) { " " } else { "" };
        format!(" {}{end}{blank}", marks.trim_end())
    });
    moved.into_owned()
}

/// Whether a place is that of a document, as the code at hand sees it: to the original -1 is the last document.
pub fn document(place: i64, documents: usize, compat: Compat) -> Option<usize> {
    match usize::try_from(place) {
        Ok(place) => (place < documents).then_some(place),
        Err(_) if compat.is_original() && place == -1 => documents.checked_sub(1),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_digits_of_any_script_after_a_bracket() {
        assert_eq!(citations("a [1][12] b[0] [4, 1] [x] [１２] [९"), [0, 11, -1, 3, 11, 8]);
        assert_eq!(citations("[𝟘𝟡𝟎][99999999999999999999999]"), [89, i64::MAX - 1]);
        assert_eq!(remove_citations("a [1][2] | b [3 c] d."), "a b c d.");
    }

    #[test]
    fn answers_are_a_line_or_everything() {
        assert_eq!(Answer::FirstLine.of("  a b. <|im_end|>\nc"), "a b. ");
        assert_eq!(Answer::Everything.of("a\n\n\nb\nc"), "a b c");
        assert_eq!(Answer::Everything.of("\n\na\n\n"), " a ");
        assert_eq!(Answer::Everything.of("\n\n"), " ");
    }

    #[test]
    fn marks_after_a_period_go_before_it() {
        assert_eq!(reattach("A is b. [1] C is d.[2][3]\nE [4]."), "A is b [1]. C is d [2][3].\nE [4].");
        assert_eq!(reattach("In 3.5 [1] of. Yes! [2]"), "In 3.5 [1] of. Yes [2]!");
    }

    #[test]
    fn place_minus_one_is_the_last_document_to_the_original_only() {
        assert_eq!(document(-1, 5, Compat::Original), Some(4));
        assert_eq!(document(-1, 0, Compat::Original), None);
        assert_eq!(document(-1, 5, Compat::Mended), None);
        assert_eq!(document(5, 5, Compat::Original), None);
    }
}
