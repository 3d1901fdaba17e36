//! Values: blocks of queries are the tasks; each walks over the keys it sees.

use super::softmax::{LOWEST, weigh};
use super::{Heads, Segments};
use crate::kernels::matmul::multiply;
use crate::kernels::{Real, View, ViewMut, parallel, vectorised};
use std::ops::Range;

/// Rows of a block of queries, heads of a group counted each.
pub(super) const QUERIES: usize = 384;
/// Keys of a block. Not a power of two: rows of scores would all fall into the same few sets of the cache.
pub(super) const KEYS: usize = 240;

/// Queries of one segment that one task works on, for the heads of one group.
pub(super) struct Block {
    pub(super) segment: usize,
    pub(super) group: usize,
    pub(super) rows: Range<usize>,
}

/// Attended values `[queries, heads * width]` and log-sums `[queries, heads]`.
pub(super) fn forward<T: Real>(q: &[T], k: &[T], v: &[T], segments: &Segments, heads: Heads) -> (Vec<T>, Vec<f64>) {
    let height = (QUERIES / heads.group()).max(1);
    let mut blocks = Vec::new();
    for (segment, (queries, _)) in segments.pairs().iter().enumerate() {
        // The last rows of a causal segment see most: they go first, so that no long task is left at the end.
        for start in queries.clone().step_by(height).rev() {
            let rows = start..(start + height).min(queries.end);
            blocks.extend((0..heads.keys).map(|group| Block { segment, group, rows: rows.clone() }));
        }
    }
    let parts = parallel::map(&blocks, |block| attend(block, q, k, v, segments, heads));
    let (mut y, mut log_sums) = (vec![T::zero(); q.len()], vec![0.0; segments.query_rows() * heads.queries]);
    let (columns, n) = (heads.queries * heads.width, heads.group());
    for (block, (values, sums)) in blocks.iter().zip(parts) {
        for (i, row) in block.rows.clone().enumerate() {
            let width = n * heads.width;
            y[row * columns + block.group * width..][..width].copy_from_slice(&values[i * width..][..width]);
            log_sums[row * heads.queries + block.group * n..][..n].copy_from_slice(&sums[i * n..][..n]);
        }
    }
    (y, log_sums)
}

/// The rows of `x` `[rows, heads * width]` that a block is about: `[rows * group, width]`, times `scale`.
pub(super) fn gather<T: Real>(x: &[T], block: &Block, heads: Heads, scale: f64) -> Vec<T> {
    let (columns, width, scale) = (heads.queries * heads.width, heads.group() * heads.width, T::of(scale));
    let mut gathered = Vec::with_capacity(block.rows.len() * width);
    for row in block.rows.clone() {
        gathered.extend(x[row * columns + block.group * width..][..width].iter().map(|x| *x * scale));
    }
    gathered
}

/// How many of the keys from `first` of the segment on each row of a block may see.
pub(super) fn reaches(block: &Block, first: usize, segments: &Segments, heads: Heads) -> Vec<usize> {
    let reach = |row: usize| segments.reach(block.segment, row).saturating_sub(first);
    block.rows.clone().flat_map(|row| std::iter::repeat_n(reach(row), heads.group())).collect()
}

/// The part of the keys (or values) of a block that one product works on: rows of the segment from `first` on.
pub(super) fn view<'a, T>(x: &'a [T], keys: &Range<usize>, group: usize, heads: Heads) -> View<'a, T> {
    let columns = heads.keys * heads.width;
    View::rows(x, [keys.len(), heads.width], columns, keys.start * columns + group * heads.width)
}

fn attend<T: Real>(block: &Block, q: &[T], k: &[T], v: &[T], segments: &Segments, heads: Heads) -> (Vec<T>, Vec<f64>) {
    let (d, rows) = (heads.width, block.rows.len() * heads.group());
    let q = gather(q, block, heads, heads.scale);
    let segment = &segments.pairs()[block.segment].1;
    let seen = block.rows.clone().next_back().map_or(0, |last| segments.reach(block.segment, last));
    let mut scores = vec![T::zero(); rows * KEYS.min(seen)];
    let mut y = vec![T::zero(); rows * d];
    let (mut top, mut sum, mut shrink) = (vec![T::of(LOWEST); rows], vec![T::zero(); rows], vec![T::zero(); rows]);
    for first in (0..seen).step_by(KEYS) {
        let keys = segment.start + first..segment.start + (first + KEYS).min(seen);
        let n = keys.len();
        let scores = &mut scores[..rows * n];
        let rows_of_q = View::rows(&q, [rows, d], d, 0);
        multiply(
            rows_of_q,
            view(k, &keys, block.group, heads).t(),
            &mut ViewMut::rows(scores, [rows, n], n, 0),
            1.0,
            false,
        );
        let mask = segments.mask(keys.clone());
        if let Some(mask) = mask {
            hide(scores, mask, T::of(LOWEST));
        }
        weigh(scores, n, &reaches(block, first, segments, heads), &mut top, &mut sum, &mut shrink);
        if first > 0 {
            scale_rows(&mut y, d, &shrink);
        }
        let scores = View::rows(scores, [rows, n], n, 0);
        multiply(scores, view(v, &keys, block.group, heads), &mut ViewMut::rows(&mut y, [rows, d], d, 0), 1.0, true);
    }
    // A row whose keys are all hidden has kept the lowest maximum: it attends to nothing.
    let none = T::of(0.5 * LOWEST);
    let inverse: Vec<T> =
        top.iter().zip(&sum).map(|(top, s)| if *top > none { T::one() / *s } else { T::zero() }).collect();
    scale_rows(&mut y, d, &inverse);
    let log_sum = |(top, sum): (&T, &T)| {
        if *top > none { top.to_f64() + sum.to_f64().ln() } else { -LOWEST }
    };
    (y, top.iter().zip(&sum).map(log_sum).collect())
}

/// Puts hidden keys below all others.
pub(super) fn hide<T: Real>(scores: &mut [T], mask: &[bool], lowest: T) {
    for row in scores.chunks_exact_mut(mask.len()) {
        row.iter_mut().zip(mask).filter(|(_, visible)| !**visible).for_each(|(s, _)| *s = lowest);
    }
}

vectorised! {
    fn scale_rows<T>(x: &mut [T], width: usize, factors: &[T]) {
        for (x, factor) in x.chunks_exact_mut(width).zip(factors) {
            x.iter_mut().for_each(|x| *x *= *factor);
        }
    }
}
