//! Which queries see which keys.

use crate::{Error, Result};
use std::ops::Range;

/// Consecutive segments of queries, each with its segment of keys; what a query sees lies in that alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Segments {
    pairs: Vec<(Range<usize>, Range<usize>)>,
    causal: bool,
    key_mask: Option<Vec<bool>>,
    rows: [usize; 2],
}

impl Segments {
    /// Sequences of these lengths, each seeing itself; with `causal` a token sees none after it.
    pub fn packed(lengths: &[usize], causal: bool) -> Self {
        Self::build(lengths.iter().map(|n| (*n, *n)), causal)
    }

    /// `queries[s]` rows that see `keys[s]` rows. With `causal` the last query of a segment sees its last key, the one
    /// before it one key fewer: queries that continue a sequence whose earlier keys are there already.
    ///
    /// # Errors
    /// [`Error::Shape`] when the numbers of segments differ, or with `causal` for more queries than keys.
    pub fn cross(queries: &[usize], keys: &[usize], causal: bool) -> Result<Self> {
        let wrong = queries.len() != keys.len() || (causal && queries.iter().zip(keys).any(|(q, k)| q > k));
        if wrong {
            return Err(Error::Shape {
                operation: "Segments",
                expected: "as many segments of keys as of queries, at least as long where causal".into(),
                found: format!("queries {queries:?}, keys {keys:?}"),
            });
        }
        Ok(Self::build(queries.iter().copied().zip(keys.iter().copied()), causal))
    }

    fn build(lengths: impl Iterator<Item = (usize, usize)>, causal: bool) -> Self {
        let mut rows = [0, 0];
        let next = |(q, k): (usize, usize)| {
            let pair = (rows[0]..rows[0] + q, rows[1]..rows[1] + k);
            rows = [pair.0.end, pair.1.end];
            pair
        };
        let pairs = lengths.map(next).collect();
        Segments { pairs, causal, key_mask: None, rows }
    }

    /// Hides the keys whose entry is false (padding).
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of keys.
    pub fn with_key_mask(mut self, visible: Vec<bool>) -> Result<Self> {
        if visible.len() != self.rows[1] {
            return Err(Error::Shape {
                operation: "Segments",
                expected: format!("a mask of {} keys", self.rows[1]),
                found: visible.len().to_string(),
            });
        }
        self.key_mask = Some(visible);
        Ok(self)
    }

    /// Rows of queries in all.
    pub fn query_rows(&self) -> usize {
        self.rows[0]
    }

    /// Rows of keys in all.
    pub fn key_rows(&self) -> usize {
        self.rows[1]
    }

    /// Rows of queries and of keys of each segment.
    pub fn pairs(&self) -> &[(Range<usize>, Range<usize>)] {
        &self.pairs
    }

    /// How many keys of segment `s`, from its first, query row `row` may see; hidden ones among them included.
    pub(super) fn reach(&self, s: usize, row: usize) -> usize {
        let (queries, keys) = &self.pairs[s];
        if self.causal { (row + 1 + keys.len()).saturating_sub(queries.end) } else { keys.len() }
    }

    /// Which keys are not hidden.
    pub(super) fn mask(&self, keys: Range<usize>) -> Option<&[bool]> {
        self.key_mask.as_ref().map(|mask| &mask[keys])
    }
}
