//! The packed row, unit of language-model training, and where rows come from (ProLong, arXiv 2410.02660).

pub mod mds;

use crate::{Error, Result};

/// Documents laid end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Token ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// `(start, end)` of each document in the row, in order; what no document covers is not trained on.
    pub documents: Vec<(u32, u32)>,
    /// Where present, `[L]`: 1 for a token that is trained on, 0 for one that is only read.
    pub mask: Option<Vec<u8>>,
    /// Where the text comes from; for statistics only.
    pub domain: String,
}

impl Row {
    /// Checks that documents lie in the row in order, none over another, and that the mask covers the row.
    ///
    /// Errors: [`Error::Config`] under the name of the column that breaks this.
    pub fn check(&self) -> Result<()> {
        let length = self.input_ids.len();
        let mut end = 0;
        for &(a, b) in &self.documents {
            if a < end || b < a || b as usize > length {
                let what = format!("expected boundaries in order within 0..{length}, found ({a}, {b}) after {end}");
                return Err(Error::config("indices", what));
            }
            end = b;
        }
        match &self.mask {
            Some(mask) if mask.len() != length => {
                Err(Error::config("mask", format!("expected {length} values, as input_ids, found {}", mask.len())))
            }
            _ => Ok(()),
        }
    }

    /// The sum of the squares of the documents' lengths: the work of attention within documents.
    pub fn cost(&self) -> u64 {
        self.documents.iter().map(|&(a, b)| u64::from(b.saturating_sub(a)).pow(2)).sum()
    }
}

/// Rows with random access.
pub trait RowSource {
    /// How many there are.
    fn len(&self) -> usize;

    /// Row `i`. Errors: those of the medium, [`Error::Config`] beyond the end or for a row that [`Row::check`] refuses.
    fn row(&self, i: usize) -> Result<Row>;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows in memory.
impl RowSource for Vec<Row> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn row(&self, i: usize) -> Result<Row> {
        let row = self.get(i).ok_or_else(|| {
            Error::config("row", format!("expected an index below {}, found {i}", self.as_slice().len()))
        })?;
        row.check()?;
        Ok(row.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_contradict_themselves_are_refused() {
        let row = |documents: &[(u32, u32)], mask| Row {
            input_ids: vec![0; 4],
            documents: documents.to_vec(),
            mask,
            ..Row::default()
        };
        row(&[(0, 1), (1, 4)], Some(vec![1; 4])).check().unwrap();
        assert!(row(&[(0, 5)], None).check().is_err());
        assert!(row(&[(0, 2), (1, 3)], None).check().is_err());
        assert!(row(&[(3, 2)], None).check().is_err());
        assert!(row(&[], Some(vec![1; 3])).check().is_err());
        assert!(vec![row(&[], None)].row(1).is_err());
        assert_eq!(row(&[(0, 1), (1, 4)], None).cost(), 10);
    }
}
