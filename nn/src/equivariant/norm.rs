//! DeepH-E3's layer norm, on features in the global frame (nodes) or in edge frames.
//!
//! Each slot loses its mean over all rows of the graph and all channels (for each m, in the global frame); scalar
//! slots are then divided by their root mean square. Every channel is scaled, every 0e channel shifted. Statistics run
//! over the whole graph, so outputs depend on all of it: that is the original, kept for its checkpoints.

use super::frame::EdgeFrames;
use super::irreps::{Irreps, Parity};
use super::layout::Layout;
use super::wigner::packed_length;
use crate::kernels::lanes::update;
use crate::kernels::{Array, Operation, Real, apply, parallel, rows, vectorised};
use crate::{Error, Init, Result, Scope};
use candle_core::Tensor;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// What is divided and subtracted besides the scalars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOptions {
    /// Subtract the mean of slots with l > 0 too.
    pub subtract_mean: bool,
    /// Divide slots with l > 0 too.
    pub divide: bool,
    /// Added to the root mean square.
    pub epsilon: f64,
}

impl Default for NormOptions {
    fn default() -> Self {
        NormOptions { subtract_mean: true, divide: false, epsilon: 1e-5 }
    }
}

#[derive(Clone, Debug)]
struct Slot {
    l: usize,
    channels: usize,
    columns: Vec<usize>,
    weight: usize,
    bias: Option<usize>,
    subtract: bool,
    divide: bool,
}

/// e3LayerNorm.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    slots: Arc<[Slot]>,
    layout: Layout,
    epsilon: f64,
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Declares `weight` (one per channel, 1) and `bias` (one per 0e channel, 0).
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn new(scope: &Scope, irreps: &Irreps, options: NormOptions) -> Result<Self> {
        let layout = Layout::new(irreps);
        let (mut weight, mut bias) = (0, 0);
        let mut slots = Vec::new();
        for (s, t) in irreps.terms().iter().enumerate() {
            let scalar = t.ir.l == 0;
            slots.push(Slot {
                l: t.ir.l as usize,
                channels: t.mul,
                columns: layout.columns(s).to_vec(),
                weight,
                bias: (scalar && t.ir.p == Parity::Even).then_some(bias),
                subtract: scalar || options.subtract_mean,
                divide: scalar || options.divide,
            });
            weight += t.mul;
            bias += if t.ir.is_scalar() { t.mul } else { 0 };
        }
        Ok(LayerNorm {
            slots: slots.into(),
            layout,
            epsilon: options.epsilon,
            weight: scope.parameter("weight", weight, Init::Constant(1.0))?,
            bias: scope.parameter("bias", bias, Init::Constant(0.0))?,
        })
    }

    /// `x` `[rows, dim]` in layout order, `graphs` the rows of each graph, ascending and adjacent. With `frames`, row e
    /// is seen in the frame of edge e.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, graphs: &[Range<usize>], frames: Option<&Arc<EdgeFrames>>) -> Result<Tensor> {
        let (count, columns) = x.dims2()?;
        let covered = graphs.iter().try_fold(0, |at, g| (g.start == at).then_some(g.end)) == Some(count);
        if columns != self.layout.dim() || !covered || frames.is_some_and(|f| f.len() != count) {
            return Err(Error::Shape {
                operation: "LayerNorm",
                expected: format!("{} columns, rows covered by {graphs:?}", self.layout.dim()),
                found: format!("{:?}", x.dims()),
            });
        }
        let operation = NormOp {
            slots: self.slots.clone(),
            dim: self.layout.dim(),
            epsilon: self.epsilon,
            graphs: graphs.to_vec(),
            frames: frames.cloned(),
            statistics: OnceLock::new(),
        };
        Ok(apply(operation, &[x, &self.weight, &self.bias])?)
    }
}

/// Mean vector (global frame) and root mean square + epsilon of one slot in one graph.
#[derive(Clone, Debug)]
struct Statistics {
    mean: Vec<f64>,
    rms: f64,
}

