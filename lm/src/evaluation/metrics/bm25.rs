//! Search by Okapi BM25 (Robertson and Zaragoza 2009) with Lucene's weights of terms and the settings of Pyserini.
//!
//! As Lucene's English analyser does, stop words are left out and words are stemmed, but by NLTK's variant of Porter's
//! algorithm, and the lengths of passages are exact, where Lucene keeps one byte of them. Scores differ a little for it.

use super::inverted::{Inverted, words};
use super::porter;

/// Lucene's English stop words.
const STOP: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// Settings of BM25.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bm25 {
    /// How soon a term that stands often counts no more.
    pub k1: f64,
    /// How much long passages are held back, 0 to 1.
    pub b: f64,
}

impl Default for Bm25 {
    /// Pyserini's: k1 0.9, b 0.4.
    fn default() -> Self {
        Bm25 { k1: 0.9, b: 0.4 }
    }
}

/// A passage found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Place among the passages.
    pub passage: usize,
    /// BM25 score, above 0.
    pub score: f64,
}

/// Passages by their terms.
#[derive(Clone, Debug)]
pub struct Index {
    inverted: Inverted,
    /// What is added to a term's count in the denominator, of each passage.
    dampers: Vec<f64>,
}

impl Index {
    /// Reads the passages, in parallel.
    pub fn new<T: AsRef<str> + Sync>(passages: &[T], settings: Bm25) -> Self {
        let inverted = Inverted::new(passages, terms);
        let total: usize = inverted.lengths.iter().sum();
        let mean = (total as f64 / inverted.lengths.len().max(1) as f64).max(f64::MIN_POSITIVE);
        let damper = |&length: &usize| settings.k1 * (1.0 - settings.b + settings.b * length as f64 / mean);
        let dampers = inverted.lengths.iter().map(damper).collect();
        Index { inverted, dampers }
    }

    /// How many passages there are.
    pub fn len(&self) -> usize {
        self.dampers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dampers.is_empty()
    }

    /// The `count` best passages that share a term with the query, the best first, equals in the order of passages.
    pub fn search(&self, query: &str, count: usize) -> Vec<Hit> {
        let mut scores = vec![0.0; self.len()];
        let mut touched = Vec::new();
        for number in terms(query).iter().filter_map(|term| self.inverted.number(term)) {
            let postings = &self.inverted.postings()[number];
            let (all, with) = (self.len() as f64, postings.len() as f64);
            let rarity = (1.0 + (all - with + 0.5) / (with + 0.5)).ln();
            for posting in postings {
                let score = &mut scores[posting.passage];
                if *score == 0.0 {
                    touched.push(posting.passage);
                }
                let times = f64::from(posting.count);
                *score += rarity * times / (times + self.dampers[posting.passage]);
            }
        }
        let mut hits: Vec<Hit> = touched.into_iter().map(|passage| Hit { passage, score: scores[passage] }).collect();
        let order = |a: &Hit, b: &Hit| b.score.total_cmp(&a.score).then(a.passage.cmp(&b.passage));
        if count < hits.len() && count > 0 {
            hits.select_nth_unstable_by(count - 1, order);
        }
        hits.truncate(count);
        hits.sort_unstable_by(order);
        hits
    }
}

fn terms(text: &str) -> Vec<String> {
    let words = words(text).into_iter().filter(|word| STOP.binary_search(&word.as_str()).is_err());
    words.map(|word| porter::stem(&word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSAGES: [&str; 4] = [
        "The moose is the largest deer. Moose live in North America.",
        "Rain falls on the mountain.",
        "A deer in the rain, raining and raining.",
        "",
    ];

    #[test]
    fn scores_are_the_formula() {
        let index = Index::new(&PASSAGES, Bm25::default());
        let hits = index.search("rains?", 10);
        assert_eq!(hits.iter().map(|hit| hit.passage).collect::<Vec<_>>(), [2, 1]);
        // Terms: moos largest deer moos live north america; rain fall mountain; deer rain rain rain; none. Mean 3.5.
        let rarity = (1.0f64 + (4.0 - 2.0 + 0.5) / 2.5).ln();
        let damper = |length: f64| 0.9 * (0.6 + 0.4 * length / 3.5);
        assert!((hits[0].score - rarity * 3.0 / (3.0 + damper(4.0))).abs() < 1e-12, "{hits:?}");
        assert!((hits[1].score - rarity * 1.0 / (1.0 + damper(3.0))).abs() < 1e-12, "{hits:?}");
        assert_eq!(index.search("rains?", 1), hits[..1]);
    }

    #[test]
    fn rare_terms_count_more_and_unknown_ones_nothing() {
        let index = Index::new(&PASSAGES, Bm25::default());
        assert_eq!(index.search("moose or rain in Norway", 1)[0].passage, 0);
        assert!(index.search("the of zebra", 5).is_empty());
        assert!(index.search("moose", 0).is_empty());
        let none = Index::new::<&str>(&[], Bm25::default());
        assert!(none.is_empty() && none.search("moose", 3).is_empty());
    }
}
