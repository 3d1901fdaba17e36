//! The next token from logits: greedy, or drawn after temperature, top-k and top-p, in that order.

use crate::{Error, Result};
use rand::Rng;
use serde::{Deserialize, Serialize};
use tesseral_nn::rng::Streams;

/// How tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Logits are divided by it; 0: always the most probable token (the lowest id among equals).
    pub temperature: f64,
    /// Only the k most probable tokens; 0: all.
    pub top_k: usize,
    /// Only the fewest tokens that together have this probability.
    pub top_p: f64,
    /// Of the random stream.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// # Errors
    /// [`Error::Config`] for a value out of range.
    pub fn validate(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            let what = format!("expected a number from 0 on, found {}", self.temperature);
            return Err(Error::config("temperature", what));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::config("top_p", format!("expected a number above 0, at most 1, found {}", self.top_p)));
        }
        Ok(())
    }

    /// The token of number `position` of a text.
    pub fn choose(&self, logits: &[f32], position: u64) -> u32 {
        if self.temperature == 0.0 {
            return most_probable(logits);
        }
        let candidates = self.candidates(logits);
        let draw: f64 = Streams::new(self.seed).stream("sample", &[position]).random();
        let mut sum = 0.0;
        let chosen = candidates.iter().find(|(_, p)| {
            sum += p;
            draw < sum
        });
        chosen.or(candidates.last()).map_or(0, |c| c.0)
    }

    /// The tokens that may be chosen, most probable first, with probabilities that sum to one.
    pub fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let scale = 1.0 / self.temperature.max(f64::MIN_POSITIVE);
        let mut sorted: Vec<(u32, f64)> = (0..).zip(logits.iter().map(|l| f64::from(*l) * scale)).collect();
        let descending = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if (1..sorted.len()).contains(&self.top_k) {
            sorted.select_nth_unstable_by(self.top_k, descending);
            sorted.truncate(self.top_k);
        }
        sorted.sort_unstable_by(descending);
        let top = sorted.first().map_or(0.0, |c| c.1);
        sorted.iter_mut().for_each(|c| c.1 = (c.1 - top).exp());
        normalise(&mut sorted);
        if self.top_p < 1.0 {
            let mut sum = 0.0;
            let enough = |c: &(u32, f64)| {
                sum += c.1;
                sum >= self.top_p
            };
            let kept = sorted.iter().position(enough).map_or(sorted.len(), |k| k + 1);
            sorted.truncate(kept);
            normalise(&mut sorted);
        }
        sorted
    }
}

fn normalise(candidates: &mut [(u32, f64)]) {
    let sum: f64 = candidates.iter().map(|c| c.1).sum();
    candidates.iter_mut().for_each(|c| c.1 /= sum);
}

fn most_probable(logits: &[f32]) -> u32 {
    let better = |best: (u32, f32), (id, logit): (u32, &f32)| if *logit > best.1 { (id, *logit) } else { best };
    (0..).zip(logits).fold((0, f32::NEG_INFINITY), better).0
}

/// Ends a text at the first of some strings, which may span tokens; holds back what could still become one.
#[derive(Clone, Debug)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Empty strings are passed over.
    pub fn new(strings: &[String]) -> Self {
        StopStrings { strings: strings.iter().filter(|s| !s.is_empty()).cloned().collect(), held: String::new() }
    }

    /// Takes more text; what is certain, and whether the text has ended. It ends at the first string that is complete, so
    /// that how the text falls into pieces does not matter.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        for character in text.chars() {
            self.held.push(character);
            let complete = self.strings.iter().filter(|s| self.held.ends_with(s.as_str())).map(|s| s.len()).max();
            if let Some(length) = complete {
                self.held.truncate(self.held.len() - length);
                return (std::mem::take(&mut self.held), true);
            }
        }
        // The longest end of the text that a stop string begins with.
        let could_begin = |at: &usize| self.strings.iter().any(|s| s.starts_with(&self.held[*at..]));
        let at = self.held.char_indices().map(|(at, _)| at).find(could_begin).unwrap_or(self.held.len());
        let rest = self.held.split_off(at);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, when no more text comes.
    pub fn finish(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(temperature: f64, top_k: usize, top_p: f64) -> Sampling {
        Sampling { temperature, top_k, top_p, seed: 1 }
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(Sampling::default().choose(&[0.0, 3.0, 3.0, -1.0], 0), 1);
        assert_eq!(Sampling::default().choose(&[f32::NAN, 1.0], 0), 1);
        assert!(with(-1.0, 0, 1.0).validate().is_err() && with(1.0, 0, 0.0).validate().is_err());
    }

    #[test]
    fn temperature_then_top_k_then_top_p() {
        let logits = [1.0f32, 4.0, 2.0, 3.0].map(f32::ln); // probabilities 0.1, 0.4, 0.2, 0.3
        let ids = |s: Sampling| s.candidates(&logits).iter().map(|c| c.0).collect::<Vec<_>>();
        assert_eq!(ids(with(1.0, 0, 1.0)), [1, 3, 2, 0]);
        assert_eq!(ids(with(1.0, 3, 1.0)), [1, 3, 2]);
        // Of the three, 4/9 and 3/9 make 7/9.
        assert_eq!(ids(with(1.0, 3, 0.75)), [1, 3]);
        assert_eq!(ids(with(1.0, 3, 0.78)), [1, 3, 2]);
        assert_eq!(ids(with(1.0, 0, 0.7)), [1, 3]);
        let squares = with(0.5, 0, 1.0).candidates(&logits);
        assert!((squares[0].1 - 16.0 / 30.0).abs() < 1e-6);
    }

    #[test]
    fn drawn_as_often_as_probable() {
        let logits = [1.0f32, 4.0, 2.0, 3.0].map(f32::ln);
        let n = 20_000;
        let mut counts = [0.0; 4];
        (0..n).for_each(|k| counts[with(1.0, 0, 1.0).choose(&logits, k) as usize] += 1.0);
        let expected = [0.1, 0.4, 0.2, 0.3].map(|p| p * n as f64);
        let chi_square: f64 = counts.iter().zip(expected).map(|(c, e)| (c - e) * (c - e) / e).sum();
        assert!(chi_square < 16.3, "{counts:?}"); // 99.9 % of three degrees of freedom
        assert_eq!(with(1.0, 1, 1.0).choose(&logits, 3), 1);
    }

    proptest! {
        #[test]
        fn stop_strings_cut_where_the_whole_text_would(
            text in "[ab]{0,12}",
            stops in prop::collection::vec("[ab]{1,4}", 0..3),
            cuts in prop::collection::vec(1usize..4, 12),
        ) {
            let cut_at = |end: usize| {
                let longest = stops.iter().filter(|s| text[..end].ends_with(s.as_str())).map(String::len).max();
                longest.map(|n| end - n)
            };
            let expected = (1..=text.len()).find_map(cut_at).map_or(&text[..], |at| &text[..at]);
            let mut stream = StopStrings::new(&stops);
            let (mut told, mut rest, mut ended) = (String::new(), &text[..], false);
            for cut in cuts {
                let (piece, others) = rest.split_at(cut.min(rest.len()));
                rest = others;
                if !ended {
                    let (more, end) = stream.push(piece);
                    told.push_str(&more);
                    ended = end;
                    // A longer text with the same beginning never takes back what was told.
                    prop_assert!(expected.starts_with(&told));
                }
            }
            if !ended {
                told.push_str(&stream.finish());
            }
            prop_assert_eq!(told, expected);
        }
    }
}