struct NormOp {
    slots: Arc<[Slot]>,
    dim: usize,
    epsilon: f64,
    graphs: Vec<Range<usize>>,
    frames: Option<Arc<EdgeFrames>>,
    statistics: OnceLock<Vec<Vec<Statistics>>>,
}

impl NormOp {
    /// D of row `row` and degree l, or `None` where it is the identity.
    #[inline(always)]
    fn wigner<T: Real>(&self, row: usize, l: usize) -> Option<&[T]> {
        let frames = self.frames.as_ref().filter(|_| l > 0)?;
        Some(&frames.wigner::<T>(row)[packed_length(l - 1)..])
    }

    /// The mean as row `row` sees it.
    #[inline(always)]
    fn turned<T: Real>(&self, row: usize, l: usize, mean: &[T], out: &mut [T]) {
        let n = 2 * l + 1;
        match self.wigner::<T>(row, l) {
            None => out[..n].copy_from_slice(mean),
            Some(d) => {
                for (k, o) in out[..n].iter_mut().enumerate() {
                    let mut sum = T::zero();
                    for (j, m) in mean.iter().enumerate() {
                        sum += d[k * n + j] * *m;
                    }
                    *o = sum;
                }
            }
        }
    }

    fn statistics<T: Real>(&self, x: &[T]) -> Vec<Vec<Statistics>> {
        let of_slot = |slot: &Slot, graph: &Range<usize>| {
            let n = 2 * slot.l + 1;
            let mut s = Statistics { mean: vec![0.0; n], rms: 1.0 };
            if slot.subtract {
                slot_mean(self, slot, graph, x, &vec![T::one(); slot.channels], &mut s.mean);
            }
            if slot.divide {
                let mut square = 0.0;
                slot_square(self, slot, graph, x, &rounded(&s.mean), &mut square);
                let count = (graph.len() * slot.channels * n).max(1) as f64;
                s.rms = (square / count).sqrt() + self.epsilon;
            }
            s
        };
        self.graphs.iter().map(|g| parallel::map(&self.slots, |s| of_slot(s, g))).collect()
    }
}

fn rounded<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|v| T::of(*v)).collect()
}

/// A slot with its statistics and the two corrections of the backward pass, in the kernel's type.
struct Ready<'a, T> {
    slot: &'a Slot,
    mean: Vec<T>,
    inverse: T,
    mean_gradient: Vec<T>,
    scale: T,
}

vectorised! {
    /// Mean over the rows of a graph and all channels of `w_c x_c`, in the global frame: `[2l + 1]`.
    fn slot_mean<T>(op: &NormOp, slot: &Slot, graph: &Range<usize>, x: &[T], w: &[T], total: &mut [f64]) {
        let n = 2 * slot.l + 1;
        let (mut sums, mut global) = (vec![T::zero(); n], vec![T::zero(); n]);
        for row in graph.clone() {
            for (sum, column) in sums.iter_mut().zip(&slot.columns) {
                *sum = dot(&x[row * op.dim + column..][..slot.channels], w);
            }
            match op.wigner::<T>(row, slot.l) {
                None => total.iter_mut().zip(&sums).for_each(|(t, s)| *t += s.to_f64()),
                Some(d) => {
                    global.fill(T::zero());
                    for (d, sum) in d.chunks_exact(n).zip(&sums) {
                        global.iter_mut().zip(d).for_each(|(g, d)| *g += *d * *sum);
                    }
                    total.iter_mut().zip(&global).for_each(|(t, g)| *t += g.to_f64());
                }
            }
        }
        let count = (graph.len() * slot.channels).max(1) as f64;
        total.iter_mut().for_each(|t| *t /= count);
    }
}

/// Sum of products in eight partial sums, which vectorises where one sum cannot.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut partial = [T::zero(); 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let mut sum = T::zero();
    for (a, b) in a8.remainder().iter().zip(b8.remainder()) {
        sum += *a * *b;
    }
    for (a, b) in a8.zip(b8) {
        for lane in 0..8 {
            partial[lane] += a[lane] * b[lane];
        }
    }
    partial.iter().for_each(|p| sum += *p);
    sum
}

