//! DeepH-E3's layer norm, on features in the global frame (nodes) or in edge frames.
//!
//! Each slot loses its mean over all rows of the graph and all channels (for each m, in the global frame); scalar
//! slots are then divided by their root mean square. Every channel is scaled, every 0e channel shifted. Statistics run
//! over the whole graph, so outputs depend on all of it: that is the original, kept for its checkpoints.

use super::frame::EdgeFrames;
use super::irreps::{Irreps, Parity};
use super::layout::Layout;
use super::wigner::packed_length;
use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
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

    /// Mean over rows and channels of `a`'s slot, in the global frame: `[2l + 1]`; `a(row, column, channel)`.
    #[inline(always)]
    fn mean<T: Real>(&self, slot: &Slot, graph: &Range<usize>, a: impl Fn(usize, usize, usize) -> T) -> Vec<f64> {
        let n = 2 * slot.l + 1;
        let (mut total, mut sums) = (vec![0.0; n], vec![T::zero(); n]);
        for row in graph.clone() {
            for (sum, column) in sums.iter_mut().zip(&slot.columns) {
                *sum = T::zero();
                for c in 0..slot.channels {
                    *sum += a(row, *column, c);
                }
            }
            match self.wigner::<T>(row, slot.l) {
                None => total.iter_mut().zip(&sums).for_each(|(t, s)| *t += s.to_f64()),
                Some(d) => {
                    for (k, sum) in sums.iter().enumerate() {
                        for (j, t) in total.iter_mut().enumerate() {
                            *t += (d[k * n + j] * *sum).to_f64();
                        }
                    }
                }
            }
        }
        let count = (graph.len() * slot.channels).max(1) as f64;
        total.iter_mut().for_each(|t| *t /= count);
        total
    }

    /// The mean as row `row` sees it.
    #[inline(always)]
    fn turned<T: Real>(&self, row: usize, l: usize, mean: &[f64], out: &mut [T]) {
        let n = 2 * l + 1;
        match self.wigner::<T>(row, l) {
            None => out.iter_mut().zip(mean).for_each(|(o, m)| *o = T::of(*m)),
            Some(d) => {
                for (k, o) in out[..n].iter_mut().enumerate() {
                    let mut sum = T::zero();
                    for (j, m) in mean.iter().enumerate() {
                        sum += d[k * n + j] * T::of(*m);
                    }
                    *o = sum;
                }
            }
        }
    }

    fn statistics<T: Real>(&self, x: &[T]) -> Vec<Vec<Statistics>> {
        let of_slot = |slot: &Slot, graph: &Range<usize>| {
            vectorised(|| {
                let n = 2 * slot.l + 1;
                let at = |row: usize, column: usize, c: usize| x[row * self.dim + column + c];
                let mean = if slot.subtract { self.mean(slot, graph, at) } else { vec![0.0; n] };
                let mut rms = 1.0;
                if slot.divide {
                    let mut square = 0.0;
                    let mut shift = vec![T::zero(); n];
                    for row in graph.clone() {
                        self.turned(row, slot.l, &mean, &mut shift);
                        for (column, shift) in slot.columns.iter().zip(&shift) {
                            let mut sum = T::zero();
                            for c in 0..slot.channels {
                                let d = at(row, *column, c) - *shift;
                                sum += d * d;
                            }
                            square += sum.to_f64();
                        }
                    }
                    let count = (graph.len() * slot.channels * n).max(1) as f64;
                    rms = (square / count).sqrt() + self.epsilon;
                }
                Statistics { mean, rms }
            })
        };
        use rayon::prelude::*;
        self.graphs.iter().map(|g| self.slots.par_iter().map(|s| of_slot(s, g)).collect()).collect()
    }
}

