//! DeepH-E3's layer norm, on features in the global frame (nodes) or in edge frames.
//!
//! Each slot loses its mean over all rows of the graph and all channels (for each m, in the global frame); scalar
//! slots are then divided by their root mean square. Every channel is scaled, every 0e channel shifted. Statistics run
//! over the whole graph, so outputs depend on all of it: that is the original, kept for its checkpoints.

mod passes;

use super::frame::EdgeFrames;
use super::irreps::{Irreps, Parity};
use super::layout::Layout;
use super::wigner::packed_length;
use crate::kernels::{Array, Operation, Real, apply, parallel, rows};
use crate::{Error, Init, Result, Scope};
use candle_core::Tensor;
use passes::{Sums, add_gradients, add_squares, add_sums, input_gradients, normalise};
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

/// Orders that a slot may have: l up to 15.
const MOST_ORDERS: usize = 32;

#[derive(Clone, Debug)]
struct Slot {
    l: usize,
    channels: usize,
    columns: Vec<usize>,
    /// The first of its orders among those of all slots.
    first_order: usize,
    /// Where its D begins among those of a row.
    wigner: usize,
    /// The first of its weights, one per channel.
    weight: usize,
    /// The first of its biases.
    bias: Option<usize>,
    subtract: bool,
    divide: bool,
}

impl Slot {
    #[inline(always)]
    fn orders(&self) -> usize {
        2 * self.l + 1
    }

    /// Numbers of this slot in the rows of a graph, for each order; at least 1.
    fn count(&self, graph: &Range<usize>) -> f64 {
        (graph.len() * self.channels).max(1) as f64
    }
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
    /// A parameter of the same name and another shape; a degree above 15.
    pub fn new(scope: &Scope, irreps: &Irreps, options: NormOptions) -> Result<Self> {
        let layout = Layout::new(irreps);
        if 2 * layout.lmax() + 1 > MOST_ORDERS {
            return Err(Error::Shape {
                operation: "LayerNorm",
                expected: "degrees up to 15".into(),
                found: layout.lmax().to_string(),
            });
        }
        let (mut first_order, mut weight, mut bias) = (0, 0, 0);
        let mut slots = Vec::new();
        for (s, t) in irreps.terms().iter().enumerate() {
            let scalar = t.ir.l == 0;
            slots.push(Slot {
                l: t.ir.l as usize,
                channels: t.mul,
                columns: layout.columns(s).to_vec(),
                first_order,
                wigner: if t.ir.l == 0 { 0 } else { packed_length(t.ir.l as usize - 1) },
                weight,
                bias: (scalar && t.ir.p == Parity::Even).then_some(bias),
                subtract: scalar || options.subtract_mean,
                divide: scalar || options.divide,
            });
            first_order += t.ir.dim();
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
        frames.map_or(Ok(()), |frames| frames.check(&self.layout, count, frames.len()))?;
        let operation = NormOp {
            slots: self.slots.clone(),
            dim: self.layout.dim(),
            packed: packed_length(self.layout.lmax()),
            epsilon: self.epsilon,
            graphs: graphs.to_vec(),
            frames: frames.cloned(),
            statistics: OnceLock::new(),
        };
        Ok(apply(operation, &[x, &self.weight, &self.bias])?)
    }
}

/// Of one graph: the mean of every order, global frame, and the root mean square + epsilon of every slot.
#[derive(Clone, Debug)]
struct Statistics {
    mean: Vec<f64>,
    rms: Vec<f64>,
}

struct NormOp {
    slots: Arc<[Slot]>,
    dim: usize,
    /// Elements of D of all degrees that occur.
    packed: usize,
    epsilon: f64,
    graphs: Vec<Range<usize>>,
    frames: Option<Arc<EdgeFrames>>,
    statistics: OnceLock<Vec<Statistics>>,
}

/// The statistics of a graph and the two corrections of the backward pass, in the kernel's type: means by order, factors by
/// channel, scales by slot.
struct Ready<T> {
    mean: Vec<T>,
    /// Weights over root mean squares.
    factor: Vec<T>,
    /// The mean gradient over root mean squares.
    mean_gradient: Vec<T>,
    scale: Vec<T>,
}

fn rounded<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|v| T::of(*v)).collect()
}

/// Adds up vectors of one length.
fn total<'a>(length: usize, vectors: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    let mut sum = vec![0.0; length];
    vectors.for_each(|v| sum.iter_mut().zip(v).for_each(|(s, v)| *s += v));
    sum
}

impl NormOp {
    fn orders(&self) -> usize {
        self.slots.iter().map(Slot::orders).sum()
    }

    fn ready<T: Real>(&self, statistics: &Statistics, weight: &[T]) -> Ready<T> {
        let mut factor = weight.to_vec();
        for (slot, rms) in self.slots.iter().zip(&statistics.rms) {
            factor[slot.weight..][..slot.channels].iter_mut().for_each(|factor| *factor *= T::of(1.0 / rms));
        }
        Ready { mean: rounded(&statistics.mean), factor, mean_gradient: Vec::new(), scale: Vec::new() }
    }

