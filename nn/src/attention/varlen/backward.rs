//! Gradients: the weights of each block are made again from the log-sums. Each task takes some queries of a segment and
//! sums the gradients of the keys they see apart; those sums are added up in a fixed order, so that the result does not
//! depend on the number of threads.

use super::forward::{Block, KEYS, QUERIES, gather, hide, reaches, view};
use super::softmax::{LOWEST, reweigh};
use super::{Heads, Segments};
use crate::kernels::matmul::multiply;
use crate::kernels::{Real, View, ViewMut, parallel};
use std::ops::Range;

/// Queries per task, and the most tasks that a segment is cut into: each holds gradients of all keys that it sees.
const PART: usize = 512;
const PARTS: usize = 4;

/// Gradients from one task: of its queries, and of the keys and values that they see.
struct Part<T> {
    dq: Vec<T>,
    dk: Vec<T>,
    dv: Vec<T>,
}

/// Gradients of q, k and v.
pub(super) fn backward<T: Real>(
    [q, k, v]: [&[T]; 3],
    y: &[T],
    dy: &[T],
    log_sums: &[f64],
    segments: &Segments,
    heads: Heads,
) -> [Vec<T>; 3] {
    let mut tasks = Vec::new();
    for (segment, (queries, _)) in segments.pairs().iter().enumerate() {
        for rows in parts(queries).into_iter().rev() {
            tasks.extend((0..heads.keys).map(|group| Block { segment, group, rows: rows.clone() }));
        }
    }
    let inputs = Inputs { q, k, v, y, dy, log_sums, segments, heads };
    let results = parallel::map(&tasks, |task| inputs.part(task));
    let mut gradients = [q, k, v].map(|x| vec![T::zero(); x.len()]);
    for (task, part) in tasks.iter().zip(&results) {
        let width = heads.group() * heads.width;
        let columns = heads.queries * heads.width;
        for (row, dq) in task.rows.clone().zip(part.dq.chunks_exact(width)) {
            gradients[0][row * columns + task.group * width..][..width].copy_from_slice(dq);
        }
        let start = segments.pairs()[task.segment].1.start;
        for (sum, part) in gradients[1..].iter_mut().zip([&part.dk, &part.dv]) {
            for (place, row) in part.chunks_exact(heads.width).enumerate() {
                let sum = &mut sum[((start + place) * heads.keys + task.group) * heads.width..][..heads.width];
                sum.iter_mut().zip(row).for_each(|(s, x)| *s += *x);
            }
        }
    }
    gradients
}

/// Cuts the queries of a segment so that the parts of a causal one see about as many pairs each.
fn parts(queries: &Range<usize>) -> Vec<Range<usize>> {
    let count = queries.len().div_ceil(PART).clamp(1, PARTS);
    let at = |k: usize| queries.start + (queries.len() as f64 * (k as f64 / count as f64).sqrt()).round() as usize;
    (0..count).map(|k| at(k)..at(k + 1)).filter(|rows| !rows.is_empty()).collect()
}

struct Inputs<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    y: &'a [T],
    dy: &'a [T],
    log_sums: &'a [f64],
    segments: &'a Segments,
    heads: Heads,
}

impl<T: Real> Inputs<'_, T> {
    fn part(&self, task: &Block) -> Part<T> {
        let height = (QUERIES / self.heads.group()).max(1);
        let reach = |row: usize| self.segments.reach(task.segment, row);
        let seen = task.rows.clone().next_back().map_or(0, reach);
        let mut part = Part { dq: Vec::new(), dk: vec![T::zero(); seen * self.heads.width], dv: Vec::new() };
        part.dv = part.dk.clone();
        for start in task.rows.clone().step_by(height) {
            let rows = start..(start + height).min(task.rows.end);
            let dq = self.block(&Block { rows, ..*task }, &mut part);
            part.dq.extend(dq);
        }
        part
    }

    /// Gradient of the queries of a block; adds to those of the keys and values.
    fn block(&self, block: &Block, part: &mut Part<T>) -> Vec<T> {
        let (heads, segments) = (self.heads, self.segments);
        let (d, rows) = (heads.width, block.rows.len() * heads.group());
        let q = gather(self.q, block, heads, heads.scale);
        let dy = gather(self.dy, block, heads, 1.0);
        let y = gather(self.y, block, heads, 1.0);
        let dot = |(y, dy): (&[T], &[T])| y.iter().zip(dy).map(|(y, dy)| *y * *dy).sum::<T>();
        let means: Vec<T> = y.chunks_exact(d).zip(dy.chunks_exact(d)).map(dot).collect();
        let of_row = |row: usize| &self.log_sums[row * heads.queries + block.group * heads.group()..][..heads.group()];
        let log_sums: Vec<T> = block.rows.clone().flat_map(of_row).map(|x| T::of(*x)).collect();
        let segment = &segments.pairs()[block.segment].1;
        let seen = block.rows.clone().next_back().map_or(0, |last| segments.reach(block.segment, last));
        let mut dq = vec![T::zero(); rows * d];
        let mut scores = vec![T::zero(); rows * KEYS.min(seen)];
        let mut products = scores.clone();
        for first in (0..seen).step_by(KEYS) {
            let keys = segment.start + first..segment.start + (first + KEYS).min(seen);
            let n = keys.len();
            let (scores, products) = (&mut scores[..rows * n], &mut products[..rows * n]);
            let [q, dy] = [&q, &dy].map(|x| View::rows(x, [rows, d], d, 0));
            let (k, v) = (view(self.k, &keys, block.group, heads), view(self.v, &keys, block.group, heads));
            multiply(q, k.t(), &mut ViewMut::rows(scores, [rows, n], n, 0), 1.0, false);
            multiply(dy, v.t(), &mut ViewMut::rows(products, [rows, n], n, 0), 1.0, false);
            if let Some(mask) = segments.mask(keys.clone()) {
                hide(scores, mask, T::of(LOWEST));
            }
            reweigh(scores, products, n, &reaches(block, first, segments, heads), &log_sums, &means);
            let [scores, products] = [&*scores, &*products].map(|x| View::rows(x, [rows, n], n, 0));
            multiply(scores.t(), dy, &mut ViewMut::rows(&mut part.dv, [n, d], d, first * d), 1.0, true);
            multiply(products.t(), q, &mut ViewMut::rows(&mut part.dk, [n, d], d, first * d), 1.0, true);
            multiply(products, k, &mut ViewMut::rows(&mut dq, [rows, d], d, 0), heads.scale, true);
        }
        dq
    }
}
