//! Labels: right ones, random ones, and abstract ones that say nothing.

use crate::evaluation::compat::Compat;
use crate::{Error, Result};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// What the labels of demonstrations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Natural words, right: the task can be recognised and learnt.
    Gold,
    /// Natural words, drawn uniformly for each demonstration: the task can only be recognised.
    Random,
    /// Numbers from 0, dealt to the classes at random: the task can only be learnt.
    Number,
    /// Capital letters, dealt likewise.
    Letter,
    /// ASCII symbols, dealt likewise.
    Symbol,
}

impl Mode {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Gold => "gold",
            Mode::Random => "random",
            Mode::Number => "number",
            Mode::Letter => "letter",
            Mode::Symbol => "symbol",
        }
    }

    /// Whether labels say nothing about the task.
    pub fn is_abstract(self) -> bool {
        matches!(self, Mode::Number | Mode::Letter | Mode::Symbol)
    }

    /// The label of each class, drawn anew at each call where labels are abstract; all different, but that the
    /// original's symbols have the backslash twice.
    ///
    /// # Errors
    /// [`Error::Config`] for more classes than there are labels.
    pub fn labels(self, words: &[String], random: &mut impl Rng, compat: Compat) -> Result<Vec<String>> {
        let mut space: Vec<String> = match self {
            Mode::Gold | Mode::Random => return Ok(words.to_vec()),
            Mode::Number => (0..words.len()).map(|number| number.to_string()).collect(),
            Mode::Letter => ('A'..='Z').map(String::from).collect(),
            Mode::Symbol if compat.is_original() => r"@#$%*^\{\}".chars().map(String::from).collect(),
            Mode::Symbol => r"@#$%*^\{}".chars().map(String::from).collect(),
        };
        if space.len() < words.len() {
            let what = format!("expected at most {} classes for {}, found {}", space.len(), self.name(), words.len());
            return Err(Error::config("labels", what));
        }
        space.shuffle(random);
        space.truncate(words.len());
        Ok(space)
    }

    /// The class whose label a demonstration of class `class` shows.
    pub fn shown(self, class: usize, classes: usize, random: &mut impl Rng) -> usize {
        match self {
            Mode::Random => random.random_range(0..classes.max(1)),
            _ => class,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use tesseral_nn::rng::Streams;

    #[test]
    fn abstract_labels_are_distinct_and_change_their_class() {
        let words: Vec<String> = (0..9).map(|k| format!("word{k}")).collect();
        let mut random = Streams::new(1).stream("labels", &[]);
        for mode in [Mode::Number, Mode::Letter, Mode::Symbol] {
            let mut first = BTreeSet::new();
            for _ in 0..300 {
                let labels = mode.labels(&words, &mut random, Compat::Mended).unwrap();
                assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), 9, "{labels:?}");
                first.insert(labels[0].clone());
            }
            assert_eq!(first.len(), if mode == Mode::Letter { 26 } else { 9 });
        }
        assert_eq!(Mode::Gold.labels(&words, &mut random, Compat::Mended).unwrap(), words);
        let many: Vec<String> = (0..10).map(|k| k.to_string()).collect();
        let message = Mode::Symbol.labels(&many, &mut random, Compat::Mended).unwrap_err().to_string();
        assert_eq!(message, "labels: expected at most 9 classes for symbol, found 10");
    }

    #[test]
    fn only_random_labels_are_wrong_and_uniformly() {
        let mut random = Streams::new(2).stream("labels", &[]);
        assert!([Mode::Gold, Mode::Letter].iter().all(|mode| mode.shown(2, 4, &mut random) == 2));
        let mut counts = [0; 4];
        (0..4000).for_each(|_| counts[Mode::Random.shown(2, 4, &mut random)] += 1);
        assert!(counts.iter().all(|n| (880..1120).contains(n)), "{counts:?}"); // 1000, standard deviation 27
    }
}
