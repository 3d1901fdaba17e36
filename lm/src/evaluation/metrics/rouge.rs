//! ROUGE (Lin 2004): n-grams and longest common subsequences, as `rouge_score` 0.1.2 counts them.
//!
//! Words are runs of a-z and 0-9 of the text in lower case (other letters part words), those of more than three letters
//! stemmed by [`porter`](super::porter).

mod subsequence;
mod vocabulary;

pub use vocabulary::{Vocabulary, Words};

use super::{multiset, sentences};
use subsequence::Rows;

/// Agreement of a prediction with a target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Part of the prediction that is in the target.
    pub precision: f64,
    /// Part of the target that is in the prediction.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

impl Score {
    /// Nothing in common where a side is empty.
    fn new(common: usize, target: usize, prediction: usize) -> Self {
        if common == 0 || target == 0 || prediction == 0 {
            return Score::default();
        }
        let (precision, recall) = (common as f64 / prediction as f64, common as f64 / target as f64);
        Score { precision, recall, f1: 2.0 * precision * recall / (precision + recall) }
    }
}

/// ROUGE-n: common runs of `n` words, each counted as often as it stands in both. 0 for n = 0.
pub fn rouge_n(target: &Words, prediction: &Words, n: usize) -> Score {
    if n == 0 {
        return Score::default();
    }
    let (target, prediction) = (target.all(), prediction.all());
    let (common, target, prediction) = multiset::common(target.windows(n), prediction.windows(n));
    Score::new(common, target, prediction)
}

/// ROUGE-L: the longest common subsequence of both texts.
pub fn rouge_l(target: &Words, prediction: &Words) -> Score {
    let (target, prediction) = (target.all(), prediction.all());
    Score::new(Rows::new(target).longest(prediction), target.len(), prediction.len())
}

/// ROUGE-Lsum: for each line of the target the union of its longest common subsequences with the lines of the prediction;
/// no word counts more often than it stands in either text.
pub fn rouge_lsum(target: &Words, prediction: &Words) -> Score {
    let mut left_target = counts(target.all());
    let mut left_prediction = counts(prediction.all());
    let mut common = 0;
    for line in target.lines() {
        let mut rows = Rows::new(line);
        let mut union = vec![false; line.len()];
        for other in prediction.lines() {
            rows.mark(other, &mut union);
        }
        for (&word, _) in line.iter().zip(&union).filter(|(_, in_union)| **in_union) {
            let (Some(a), Some(b)) = (left_target.get_mut(word as usize), left_prediction.get_mut(word as usize))
            else {
                continue;
            };
            if *a > 0 && *b > 0 {
                *a -= 1;
                *b -= 1;
                common += 1;
            }
        }
    }
    Score::new(common, target.all().len(), prediction.all().len())
}

fn counts(words: &[u32]) -> Vec<u32> {
    let mut counts = vec![0; words.iter().max().map_or(0, |&most| most as usize + 1)];
    for &word in words {
        counts[word as usize] += 1;
    }
    counts
}

/// The four usual scores of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Single words.
    pub rouge1: Score,
    /// Pairs of words.
    pub rouge2: Score,
    /// Longest common subsequence.
    pub rouge_l: Score,
    /// The same by lines.
    pub rouge_lsum: Score,
}

/// All four scores, words stemmed. To match one text with many read it once into a [`Vocabulary`].
pub fn score(target: &str, prediction: &str) -> Scores {
    let mut vocabulary = Vocabulary::default();
    let (target, prediction) = (vocabulary.read(target), vocabulary.read(prediction));
    Scores {
        rouge1: rouge_n(&target, &prediction, 1),
        rouge2: rouge_n(&target, &prediction, 2),
        rouge_l: rouge_l(&target, &prediction),
        rouge_lsum: rouge_lsum(&target, &prediction),
    }
}

/// ROUGE-Lsum alone, words stemmed.
pub fn score_lsum(target: &str, prediction: &str) -> Score {
    let mut vocabulary = Vocabulary::default();
    rouge_lsum(&vocabulary.read(target), &vocabulary.read(prediction))
}

/// The text in lower case, one sentence a line: how ALCE prepares texts for ROUGE-Lsum.
pub fn sentences_as_lines(text: &str) -> String {
    sentences::spans(&text.to_lowercase()).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;
    use serde_json::Value;

    #[test]
    fn golden_of_alce() {
        for case in golden::cases("alce/rouge_lsum.json") {
            let lines = |key: &str| sentences_as_lines(case[key].as_str().unwrap());
            let (target, prediction) = (lines("reference"), lines("output"));
            assert_eq!(target, case["ref_lines"].as_str().unwrap());
            assert_eq!(prediction, case["hyp_lines"].as_str().unwrap());
            let found = score(&target, &prediction).rouge_lsum;
            for (found, key) in [(found.precision, "p"), (found.recall, "r"), (found.f1, "f")] {
                assert!((found - case["rougeLsum"][key].as_f64().unwrap()).abs() < 1e-12, "{case}");
            }
            assert!((100.0 * found.f1 - case["compute_rouge_single_item"].as_f64().unwrap()).abs() < 1e-9);
        }
    }

    /// Mean over items of the best of their references, in percent.
    fn mean(items: &[Value], references: impl Fn(&Value) -> Vec<String>) -> f64 {
        let best = items.iter().map(|item| {
            let prediction = sentences_as_lines(item["output"].as_str().unwrap());
            let scores = references(item).into_iter().map(|reference| {
                let target = sentences_as_lines(&reference);
                score(&target, &prediction).rouge_lsum.f1
            });
            scores.fold(0.0, f64::max)
        });
        100.0 * best.sum::<f64>() / items.len() as f64
    }

    #[test]
    fn golden_data_set_of_alce() {
        let Some(file) = golden::file("alce/rouge_lsum_dataset.json") else { return };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let single = mean(file["items"].as_array().unwrap(), |item| vec![text(&item["answer"])]);
        let double = mean(file["items_two_references"].as_array().unwrap(), |item| {
            item["annotations"].as_array().unwrap().iter().map(|note| text(&note["long_answer"])).collect()
        });
        assert!((single - file["exact_mean_f_single_ref"].as_f64().unwrap()).abs() < 1e-9, "{single}");
        // The original gives the middle of random resamples, so only its mean over seeds is near the mean.
        let seeds = file["bootstrap_mid_5_seeds"].as_array().unwrap();
        for (found, place) in [(single, 0), (double, 1)] {
            let middle = seeds.iter().map(|seed| seed[place].as_f64().unwrap()).sum::<f64>() / seeds.len() as f64;
            assert!((found - middle).abs() <= 1.5, "{found} {middle}");
        }
    }

    #[test]
    fn as_rouge_score_says() {
        // rouge_score 0.1.2, RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True).score(..)
        let scores =
            score("The cats sat.\nOn a mat 2\u{212A} caf\u{e9}s, sat", "a cat sitting on mats sat\ncaf 2k the");
        let f1 = [scores.rouge1, scores.rouge2, scores.rouge_l, scores.rouge_lsum].map(|score| score.f1);
        assert_eq!(f1, [0.8421052631578948, 0.0, 0.4210526315789474, 0.631578947368421]);
        assert_eq!(score("", "a"), Scores::default());
        assert_eq!(score("é\n\n!", "a"), Scores::default());
        assert_eq!(rouge_n(&Words::default(), &Words::default(), 0), Score::default());
    }
}
