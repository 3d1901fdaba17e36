//! HELMET's scores of a generated answer: matches of short texts, and ROUGE.

use super::rouge::{self, Score, Vocabulary, Words};
use super::text::Answer;
use crate::evaluation::task::Scores;

/// `exact_match`, `f1`, `substring_exact_match`, and of ROUGE-L and ROUGE-Lsum `.._f1` and `.._recall`: each the best over
/// the references on its own. 0 without references.
pub fn scores<T: AsRef<str>>(prediction: &str, references: &[T]) -> Scores {
    let mut scores = matches(prediction, references);
    scores.extend(rouges(prediction, references));
    scores
}

/// `exact_match`, `f1` and `substring_exact_match` alone.
pub fn matches<T: AsRef<str>>(prediction: &str, references: &[T]) -> Scores {
    let prediction = Answer::new(prediction);
    let mut best = [("exact_match", 0.0), ("f1", 0.0), ("substring_exact_match", 0.0)];
    for reference in references {
        let reference = Answer::new(reference.as_ref());
        let found = [
            f64::from(prediction.equals(&reference)),
            prediction.overlap(&reference).f1,
            f64::from(prediction.contains(&reference)),
        ];
        keep_best(&mut best, found);
    }
    best.into_iter().map(|(name, score)| (name.to_owned(), score)).collect()
}

fn rouges<T: AsRef<str>>(prediction: &str, references: &[T]) -> Scores {
    let mut vocabulary = Vocabulary::default();
    let prediction = vocabulary.read(prediction);
    let mut best = [("rougeL_f1", 0.0), ("rougeL_recall", 0.0), ("rougeLsum_f1", 0.0), ("rougeLsum_recall", 0.0)];
    for reference in references {
        let reference = vocabulary.read(reference.as_ref());
        let [l, lsum] = [rouge::rouge_l as fn(&Words, &Words) -> Score, rouge::rouge_lsum]
            .map(|rouge| rouge(&reference, &prediction));
        keep_best(&mut best, [l.f1, l.recall, lsum.f1, lsum.recall]);
    }
    best.into_iter().map(|(name, score)| (name.to_owned(), score)).collect()
}

fn keep_best<const N: usize>(best: &mut [(&str, f64); N], found: [f64; N]) {
    for ((_, best), found) in best.iter_mut().zip(found) {
        *best = best.max(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::{golden, text};
    use serde_json::Value;

    fn check(case: &Value, references: &Value) {
        let references = text::references(references, "answers").unwrap();
        let found = scores(case["prediction"].as_str().unwrap(), &references);
        let expected = case["calculate_metrics"].as_object().unwrap();
        assert_eq!(found.len(), expected.len());
        for (name, expected) in expected {
            let expected = expected.as_bool().map_or_else(|| expected.as_f64().unwrap(), f64::from);
            assert!((found[name] - expected).abs() < 1e-12, "{name} {} {case}", found[name]);
        }
    }

    #[test]
    fn golden_strings() {
        for case in golden::cases("helmet/string_metrics.json") {
            check(&case, &case["gold"]);
        }
    }

    #[test]
    fn golden_references() {
        for case in golden::cases("helmet/multi_reference.json") {
            check(&case, &case["answers"]);
        }
    }

    #[test]
    fn nothing_to_match_scores_nothing() {
        assert!(scores::<&str>("a b", &[]).values().all(|&score| score == 0.0));
    }
}
