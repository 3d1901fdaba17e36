//! The best of a few documents for a query: what a model asks for while it writes, and what is cited afterwards. And
//! documents out of a collection, for questions that come without.
//!
//! The original searches with GTR, a dense retriever; without one, BM25 and TF-IDF count words.

use super::data::Document;
use crate::evaluation::metrics::bm25::{Bm25, Index};
use crate::evaluation::metrics::tfidf;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Finds the best document.
pub trait Search {
    /// The place of the best document, the first of equals; `None` without documents.
    fn best(&self, query: &str, documents: &[Document]) -> Option<usize>;
}

/// Ways of searching.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// BM25; the first document where no word is shared.
    #[default]
    Bm25,
    /// Cosine of TF-IDF vectors.
    TfIdf,
}

impl Search for Method {
    fn best(&self, query: &str, documents: &[Document]) -> Option<usize> {
        let texts: Vec<String> = documents.iter().map(searched).collect();
        match self {
            Method::Bm25 => {
                let found = Index::new(&texts, Bm25::default()).search(query, 1);
                found.first().map(|hit| hit.passage).or((!documents.is_empty()).then_some(0))
            }
            Method::TfIdf => tfidf::TfIdf::new(&texts).best(query),
        }
    }
}

fn searched(document: &Document) -> String {
    format!("{} {}", document.title, document.text)
}

/// A collection of passages, found by BM25.
pub struct Collection {
    documents: Vec<Document>,
    index: Index,
}

impl Collection {
    /// Of passages.
    pub fn new(documents: Vec<Document>) -> Self {
        let texts: Vec<String> = documents.par_iter().map(searched).collect();
        Collection { index: Index::new(&texts, Bm25::default()), documents }
    }

    /// Of a file with one passage a line: `{"title": .., "text": ..}`, the title optional.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let passage = |(place, line)| {
            serde_json::from_str(line).map_err(|e| Error::format(file, format!("line {}: {e}", place + 1)))
        };
        let documents = lines.map(passage).collect::<Result<Vec<Document>>>()?;
        if documents.is_empty() {
            return Err(Error::format(file, "expected at least one passage, found none"));
        }
        Ok(Self::new(documents))
    }

    /// The best passages for a query that share a word with it, at most `count`.
    pub fn find(&self, query: &str, count: usize) -> Vec<Document> {
        let hits = self.index.search(query, count).into_iter();
        hits.filter_map(|hit| self.documents.get(hit.passage).cloned()).collect()
    }
}

/// Passages of at most `words` words of a text, as Wikipedia is cut for ALCE (100 words); the last may be shorter.
pub fn cut(document: &Document, words: usize) -> Vec<Document> {
    let all: Vec<&str> = document.text.split_whitespace().collect();
    let passage = |part: &[&str]| Document { text: part.join(" "), ..document.clone() };
    all.chunks(words.max(1)).map(passage).collect()
}

/// Counts how many different words a query shares with a document, as the search behind the recorded vectors.
#[cfg(test)]
pub(super) struct Shared;

#[cfg(test)]
impl Search for Shared {
    fn best(&self, query: &str, documents: &[Document]) -> Option<usize> {
        let words = |text: &str| -> std::collections::HashSet<String> {
            let stop = ["the", "is", "in", "a", "of", "and", "for", "to", "each", "by"];
            let lower = text.to_lowercase();
            let words = lower.split(|c: char| !(c.is_ascii_alphanumeric() || c == 'é'));
            words.filter(|word| !word.is_empty() && !stop.contains(word)).map(String::from).collect()
        };
        let query = words(query);
        let shared = documents.iter().map(|document| words(&searched(document)).intersection(&query).count());
        let shared: Vec<usize> = shared.collect();
        let most = shared.iter().max()?;
        shared.iter().position(|count| count == most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents() -> Vec<Document> {
        let document = |text: &str| Document { text: text.into(), ..Document::default() };
        ["rain falls", "the moose is a deer", "moose moose"].map(document).to_vec()
    }

    #[test]
    fn both_ways_find_the_rarest_words() {
        for method in [Method::Bm25, Method::TfIdf] {
            assert_eq!(method.best("is a deer here", &documents()), Some(1));
            assert_eq!(method.best("zebra", &documents()), Some(0));
            assert_eq!(method.best("zebra", &[]), None);
        }
    }

    #[test]
    fn collections_come_from_files_and_texts_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passages.jsonl");
        std::fs::write(&file, "{\"id\": 1, \"text\": \"rain falls\"}\n\n{\"title\": \"t\", \"text\": \"moose\"}\n")
            .unwrap();
        let found = Collection::read(&file).unwrap().find("the moose", 5);
        assert_eq!(found.iter().map(|d| d.title.as_str()).collect::<Vec<_>>(), ["t"]);
        std::fs::write(&file, "{\"text\": \"rain\"}\n{\"title\": \"t\"}\n").unwrap();
        let error = Collection::read(&file).err().unwrap().to_string();
        assert!(error.contains("line 2: missing field `text`"), "{error}");
        let parts = cut(&documents()[1], 2);
        assert_eq!(parts.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(), ["the moose", "is a", "deer"]);
    }
}
