//! A stand-in that counts words. It sees neither order nor negation: good for trying a pipeline, not for scores.

use super::{Entailment, Pair};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashSet;

/// Words without content of their own.
const FUNCTION_WORDS: &str = "a an and are as at be been but by did do does for from had has have he her his i in is it \
    its not of on or she that the their they this to was were which who will with you";

/// A pair is entailed where enough of the content words of the hypothesis stand in the premise.
#[derive(Clone, Debug)]
pub struct Lexical {
    threshold: f64,
    identity: String,
    function_words: HashSet<&'static str>,
}

impl Default for Lexical {
    /// At least 0.8 of the words.
    fn default() -> Self {
        let threshold = 0.8;
        let identity = format!("share of content words at least {threshold} (a stand-in, not ALCE-grade)");
        Lexical { threshold, identity, function_words: FUNCTION_WORDS.split_whitespace().collect() }
    }
}

impl Lexical {
    /// At least the share `threshold` of the words, above 0 and up to 1.
    ///
    /// # Errors
    /// [`Error::Config`] for a threshold out of range.
    pub fn new(threshold: f64) -> Result<Self> {
        if !(threshold > 0.0 && threshold <= 1.0) {
            return Err(Error::config("threshold", format!("expected more than 0 and at most 1, found {threshold}")));
        }
        let identity = format!("share of content words at least {threshold} (a stand-in, not ALCE-grade)");
        Ok(Lexical { threshold, identity, ..Lexical::default() })
    }

    /// The share of the content words of the hypothesis that the premise has; 0 where the hypothesis has none.
    fn share(&self, (premise, hypothesis): Pair<'_>) -> f64 {
        let (premise, hypothesis) = (premise.to_lowercase(), hypothesis.to_lowercase());
        let present: HashSet<&str> = words(&premise).collect();
        let (mut all, mut found) = (0usize, 0usize);
        for word in words(&hypothesis).filter(|word| !self.function_words.contains(word)) {
            all += 1;
            found += usize::from(present.contains(word));
        }
        if all == 0 { 0.0 } else { found as f64 / all as f64 }
    }
}

/// Runs of letters and digits.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

impl Entailment for Lexical {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
        Ok(pairs.par_iter().map(|pair| self.share(*pair) >= self.threshold).collect())
    }

    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        Ok(pairs.par_iter().map(|pair| self.share(*pair)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_content_words_whatever_their_case() {
        let lexical = Lexical::default();
        assert!(lexical.identity().contains("not ALCE-grade"));
        let premise = "Title: Moose\nThe moose is the largest deer.";
        let verdicts =
            lexical.entails(&[(premise, "The MOOSE is a deer!"), (premise, "moose eat"), (premise, "the a")]);
        assert_eq!(verdicts.unwrap(), [true, false, false]);
        assert!(Lexical::new(0.0).unwrap_err().to_string().contains("threshold"));
    }
}
