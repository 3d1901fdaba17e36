//! Windows of documents: the tokens that the decoder predicts, and those before them that become contexts.
//!
//! Windows of `previous + decoder` tokens begin every `decoder` tokens, either within each document that is long enough
//! (filtered) or over all documents in a row (concatenated). Files of token ids are arrays `[n, length 1, .. length n, ids]`.

use crate::{Error, Result};
use std::path::Path;
use tesseral_datasets::tokens::Tokens;

/// The documents of an array `[n, length 1, .. length n, ids of all]`.
///
/// # Errors
/// [`Error::Config`] when the lengths do not add up to the array.
pub fn documents(array: &[u32]) -> Result<Vec<Vec<u32>>> {
    let wrong = |found: String| Error::config("documents", format!("expected [n, n lengths, all ids], found {found}"));
    let (count, rest) = array.split_first().ok_or_else(|| wrong("nothing".into()))?;
    let (lengths, mut ids) = rest.split_at_checked(*count as usize).ok_or_else(|| wrong(format!("n = {count}")))?;
    let total: u64 = lengths.iter().map(|n| u64::from(*n)).sum();
    if total != ids.len() as u64 {
        return Err(wrong(format!("lengths of {total} in all for {} ids", ids.len())));
    }
    let mut take = |n: &u32| {
        let (document, more) = ids.split_at(*n as usize);
        ids = more;
        document.to_vec()
    };
    Ok(lengths.iter().map(&mut take).collect())
}

/// The array of some documents.
pub fn array(documents: &[Vec<u32>]) -> Vec<u32> {
    let lengths = documents.iter().map(|d| d.len() as u32);
    std::iter::once(documents.len() as u32).chain(lengths).chain(documents.iter().flatten().copied()).collect()
}

/// The documents of a `.npy` file in this order.
///
/// # Errors
/// A missing file, or as [`documents`].
pub fn read(path: &Path) -> Result<Vec<Vec<u32>>> {
    let tokens = Tokens::npy(path)?;
    documents(&tokens.range(0, tokens.len())?).map_err(|error| Error::format(path, error.to_string()))
}

/// How windows lie in documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placing {
    /// Within documents; those shorter than a window give none.
    #[default]
    Filtered,
    /// Over all documents in a row.
    Concatenated,
}

/// Windows over some documents, by number.
#[derive(Clone, Debug)]
pub struct Windows {
    ids: Vec<u32>,
    starts: Vec<usize>,
    /// Of each window, the document that its last token lies in.
    documents: Vec<usize>,
    previous: usize,
    decoder: usize,
}

impl Windows {
    /// Windows of `previous` tokens of context and `decoder` tokens after them.
    ///
    /// # Errors
    /// [`Error::Config`] for no decoder tokens.
    pub fn new(documents: &[Vec<u32>], previous: usize, decoder: usize, placing: Placing) -> Result<Self> {
        if decoder == 0 {
            return Err(Error::config("decoder_tokens", "expected at least 1, found 0"));
        }
        let ids: Vec<u32> = documents.iter().flatten().copied().collect();
        let length = previous + decoder;
        let mut ends = Vec::new();
        let mut end = 0;
        for document in documents {
            end += document.len();
            ends.push(end);
        }
        let within = |from: usize, to: usize| (from..(to + 1).saturating_sub(length).max(from)).step_by(decoder);
        let starts: Vec<usize> = match placing {
            Placing::Concatenated => within(0, ids.len()).collect(),
            Placing::Filtered => {
                let begins = std::iter::once(0).chain(ends.iter().copied());
                begins.zip(&ends).flat_map(|(from, to)| within(from, *to)).collect()
            }
        };
        let documents = starts.iter().map(|s| ends.partition_point(|end| *end < s + length)).collect();
        Ok(Windows { ids, starts, documents, previous, decoder })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Of window `number`: the tokens before, and the decoder's.
    pub fn get(&self, number: usize) -> (&[u32], &[u32]) {
        let start = self.starts[number];
        self.ids[start..start + self.previous + self.decoder].split_at(self.previous)
    }

    /// The number of the document that window `number` ends in.
    pub fn document(&self, number: usize) -> usize {
        self.documents[number]
    }
}

/// Passages to retrieve: pieces of `2 chunk` tokens, one every `chunk` tokens where a whole chunk is left: the chunk that
/// is searched and its neighbour, which may be shorter. With the number of the document.
pub fn passages(documents: &[Vec<u32>], chunk: usize) -> Vec<(usize, Vec<u32>)> {
    let of = |(number, document): (usize, &Vec<u32>)| {
        let starts = (0..(document.len() + 1).saturating_sub(chunk.max(1))).step_by(chunk.max(1));
        let piece = |s: usize| (number, document[s..(s + 2 * chunk).min(document.len())].to_vec());
        starts.map(piece).collect::<Vec<_>>()
    };
    documents.iter().enumerate().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arrays_that_do_not_add_up_are_refused() {
        for wrong in [&[][..], &[2, 1], &[1, 3, 5], &[1, 1, 5, 6]] {
            assert!(documents(wrong).is_err(), "{wrong:?}");
        }
        assert!(Windows::new(&[vec![1]], 1, 0, Placing::Filtered).is_err());
    }

    proptest! {
        #[test]
        fn windows_are_runs_of_their_documents(
            lengths in prop::collection::vec(0usize..30, 1..5), previous in 0usize..7, decoder in 1usize..5,
        ) {
            let documents: Vec<Vec<u32>> =
                lengths.iter().zip(0u32..).map(|(n, d)| (0..*n as u32).map(|k| 100 * d + k).collect()).collect();
            prop_assert_eq!(super::documents(&array(&documents)).unwrap(), documents.clone());
            let windows = Windows::new(&documents, previous, decoder, Placing::Filtered).unwrap();
            for k in 0..windows.len() {
                let (before, text) = windows.get(k);
                let all = [before, text].concat();
                let document = &documents[windows.document(k)];
                prop_assert!(document.windows(all.len()).any(|run| run == all.as_slice()));
            }
            let expected: usize = lengths.iter().filter(|n| **n >= previous + decoder).map(|n| (n - previous) / decoder).sum();
            prop_assert_eq!(windows.len(), expected);
            let total: usize = lengths.iter().sum();
            let all = Windows::new(&documents, previous, decoder, Placing::Concatenated).unwrap();
            prop_assert_eq!(all.len(), total.saturating_sub(previous) / decoder);
        }
    }
}
