//! The best of a few documents for a query: what a model asks for while it writes, and what is cited after.

use super::data::Document;
use crate::evaluation::python::text::is_word;
use std::collections::HashMap;

/// Finds the best document.
pub trait Search {
    /// Names the way of searching.
    fn identity(&self) -> &str;

    /// The place of the best document, the first of equals; `None` without documents.
    fn best(&self, query: &str, documents: &[Document]) -> Option<usize>;
}

/// The first of the largest scores; not a number counts as smallest.
pub(super) fn first_best(scores: impl IntoIterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (place, score) in scores.into_iter().enumerate() {
        if best.is_none_or(|(_, so_far)| score > so_far) {
            best = Some((place, score));
        }
    }
    best.map(|(place, _)| place)
}

/// Cosine of the queries' and documents' words, weighted by how rare they are among the documents; as scikit-learn's
/// `TfidfVectorizer` with its defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct TfIdf;

impl TfIdf {
    /// Cosine of the query with each document.
    pub fn similarities(&self, query: &str, documents: &[Document]) -> Vec<f64> {
        let counts: Vec<_> = documents.iter().map(|d| counts(&format!("{} {}", d.title, d.text))).collect();
        let mut having: HashMap<&str, usize> = HashMap::new();
        counts.iter().flat_map(HashMap::keys).for_each(|word| *having.entry(word).or_default() += 1);
        let all = documents.len() as f64;
        let rarity = |word: &str| having.get(word).map(|having| ((1.0 + all) / (1.0 + *having as f64)).ln() + 1.0);
        let weigh = |counts: &HashMap<String, usize>| -> HashMap<String, f64> {
            let weights: HashMap<String, f64> = counts
                .iter()
                .filter_map(|(word, count)| Some((word.clone(), *count as f64 * rarity(word)?)))
                .collect();
            let length = weights.values().map(|weight| weight * weight).sum::<f64>().sqrt();
            weights.into_iter().map(|(word, weight)| (word, weight / length)).collect()
        };
        let query = weigh(&self::counts(query));
        let cosine = |counts| {
            let document = weigh(counts);
            query.iter().filter_map(|(word, weight)| Some(weight * document.get(word)?)).sum()
        };
        counts.iter().map(cosine).collect()
    }
}

impl Search for TfIdf {
    fn identity(&self) -> &str {
        "TF-IDF"
    }

    fn best(&self, query: &str, documents: &[Document]) -> Option<usize> {
        first_best(self.similarities(query, documents))
    }
}

/// Words of two letters and more, in lower case.
fn counts(text: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for word in text.to_lowercase().split(|letter| !is_word(letter)).filter(|word| word.chars().nth(1).is_some()) {
        *counts.entry(word.to_string()).or_default() += 1;
    }
    counts
}

/// Counts how many different words a query shares with a document, as the search behind the recorded vectors.
#[cfg(test)]
pub(super) struct Shared;

#[cfg(test)]
impl Search for Shared {
    fn identity(&self) -> &str {
        "shared words"
    }

    fn best(&self, query: &str, documents: &[Document]) -> Option<usize> {
        let words = |text: &str| -> std::collections::HashSet<String> {
            let stop = ["the", "is", "in", "a", "of", "and", "for", "to", "each", "by"];
            let lower = text.to_lowercase();
            let words = lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == 'é'));
            words.filter(|word| !word.is_empty() && !stop.contains(word)).map(String::from).collect()
        };
        let query = words(query);
        first_best(documents.iter().map(|d| words(&format!("{} {}", d.title, d.text)).intersection(&query).count() as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;

    #[test]
    fn golden_tf_idf() {
        let Some(file) = golden::file("alce/tfidf_searcher.json") else { return };
        let documents: Vec<Document> = serde_json::from_value(file["_meta"]["docs"].clone()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let query = case["query"].as_str().unwrap();
            let expected: Vec<f64> = serde_json::from_value(case["similarities"].clone()).unwrap();
            let found = TfIdf.similarities(query, &documents);
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9), "{query}: {found:?}");
            assert_eq!(TfIdf.best(query, &documents), Some(case["best_doc_id"].as_u64().unwrap() as usize), "{query}");
        }
    }

    #[test]
    fn nothing_is_found_among_no_documents() {
        assert_eq!(TfIdf.best("a", &[]), None);
    }
}