    /// The graph that a row belongs to.
    fn graph_of(&self, row: usize) -> usize {
        self.graphs.partition_point(|g| g.end <= row)
    }

    /// `body` of each group of rows, by graph.
    fn by_graph<R: Send>(&self, body: impl Fn(usize, &Range<usize>) -> R + Sync) -> Vec<Vec<R>> {
        let groups = rows::groups(&self.graphs);
        let results = parallel::map(&groups, |group| body(self.graph_of(group.start), group));
        let mut all: Vec<Vec<R>> = self.graphs.iter().map(|_| Vec::new()).collect();
        groups.iter().zip(results).for_each(|(group, result)| all[self.graph_of(group.start)].push(result));
        all
    }

    /// Sums by order over channels and rows -> means.
    fn means(&self, graph: &Range<usize>, mut sums: Vec<f64>) -> Vec<f64> {
        for slot in self.slots.iter() {
            sums[slot.first_order..][..slot.orders()].iter_mut().for_each(|s| *s /= slot.count(graph));
        }
        sums
    }

    fn statistics<T: Real>(&self, x: &[T]) -> Vec<Statistics> {
        let sums = self.by_graph(|_, group| {
            let mut sums = vec![0.0; self.orders()];
            add_sums(self, group, x, &mut sums);
            sums
        });
        let means: Vec<_> =
            self.graphs.iter().zip(&sums).map(|(g, s)| self.means(g, total(self.orders(), s.iter()))).collect();
        let squares = self.by_graph(|graph, group| {
            let mut squares = vec![0.0; self.slots.len()];
            add_squares(self, group, x, &rounded(&means[graph]), &mut squares);
            squares
        });
        let mut all = Vec::with_capacity(self.graphs.len());
        for ((graph, mean), squares) in self.graphs.iter().zip(means).zip(&squares) {
            let rms = |(slot, square): (&Slot, f64)| match slot.divide {
                true => (square / (slot.count(graph) * slot.orders() as f64)).sqrt() + self.epsilon,
                false => 1.0,
            };
            let squares = total(self.slots.len(), squares.iter());
            all.push(Statistics { mean, rms: self.slots.iter().zip(squares).map(rms).collect() });
        }
        all
    }
}

impl Operation for NormOp {
    const NAME: &'static str = "e3-layer-norm";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let [x, weight, bias] = [inputs[0].data, inputs[1].data, inputs[2].data];
        let statistics = self.statistics.get_or_init(|| self.statistics(x));
        let ready: Vec<_> = statistics.iter().map(|statistics| self.ready(statistics, weight)).collect();
        let y = rows::build(self.dim, &rows::chunks(&self.graphs), |chunk, y| {
            normalise(self, &ready[self.graph_of(chunk.start)], &chunk, x, bias, y);
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
        let statistics = self.statistics.get_or_init(|| self.statistics(x));
        let mut ready: Vec<Ready<T>> = statistics.iter().map(|statistics| self.ready(statistics, weight)).collect();
        let sums = self.by_graph(|graph, group| {
            let mut sums = Sums {
                weights: vec![T::zero(); weight.len()],
                biases: vec![T::zero(); inputs[2].data.len()],
                orders: vec![0.0; self.orders()],
            };
            add_gradients(self, &ready[graph], group, x, dy, weight, &mut sums);
            sums
        });
        let (mut dweight, mut dbias) = (vec![T::zero(); weight.len()], vec![T::zero(); inputs[2].data.len()]);
        for (((graph, statistics), ready), sums) in self.graphs.iter().zip(statistics).zip(&mut ready).zip(&sums) {
            let mut mean = self.means(graph, total(self.orders(), sums.iter().map(|s| &s.orders)));
            for s in sums {
                dbias.iter_mut().zip(&s.biases).for_each(|(sum, b)| *sum += *b);
            }
            for (slot, rms) in self.slots.iter().zip(&statistics.rms) {
                mean[slot.first_order..][..slot.orders()].iter_mut().for_each(|mean| *mean /= rms);
                let mut projection = 0.0;
                for channel in slot.weight..slot.weight + slot.channels {
                    let mut sum = T::zero();
                    sums.iter().for_each(|s| sum += s.weights[channel]);
                    projection += (sum * weight[channel]).to_f64();
                    dweight[channel] += sum * T::of(1.0 / rms);
                }
                // d rms = <x, dx> / (count (rms - epsilon)); centred x has no mean, so this term needs no centring.
                let plain = (rms - self.epsilon).max(f64::MIN_POSITIVE);
                let count = slot.count(graph) * slot.orders() as f64;
                ready.scale.push(T::of(if slot.divide { projection / (count * rms * rms * plain) } else { 0.0 }));
            }
            ready.mean_gradient = rounded(&mean);
        }
        let dx = rows::build(self.dim, &rows::chunks(&self.graphs), |chunk, dx| {
            input_gradients(self, &ready[self.graph_of(chunk.start)], &chunk, x, dy, dx);
        });
        Ok(vec![dx, dweight, dbias])
    }
}
