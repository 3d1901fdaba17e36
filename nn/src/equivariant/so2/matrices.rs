//! The matrices of all couplings, from the weights of the paths.

use super::{Tables, Term};
use crate::kernels::{Array, Operation, Real, rows, vectorised};
use std::sync::Arc;

/// Weights whose gradients one task computes, at least.
const GRADIENT_WEIGHTS: usize = 8192;

/// `(a, b) ->` the matrices of ordinary edges, then the weights of self-loops, flat.
pub(super) struct Matrices {
    pub(super) tables: Arc<Tables>,
}

impl Operation for Matrices {
    const NAME: &'static str = "edge-matrices";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, a, b) = (&self.tables, inputs[0].data, inputs[1].data);
        // Terms of one part write to it alone.
        let parts = t.parts.iter().map(|part| (part.len, part));
        let out = rows::build_parts(parts, |part, out| add_terms(&t.terms, &part.terms, part.start, a, b, out));
        let size = out.len();
        Ok((out, vec![size]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        _: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let (t, a, b) = (&self.tables, inputs[0].data, inputs[1].data);
        // Groups of whole paths, whose weights are adjacent.
        let mut groups = Vec::new();
        let mut terms = t.terms.as_slice();
        let mut start = [0, 0];
        while let Some(first) = terms.first() {
            let full = terms.partition_point(|x| x.weights[0] < first.weights[0] + GRADIENT_WEIGHTS);
            let (mine, others) = terms.split_at(full);
            let end = others.first().map_or([a.len(), b.len()], |x| x.weights);
            groups.push(([end[0] - start[0], end[1] - start[1]], (start, mine)));
            (terms, start) = (others, end);
        }
        let [da, db] = rows::build_parts_of_each(groups.into_iter(), |(start, terms), [da, db]| {
            term_gradients(terms, start, a, b, dy, da, db);
        });
        Ok(vec![da, db])
    }
}

/// `$f::<T, width>(..)` with the usual widths as constants, so that rows of matrices stay in registers; `0` for any other.
macro_rules! by_width {
    ($width:expr, $f:ident($($argument:expr),*)) => {
        match $width {
            8 => $f::<T, 8>($($argument),*),
            16 => $f::<T, 16>($($argument),*),
            32 => $f::<T, 32>($($argument),*),
            64 => $f::<T, 64>($($argument),*),
            128 => $f::<T, 128>($($argument),*),
            _ => $f::<T, 0>($($argument),*),
        }
    };
}

vectorised! {
    fn add_terms<T>(
        all: &[Term], terms: &[usize], offset: usize, a: &[T], b: &[T], out: &mut [T],
    ) {
        for term in terms.iter().map(|k| &all[*k]) {
            by_width!(term.shape[1], add_term(term, offset, a, b, out));
        }
    }
}

/// Adds one term; `WIDTH` is its width, or zero for one that is no constant.
#[inline(always)]
fn add_term<T: Real, const WIDTH: usize>(term: &Term, offset: usize, a: &[T], b: &[T], out: &mut [T]) {
    let [rows, width] = term.shape;
    let value = T::of(term.value);
    let b = &b[term.weights[1]..][..width];
    let a = &a[term.weights[0]..][..rows * width];
    if let Some(b) = b.first_chunk::<WIDTH>().filter(|_| WIDTH > 0) {
        let b = b.map(|b| value * b);
        for (u, a) in a.as_chunks::<WIDTH>().0.iter().enumerate() {
            let place = term.place - offset + u * term.stride;
            if let Some(out) = out[place..][..WIDTH].first_chunk_mut::<WIDTH>() {
                for w in 0..WIDTH {
                    out[w] = a[w].mul_add(b[w], out[w]);
                }
            }
        }
        return;
    }
    for (u, a) in a.chunks_exact(width.max(1)).enumerate() {
        let out = &mut out[term.place - offset + u * term.stride..][..width];
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = a.mul_add(value * *b, *out);
        }
    }
}

vectorised! {
    fn term_gradients<T>(
        terms: &[Term], start: [usize; 2], a: &[T], b: &[T], dy: &[T], da: &mut [T], db: &mut [T],
    ) {
        for term in terms {
            by_width!(term.shape[1], add_term_gradients(term, start, [a, b], dy, da, db));
        }
    }
}

/// Adds what follows from one term; `WIDTH` as in [`add_term`].
#[inline(always)]
fn add_term_gradients<T: Real, const WIDTH: usize>(
    term: &Term,
    start: [usize; 2],
    [a, b]: [&[T]; 2],
    dy: &[T],
    da: &mut [T],
    db: &mut [T],
) {
    let [rows, width] = term.shape;
    let value = T::of(term.value);
    let (b, db) = (&b[term.weights[1]..][..width], &mut db[term.weights[1] - start[1]..][..width]);
    let (a, da) = (&a[term.weights[0]..][..rows * width], &mut da[term.weights[0] - start[0]..][..rows * width]);
    if let (Some(b), Some(db)) = (b.first_chunk::<WIDTH>().filter(|_| WIDTH > 0), db.first_chunk_mut::<WIDTH>()) {
        let b = b.map(|b| value * b);
        let mut sums = [T::zero(); WIDTH];
        for (u, (a, da)) in a.as_chunks::<WIDTH>().0.iter().zip(da.as_chunks_mut::<WIDTH>().0).enumerate() {
            if let Some(g) = dy[term.place + u * term.stride..][..WIDTH].first_chunk::<WIDTH>() {
                for w in 0..WIDTH {
                    da[w] = g[w].mul_add(b[w], da[w]);
                    sums[w] = g[w].mul_add(a[w], sums[w]);
                }
            }
        }
        for w in 0..WIDTH {
            db[w] = value.mul_add(sums[w], db[w]);
        }
        return;
    }
    for (u, (a, da)) in a.chunks_exact(width.max(1)).zip(da.chunks_exact_mut(width.max(1))).enumerate() {
        let g = &dy[term.place + u * term.stride..][..width];
        for w in 0..width {
            let g = value * g[w];
            da[w] += g * b[w];
            db[w] += g * a[w];
        }
    }
}