vectorised! {
    /// Sum of squares of the centred slot.
    fn slot_square<T>(op: &NormOp, slot: &Slot, graph: &Range<usize>, x: &[T], mean: &[T], square: &mut f64) {
        let mut shift = vec![T::zero(); 2 * slot.l + 1];
        let mut centred = vec![T::zero(); slot.channels];
        for row in graph.clone() {
            op.turned(row, slot.l, mean, &mut shift);
            for (column, shift) in slot.columns.iter().zip(&shift) {
                let x = &x[row * op.dim + column..][..slot.channels];
                centred.iter_mut().zip(x).for_each(|(c, x)| *c = *x - *shift);
                *square += dot(&centred, &centred).to_f64();
            }
        }
    }
}

vectorised! {
    /// Rows `chunk` of the output.
    fn normalise<T>(op: &NormOp, slots: &[Ready<T>], chunk: Range<usize>, x: &[T], w: &[T], bias: &[T], y: &mut [T]) {
        let mut shift = [T::zero(); 32];
        for (row, y) in chunk.zip(y.chunks_exact_mut(op.dim.max(1))) {
            let x = &x[row * op.dim..][..op.dim];
            for ready in slots {
                let slot = ready.slot;
                op.turned(row, slot.l, &ready.mean, &mut shift);
                let w = &w[slot.weight..][..slot.channels];
                for (column, shift) in slot.columns.iter().zip(shift) {
                    let (x, y) = (&x[*column..][..slot.channels], &mut y[*column..][..slot.channels]);
                    update(x, w, y, |x, w, _| (x - shift) * ready.inverse * w);
                }
                if let Some(first) = slot.bias {
                    let y = &mut y[slot.columns[0]..][..slot.channels];
                    y.iter_mut().zip(&bias[first..]).for_each(|(y, b)| *y += *b);
                }
            }
        }
    }
}

vectorised! {
    /// Gradients of weight and bias of one slot, and the projection of `w dy` on the centred input.
    fn slot_gradients<T>(
        op: &NormOp, slot: &Slot, s: &Statistics, graph: &Range<usize>, x: &[T], dy: &[T], w: &[T],
        dw: &mut [T], db: &mut [T], projection: &mut f64,
    ) {
        let mean = rounded::<T>(&s.mean);
        let mut shift = vec![T::zero(); 2 * slot.l + 1];
        let mut of_row = vec![T::zero(); slot.channels];
        let inverse = T::of(1.0 / s.rms);
        for row in graph.clone() {
            op.turned(row, slot.l, &mean, &mut shift);
            of_row.iter_mut().for_each(|v| *v = T::zero());
            for (column, shift) in slot.columns.iter().zip(&shift) {
                let first = row * op.dim + column;
                let (x, g) = (&x[first..][..slot.channels], &dy[first..][..slot.channels]);
                update(x, g, &mut of_row, |x, g, sum| (x - *shift).mul_add(g, sum));
            }
            *projection += dot(&of_row, w).to_f64();
            for c in 0..slot.channels {
                dw[c] += of_row[c] * inverse;
            }
            if slot.bias.is_some() {
                let g = &dy[row * op.dim + slot.columns[0]..][..slot.channels];
                db.iter_mut().zip(g).for_each(|(b, g)| *b += *g);
            }
        }
    }
}

vectorised! {
    /// Rows `chunk` of the gradient of the input.
    fn input_gradients<T>(
        op: &NormOp, slots: &[Ready<T>], chunk: Range<usize>, x: &[T], dy: &[T], w: &[T], dx: &mut [T],
    ) {
        let (mut shift, mut mean) = ([T::zero(); 32], [T::zero(); 32]);
        for (row, dx) in chunk.zip(dx.chunks_exact_mut(op.dim.max(1))) {
            for ready in slots {
                let slot = ready.slot;
                op.turned(row, slot.l, &ready.mean, &mut shift);
                op.turned(row, slot.l, &ready.mean_gradient, &mut mean);
                let w = &w[slot.weight..][..slot.channels];
                for ((column, shift), mean) in slot.columns.iter().zip(shift).zip(mean) {
                    let first = row * op.dim + column;
                    let (x, g) = (&x[first..][..slot.channels], &dy[first..][..slot.channels]);
                    let dx = &mut dx[*column..][..slot.channels];
                    update(w, g, dx, |w, g, _| w.mul_add(g, -mean) * ready.inverse);
                    if slot.divide {
                        update(x, g, dx, |x, _, dx| dx - (x - shift) * ready.scale);
                    }
                }
            }
        }
    }
}

