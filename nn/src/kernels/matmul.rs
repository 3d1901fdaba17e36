//! Matrix products of strided views. [`multiply`] works on one thread: callers split rows over threads themselves, which
//! keeps small products (a few hundred edges) on both cores where splitting inside the product would not pay. [`product`]
//! is for large ones, on all threads.

mod narrow;
mod product;
mod transpose;

pub use product::product;
pub(crate) use transpose::transpose;

use super::Real;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What each thread has done: a counter for all of them would go from core to core at every product.
static FLOPS: Mutex<Vec<Arc<AtomicU64>>> = Mutex::new(Vec::new());

thread_local! {
    static OWN_FLOPS: Arc<AtomicU64> = {
        let own = Arc::new(AtomicU64::new(0));
        FLOPS.lock().unwrap_or_else(PoisonError::into_inner).push(own.clone());
        own
    };
}

/// Floating-point operations done by [`multiply`] in this process so far (2 m n k each).
pub fn flops() -> u64 {
    FLOPS.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|own| own.load(Ordering::Relaxed)).sum()
}

fn count_flops(done: usize) {
    // Nobody else writes to it.
    OWN_FLOPS.with(|own| own.store(own.load(Ordering::Relaxed) + done as u64, Ordering::Relaxed));
}

/// A matrix inside a slice: element `(i, j)` is `data[offset + i * row + j * column]`.
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    data: &'a [T],
    shape: [usize; 2],
    strides: [usize; 2],
    offset: usize,
}

/// A mutable [`View`].
pub struct ViewMut<'a, T> {
    data: &'a mut [T],
    shape: [usize; 2],
    strides: [usize; 2],
    offset: usize,
}

fn check(length: usize, offset: usize, shape: [usize; 2], strides: [usize; 2]) {
    if shape[0] > 0 && shape[1] > 0 {
        let last = offset + (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1];
        assert!(last < length, "matrix view ends at {last}, the slice at {length}");
    }
}

impl<'a, T> View<'a, T> {
    /// Rows of `stride` elements, of which `shape[1]` from `offset` on are meant.
    pub fn rows(data: &'a [T], shape: [usize; 2], stride: usize, offset: usize) -> Self {
        check(data.len(), offset, shape, [stride, 1]);
        View { data, shape, strides: [stride, 1], offset }
    }

    /// Rows and columns.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The transpose, without a copy.
    pub fn t(self) -> Self {
        View { shape: [self.shape[1], self.shape[0]], strides: [self.strides[1], self.strides[0]], ..self }
    }
}

impl<'a, T> ViewMut<'a, T> {
    /// As [`View::rows`].
    pub fn rows(data: &'a mut [T], shape: [usize; 2], stride: usize, offset: usize) -> Self {
        check(data.len(), offset, shape, [stride, 1]);
        ViewMut { data, shape, strides: [stride, 1], offset }
    }
}

/// `c = scale * a b`, or `c += scale * a b` when `accumulate`.
///
/// # Panics
/// When the shapes do not fit: a bug of the caller.
pub fn multiply<T: Real>(a: View<T>, b: View<T>, c: &mut ViewMut<T>, scale: f64, accumulate: bool) {
    let ([m, k], n) = (a.shape, b.shape[1]);
    assert!(b.shape[0] == k && c.shape == [m, n], "{:?} x {:?} -> {:?}", a.shape, b.shape, c.shape);
    if m == 0 || n == 0 || (k == 0 && accumulate) {
        return;
    }
    // SAFETY: the three views were checked against their slices, and `c` is borrowed mutably, so it overlaps neither.
    unsafe { call(a, b, c.data.as_mut_ptr().add(c.offset), c.strides, scale, accumulate) }
}

