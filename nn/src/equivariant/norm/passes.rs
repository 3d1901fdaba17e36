//! The passes of the norm over rows: sums first, then the rows themselves.
//!
//! Sixteen rows go side by side, one column after the other: slots have 8 or 16 channels more often than 64, and each row
//! has a D of its own, so that row by row most loops would begin more often than go on.

use super::{MOST_ORDERS, NormOp, Ready, Slot};
use crate::kernels::matmul::transpose;
use crate::kernels::vectors::{LANES, Vectors};
use crate::kernels::{Real, View, ViewMut, vectorised};
use std::ops::Range;

/// A number of each of these rows. Those of rows that are not there are zero when they are read from memory.
type Lanes<T> = [T; LANES];

/// As many rows at a time as go side by side; fewer than that only the first time, when the lanes of rows that are not
/// there are still zero.
fn by_lanes(rows: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let (start, full) = (rows.start, rows.start + rows.len() % LANES);
    let first = (full > start).then_some(start..full);
    first.into_iter().chain((full..rows.end).step_by(LANES).map(|first| first..first + LANES))
}

/// Space for lanes, at multiples of 64 bytes as registers like them.
struct Space<T> {
    data: Vec<T>,
    first: usize,
    length: usize,
}

impl<T: Real> Space<T> {
    fn new(length: usize) -> Self {
        let data = vec![T::zero(); (length + 1) * LANES];
        let first = data.as_ptr().align_offset(64);
        Space { first: if first < LANES { first } else { 0 }, data, length }
    }
    #[inline(always)]
    fn all(&mut self) -> &mut [Lanes<T>] {
        &mut self.data[self.first..].as_chunks_mut().0[..self.length]
    }
}

impl NormOp {
    fn space<T: Real>(&self) -> Space<T> {
        Space::new(self.dim)
    }

    /// For the channels of any slot.
    fn space_of_channels<T: Real>(&self) -> Space<T> {
        Space::new(self.slots.iter().map(|slot| slot.channels).max().unwrap_or(0))
    }

    fn space_of_wigner<T: Real>(&self) -> Space<T> {
        Space::new(if self.frames.is_some() { self.packed } else { 0 })
    }

    /// Rows of features, side by side.
    #[inline(always)]
    fn read<T: Real>(&self, x: &[T], rows: &Range<usize>, out: &mut [Lanes<T>]) {
        side_by_side(View::rows(x, [rows.len(), self.dim], self.dim, rows.start * self.dim), out);
    }

    /// The channels of one order of a slot, as many as there is space for, from `column` on.
    #[inline(always)]
    fn read_channels<T: Real>(&self, x: &[T], rows: &Range<usize>, column: usize, out: &mut [Lanes<T>]) {
        side_by_side(View::rows(x, [rows.len(), out.len()], self.dim, rows.start * self.dim + column), out);
    }

    /// The packed matrices D of these rows; of no row where all are the identity.
    fn read_wigner<T: Real>(&self, rows: &Range<usize>, out: &mut [Lanes<T>]) {
        if let Some(frames) = &self.frames {
            side_by_side(frames.wigner_of(rows, self.packed), out);
        }
    }
}

fn side_by_side<T: Real>(rows: View<T>, out: &mut [Lanes<T>]) {
    let [count, width] = rows.shape();
    transpose(rows, &mut ViewMut::rows(out.as_flattened_mut(), [width, count], LANES, 0));
}

/// The other way.
fn write_rows<T: Real>(from: &[Lanes<T>], count: usize, out: &mut [T]) {
    let from = View::rows(from.as_flattened(), [from.len(), count], LANES, 0);
    let [width, count] = from.shape();
    transpose(from, &mut ViewMut::rows(out, [count, width], width, 0));
}