impl Operation for NormOp {
    const NAME: &'static str = "e3-layer-norm";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let [x, weight, bias] = [inputs[0].data, inputs[1].data, inputs[2].data];
        let all = self.statistics.get_or_init(|| self.statistics(x));
        let ready = |s: &Vec<Statistics>| -> Vec<Ready<T>> {
            let make = |(slot, s): (_, &Statistics)| Ready {
                slot,
                mean: rounded(&s.mean),
                inverse: T::of(1.0 / s.rms),
                mean_gradient: Vec::new(),
                scale: T::zero(),
            };
            self.slots.iter().zip(s).map(make).collect()
        };
        let ready: Vec<_> = all.iter().map(ready).collect();
        let y = rows::build(self.dim, &rows::chunks(&self.graphs), |chunk, y| {
            let graph = self.graphs.partition_point(|g| g.end <= chunk.start);
            normalise(self, &ready[graph], chunk, x, weight, bias, y);
        });
        Ok((y, inputs[0].dims.to_vec()))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        _: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let [x, weight] = [inputs[0].data, inputs[1].data];
        let all = self.statistics.get_or_init(|| self.statistics(x));
        let (mut dweight, mut dbias) = (vec![T::zero(); weight.len()], vec![T::zero(); inputs[2].data.len()]);
        let mut ready = Vec::with_capacity(self.graphs.len());
        for (graph, statistics) in self.graphs.iter().zip(all) {
            let of_slot = |(slot, s): &(&Slot, &Statistics)| {
                let (slot, s) = (*slot, *s);
                let (n, w) = (2 * slot.l + 1, &weight[slot.weight..][..slot.channels]);
                let mut dw = vec![T::zero(); slot.channels];
                let mut db = vec![T::zero(); if slot.bias.is_some() { slot.channels } else { 0 }];
                let (mut projection, mut mean) = (0.0, vec![0.0; n]);
                slot_gradients(self, slot, s, graph, x, dy, w, &mut dw, &mut db, &mut projection);
                if slot.subtract {
                    slot_mean(self, slot, graph, dy, w, &mut mean);
                }
                let count = (graph.len() * slot.channels * n).max(1) as f64;
                // d rms = <x, dx> / (count (rms - epsilon)); centred x has no mean, so this term needs no centring.
                let plain = (s.rms - self.epsilon).max(f64::MIN_POSITIVE);
                let scale = if slot.divide { projection / (count * s.rms * s.rms * plain) } else { 0.0 };
                (mean, scale, dw, db)
            };
            let pairs: Vec<_> = self.slots.iter().zip(statistics).collect();
            let parts = parallel::map(&pairs, of_slot);
            let mut of_graph = Vec::with_capacity(parts.len());
            for ((slot, s), (mean, scale, dw, db)) in self.slots.iter().zip(statistics).zip(parts) {
                dweight[slot.weight..].iter_mut().zip(dw).for_each(|(a, b)| *a += b);
                if let Some(first) = slot.bias {
                    dbias[first..].iter_mut().zip(db).for_each(|(a, b)| *a += b);
                }
                of_graph.push(Ready {
                    slot,
                    mean: rounded::<T>(&s.mean),
                    inverse: T::of(1.0 / s.rms),
                    mean_gradient: rounded(&mean),
                    scale: T::of(scale),
                });
            }
            ready.push(of_graph);
        }
        let dx = rows::build(self.dim, &rows::chunks(&self.graphs), |chunk, dx| {
            let graph = self.graphs.partition_point(|g| g.end <= chunk.start);
            input_gradients(self, &ready[graph], chunk, x, dy, weight, dx);
        });
        Ok(vec![dx, dweight, dbias])
    }
}
