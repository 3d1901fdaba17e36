//! Packed rows to the flat batch that a model reads (ProLong, arXiv 2410.02660).
//!
//! Documents of several rows lie end to end; attention stays within a segment. [`ranks`] splits such a batch over
//! workers that share it.

pub mod ranks;

use super::rows::Row;

pub use tesseral_nn::layers::cross_entropy::IGNORED;

/// How rows become a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collator {
    /// Tokens of mask 0 are not predicted.
    pub instruct_masks: bool,
    /// Each row is one segment, whatever its documents.
    pub single_sequence: bool,
    /// Rows are taken in order up to so many tokens.
    pub max_tokens: Option<usize>,
}

/// A flat batch of T tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[T]`.
    pub input_ids: Vec<u32>,
    /// `[T]`: the token itself, or [`IGNORED`]: the first of each segment, and what a mask leaves out. Not shifted: the
    /// label at t is to be predicted from what lies before t.
    pub labels: Vec<i64>,
    /// Lengths of the segments; their sum is T, each is 2 at least.
    pub segments: Vec<usize>,
    /// `[T]`: places within the segment, from 0.
    pub positions: Vec<u32>,
}

impl Batch {
    /// Labels that count.
    pub fn valid(&self) -> usize {
        self.labels.iter().filter(|&&label| label != IGNORED).count()
    }
}

impl Collator {
    /// Lays the documents of the rows end to end. Documents of one token, which predict nothing, vanish; a row without
    /// boundaries is one document.
    ///
    /// Errors: those of [`Row::check`].
    pub fn batch<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) -> crate::Result<Batch> {
        let mut batch = Batch::default();
        let mut available = self.max_tokens.unwrap_or(usize::MAX);
        for row in rows {
            row.check()?;
            let whole = [(0, row.input_ids.len() as u32)];
            let documents = if self.single_sequence || row.documents.is_empty() { &whole[..] } else { &row.documents };
            for &(a, b) in documents {
                let (a, length) = (a as usize, ((b - a) as usize).min(available));
                if length > 1 {
                    self.append(&mut batch, row, a, length);
                    available -= length;
                }
            }
        }
        Ok(batch)
    }

    fn append(&self, batch: &mut Batch, row: &Row, from: usize, length: usize) {
        let ids = &row.input_ids[from..from + length];
        let mask = row.mask.as_ref().filter(|_| self.instruct_masks).map(|mask| &mask[from..from + length]);
        batch.input_ids.extend(ids);
        batch.labels.extend(ids.iter().enumerate().map(|(k, &id)| {
            let predicted = k > 0 && mask.is_none_or(|mask| mask[k] != 0);
            if predicted { i64::from(id) } else { IGNORED }
        }));
        batch.segments.push(length);
        batch.positions.extend(0..length as u32);
    }
}

/// The order of a worker's rows within one optimizer step, the costliest first (equal ones as they come), so that all
/// workers have their heavy rows together. The gradient of the step does not depend on it.
pub fn heaviest_first(rows: &[Row]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&k| std::cmp::Reverse(rows[k].cost()));
    order
}

/// The denominator of a token-scaled loss: the mean, over all micro-steps so far, of the number of valid labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunningTokens {
    sum: f64,
    steps: u64,
}

impl RunningTokens {
    /// Counts one micro-step with `valid` labels (the mean over workers) and returns the mean so far.
    pub fn update(&mut self, valid: f64) -> f64 {
        self.sum += valid;
        self.steps += 1;
        self.sum / self.steps as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_rows_first_and_equal_ones_in_order() {
        let row = |documents: &[(u32, u32)]| Row { documents: documents.to_vec(), ..Row::default() };
        let rows = [row(&[(0, 2), (2, 4)]), row(&[(0, 4)]), row(&[(0, 2), (2, 4)]), row(&[(0, 5)])];
        assert_eq!(heaviest_first(&rows), [3, 1, 0, 2]);
    }

    #[test]
    fn positions_restart_and_bad_rows_are_refused() {
        let row = Row { input_ids: vec![5, 6, 7, 8, 9], documents: vec![(0, 2), (2, 5)], ..Row::default() };
        let batch = Collator::default().batch([&row]).unwrap();
        assert_eq!(batch.positions, [0, 1, 0, 1, 2]);
        assert_eq!(batch.valid(), 3);
        let bad = Row { documents: vec![(0, 9)], ..row };
        assert!(Collator::default().batch([&bad]).is_err());
    }
}
