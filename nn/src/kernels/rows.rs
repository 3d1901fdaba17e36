//! Splitting the rows of a matrix over threads.

use super::parallel;
use std::ops::Range;

/// Rows a chunk may have at most: its working set then stays in the second-level cache at the usual widths.
const LARGEST: usize = 128;

/// Cuts each of `parts` into chunks of about equal length, no chunk across two parts.
pub fn chunks(parts: &[Range<usize>]) -> Vec<Range<usize>> {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    let threads = parallel::threads();
    let count = threads * total.div_ceil(threads * LARGEST).max(1);
    let target = total.div_ceil(count).max(1);
    let mut out = Vec::with_capacity(count + parts.len());
    for part in parts {
        let pieces = part.len().div_ceil(target).max(1);
        for k in 0..pieces {
            let at = |k: usize| part.start + part.len() * k / pieces;
            if at(k) < at(k + 1) {
                out.push(at(k)..at(k + 1));
            }
        }
    }
    out
}

/// Runs `body(chunk, rows of the chunk)` over ascending, adjacent `chunks` of a matrix of `width` columns.
pub fn for_each<T: Send>(
    data: &mut [T],
    width: usize,
    chunks: &[Range<usize>],
    body: impl Fn(Range<usize>, &mut [T]) + Sync,
) {
    let mut rest = data;
    let mut tasks = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let (mine, others) = std::mem::take(&mut rest).split_at_mut(chunk.len() * width);
        rest = others;
        tasks.push((chunk.clone(), mine));
    }
    parallel::for_each(tasks, |(chunk, rows)| body(chunk, rows));
}

/// As [`for_each`] over two matrices with the same rows.
pub fn for_each_pair<T: Send>(
    (a, a_width): (&mut [T], usize),
    (b, b_width): (&mut [T], usize),
    chunks: &[Range<usize>],
    body: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
) {
    let (mut rest_a, mut rest_b) = (a, b);
    let mut tasks = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let (mine_a, others_a) = std::mem::take(&mut rest_a).split_at_mut(chunk.len() * a_width);
        let (mine_b, others_b) = std::mem::take(&mut rest_b).split_at_mut(chunk.len() * b_width);
        (rest_a, rest_b) = (others_a, others_b);
        tasks.push((chunk.clone(), mine_a, mine_b));
    }
    parallel::for_each(tasks, |(chunk, a, b)| body(chunk, a, b));
}