impl Slot {
    /// D of this slot among the packed ones, or `None` where it is the identity.
    #[inline(always)]
    fn wigner<'a, T>(&self, packed: &'a [Lanes<T>]) -> Option<&'a [Lanes<T>]> {
        (self.l > 0 && !packed.is_empty()).then(|| &packed[self.wigner..][..self.orders() * self.orders()])
    }

    /// The part of this slot among numbers by channel.
    #[inline(always)]
    fn channels<'a, T>(&self, all: &'a [T]) -> &'a [T] {
        &all[self.weight..][..self.channels]
    }
}

/// A vector of the global frame as each row sees it, into the first numbers of `out`.
#[inline(always)]
fn turn<T: Real, V: Vectors<T>>(
    v: V,
    slot: &Slot,
    packed: &[Lanes<T>],
    vector: &[T],
    out: &mut [V::Vector; MOST_ORDERS],
) {
    let n = slot.orders();
    let vector = &vector[slot.first_order..][..n];
    match slot.wigner(packed) {
        None => out.iter_mut().zip(vector).for_each(|(out, x)| *out = v.splat(*x)),
        Some(d) => {
            for (out, d) in out.iter_mut().zip(d.chunks_exact(n)) {
                *out = v.splat(T::zero());
                for (d, x) in d.iter().zip(vector) {
                    *out = v.mul_add(v.load(d), v.splat(*x), *out);
                }
            }
        }
    }
}

/// Adds what each row sees as `own` of a slot, back in the global frame, to `totals`.
#[inline(always)]
fn add_turned_back<T: Real, V: Vectors<T>>(
    v: V,
    slot: &Slot,
    packed: &[Lanes<T>],
    own: &[V::Vector; MOST_ORDERS],
    totals: &mut [Lanes<f64>],
) {
    let n = slot.orders();
    for (k, total) in totals[slot.first_order..][..n].iter_mut().enumerate() {
        let mut sum = own[k];
        if let Some(d) = slot.wigner(packed) {
            sum = v.splat(T::zero());
            for (own, d) in own.iter().zip(d.chunks_exact(n)) {
                sum = v.mul_add(v.load(&d[k]), *own, sum);
            }
        }
        let mut global = [T::zero(); LANES];
        v.store(sum, &mut global);
        for lane in 0..LANES {
            total[lane] += global[lane].to_f64();
        }
    }
}

/// `sum_c w_c x_c`; in four sums, so that one need not wait for the other.
#[inline(always)]
fn weighted<T: Real, V: Vectors<T>>(v: V, x: &[Lanes<T>], w: &[T]) -> V::Vector {
    let mut sums = [v.splat(T::zero()); 4];
    let ((x, x_rest), (w, w_rest)) = (x.as_chunks::<4>(), w.as_chunks::<4>());
    for (x, w) in x.iter().zip(w) {
        for k in 0..4 {
            sums[k] = v.mul_add(v.load(&x[k]), v.splat(w[k]), sums[k]);
        }
    }
    for (x, w) in x_rest.iter().zip(w_rest) {
        sums[0] = v.mul_add(v.load(x), v.splat(*w), sums[0]);
    }
    v.add(v.add(sums[0], sums[1]), v.add(sums[2], sums[3]))
}

fn add_totals(totals: &mut [f64], lanes: &[Lanes<f64>]) {
    totals.iter_mut().zip(lanes).for_each(|(total, lanes)| *total += lanes.iter().sum::<f64>());
}

vectorised! {
    /// Adds `sum_c x_c` over the rows of `group`, in the global frame, to the `totals` of every order whose mean is
    /// subtracted.
    pub(super) fn add_sums<T, V>(v: V, op: &NormOp, group: &Range<usize>, x: &[T], totals: &mut [f64]) {
        let (mut columns, mut packed) = (op.space(), op.space_of_wigner());
        let (columns, packed) = (columns.all(), packed.all());
        let mut sums = vec![[0.0; LANES]; totals.len()];
        let mut own = [v.splat(T::zero()); MOST_ORDERS];
        let ones = vec![T::one(); op.slots.iter().map(|slot| slot.channels).max().unwrap_or(0)];
        for rows in by_lanes(group) {
            op.read(x, &rows, columns);
            op.read_wigner(&rows, packed);
            for slot in op.slots.iter().filter(|slot| slot.subtract) {
                for (own, column) in own.iter_mut().zip(&slot.columns) {
                    *own = weighted(v, &columns[*column..][..slot.channels], &ones[..slot.channels]);
                }
                add_turned_back(v, slot, packed, &own, &mut sums);
            }
        }
        add_totals(totals, &sums);
    }
}

