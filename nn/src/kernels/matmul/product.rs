//! One product on all threads.

use super::{View, call, check};
use crate::kernels::{Real, parallel};
use std::ops::Range;

/// Columns from which on a product is split by columns; below by rows.
const WIDE: usize = 512;
/// Fewest columns and rows of a task.
const COLUMNS: usize = 128;
const ROWS: usize = 256;
/// From more columns on a product rearranges a transposed `a` too.
const REARRANGED: usize = 128;
/// Elements: rows so far apart share the sets of a first-level cache of 4 KiB a way.
const ALIASED: usize = 256;
/// Depth of a slice whose rows are copied closer together.
const DEPTH: usize = 512;
/// Tasks per thread at most: one that is held up then holds up little.
const SHARES: usize = 4;

/// `a` `[m, k]` times `b` `[k, n]`: `[m, n]`, row-major.
///
/// The columns of the result are split over the threads where there are many: `b` is what a product rearranges, and then
/// each part of it is rearranged once.
///
/// # Panics
/// When the shapes do not fit: a bug of the caller.
pub fn product<T: Real>(a: View<T>, b: View<T>) -> Vec<T> {
    let ([m, k], n) = (a.shape, b.shape[1]);
    assert!(b.shape[0] == k, "{:?} x {:?}", a.shape, b.shape);
    if k == 0 {
        return vec![T::zero(); m * n];
    }
    let by_columns = n >= WIDE;
    let tasks = if by_columns { split(n, COLUMNS) } else { split(m, ROWS) };
    let mut c = Vec::with_capacity(m * n);
    let out = Out(c.spare_capacity_mut().as_mut_ptr().cast::<T>());
    parallel::for_each(tasks, |range| {
        let (a, b, offset) = match by_columns {
            true => (a, b.part(1, &range), range.start),
            false => (a.part(0, &range), b, range.start * n),
        };
        // SAFETY: the tasks' parts of the `m * n` elements are apart, and each part lies within them.
        unsafe {
            let c = out.at(offset);
            if a.strides[0] == 1 && a.strides[1].is_multiple_of(ALIASED) && b.shape[1] > REARRANGED {
                in_slices(a, b, c, n);
            } else {
                call(a, b, c, [n, 1], 1.0, false);
            }
        }
    });
    // SAFETY: the tasks have written all elements.
    unsafe { c.set_len(m * n) };
    c
}

/// The same for a transposed `a` whose rows lie a multiple of [`ALIASED`] apart: what a product rearranges of it at a time
/// would fall into the same few sets of the cache, so that it is copied closer together, a slice of the depth after the other.
///
/// SAFETY: as [`call`]; the rows of the result lie `n` apart.
unsafe fn in_slices<T: Real>(a: View<T>, b: View<T>, c: *mut T, n: usize) {
    let [m, k] = a.shape;
    let stride = m + 16;
    let mut near = vec![T::zero(); DEPTH.min(k) * stride];
    for start in (0..k).step_by(DEPTH) {
        let depth = start..(start + DEPTH).min(k);
        for (row, l) in near.chunks_exact_mut(stride).zip(depth.clone()) {
            row[..m].copy_from_slice(&a.data[a.offset + l * a.strides[1]..][..m]);
        }
        let a = View::rows(&near, [depth.len(), m], stride, 0).t();
        // SAFETY: the caller's promise.
        unsafe { call(a, b.part(0, &depth), c, [n, 1], 1.0, start > 0) };
    }
}

/// Cuts `count` evenly into parts of at least `least`, at multiples of 64: the registers' share of a product.
fn split(count: usize, least: usize) -> Vec<Range<usize>> {
    let pieces = (count / least).clamp(1, SHARES * parallel::threads());
    let at = |k: usize| if k == pieces { count } else { (count * k / pieces).next_multiple_of(64).min(count) };
    (0..pieces).map(|k| at(k)..at(k + 1)).filter(|range| !range.is_empty()).collect()
}

/// Where the result begins.
#[derive(Clone, Copy)]
struct Out<T>(*mut T);

impl<T> Out<T> {
    /// SAFETY: `offset` within the result.
    unsafe fn at(self, offset: usize) -> *mut T {
        unsafe { self.0.add(offset) }
    }
}

// SAFETY: tasks write to parts that are apart.
unsafe impl<T: Send> Sync for Out<T> {}

impl<'a, T> View<'a, T> {
    /// Some of the rows (axis 0) or columns (axis 1).
    pub(super) fn part(self, axis: usize, range: &Range<usize>) -> Self {
        let mut shape = self.shape;
        shape[axis] = range.len();
        let view = View { shape, offset: self.offset + range.start * self.strides[axis], ..self };
        check(view.data.len(), view.offset, view.shape, view.strides);
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_times_something_is_nothing() {
        let (a, b) = (vec![1.0f32; 15], Vec::new());
        assert!(product(View::rows(&a, [5, 3], 3, 0), View::rows(&b, [3, 0], 0, 0)).is_empty());
        assert!(product(View::rows(&b, [0, 3], 3, 0), View::rows(&a, [3, 5], 5, 0)).is_empty());
        assert_eq!(product(View::rows(&b, [2, 0], 0, 0), View::rows(&b, [0, 2], 2, 0)), [0.0; 4]);
    }

    #[test]
    fn equals_the_definition_in_every_layout() {
        let wave = |n: usize, f: f64| (0..n).map(|k| (k as f64 * f).sin()).collect::<Vec<_>>();
        for (m, k, n) in [(3, 5, 1500), (700, 7, 9), (1, 4, 600), (2, 0, 3), (0, 2, 3), (600, 3, 513), (512, 1100, 130)]
        {
            let (a, b) = (wave(m * k, 0.7), wave(k * n, 1.3));
            let wanted = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum::<f64>();
            let transposed = |x: &[f64], rows: usize, columns: usize| {
                (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect::<Vec<_>>()
            };
            let (at, bt) = (transposed(&a, m, k), transposed(&b, k, n));
            let (rows, columns) = (View::rows(&a, [m, k], k, 0), View::rows(&b, [k, n], n, 0));
            let (rows_t, columns_t) = (View::rows(&at, [k, m], m, 0).t(), View::rows(&bt, [n, k], k, 0).t());
            for c in [product(rows, columns), product(rows_t, columns), product(rows, columns_t)] {
                assert_eq!(c.len(), m * n);
                assert!((0..m * n).all(|e| (c[e] - wanted(e / n, e % n)).abs() < 1e-12), "{m} {k} {n}");
            }
        }
    }
}
