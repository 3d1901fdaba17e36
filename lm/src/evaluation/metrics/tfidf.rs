//! Search by cosine of TF-IDF vectors, as scikit-learn's `TfidfVectorizer` makes them by default.

use super::inverted::{Inverted, words};
use std::collections::BTreeMap;

/// Passages by their terms.
#[derive(Clone, Debug)]
pub struct TfIdf {
    inverted: Inverted,
    /// ln((1 + passages) / (1 + passages with the term)) + 1.
    rarity: Vec<f64>,
    /// Length of each passage's vector.
    norms: Vec<f64>,
}

impl TfIdf {
    /// Reads the passages.
    pub fn new<T: AsRef<str> + Sync>(passages: &[T]) -> Self {
        let inverted = Inverted::new(passages, words);
        let count = passages.len() as f64;
        let mut rarity = Vec::with_capacity(inverted.postings().len());
        let mut squares = vec![0.0; passages.len()];
        for postings in inverted.postings() {
            let weight = ((1.0 + count) / (1.0 + postings.len() as f64)).ln() + 1.0;
            for posting in postings {
                squares[posting.passage] += (f64::from(posting.count) * weight).powi(2);
            }
            rarity.push(weight);
        }
        TfIdf { inverted, rarity, norms: squares.into_iter().map(f64::sqrt).collect() }
    }

    /// Cosine of the query with each passage; 0 where they share no term.
    pub fn similarities(&self, query: &str) -> Vec<f64> {
        let mut counts: BTreeMap<usize, f64> = BTreeMap::new();
        for number in words(query).iter().filter_map(|word| self.inverted.number(word)) {
            *counts.entry(number).or_default() += 1.0;
        }
        let weights: Vec<(usize, f64)> = counts.into_iter().map(|(n, count)| (n, count * self.rarity[n])).collect();
        let norm = weights.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        let mut similarities = vec![0.0; self.norms.len()];
        for (number, weight) in weights {
            for posting in &self.inverted.postings()[number] {
                let own = f64::from(posting.count) * self.rarity[number] / self.norms[posting.passage];
                similarities[posting.passage] += own * weight / norm;
            }
        }
        similarities
    }

    /// The most similar passage, the first of equals, even where no term is shared; `None` without passages.
    pub fn best(&self, query: &str) -> Option<usize> {
        let similarities = self.similarities(query);
        let highest = similarities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        similarities.iter().position(|&similarity| similarity == highest)
    }
}

#[cfg(test)]
mod tests {
    use super::TfIdf;
    use crate::evaluation::metrics::golden;

    #[test]
    fn golden_searcher() {
        let Some(file) = golden::file("alce/tfidf_searcher.json") else { return };
        let documents = file["_meta"]["docs"].as_array().unwrap().iter();
        let passages: Vec<String> = documents
            .map(|document| format!("{} {}", document["title"].as_str().unwrap(), document["text"].as_str().unwrap()))
            .collect();
        let index = TfIdf::new(&passages);
        for case in file["cases"].as_array().unwrap() {
            let query = case["query"].as_str().unwrap();
            let expected = case["similarities"].as_array().unwrap();
            let found = index.similarities(query);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected.as_f64().unwrap()).abs() < 1e-12, "{case}");
            }
            assert_eq!(index.best(query).map(|best| best as u64), case["best_doc_id"].as_u64(), "{case}");
        }
    }

    #[test]
    fn nothing_to_search_finds_nothing() {
        assert_eq!(TfIdf::new::<&str>(&[]).best("a query"), None);
        assert_eq!(TfIdf::new(&["", "word"]).similarities("? "), [0.0, 0.0]);
    }
}
