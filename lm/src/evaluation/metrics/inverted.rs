//! Which passages a term stands in, and how often.

use crate::python::text::is_word;
use rayon::prelude::*;
use std::collections::HashMap;

/// How often a term stands in a passage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posting {
    pub(super) passage: usize,
    pub(super) count: u32,
}

/// For each term its passages, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Inverted {
    numbers: HashMap<String, usize>,
    postings: Vec<Vec<Posting>>,
    /// Terms in each passage.
    pub(super) lengths: Vec<usize>,
}

impl Inverted {
    /// Terms of each passage are read in parallel.
    pub(super) fn new<T: AsRef<str> + Sync>(passages: &[T], terms: impl Fn(&str) -> Vec<String> + Sync) -> Self {
        let mut inverted = Inverted::default();
        // In parts, so that the terms of all passages never stand in memory together.
        for (part, passages) in passages.chunks(4096).enumerate() {
            let read: Vec<Vec<String>> = passages.par_iter().map(|passage| terms(passage.as_ref())).collect();
            for (place, terms) in read.into_iter().enumerate() {
                inverted.add(part * 4096 + place, terms);
            }
        }
        inverted
    }

    fn add(&mut self, passage: usize, terms: Vec<String>) {
        self.lengths.push(terms.len());
        for term in terms {
            let next = self.postings.len();
            let number = *self.numbers.entry(term).or_insert(next);
            if number == next {
                self.postings.push(Vec::new());
            }
            let Some(postings) = self.postings.get_mut(number) else { continue };
            match postings.last_mut().filter(|last| last.passage == passage) {
                Some(last) => last.count += 1,
                None => postings.push(Posting { passage, count: 1 }),
            }
        }
    }

    /// Number of a term; `None` if no passage has it.
    pub(super) fn number(&self, term: &str) -> Option<usize> {
        self.numbers.get(term).copied()
    }

    /// By the number of the term.
    pub(super) fn postings(&self) -> &[Vec<Posting>] {
        &self.postings
    }
}

/// Runs of two letters or more of words, in lower case: scikit-learn's `(?u)\b\w\w+\b`.
pub(super) fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|letter| !is_word(letter));
    words.filter(|word| word.chars().nth(1).is_some()).map(str::to_owned).collect()
}
