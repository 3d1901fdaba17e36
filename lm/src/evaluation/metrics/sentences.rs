//! Sentences of English text by the Punkt algorithm (Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary
//! Detection"), equal to `nltk.sent_tokenize` of NLTK 3.10.
//!
//! Own code after the paper and the observed splits. What was learnt of English (abbreviations, collocations, how words
//! are written) is NLTK's data, `sentences/punkt_english.txt`; its source stands there.

mod parameters;
mod tokens;

use crate::python::text::{is_space, strip};
use parameters::{Case, Parameters};
use tokens::{Token, is_closing, is_end, is_no_word};

/// The sentences of a text, without the white space between them. Linear in the length of the text.
pub fn split(text: &str) -> Vec<String> {
    spans(text).into_iter().map(str::to_owned).collect()
}

/// As [`split`], borrowed from the text.
pub fn spans(text: &str) -> Vec<&str> {
    let parameters = Parameters::english();
    let mut slices = Vec::new();
    let mut start = 0;
    let mut decide = |end: &Candidate| {
        if is_break(&text[end.word..end.context], parameters) {
            slices.push(&text[start..end.stop]);
            start = end.next;
        }
    };
    let mut waiting: Option<Candidate> = None;
    for mut candidate in candidates(text) {
        // The word before reaches back to the last blank; of several candidates in one word the last decides.
        let (from, word) = waiting.as_ref().map_or((0, 0), |last| (last.mark, last.word));
        let blank = text[from..candidate.mark].rfind(|letter: char| matches!(letter, ' ' | '\t'..='\r'));
        candidate.word = blank.filter(|&at| at > 0).map_or(word, |at| from + at + 1);
        if let Some(last) = waiting.as_ref().filter(|last| last.mark <= candidate.word) {
            decide(last);
        }
        waiting = Some(candidate);
    }
    if let Some(last) = &waiting {
        decide(last);
    }
    let rest = text.trim_end_matches(is_space);
    slices.push(rest.get(start..).unwrap_or_default());
    with_closing_signs(text, &slices)
}

/// A sign that may end a sentence, with what stands around it; places in bytes.
struct Candidate {
    /// Start of the word that the sign ends.
    word: usize,
    /// The sign.
    mark: usize,
    /// Behind the sign.
    stop: usize,
    /// Where the next sentence would start.
    next: usize,
    /// End of what decides: the sign after, or the word after.
    context: usize,
}

/// Signs that end sentences, followed by white space and a word, or by a sign that is no part of words.
fn candidates(text: &str) -> impl Iterator<Item = Candidate> {
    text.bytes().enumerate().filter(|(_, byte)| is_end(char::from(*byte))).filter_map(|(mark, _)| {
        let stop = mark + 1;
        let after = &text[stop..];
        let first = after.chars().next()?;
        if is_no_word(first) {
            return Some(Candidate { word: 0, mark, stop, next: stop, context: stop + first.len_utf8() });
        }
        let word = after.trim_start();
        if word.is_empty() || word.len() == after.len() {
            return None;
        }
        let next = text.len() - word.len();
        let length = word.find(char::is_whitespace).unwrap_or(word.len());
        Some(Candidate { word: 0, mark, stop, next, context: next + length })
    })
}

/// Whether a token but the last ends a sentence.
fn is_break(context: &str, parameters: &Parameters) -> bool {
    let lines = context.split('\n').filter(|line| !strip(line).is_empty());
    let mut tokens = lines.flat_map(tokens::texts).map(|text| Token::new(text, parameters));
    let Some(mut last) = tokens.next() else { return false };
    for next in tokens {
        if ends_sentence(&last, &next, parameters) {
            return true;
        }
        last = next;
    }
    false
}

/// The token-based decision of section 4 of the paper, of a token that is not the last.
fn ends_sentence(token: &Token<'_>, next: &Token<'_>, parameters: &Parameters) -> bool {
    if !token.text.ends_with('.') {
        return token.ends_sentence;
    }
    let word = token.kind_without_period();
    let next_word = next.kind_before_decision();
    if parameters.is_collocation(word, next_word) {
        return false;
    }
    let initial = token.is_initial();
    let case = parameters.case(next_word);
    let starts = starts_sentence(next, case);
    if (token.is_abbreviation || token.is_ellipsis)
        && !initial
        && (starts == Some(true) || (next.starts_upper() && parameters.is_starter(next_word)))
    {
        return true;
    }
    if initial || word == tokens::NUMBER {
        // A name after an initial is seen in upper case only.
        if starts == Some(false) || (starts.is_none() && initial && next.starts_upper() && case == Case::NeverLower) {
            return false;
        }
    }
    token.ends_sentence
}

/// What the way a word is written says about whether it starts a sentence; `None`: nothing.
fn starts_sentence(token: &Token<'_>, case: Case) -> Option<bool> {
    if matches!(token.text, ";" | ":" | "," | "." | "!" | "?") {
        Some(false)
    } else if token.starts_upper() && matches!(case, Case::Lower | Case::LowerAtStart) {
        Some(true)
    } else if token.starts_lower() && case != Case::LowerAtStart {
        Some(false)
    } else {
        None
    }
}

/// Closing quotes and brackets at the start of a slice belong to the one before.
fn with_closing_signs<'a>(text: &'a str, slices: &[&'a str]) -> Vec<&'a str> {
    let mut sentences = Vec::with_capacity(slices.len());
    let place = |slice: &str| slice.as_ptr() as usize - text.as_ptr() as usize;
    let mut skip = 0;
    for (number, slice) in slices.iter().enumerate() {
        let sentence = slice.get(skip..).unwrap_or_default();
        skip = 0;
        if let Some(next) = slices.get(number + 1) {
            let signs = next.len() - next.trim_start_matches(is_closing).len();
            let rest = &next[signs..];
            let blank = rest.len() - rest.trim_start().len();
            if signs > 0 && (rest.is_empty() || blank > 0 || rest.starts_with("--")) {
                let start = place(slice) + slice.len() - sentence.len();
                sentences.push(&text[start..place(next) + signs]);
                skip = signs + blank;
                continue;
            }
        }
        if !sentence.is_empty() {
            sentences.push(sentence);
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::split;
    use crate::evaluation::metrics::golden;
    use serde_json::json;

    #[test]
    fn what_was_learnt_decides() {
        // Each by nltk.sent_tokenize: a collocation, an abbreviation before a starter, a name after an initial, a number
        // before lower case, closing signs.
        assert_eq!(split("See B. Stewart and J. Bach. Done."), ["See B. Stewart and J. Bach.", "Done."]);
        assert_eq!(
            split("He left the U.S. Despite it, no. 5. men came."),
            ["He left the U.S.", "Despite it, no.", "5. men came."]
        );
        assert_eq!(split("(One.) »Two.« -- three"), ["(One.)", "»Two.«", "-- three"]);
    }

    #[test]
    fn long_runs_take_linear_time() {
        let start = std::time::Instant::now();
        for piece in ["!", ".", "a.", ". ", ".)", "-", "?\n"] {
            assert!(!split(&piece.repeat(200_000)).is_empty());
        }
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn golden_sentences() {
        for case in golden::cases("alce/sent_tokenize.json") {
            assert_eq!(json!(split(case["text"].as_str().unwrap())), case["sents"], "{case}");
        }
    }
}