vectorised! {
    /// Adds the squares of the centred rows of `group` to the total of each slot that is divided.
    pub(super) fn add_squares<T, V>(v: V, op: &NormOp, group: &Range<usize>, x: &[T], mean: &[T], totals: &mut [f64]) {
        let (mut columns, mut packed) = (op.space_of_channels(), op.space_of_wigner());
        let (columns, packed) = (columns.all(), packed.all());
        let mut sums = vec![[0.0; LANES]; totals.len()];
        let mut shift = [v.splat(T::zero()); MOST_ORDERS];
        let turned = op.slots.iter().any(|slot| slot.divide && slot.l > 0);
        for rows in by_lanes(group) {
            if turned {
                op.read_wigner(&rows, packed);
            }
            for (slot, total) in op.slots.iter().zip(&mut sums).filter(|(slot, _)| slot.divide) {
                turn(v, slot, packed, mean, &mut shift);
                for (column, shift) in slot.columns.iter().zip(&shift) {
                    let columns = &mut columns[..slot.channels];
                    op.read_channels(x, &rows, *column, columns);
                    let mut sum = v.splat(T::zero());
                    for x in columns {
                        let centred = v.sub(v.load(x), *shift);
                        sum = v.mul_add(centred, centred, sum);
                    }
                    let mut squares = [T::zero(); LANES];
                    v.store(sum, &mut squares);
                    for (total, sum) in total.iter_mut().zip(&squares[..rows.len()]) {
                        *total += sum.to_f64();
                    }
                }
            }
        }
        add_totals(totals, &sums);
    }
}

