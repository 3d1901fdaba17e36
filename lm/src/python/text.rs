//! What Python's `str` and `re` take for a space and for a letter of a word. Rust's own ideas differ a little.

use regex::Regex;
use std::sync::LazyLock;

/// As `str.isspace`, `str.split` and `\s` of `re`: Unicode's white space and the four ASCII separators.
pub fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter)
}

/// As `\w` of `re`: letters, numbers and the underscore, but no marks, which Rust's `\w` has too.
pub fn is_word(letter: char) -> bool {
    static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{N}]$").ok());
    if letter.is_ascii() {
        return letter.is_ascii_alphanumeric() || letter == '_';
    }
    // Every letter and number is alphanumeric to Rust; the rest of those are marks and circled letters.
    letter.is_alphanumeric() && WORD.as_ref().is_none_or(|word| word.is_match(letter.encode_utf8(&mut [0; 4])))
}

/// As `text.split()`.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// As `text.strip()`.
pub fn strip(text: &str) -> &str {
    let is_seen = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    // Most texts begin and end so.
    if is_seen(text.as_bytes().first()) && is_seen(text.as_bytes().last()) {
        return text;
    }
    text.trim_matches(is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_words_are_pythons() {
        // python3.11: "a\x1c\u3000b\u200b".split(); re.findall(r"\w", "é९½_अि\u0301Ⓐ-")
        assert_eq!(split("\x1f a\x1c\u{3000}b\u{200b} ").collect::<Vec<_>>(), ["a", "b\u{200b}"]);
        assert_eq!(strip("\x1d\u{85} a b\n"), "a b");
        assert_eq!(
            [strip("a b."), strip("é\n"), strip(""), strip("\u{200b}x \u{1c}\u{a0}")],
            ["a b.", "é", "", "\u{200b}x"]
        );
        let words: String = "é९½_अि\u{301}Ⓐ-".chars().filter(|&letter| is_word(letter)).collect();
        assert_eq!(words, "é९½_अ");
    }
}
