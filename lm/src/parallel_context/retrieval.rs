//! Contexts that are looked up: passages of other documents that share rare words with what stands before the text (BM25).

use super::encoder::Context;
use super::windows::passages;
use crate::Result;
use crate::evaluation::metrics::bm25::{Bm25, Index};
use crate::model::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// What comes with a passage that was found: the one that follows it in its document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Neighbour {
    /// Nothing.
    #[default]
    None,
    /// In the same context.
    Joint,
    /// As a context of its own.
    Separate,
}

/// Passages of some documents, by their words.
pub struct Retriever<'a> {
    tokenizer: &'a Tokenizer,
    passages: Vec<(usize, Vec<u32>)>,
    index: Index,
    chunk: usize,
    neighbour: Neighbour,
}

impl<'a> Retriever<'a> {
    /// Passages of `chunk` tokens.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn new(documents: &[Vec<u32>], chunk: usize, neighbour: Neighbour, tokenizer: &'a Tokenizer) -> Result<Self> {
        let passages = passages(documents, chunk);
        let text = |(_, ids): &(usize, Vec<u32>)| tokenizer.decode(&ids[..chunk], false);
        let texts = passages.iter().map(text).collect::<Result<Vec<_>>>()?;
        Ok(Retriever { tokenizer, index: Index::new(&texts, Bm25::default()), passages, chunk, neighbour })
    }

    /// The best `count` contexts for what stands before a text, the best first, none from document `own`.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn find(&self, before: &[u32], count: usize, own: Option<usize>) -> Result<Vec<Context>> {
        let query = &before[before.len().saturating_sub(self.chunk)..];
        let hits = self.index.search(&self.tokenizer.decode(query, false)?, self.index.len());
        let mut found = Vec::new();
        for (document, ids) in hits.iter().map(|hit| &self.passages[hit.passage]) {
            if found.len() >= count {
                break;
            }
            if Some(*document) == own {
                continue;
            }
            let (chunk, neighbour) = ids.split_at(self.chunk);
            match self.neighbour {
                Neighbour::None => found.push(chunk.to_vec()),
                Neighbour::Joint => found.push(ids.clone()),
                Neighbour::Separate => {
                    found.push(chunk.to_vec());
                    found.extend((!neighbour.is_empty()).then(|| neighbour.to_vec()));
                }
            }
        }
        found.truncate(count);
        Ok(found)
    }
}