vectorised! {
    /// Rows `chunk` of the output: `y = (x - mean) factor + bias`.
    pub(super) fn normalise<T, V>(
        v: V, op: &NormOp, ready: &Ready<T>, chunk: &Range<usize>, x: &[T], bias: &[T], y: &mut [T],
    ) {
        let (mut columns, mut packed) = (op.space(), op.space_of_wigner());
        let (columns, packed) = (columns.all(), packed.all());
        let mut shift = [v.splat(T::zero()); MOST_ORDERS];
        for rows in by_lanes(chunk) {
            op.read(x, &rows, columns);
            op.read_wigner(&rows, packed);
            for slot in op.slots.iter() {
                turn(v, slot, packed, &ready.mean, &mut shift);
                let factor = slot.channels(&ready.factor);
                for (column, shift) in slot.columns.iter().zip(&shift) {
                    for (x, factor) in columns[*column..].iter_mut().zip(factor) {
                        v.store(v.mul(v.sub(v.load(x), *shift), v.splat(*factor)), x);
                    }
                }
                if let Some(first) = slot.bias {
                    for (x, bias) in columns[slot.columns[0]..][..slot.channels].iter_mut().zip(&bias[first..]) {
                        v.store(v.add(v.load(x), v.splat(*bias)), x);
                    }
                }
            }
            write_rows(columns, rows.len(), &mut y[(rows.start - chunk.start) * op.dim..]);
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
    pub(super) fn add_gradients<T, V>(
        v: V, op: &NormOp, ready: &Ready<T>, group: &Range<usize>, x: &[T], dy: &[T], w: &[T], sums: &mut Sums<T>,
    ) {
        let (mut columns, mut gradients, mut packed) = (op.space(), op.space(), op.space_of_wigner());
        let (columns, gradients, packed) = (columns.all(), gradients.all(), packed.all());
        let mut shift = [v.splat(T::zero()); MOST_ORDERS];
        let mut own = [v.splat(T::zero()); MOST_ORDERS];
        let (mut weights, mut biases) = (vec![[T::zero(); LANES]; w.len()], vec![[T::zero(); LANES]; sums.biases.len()]);
        let mut orders = vec![[0.0; LANES]; sums.orders.len()];
        for rows in by_lanes(group) {
            op.read(x, &rows, columns);
            op.read(dy, &rows, gradients);
            op.read_wigner(&rows, packed);
            for slot in op.slots.iter() {
                turn(v, slot, packed, &ready.mean, &mut shift);
                let sums = &mut weights[slot.weight..][..slot.channels];
                for (column, shift) in slot.columns.iter().zip(&shift) {
                    for ((x, dy), sum) in columns[*column..].iter().zip(&gradients[*column..]).zip(&mut *sums) {
                        let centred = v.sub(v.load(x), *shift);
                        v.store(v.mul_add(centred, v.load(dy), v.load(sum)), sum);
                    }
                }
                if let Some(first) = slot.bias {
                    let dy = &gradients[slot.columns[0]..][..slot.channels];
                    for (sum, dy) in biases[first..].iter_mut().zip(dy) {
                        v.store(v.add(v.load(sum), v.load(dy)), sum);
                    }
                }
                if slot.subtract {
                    for (own, column) in own.iter_mut().zip(&slot.columns) {
                        *own = weighted(v, &gradients[*column..][..slot.channels], slot.channels(w));
                    }
                    add_turned_back(v, slot, packed, &own, &mut orders);
                }
            }
        }
        for (sums, lanes) in [(&mut sums.weights, weights), (&mut sums.biases, biases)] {
            sums.iter_mut().zip(lanes).for_each(|(sum, lanes)| *sum += lanes.into_iter().sum());
        }
        add_totals(&mut sums.orders, &orders);
    }
}

vectorised! {
    /// Rows `chunk` of the gradient of the input: `dx = dy factor - mean gradient - (x - mean) scale`.
    pub(super) fn input_gradients<T, V>(
        v: V, op: &NormOp, ready: &Ready<T>, chunk: &Range<usize>, x: &[T], dy: &[T], dx: &mut [T],
    ) {
        let (mut gradients, mut packed) = (op.space(), op.space_of_wigner());
        let (gradients, packed) = (gradients.all(), packed.all());
        let mut columns = op.space_of_channels();
        let columns = columns.all();
        let (mut shift, mut mean) = ([v.splat(T::zero()); MOST_ORDERS], [v.splat(T::zero()); MOST_ORDERS]);
        for rows in by_lanes(chunk) {
            op.read(dy, &rows, gradients);
            op.read_wigner(&rows, packed);
            for (slot, scale) in op.slots.iter().zip(&ready.scale) {
                turn(v, slot, packed, &ready.mean_gradient, &mut mean);
                let factor = slot.channels(&ready.factor);
                for (column, mean) in slot.columns.iter().zip(&mean) {
                    let minus = v.sub(v.splat(T::zero()), *mean);
                    for (dy, factor) in gradients[*column..].iter_mut().zip(factor) {
                        v.store(v.mul_add(v.load(dy), v.splat(*factor), minus), dy);
                    }
                }
                if slot.divide {
                    turn(v, slot, packed, &ready.mean, &mut shift);
                    let columns = &mut columns[..slot.channels];
                    for (column, shift) in slot.columns.iter().zip(&shift) {
                        op.read_channels(x, &rows, *column, columns);
                        for (dx, x) in gradients[*column..].iter_mut().zip(&*columns) {
                            v.store(v.mul_add(v.sub(*shift, v.load(x)), v.splat(*scale), v.load(dx)), dx);
                        }
                    }
                }
            }
            write_rows(gradients, rows.len(), &mut dx[(rows.start - chunk.start) * op.dim..]);
        }
    }
}
