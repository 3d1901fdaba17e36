//! The gate over rows: alone, or with the sums over the edges of a node that follow it.

use super::Tables;
use crate::equivariant::frame::{Scatter, one_by_one};
use crate::kernels::lanes::update;
use crate::kernels::{Array, Operation, Real, rows, vectorised};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// A number for each channel, off the heap: it is asked for every few rows.
type Channels<T> = SmallVec<[T; 256]>;

/// Edges whose gated features are at hand at a time.
const TILE: usize = 16;

/// The gate and what becomes of it, so that what it gives need not be kept.
pub(super) struct SumOp {
    pub(super) tables: Arc<Tables>,
    pub(super) scatter: Scatter,
}

impl Operation for SumOp {
    const NAME: &'static str = "gate-sum";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, scatter) = (&self.tables, &self.scatter);
        let dout = t.output.dim();
        let y = rows::build(dout, &one_by_one(scatter.nodes()), |node, y| {
            let mut space = vec![T::zero(); TILE * dout];
            for edges in scatter.runs(node.start, TILE) {
                let [x, w] = t.rows(inputs, &edges);
                let gated = &mut space[..edges.len() * dout];
                gate_rows(t, x, w, gated);
                scatter.add(node.start, &edges, gated, y);
            }
        });
        Ok((y, vec![scatter.nodes(), dout]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        _: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let t = &self.tables;
        let (din, dout, dw) = (t.input.dim(), t.output.dim(), t.channels);
        let (dx, dweights) = rows::build_pair([din, dw], &rows::all(inputs[0].rows()), |chunk, dx, dweights| {
            let mut space = vec![T::zero(); TILE * dout];
            for start in chunk.clone().step_by(TILE) {
                let edges = start..(start + TILE).min(chunk.end);
                let gradients = &mut space[..edges.len() * dout];
                self.scatter.fill(edges.clone(), dy, gradients);
                let [x, w] = t.rows(inputs, &edges);
                let [a, b] = [start, edges.end].map(|row| row - chunk.start);
                gate_gradients(t, x, w, gradients, &mut dx[a * din..b * din], &mut dweights[a * dw..b * dw]);
            }
        });
        Ok(vec![dx, dweights])
    }
}

pub(super) struct GateOp {
    pub(super) tables: Arc<Tables>,
}

impl Tables {
    /// Some rows of both inputs.
    fn rows<'a, T>(&self, inputs: &[Array<'a, T>], range: &Range<usize>) -> [&'a [T]; 2] {
        [(0, self.input.dim()), (1, self.channels)].map(|(k, width)| rows::slice(inputs[k].data, width, range))
    }
}

impl Operation for GateOp {
    const NAME: &'static str = "gate";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, count) = (&self.tables, inputs[0].rows());
        let dout = t.output.dim();
        let y = rows::build_by_row(dout, &rows::all(count), |chunk, y| {
            let [x, w] = t.rows(inputs, &chunk);
            gate_rows(t, x, w, y);
        });
        Ok((y, vec![count, dout]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        _: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let (t, count) = (&self.tables, inputs[0].rows());
        let (din, dout, dw) = (t.input.dim(), t.output.dim(), t.channels);
        let chunks = rows::all(count);
        let (dx, dweights) = rows::build_pair([din, dw], &chunks, |chunk, dx, dweights| {
            let [x, w] = t.rows(inputs, &chunk);
            gate_gradients(t, x, w, rows::slice(dy, dout, &chunk), dx, dweights);
        });
        Ok(vec![dx, dweights])
    }
}

vectorised! {
    /// The rows of `y` from those of `x` and the radial weights `w`.
    fn gate_rows<T, V>(v: V, t: &Tables, x: &[T], w: &[T], y: &mut [T]) {
        let (din, dout, dw) = (t.input.dim(), t.output.dim(), t.channels);
        if dw == 0 {
            return;
        }
        let mut value = Channels::from_elem(T::zero(), dw);
        for ((x, w), y) in x.chunks_exact(din).zip(w.chunks_exact(dw)).zip(y.chunks_exact_mut(dout)) {
            for s in &t.scalars {
                let (n, w) = (s.channels, &w[s.radial..][..s.channels]);
                let value = &mut value[..n];
                s.activation.values(v, &x[s.from..][..n], value);
                update(value, w, &mut y[s.to..][..n], |value, w, _| value * w);
            }
            let [first, radial] = t.gates;
            let n = dw - radial;
            let (w, gates) = (&w[radial..][..n], &mut value[..n]);
            t.gate_activation.values(v, &x[first..][..n], gates);
            update(w, w, gates, |w, _, value| value * w);
            for g in &t.gated {
                let gates = &gates[g.gate..][..g.columns];
                update(&x[g.from..][..g.columns], gates, &mut y[g.to..][..g.columns], |x, gate, _| x * gate);
            }
        }
    }
}

vectorised! {
    /// The rows of `dx` and `dw` from those of `dy`.
    fn gate_gradients<T, V>(v: V, t: &Tables, x: &[T], w: &[T], dy: &[T], dx: &mut [T], dw: &mut [T]) {
        let (din, dout, channels) = (t.input.dim(), t.output.dim(), t.channels);
        if channels == 0 {
            return;
        }
        let [mut value, mut slope, mut weighted, mut dot] = [(); 4].map(|()| Channels::from_elem(T::zero(), channels));
        let inputs = x.chunks_exact(din).zip(w.chunks_exact(channels)).zip(dy.chunks_exact(dout));
        for (((x, w), dy), (dx, dw)) in inputs.zip(dx.chunks_exact_mut(din).zip(dw.chunks_exact_mut(channels))) {
            for s in &t.scalars {
                let n = s.channels;
                let (w, dy) = (&w[s.radial..][..n], &dy[s.to..][..n]);
                let (value, slope, weighted) = (&mut value[..n], &mut slope[..n], &mut weighted[..n]);
                s.activation.evaluate(v, &x[s.from..][..n], value, slope);
                update(slope, w, weighted, |slope, w, _| slope * w);
                update(weighted, dy, &mut dx[s.from..][..n], |weighted, dy, _| weighted * dy);
                update(value, dy, &mut dw[s.radial..][..n], |value, dy, _| value * dy);
            }
            let [first, radial] = t.gates;
            let n = channels - radial;
            let w = &w[radial..][..n];
            let (value, slope, weighted) = (&mut value[..n], &mut slope[..n], &mut weighted[..n]);
            t.gate_activation.evaluate(v, &x[first..][..n], value, slope);
            update(value, w, weighted, |value, w, _| value * w);
            update(w, w, slope, |w, _, slope| slope * w);
            let dot = &mut dot[..n];
            dot.fill(T::zero());
            for g in &t.gated {
                let n = g.columns;
                let (dy, weighted, dot) = (&dy[g.to..][..n], &weighted[g.gate..][..n], &mut dot[g.gate..][..n]);
                update(&x[g.from..][..n], dy, dot, |x, dy, dot| x.mul_add(dy, dot));
                update(dy, weighted, &mut dx[g.from..][..n], |dy, weight, _| dy * weight);
            }
            update(dot, slope, &mut dx[first..][..n], |dot, slope, _| dot * slope);
            update(dot, value, &mut dw[radial..][..n], |dot, value, _| dot * value);
        }
    }
}
