//! The passes of the norm over rows: sums first, then the rows themselves.

use super::{MOST_ORDERS, NormOp, Ready, Slot};
use crate::equivariant::wigner::packed_length;
use crate::kernels::lanes::update;
use crate::kernels::{Real, vectorised};
use std::ops::Range;

/// `$f(n, ..)` with the usual numbers of orders as constants, so that their loops unroll.
macro_rules! by_orders {
    ($n:expr, $f:ident($($argument:expr),*)) => {
        match $n {
            1 => $f(1, $($argument),*),
            3 => $f(3, $($argument),*),
            5 => $f(5, $($argument),*),
            7 => $f(7, $($argument),*),
            9 => $f(9, $($argument),*),
            n => $f(n, $($argument),*),
        }
    };
}

impl NormOp {
    /// D of row `row` and the degree of a slot, or `None` where it is the identity.
    #[inline(always)]
    fn wigner<T: Real>(&self, row: usize, slot: &Slot) -> Option<&[T]> {
        let frames = self.frames.as_ref().filter(|_| slot.l > 0)?;
        Some(&frames.wigner::<T>(row)[packed_length(slot.l - 1)..])
    }

    /// A vector of the global frame as row `row` sees it.
    #[inline(always)]
    fn turned<T: Real>(&self, row: usize, slot: &Slot, vector: &[T], out: &mut [T; MOST_ORDERS]) {
        match self.wigner::<T>(row, slot) {
            None => out[..slot.orders()].copy_from_slice(&vector[slot.first_order..][..slot.orders()]),
            Some(d) => by_orders!(slot.orders(), turn(d, &vector[slot.first_order..], out)),
        }
    }
}

/// `out = D vector`.
#[inline(always)]
fn turn<T: Real>(n: usize, d: &[T], vector: &[T], out: &mut [T; MOST_ORDERS]) {
    let vector = &vector[..n];
    for (out, d) in out[..n].iter_mut().zip(d.chunks_exact(n)) {
        let mut sum = T::zero();
        for (d, v) in d.iter().zip(vector) {
            sum = d.mul_add(*v, sum);
        }
        *out = sum;
    }
}

/// Adds `sum_c w_c x_c` of each order, turned into the global frame, to `total`.
#[inline(always)]
fn add_channels<T: Real>(n: usize, d: Option<&[T]>, slot: &Slot, x: &[T], w: &[T], total: &mut [f64]) {
    let mut sums = [T::zero(); MOST_ORDERS];
    for (sum, column) in sums[..n].iter_mut().zip(&slot.columns) {
        *sum = dot(&x[*column..][..slot.channels], w);
    }
    let mut global = [T::zero(); MOST_ORDERS];
    match d {
        None => global[..n].copy_from_slice(&sums[..n]),
        Some(d) => {
            for (d, sum) in d.chunks_exact(n).zip(&sums[..n]) {
                global[..n].iter_mut().zip(d).for_each(|(g, d)| *g = d.mul_add(*sum, *g));
            }
        }
    }
    total[..n].iter_mut().zip(&global[..n]).for_each(|(t, g)| *t += g.to_f64());
}

/// Sum of products in eight partial sums, which vectorises where one sum cannot.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut p = [T::zero(); 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            p[lane] = a[lane].mul_add(b[lane], p[lane]);
        }
    }
    let mut sum = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum += *a * *b;
    }
    sum
}

vectorised! {
    /// Adds `sum_c w_c x_c` over the rows of `group`, in the global frame, to the `totals` of every order whose mean is
    /// subtracted.
    pub(super) fn add_sums<T>(op: &NormOp, group: &Range<usize>, x: &[T], w: &[T], totals: &mut [f64]) {
        for row in group.clone() {
            let x = &x[row * op.dim..][..op.dim];
            for slot in op.slots.iter().filter(|slot| slot.subtract) {
                let (w, total) = (&w[slot.weight..][..slot.channels], &mut totals[slot.first_order..]);
                by_orders!(slot.orders(), add_channels(op.wigner(row, slot), slot, x, w, total));
            }
        }
    }
}

vectorised! {
    /// Adds the squares of the centred rows of `group` to the total of each slot that is divided.
    pub(super) fn add_squares<T>(op: &NormOp, group: &Range<usize>, x: &[T], mean: &[T], totals: &mut [f64]) {
        let mut shift = [T::zero(); MOST_ORDERS];
        let widest = op.slots.iter().map(|slot| slot.channels).max().unwrap_or(0);
        let mut centred = vec![T::zero(); widest];
        for row in group.clone() {
            let x = &x[row * op.dim..][..op.dim];
            for (slot, total) in op.slots.iter().zip(totals.iter_mut()).filter(|(slot, _)| slot.divide) {
                op.turned(row, slot, mean, &mut shift);
                let centred = &mut centred[..slot.channels];
                for (column, shift) in slot.columns.iter().zip(&shift) {
                    let x = &x[*column..][..slot.channels];
                    centred.iter_mut().zip(x).for_each(|(c, x)| *c = *x - *shift);
                    *total += dot(centred, centred).to_f64();
                }
            }
        }
    }
}

