//! The matrices of all couplings, from the weights of the paths.

use super::{Tables, Term};
use crate::kernels::{Array, Operation, Real, parallel, rows, vectorised};
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
        let parts: Vec<_> = t.parts.iter().map(|part| (part.len, part)).collect();
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
        let (mut da, mut db) = (vec![T::zero(); a.len()], vec![T::zero(); b.len()]);
        // Groups of whole paths, whose weights are adjacent.
        let (mut rest_a, mut rest_b) = (da.as_mut_slice(), db.as_mut_slice());
        let mut tasks = Vec::new();
        let mut terms = t.terms.as_slice();
        let mut start = [0, 0];
        while let Some(first) = terms.first() {
            let full = terms.partition_point(|x| x.weights[0] < first.weights[0] + GRADIENT_WEIGHTS);
            let (mine, others) = terms.split_at(full);
            let end = others.first().map_or([a.len(), b.len()], |x| x.weights);
            let (mine_a, others_a) = rest_a.split_at_mut(end[0] - start[0]);
            let (mine_b, others_b) = rest_b.split_at_mut(end[1] - start[1]);
            tasks.push((start, mine, mine_a, mine_b));
            (rest_a, rest_b, terms, start) = (others_a, others_b, others, end);
        }
        parallel::for_each(tasks, |(start, terms, da, db): ([usize; 2], &[Term], &mut [T], &mut [T])| {
            term_gradients(terms, start, a, b, dy, da, db);
        });
        Ok(vec![da, db])
    }
}

vectorised! {
    fn add_terms<T>(
        all: &[Term], terms: &[usize], offset: usize, a: &[T], b: &[T], out: &mut [T],
    ) {
        for term in terms.iter().map(|k| &all[*k]) {
            let [rows, width] = term.shape;
            let value = T::of(term.value);
            let b = &b[term.weights[1]..][..width];
            for u in 0..rows {
                let a = &a[term.weights[0] + u * width..][..width];
                let place = term.place - offset + u * term.stride;
                let out = &mut out[place..][..width];
                for w in 0..width {
                    out[w] += value * a[w] * b[w];
                }
            }
        }
    }
}

vectorised! {
    fn term_gradients<T>(
        terms: &[Term], start: [usize; 2], a: &[T], b: &[T], dy: &[T], da: &mut [T], db: &mut [T],
    ) {
        for term in terms {
            let [rows, width] = term.shape;
            let value = T::of(term.value);
            let (b, db) = (&b[term.weights[1]..][..width], &mut db[term.weights[1] - start[1]..][..width]);
            for u in 0..rows {
                let (first, place) = (term.weights[0] + u * width, term.place + u * term.stride);
                let (a, da) = (&a[first..][..width], &mut da[first - start[0]..][..width]);
                let g = &dy[place..][..width];
                for w in 0..width {
                    let g = value * g[w];
                    da[w] += g * b[w];
                    db[w] += g * a[w];
                }
            }
        }
    }
}
