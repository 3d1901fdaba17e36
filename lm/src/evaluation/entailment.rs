//! Whether a premise entails a hypothesis: two kinds of model, a recorded table, and a stand-in that counts words.
//!
//! [`cached::Cached`] puts a memory before any of them, so that no pair is asked twice and what is asked goes in batches.

pub mod cached;
pub mod deberta;
mod folder;
pub mod lexical;
pub mod recorded;
pub mod source;
pub mod t5;
pub mod table;

use crate::Result;

/// A premise and a hypothesis.
pub type Pair<'a> = (&'a str, &'a str);

/// Says of pairs of texts whether the first entails the second.
pub trait Entailment {
    /// Names the model and everything else on which its verdicts depend.
    fn identity(&self) -> &str;

    /// One verdict a pair, in order. A verdict depends on its pair alone.
    ///
    /// # Errors
    /// A pair that cannot be judged.
    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>>;

    /// How probable each entailment is, 0 to 1; without more knowledge the verdicts themselves.
    ///
    /// # Errors
    /// As [`Entailment::entails`].
    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        Ok(self.entails(pairs)?.into_iter().map(f64::from).collect())
    }
}

impl<E: Entailment + ?Sized> Entailment for Box<E> {
    fn identity(&self) -> &str {
        (**self).identity()
    }

    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
        (**self).entails(pairs)
    }

    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        (**self).probabilities(pairs)
    }
}

impl<E: Entailment + ?Sized> Entailment for &E {
    fn identity(&self) -> &str {
        (**self).identity()
    }

    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
        (**self).entails(pairs)
    }

    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        (**self).probabilities(pairs)
    }
}

/// Where the two models differ from the code that first used them.
pub const DEVIATIONS: &[&str] = &[
    "Where a limit of tokens is set, the end of the premise is cut and the hypothesis kept; the original T5 cuts nothing.",
    "Greedy decoding of T5 stops as soon as the answer can no longer be \"1\".",
    "T5's tokenizer is the fast one (tokenizer.json); the original takes the slow one.",
    "DeBERTa is no part of ALCE: a pair is entailed where the label \"entailment\" has the largest logit.",
];