impl Operation for NormOp {
    const NAME: &'static str = "e3-layer-norm";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let [x, weight, bias] = [inputs[0].data, inputs[1].data, inputs[2].data];
        let all = self.statistics.get_or_init(|| self.statistics(x));
        let mut y = vec![T::zero(); x.len()];
        rows::for_each(&mut y, self.dim, &rows::chunks(&self.graphs), |chunk, y| {
            let graph = self.graphs.partition_point(|g| g.end <= chunk.start);
            vectorised(|| {
                let mut shift = [T::zero(); 32];
                for (row, y) in chunk.zip(y.chunks_exact_mut(self.dim)) {
                    let x = &x[row * self.dim..][..self.dim];
                    for (slot, s) in self.slots.iter().zip(&all[graph]) {
                        self.turned(row, slot.l, &s.mean, &mut shift[..2 * slot.l + 1]);
                        let inverse = T::of(1.0 / s.rms);
                        let weight = &weight[slot.weight..][..slot.channels];
                        for (column, shift) in slot.columns.iter().zip(shift) {
                            let (x, y) = (&x[*column..][..slot.channels], &mut y[*column..][..slot.channels]);
                            for c in 0..slot.channels {
                                y[c] = (x[c] - shift) * inverse * weight[c];
                            }
                        }
                        if let Some(first) = slot.bias {
                            let y = &mut y[slot.columns[0]..][..slot.channels];
                            y.iter_mut().zip(&bias[first..]).for_each(|(y, b)| *y += *b);
                        }
                    }
                }
            });
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
        // (mean of w g in the global frame, projection of w g on the centred input) of each graph and slot.
        let mut corrections = Vec::new();
        vectorised(|| {
            for (graph, statistics) in self.graphs.iter().zip(all) {
                let mut of_graph = Vec::with_capacity(self.slots.len());
                for (slot, s) in self.slots.iter().zip(statistics) {
                    let n = 2 * slot.l + 1;
                    let w = &weight[slot.weight..][..slot.channels];
                    let dw = &mut dweight[slot.weight..][..slot.channels];
                    let mut shift = vec![T::zero(); n];
                    let (inverse, mut projection) = (T::of(1.0 / s.rms), 0.0);
                    for row in graph.clone() {
                        self.turned(row, slot.l, &s.mean, &mut shift);
                        let mut sum = T::zero();
                        for (column, shift) in slot.columns.iter().zip(&shift) {
                            let first = row * self.dim + column;
                            let (x, g) = (&x[first..][..slot.channels], &dy[first..][..slot.channels]);
                            for c in 0..slot.channels {
                                let centred = (x[c] - *shift) * g[c];
                                dw[c] += centred * inverse;
                                sum += centred * w[c];
                            }
                        }
                        projection += sum.to_f64();
                        if let Some(first) = slot.bias {
                            let g = &dy[row * self.dim + slot.columns[0]..][..slot.channels];
                            dbias[first..].iter_mut().zip(g).for_each(|(b, g)| *b += *g);
                        }
                    }
                    let at = |row: usize, column: usize, c: usize| dy[row * self.dim + column + c] * w[c];
                    let mean = if slot.subtract { self.mean(slot, graph, at) } else { vec![0.0; n] };
                    let count = (graph.len() * slot.channels * n).max(1) as f64;
                    // d rms = <x, dx> / (count (rms - epsilon)); centred x has no mean, so this term needs no centring.
                    let plain = (s.rms - self.epsilon).max(f64::MIN_POSITIVE);
                    let scale = if slot.divide { projection / (count * s.rms * s.rms * plain) } else { 0.0 };
                    of_graph.push((mean, scale));
                }
                corrections.push(of_graph);
            }
        });
        let mut dx = vec![T::zero(); x.len()];
        rows::for_each(&mut dx, self.dim, &rows::chunks(&self.graphs), |chunk, dx| {
            let graph = self.graphs.partition_point(|g| g.end <= chunk.start);
            vectorised(|| {
                let (mut shift, mut mean) = ([T::zero(); 32], [T::zero(); 32]);
                for (row, dx) in chunk.zip(dx.chunks_exact_mut(self.dim)) {
                    for ((slot, s), (mean_g, scale)) in self.slots.iter().zip(&all[graph]).zip(&corrections[graph]) {
                        let n = 2 * slot.l + 1;
                        self.turned(row, slot.l, &s.mean, &mut shift[..n]);
                        self.turned(row, slot.l, mean_g, &mut mean[..n]);
                        let (inverse, scale) = (T::of(1.0 / s.rms), T::of(*scale));
                        let w = &weight[slot.weight..][..slot.channels];
                        for ((column, shift), mean) in slot.columns.iter().zip(shift).zip(mean) {
                            let first = row * self.dim + column;
                            let (x, g) = (&x[first..][..slot.channels], &dy[first..][..slot.channels]);
                            let dx = &mut dx[*column..][..slot.channels];
                            for c in 0..slot.channels {
                                dx[c] = (w[c] * g[c] - mean) * inverse - (x[c] - shift) * scale;
                            }
                        }
                    }
                }
            });
        });
        Ok(vec![dx, dweight, dbias])
    }
}
