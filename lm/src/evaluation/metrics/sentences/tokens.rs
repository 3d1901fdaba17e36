//! Words and signs of a piece of text as Punkt tells them apart.

use super::parameters::Parameters;
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Stands for every number.
pub(super) const NUMBER: &str = "##number##";

/// A word or sign with what its own form says.
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    /// In lower case, numbers all the same.
    kind: Cow<'a, str>,
    pub(super) ends_sentence: bool,
    pub(super) is_abbreviation: bool,
    pub(super) is_ellipsis: bool,
}

impl<'a> Token<'a> {
    pub(super) fn new(text: &'a str, parameters: &Parameters) -> Self {
        let kind = if is_number(text) {
            Cow::Borrowed(NUMBER)
        } else if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(text.to_lowercase())
        };
        let mut token = Token { text, kind, ends_sentence: false, is_abbreviation: false, is_ellipsis: false };
        if matches!(text, "." | "?" | "!") {
            token.ends_sentence = true;
        } else if text.len() > 1 && text.bytes().all(|byte| byte == b'.') {
            token.is_ellipsis = true;
        } else if text.ends_with('.') && !text.ends_with("..") {
            let word = if token.kind == NUMBER { &text[..text.len() - 1] } else { token.kind_without_period() };
            token.is_abbreviation = parameters.is_abbreviation(word);
            token.ends_sentence = !token.is_abbreviation;
        }
        token
    }

    pub(super) fn kind_without_period(&self) -> &str {
        match self.kind.strip_suffix('.') {
            Some(word) if !word.is_empty() => word,
            _ => &self.kind,
        }
    }

    /// Without its period if that seems to end a sentence.
    pub(super) fn kind_before_decision(&self) -> &str {
        if self.ends_sentence { self.kind_without_period() } else { &self.kind }
    }

    pub(super) fn starts_upper(&self) -> bool {
        self.text.starts_with(char::is_uppercase)
    }

    pub(super) fn starts_lower(&self) -> bool {
        self.text.starts_with(char::is_lowercase)
    }

    /// One letter and a period.
    pub(super) fn is_initial(&self) -> bool {
        static INITIAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\w--\d]\.$").ok());
        match self.text.as_bytes() {
            [letter, b'.'] => letter.is_ascii_alphabetic() || *letter == b'_',
            [first, ..] if first.is_ascii() => false,
            _ => INITIAL.as_ref().is_some_and(|initial| initial.is_match(self.text)),
        }
    }
}

/// Digits with points, commas and hyphens between them; before the first at most a minus and one of the former.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let mut letters = digits.strip_prefix(['.', ',']).unwrap_or(digits).chars();
    letters.next().is_some_and(is_digit) && letters.all(|letter| matches!(letter, ',' | '.' | '-') || is_digit(letter))
}

fn is_digit(letter: char) -> bool {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\d$").ok());
    letter.is_ascii_digit()
        || (!letter.is_ascii()
            && letter.is_numeric()
            && DIGIT.as_ref().is_some_and(|digit| digit.is_match(letter.encode_utf8(&mut [0; 4]))))
}

/// A sign that may end a sentence.
pub(super) fn is_end(letter: char) -> bool {
    matches!(letter, '.' | '?' | '!')
}

/// A sign that cannot stand inside of a word.
pub(super) fn is_no_word(letter: char) -> bool {
    matches!(letter, ';' | '*' | ':' | '@' | '(' | '{' | '[' | '?' | '!') || is_closing(letter)
}

/// A quote or bracket that belongs to the sentence before it.
pub(super) fn is_closing(letter: char) -> bool {
    matches!(letter, '"' | '\'' | ')' | ']' | '}' | '‘' | '’' | '“' | '”' | '«' | '»')
}

/// Words and signs of one line.
pub(super) fn texts(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let length = match repeated(rest) {
            0 if starts_no_word(first) => first.len_utf8(),
            0 => word(rest, first),
            length => length,
        };
        let token = &rest[..length];
        rest = &rest[length..];
        Some(token)
    })
}

/// A sign that does not start a word.
fn starts_no_word(letter: char) -> bool {
    matches!(letter, '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@' | ')' | '}' | ']' | '-' | ',')
}

/// Length of the word at the start, of one letter at least.
fn word(text: &str, first: char) -> usize {
    for (at, letter) in text.char_indices().skip_while(|(at, _)| *at < first.len_utf8()) {
        let rest = &text[at..];
        if ends_word(letter, rest)
            || (letter == ',' && rest[1..].chars().next().is_none_or(|l| ends_word(l, &rest[1..])))
        {
            return at;
        }
    }
    text.len()
}

/// Whether a word ends before `rest`, which starts with `letter`.
fn ends_word(letter: char, rest: &str) -> bool {
    letter.is_whitespace() || is_no_word(letter) || (matches!(letter, '-' | '.') && repeated(rest) > 0)
}

/// Length of hyphens or periods, two at least, at the start of a text; or of three periods or more with one white space
/// between each two. 0: none.
fn repeated(text: &str) -> usize {
    match text.as_bytes() {
        [sign @ (b'-' | b'.'), next, ..] if sign == next => text.bytes().take_while(|byte| byte == sign).count(),
        [b'.', ..] => {
            let mut end = 0;
            let mut count = 0;
            let mut spaced = 0;
            let mut letters = text.chars();
            while letters.next() == Some('.') {
                end = spaced + 1;
                count += 1;
                let Some(space) = letters.next().filter(|letter| letter.is_whitespace()) else { break };
                spaced = end + space.len_utf8();
            }
            if count > 2 { end } else { 0 }
        }
        _ => 0,
    }
}
