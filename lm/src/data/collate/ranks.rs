//! A flat batch split over workers that share one sequence (DeepSpeed-Ulysses, arXiv 2309.14509).
//!
//! Every worker knows all segments: a document that crosses from one worker to the next is never cut.

use super::{Batch, IGNORED};
use crate::{Error, Result};

/// What one worker holds of a batch: T/p tokens, padding included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Token ids, padded with 0 on the right of the last part.
    pub input_ids: Vec<u32>,
    /// Shifted: the label at t is the token at t + 1 where that is predicted, else [`IGNORED`].
    pub shifted_labels: Vec<i64>,
    /// Lengths of the segments of the whole batch; the last one includes the padding.
    pub segments: Vec<usize>,
    /// The place of this part's first token in the whole batch.
    pub offset: usize,
}

/// Splits a batch over `workers`, padding it to a multiple of them.
///
/// Errors: [`Error::Config`] for no worker or an empty batch.
pub fn split(batch: &Batch, workers: usize) -> Result<Vec<Part>> {
    let shifted: Vec<i64> = batch.labels.iter().skip(1).copied().collect();
    parts(&batch.input_ids, &shifted, &batch.segments, workers)
}

/// The same for labels that are shifted already; missing ones at the end are [`IGNORED`].
///
/// Errors: as [`split`].
pub fn parts(ids: &[u32], shifted: &[i64], segments: &[usize], workers: usize) -> Result<Vec<Part>> {
    if workers == 0 || ids.is_empty() {
        let found = format!("{workers} workers, {} tokens", ids.len());
        return Err(Error::config("sequence_parallel", format!("expected workers and tokens, found {found}")));
    }
    let share = ids.len().div_ceil(workers);
    let padding = share * workers - ids.len();
    let (mut ids, mut labels, mut segments) = (ids.to_vec(), shifted.to_vec(), segments.to_vec());
    ids.resize(share * workers, 0);
    labels.resize(share * workers, IGNORED);
    segments.last_mut().into_iter().for_each(|last| *last += padding);
    let part = |(k, (ids, labels)): (usize, (&[u32], &[i64]))| Part {
        input_ids: ids.to_vec(),
        shifted_labels: labels.to_vec(),
        segments: segments.clone(),
        offset: k * share,
    };
    Ok(ids.chunks(share).zip(labels.chunks(share)).enumerate().map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_split_is_an_error() {
        let batch = Batch { input_ids: vec![1, 2], labels: vec![IGNORED, 2], segments: vec![2], positions: vec![0, 1] };
        assert!(split(&batch, 0).is_err());
        assert!(split(&Batch::default(), 2).is_err());
        assert_eq!(split(&batch, 1).unwrap()[0].shifted_labels, [2, IGNORED]);
    }
}