/// `c = scale * a b`, or `c += scale * a b`; without `accumulate`, `c` may be uninitialised.
///
/// SAFETY: `b` has as many rows as `a` columns; element `(i, j)` of `c` is at `i * strides[0] + j * strides[1]`, may be written
/// by this thread alone, and lies in neither view.
unsafe fn call<T: Real>(a: View<T>, b: View<T>, c: *mut T, strides: [usize; 2], scale: f64, accumulate: bool) {
    let ([m, k], n) = (a.shape, b.shape[1]);
    if m == 0 || n == 0 {
        return;
    }
    count_flops(2 * m * n * k);
    if strides[1] == 1 && narrow::fits(&a, &b) {
        // SAFETY: the caller's promise.
        return unsafe { narrow::multiply(a, b, c, strides[0], scale, accumulate) };
    }
    let one = if accumulate { T::one() } else { T::zero() };
    // SAFETY: as above; views were checked against their slices.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            strides[1] as isize,
            strides[0] as isize,
            accumulate,
            a.data.as_ptr().add(a.offset),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.data.as_ptr().add(b.offset),
            b.strides[1] as isize,
            b.strides[0] as isize,
            one,
            T::of(scale),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every layout of both factors, overwriting and adding.
    fn equals_the_definition([m, k, n]: [usize; 3]) {
        let wave = |n: usize, f: f64| (0..n).map(|k| (k as f64 * f).sin() as f32).collect::<Vec<_>>();
        for case in 0..8 {
            let [accumulate, a_transposed, b_transposed] = [1, 2, 4].map(|bit| case & bit != 0);
            let ([a_gap, b_gap], start) = ([3, 5], 1);
            let (a, b) = (wave((m + a_gap) * (k + a_gap) + start, 0.7), wave((k + b_gap) * (n + b_gap) + start, 1.3));
            let view = |data, [rows, columns]: [usize; 2], gap: usize, transposed: bool| match transposed {
                true => View::rows(data, [columns, rows], rows + gap, start).t(),
                false => View::rows(data, [rows, columns], columns + gap, start),
            };
            let (a_view, b_view) = (view(&a, [m, k], a_gap, a_transposed), view(&b, [k, n], b_gap, b_transposed));
            let mut c = wave(m * (n + 1), 0.3);
            let before = c.clone();
            multiply(a_view, b_view, &mut ViewMut::rows(&mut c, [m, n], n + 1, 0), 0.5, accumulate);
            let element = |data: &[f32], view: &View<f32>, i: usize, j: usize| {
                f64::from(data[view.offset + i * view.strides[0] + j * view.strides[1]])
            };
            for (e, (found, before)) in c.iter().zip(before).enumerate() {
                let (i, j) = (e / (n + 1), e % (n + 1));
                let old = if accumulate || j == n { f64::from(before) } else { 0.0 };
                let products =
                    (0..if j < n { k } else { 0 }).map(|l| element(&a, &a_view, i, l) * element(&b, &b_view, l, j));
                let expected = old + 0.5 * products.sum::<f64>();
                assert!((f64::from(*found) - expected).abs() < 4e-5, "{m} {k} {n} {case}: {i} {j}");
            }
        }
    }

    #[test]
    fn products_of_every_width_equal_the_definition() {
        for n in 1..=65_usize {
            equals_the_definition([n % 29, if n.is_multiple_of(7) { 3 * n } else { n % 11 }, n]);
        }
    }

    #[test]
    fn products_in_panels_and_slices_equal_the_definition() {
        let shapes = [[108, 130, 192], [23, 300, 100], [5, 257, 256], [4, 40, 257], [1, 128, 70], [2, 129, 24]];
        shapes.into_iter().for_each(equals_the_definition);
    }

    #[test]
    fn shallow_products_equal_the_definition() {
        for (rows, columns) in [(1, 8), (13, 16), (30, 5), (100, 1)] {
            [8, 16].into_iter().for_each(|depth| equals_the_definition([rows, depth, columns]));
        }
    }

    #[test]
    fn strided_product_equals_the_definition() {
        let a: Vec<f64> = (0..30).map(|i| (i as f64 * 0.7).sin()).collect(); // 5 rows of 6, columns 1..4
        let b: Vec<f64> = (0..12).map(|i| (i as f64 * 1.3).cos()).collect(); // 4 x 3 read as its transpose
        let mut c = vec![1.0; 5 * 4];
        multiply(
            View::rows(&a, [5, 3], 6, 1),
            View::rows(&b, [4, 3], 3, 0).t(),
            &mut ViewMut::rows(&mut c, [5, 4], 4, 0),
            2.0,
            true,
        );
        for i in 0..5 {
            for j in 0..4 {
                let sum: f64 = (0..3).map(|k| a[i * 6 + 1 + k] * b[j * 3 + k]).sum();
                assert!((c[i * 4 + j] - 1.0 - 2.0 * sum).abs() < 1e-14);
            }
        }
    }
}
