//! From a window to what the model gets: the decoder's tokens, their labels, and the contexts beside them.

use super::encoder::Context;
use crate::Result;
use crate::objective::Batch;
use rand::Rng;
use serde::{Deserialize, Serialize};
use tesseral_nn::layers::cross_entropy::IGNORED;

/// Where contexts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contexts {
    /// The tokens before those of the decoder.
    #[default]
    Previous,
    /// The decoder's own tokens: what warm-up learns to copy.
    Duplicate,
    /// As many repetitions of one token: the control that knows nothing.
    Dummy(u32),
    /// None; the tokens before stand in the decoder's window instead.
    InWindow,
    /// None.
    None,
}

/// How windows become examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selection {
    /// Where contexts come from.
    pub contexts: Contexts,
    /// How many.
    pub count: usize,
    /// Tokens of each.
    pub length: usize,
    /// Tokens of the decoder; more than the window has are taken from before it.
    pub decoder: usize,
    /// Only the last so many tokens are counted in the loss.
    pub counted: Option<usize>,
}

/// One text with its contexts.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The decoder's tokens.
    pub ids: Vec<u32>,
    /// In place: what each token is predicted as, or [`IGNORED`].
    pub labels: Vec<i64>,
    /// Contexts, in the order of the text.
    pub contexts: Vec<Context>,
}

impl Selection {
    /// The example of a window.
    pub fn example(&self, previous: &[u32], tokens: &[u32]) -> Example {
        let context_tokens = self.count * self.length;
        let last = |ids: &[u32], n: usize| ids[ids.len().saturating_sub(n)..].to_vec();
        let text = match self.decoder.checked_sub(tokens.len()) {
            None | Some(0) => tokens[..self.decoder.min(tokens.len())].to_vec(),
            Some(more) => [last(previous, more), tokens.to_vec()].concat(),
        };
        let (ids, contexts) = match self.contexts {
            Contexts::InWindow => ([last(previous, context_tokens), text].concat(), Vec::new()),
            Contexts::None => (text, Vec::new()),
            Contexts::Previous => {
                let contexts = pieces(&last(previous, context_tokens), self.length);
                (text, contexts)
            }
            Contexts::Duplicate => {
                let contexts = text.chunks(self.length.max(1)).take(self.count).map(<[u32]>::to_vec).collect();
                (text, contexts)
            }
            Contexts::Dummy(id) => (text, vec![vec![id; self.length]; self.count]),
        };
        let ignored = ids.len() - self.counted.unwrap_or(ids.len()).min(ids.len());
        let labels = ids.iter().enumerate().map(|(k, id)| if k < ignored { IGNORED } else { i64::from(*id) }).collect();
        Example { ids, labels, contexts }
    }
}

/// Cuts tokens into pieces from their end, so that only the first may be shorter.
pub fn pieces(ids: &[u32], length: usize) -> Vec<Context> {
    let mut pieces: Vec<Context> = ids.rchunks(length.max(1)).map(<[u32]>::to_vec).collect();
    pieces.reverse();
    pieces
}

/// Contexts left out, whole or at their ends, so that the model learns to do without.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Masking {
    /// How often a context is touched.
    pub probability: f64,
    /// How often one that is touched is left out whole; else 1 to all but one of its last tokens are, equally often.
    pub whole: f64,
}

impl Default for Masking {
    /// The original's with an encoder of random weights: 0.3 and 0.1.
    fn default() -> Self {
        Masking { probability: 0.3, whole: 0.1 }
    }
}

impl Masking {
    /// Leaves out.
    pub fn apply(&self, contexts: &mut [Context], random: &mut impl Rng) {
        for context in contexts {
            let draw: f64 = random.random();
            if draw < self.probability * self.whole {
                context.clear();
            } else if draw < self.probability && context.len() > 1 {
                let hidden = random.random_range(1..context.len());
                context.truncate(context.len() - hidden);
            }
        }
    }
}

/// Packed texts with the contexts of each.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextBatch {
    /// The decoder's texts.
    pub text: Batch,
    /// Contexts of each text.
    pub contexts: Vec<Vec<Context>>,
}

impl ContextBatch {
    /// Of some examples.
    ///
    /// # Errors
    /// As [`Batch::new`] (never, of whole examples).
    pub fn new(examples: &[Example]) -> Result<Self> {
        let ids: Vec<u32> = examples.iter().flat_map(|e| e.ids.iter().copied()).collect();
        let labels: Vec<i64> = examples.iter().flat_map(|e| e.labels.iter().copied()).collect();
        let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
        let contexts = examples.iter().map(|e| e.contexts.clone()).collect();
        Ok(ContextBatch { text: Batch::new(&ids, &labels, &lengths)?, contexts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tesseral_nn::rng::Streams;

    #[test]
    fn short_texts_give_fewer_and_shorter_contexts() {
        let selection = Selection { contexts: Contexts::Previous, count: 3, length: 4, decoder: 2, counted: None };
        let found = selection.example(&[1, 2, 3, 4, 5, 6], &[7, 8, 9]);
        assert_eq!(found.contexts, [vec![1, 2], vec![3, 4, 5, 6]]);
        assert_eq!(found.ids, [7, 8]);
        assert!(selection.example(&[], &[7]).contexts.is_empty());
    }

    #[test]
    fn masking_hides_as_often_as_it_says() {
        let (mut random, n) = (Streams::new(3).stream("masking", &[]), 40_000);
        let mut contexts = vec![vec![1; 4]; n];
        Masking::default().apply(&mut contexts, &mut random);
        let share = |length: usize| contexts.iter().filter(|c| c.len() == length).count() as f64 / n as f64;
        assert!((share(0) - 0.03).abs() < 0.004, "{}", share(0));
        for length in 1..4 {
            assert!((share(length) - 0.09).abs() < 0.006, "{length}: {}", share(length));
        }
        assert!((share(4) - 0.7).abs() < 0.01);
    }
}
