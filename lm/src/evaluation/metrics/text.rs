//! Match of a short answer with a reference, after SQuAD's normalization (Rajpurkar et al. 2016, arXiv 1606.05250).

use super::multiset;
use crate::python::text::{is_space, is_word};
use crate::{Error, Result};
use serde_json::Value;

/// Lower case, without ASCII punctuation and without the words a, an, the; one space between words.
pub fn normalize_answer(text: &str) -> String {
    // The one letter whose lower case depends on its place in the word.
    if text.contains('Σ') {
        return normalize_letters(text.to_lowercase().chars());
    }
    if text.is_ascii() {
        return normalize_letters(text.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    normalize_letters(text.chars().flat_map(char::to_lowercase))
}

fn normalize_letters(letters: impl Iterator<Item = char>) -> String {
    let mut normal: Vec<u8> = Vec::with_capacity(letters.size_hint().0 + 1);
    // Where the last word starts, and whether it is of ASCII letters and digits only.
    let mut start = 0;
    let mut plain = true;
    letters.chain([' ']).for_each(|letter| {
        if letter.is_ascii_alphanumeric() {
            normal.push(letter as u8);
        } else if is_space(letter) {
            finish_word(&mut normal, start, plain);
            start = normal.len();
            plain = true;
        } else if !letter.is_ascii_punctuation() {
            normal.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            plain = false;
        }
    });
    normal.pop();
    // Whole letters were put in, so nothing is replaced.
    String::from_utf8(normal).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Takes articles out of the word that starts at `start`, and puts a space behind what is left, if anything is.
fn finish_word(normal: &mut Vec<u8>, start: usize, plain: bool) {
    if plain {
        if matches!(&normal[start..], b"a" | b"an" | b"the") {
            normal.truncate(start);
        }
    } else {
        let word = String::from_utf8_lossy(&normal[start..]).into_owned();
        normal.truncate(start);
        for (number, part) in without_articles(&word).enumerate() {
            if number > 0 {
                normal.push(b' ');
            }
            normal.extend_from_slice(part.as_bytes());
        }
    }
    if normal.len() > start {
        normal.push(b' ');
    }
}

fn is_article(word: &str) -> bool {
    matches!(word, "a" | "an" | "the")
}

/// The parts of a string without spaces that its articles leave; signs that are no part of words may touch them.
fn without_articles(word: &str) -> impl Iterator<Item = &str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut run = 0;
    let ends = word.char_indices().filter(|&(_, letter)| !is_word(letter)).map(|(end, sign)| (end, sign.len_utf8()));
    for (end, sign) in ends.chain([(word.len(), 0)]) {
        if is_article(&word[run..end]) {
            parts.push(&word[start..run]);
            start = end;
        }
        run = end + sign;
    }
    parts.push(&word[start..]);
    parts.into_iter().filter(|part| !part.is_empty())
}

/// Agreement in words, each counted as often as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overlap {
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Common words of the prediction's words.
    pub precision: f64,
    /// Common words of the reference's words.
    pub recall: f64,
}

/// An answer normalized once, to be matched with many references.
#[derive(Clone, Debug)]
pub struct Answer {
    normal: String,
}

impl Answer {
    /// Normalizes.
    pub fn new(text: &str) -> Self {
        Answer { normal: normalize_answer(text) }
    }

    /// The normalized text.
    pub fn text(&self) -> &str {
        &self.normal
    }

    /// The same normalized text.
    pub fn equals(&self, reference: &Answer) -> bool {
        self.normal == reference.normal
    }

    /// The reference stands in this answer; an empty one always does.
    pub fn contains(&self, reference: &Answer) -> bool {
        self.normal.contains(&reference.normal)
    }

    /// Common words; none unless equal if one of the two is "yes", "no" or "noanswer", as DrQA and HELMET have it.
    pub fn overlap(&self, reference: &Answer) -> Overlap {
        let whole = |text: &str| matches!(text, "yes" | "no" | "noanswer");
        if (whole(&self.normal) || whole(&reference.normal)) && self.normal != reference.normal {
            return Overlap::default();
        }
        self.common(reference)
    }

    fn common(&self, reference: &Answer) -> Overlap {
        // Nothing but single spaces is left between words.
        let [own, others] = [self, reference].map(|answer| answer.normal.split_ascii_whitespace());
        let (common, own, others) = multiset::common(own, others);
        if common == 0 {
            return Overlap::default();
        }
        let (precision, recall) = (common as f64 / own as f64, common as f64 / others as f64);
        Overlap { f1: 2.0 * precision * recall / (precision + recall), precision, recall }
    }

    /// Word F1 of SQuAD 2.0: nothing equals nothing, and no answer is special.
    pub fn squad_f1(&self, reference: &Answer) -> f64 {
        if self.normal.is_empty() || reference.normal.is_empty() {
            return f64::from(self.normal == reference.normal);
        }
        self.common(reference).f1
    }
}

/// Whether both are the same when normalized.
pub fn exact_match(prediction: &str, reference: &str) -> bool {
    Answer::new(prediction).equals(&Answer::new(reference))
}

/// Whether the reference stands in the prediction, both normalized; an empty reference always does.
pub fn substring_exact_match(prediction: &str, reference: &str) -> bool {
    Answer::new(prediction).contains(&Answer::new(reference))
}

/// Word F1 with HELMET's guard: see [`Answer::overlap`].
pub fn token_f1(prediction: &str, reference: &str) -> Overlap {
    Answer::new(prediction).overlap(&Answer::new(reference))
}

/// Word F1 of SQuAD 2.0 and ALCE: see [`Answer::squad_f1`].
pub fn squad_f1(prediction: &str, reference: &str) -> f64 {
    Answer::new(prediction).squad_f1(&Answer::new(reference))
}

/// References out of a dataset's field: a text, a list of texts, or lists of them.
///
/// # Errors
/// Anything else; no text at all. `field` is named.
pub fn references(value: &Value, field: &str) -> Result<Vec<String>> {
    fn collect(value: &Value, field: &str, found: &mut Vec<String>) -> Result<()> {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().try_for_each(|item| collect(item, field, found))?,
            other => return Err(Error::config(field, format!("expected a text or a list of texts, found {other}"))),
        }
        Ok(())
    }
    let mut found = Vec::new();
    collect(value, field, &mut found)?;
    if found.is_empty() {
        return Err(Error::config(field, "expected at least one reference, found none"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;
    use serde_json::json;

    #[test]
    fn golden_strings() {
        for case in golden::cases("helmet/string_metrics.json") {
            let (prediction, gold) = (case["prediction"].as_str().unwrap(), case["gold"].as_str().unwrap());
            assert_eq!(normalize_answer(prediction), case["norm_pred"].as_str().unwrap());
            assert_eq!(normalize_answer(gold), case["norm_gold"].as_str().unwrap());
            let overlap = token_f1(prediction, gold);
            for (found, place) in [(overlap.f1, 0), (overlap.precision, 1), (overlap.recall, 2)] {
                assert_eq!(found, case["f1_tuple"][place].as_f64().unwrap(), "{case}");
            }
            assert_eq!(json!(exact_match(prediction, gold)), case["em"], "{case}");
            assert_eq!(json!(substring_exact_match(prediction, gold)), case["sub_em"], "{case}");
        }
    }

    #[test]
    fn golden_of_alce() {
        for case in golden::cases("alce/f1_exact.json") {
            // A missing answer is an empty one.
            let [prediction, gold] = ["pred", "gold"].map(|key| case[key].as_str().unwrap_or_default());
            assert_eq!(squad_f1(prediction, gold), case["f1"].as_f64().unwrap(), "{case}");
            assert_eq!(f64::from(exact_match(prediction, gold)), case["exact"].as_f64().unwrap(), "{case}");
        }
    }

    #[test]
    fn golden_of_mezo() {
        let Some(file) = golden::file("mezo/metrics.json") else { return };
        for case in file["normalize"].as_array().unwrap() {
            assert_eq!(normalize_answer(case[0].as_str().unwrap()), case[1].as_str().unwrap());
        }
    }

    #[test]
    fn articles_beside_signs_that_are_no_punctuation_to_ascii() {
        // Python: re.sub(r"\b(a|an|the)\b", " ", text), then " ".join(text.split())
        assert_eq!(normalize_answer("“The end” of—the—a—day"), "“ end” of— — —day");
        assert_eq!(normalize_answer("theé a\u{301} thea"), "theé \u{301} thea");
    }

    #[test]
    fn references_are_texts() {
        assert_eq!(references(&json!("a"), "answer").unwrap(), ["a"]);
        assert_eq!(references(&json!([["a"], ["b", "c"]]), "answer").unwrap(), ["a", "b", "c"]);
        let error = references(&json!(["a", 3]), "answer").unwrap_err().to_string();
        assert_eq!(error, "answer: expected a text or a list of texts, found 3");
        assert!(references(&json!([]), "answer").unwrap_err().to_string().contains("found none"));
    }
}