vectorised! {
    /// Rows `chunk` of the output.
    pub(super) fn normalise<T>(
        op: &NormOp, ready: &Ready<T>, chunk: Range<usize>, x: &[T], w: &[T], bias: &[T], y: &mut [T],
    ) {
        let mut shift = [T::zero(); MOST_ORDERS];
        for (row, y) in chunk.zip(y.chunks_exact_mut(op.dim.max(1))) {
            let x = &x[row * op.dim..][..op.dim];
            for (slot, inverse) in op.slots.iter().zip(&ready.inverse) {
                op.turned(row, slot, &ready.mean, &mut shift);
                let w = &w[slot.weight..][..slot.channels];
                for (column, shift) in slot.columns.iter().zip(&shift) {
                    let (x, y) = (&x[*column..][..slot.channels], &mut y[*column..][..slot.channels]);
                    update(x, w, y, |x, w, _| (x - *shift) * *inverse * w);
                }
                if let Some(first) = slot.bias {
                    let y = &mut y[slot.columns[0]..][..slot.channels];
                    y.iter_mut().zip(&bias[first..]).for_each(|(y, b)| *y += *b);
                }
            }
        }
    }
}

/// What a group of rows adds to the gradients.
pub(super) struct Sums<T> {
    /// `sum (x - mean) dy` of each channel.
    pub(super) weights: Vec<T>,
    /// `sum dy` of each channel with a bias.
    pub(super) biases: Vec<T>,
    /// `sum_c w_c dy_c` of each order, global frame.
    pub(super) orders: Vec<f64>,
}

vectorised! {
    /// Adds what the rows of `group` contribute.
    pub(super) fn add_gradients<T>(
        op: &NormOp, ready: &Ready<T>, group: &Range<usize>, x: &[T], dy: &[T], w: &[T], sums: &mut Sums<T>,
    ) {
        let mut shift = [T::zero(); MOST_ORDERS];
        for row in group.clone() {
            let (x, dy) = (&x[row * op.dim..][..op.dim], &dy[row * op.dim..][..op.dim]);
            for slot in op.slots.iter() {
                op.turned(row, slot, &ready.mean, &mut shift);
                let n = slot.channels;
                let (w, dw) = (&w[slot.weight..][..n], &mut sums.weights[slot.weight..][..n]);
                for (column, shift) in slot.columns.iter().zip(&shift) {
                    update(&x[*column..][..n], &dy[*column..][..n], dw, |x, dy, sum| (x - *shift).mul_add(dy, sum));
                }
                if let Some(first) = slot.bias {
                    let dy = &dy[slot.columns[0]..][..n];
                    sums.biases[first..].iter_mut().zip(dy).for_each(|(b, g)| *b += *g);
                }
                if slot.subtract {
                    let total = &mut sums.orders[slot.first_order..];
                    by_orders!(slot.orders(), add_channels(op.wigner(row, slot), slot, dy, w, total));
                }
            }
        }
    }
}

vectorised! {
    /// Rows `chunk` of the gradient of the input.
    pub(super) fn input_gradients<T>(
        op: &NormOp, ready: &Ready<T>, chunk: Range<usize>, x: &[T], dy: &[T], w: &[T], dx: &mut [T],
    ) {
        let (mut shift, mut mean) = ([T::zero(); MOST_ORDERS], [T::zero(); MOST_ORDERS]);
        for (row, dx) in chunk.zip(dx.chunks_exact_mut(op.dim.max(1))) {
            let (x, dy) = (&x[row * op.dim..][..op.dim], &dy[row * op.dim..][..op.dim]);
            for ((slot, inverse), scale) in op.slots.iter().zip(&ready.inverse).zip(&ready.scale) {
                let n = slot.channels;
                let w = &w[slot.weight..][..n];
                op.turned(row, slot, &ready.mean_gradient, &mut mean);
                for (column, mean) in slot.columns.iter().zip(&mean) {
                    let (dy, dx) = (&dy[*column..][..n], &mut dx[*column..][..n]);
                    update(w, dy, dx, |w, g, _| w.mul_add(g, -*mean) * *inverse);
                }
                if slot.divide {
                    op.turned(row, slot, &ready.mean, &mut shift);
                    for (column, shift) in slot.columns.iter().zip(&shift) {
                        let (x, dx) = (&x[*column..][..n], &mut dx[*column..][..n]);
                        update(x, w, dx, |x, _, dx| dx - (x - *shift) * *scale);
                    }
                }
            }
        }
    }
}
