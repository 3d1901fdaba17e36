//! e3nn's gated non-linearity: scalars pass an activation, every other channel is multiplied by an activated scalar.
//! Here it is fused with the multiplication by radial weights that follows it in DeepH-E3's convolution.

mod passes;

use super::frame::{EdgeFrames, Scatter};
use super::irreps::{Irrep, Irreps, MulIrrep, Parity, couples, sort};
use super::layout::Layout;
use crate::kernels::vectors::{self, Vectors};
use crate::kernels::{Real, apply};
use crate::{Error, Result};
use candle_core::Tensor;
use passes::{GateOp, SumOp};
use std::sync::Arc;

/// A scalar function scaled so that E[f(z)^2] = 1 for normal z. e3nn estimates the factors from a million fixed random
/// numbers; checkpoints depend on those values, so they are used instead of the exact ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activation {
    Silu,
    Sigmoid,
    Tanh,
}

impl Activation {
    fn factor(self) -> f64 {
        match self {
            Activation::Silu => 1.6791767923989418,
            Activation::Sigmoid => 1.8467055342154763,
            Activation::Tanh => 1.5937334472592695,
        }
    }

    /// Values.
    #[inline(always)]
    fn values<T: Real, V: Vectors<T>>(self, v: V, x: &[T], value: &mut [T]) {
        let factor = T::of(self.factor());
        match self {
            Activation::Silu => vectors::update(
                v,
                [x],
                [value],
                #[inline(always)]
                |[x], _| [silu(v, factor, x)[0]],
            ),
            Activation::Sigmoid => vectors::update(
                v,
                [x],
                [value],
                #[inline(always)]
                |[x], _| [sigmoid(v, factor, x)[0]],
            ),
            Activation::Tanh => value.iter_mut().zip(x).for_each(|(value, x)| *value = factor * x.tanh()),
        }
    }

    /// Values and derivatives.
    #[inline(always)]
    fn evaluate<T: Real, V: Vectors<T>>(self, v: V, x: &[T], value: &mut [T], slope: &mut [T]) {
        let factor = T::of(self.factor());
        match self {
            Activation::Silu => vectors::update(
                v,
                [x],
                [value, slope],
                #[inline(always)]
                |[x], _| silu(v, factor, x),
            ),
            Activation::Sigmoid => vectors::update(
                v,
                [x],
                [value, slope],
                #[inline(always)]
                |[x], _| sigmoid(v, factor, x),
            ),
            Activation::Tanh => {
                for ((x, value), slope) in x.iter().zip(value).zip(slope) {
                    let t = x.tanh();
                    (*value, *slope) = (factor * t, factor * (T::one() - t * t));
                }
            }
        }
    }
}

/// Value and derivative.
#[inline(always)]
fn silu<T: Real, V: Vectors<T>>(v: V, factor: T, x: V::Vector) -> [V::Vector; 2] {
    let (s, one) = (v.sigmoid(x), v.splat(T::one()));
    let scaled = v.mul(v.splat(factor), s);
    [v.mul(x, scaled), v.mul(scaled, v.mul_add(x, v.sub(one, s), one))]
}

/// Value and derivative.
#[inline(always)]
fn sigmoid<T: Real, V: Vectors<T>>(v: V, factor: T, x: V::Vector) -> [V::Vector; 2] {
    let s = v.sigmoid(x);
    let scaled = v.mul(v.splat(factor), s);
    [scaled, v.mul(scaled, v.sub(v.splat(T::one()), s))]
}

/// A run of scalar columns: input, output, radial channel.
#[derive(Debug)]
struct Scalars {
    activation: Activation,
    from: usize,
    to: usize,
    radial: usize,
    channels: usize,
}

/// Adjacent gated columns: of one order of a slot, or of several slots that follow each other in the input, the output and
/// among the gates.
#[derive(Clone, Copy, Debug)]
struct Gated {
    /// Counted from the first gate.
    gate: usize,
    from: usize,
    to: usize,
    columns: usize,
}

/// As few runs as these columns can be made up of.
fn merged(mut runs: Vec<Gated>) -> Vec<Gated> {
    runs.sort_by_key(|run| run.from);
    let mut merged: Vec<Gated> = Vec::new();
    for run in runs {
        match merged.last_mut() {
            Some(last) if [last.gate, last.from, last.to].map(|x| x + last.columns) == [run.gate, run.from, run.to] => {
                last.columns += run.columns;
            }
            _ => merged.push(run),
        }
    }
    merged
}

#[derive(Debug)]
struct Tables {
    input: Layout,
    output: Layout,
    scalars: Vec<Scalars>,
    gate_activation: Activation,
    /// First gate: input column, radial channel; all gates are adjacent, and so are their weights.
    gates: [usize; 2],
    gated: Vec<Gated>,
    channels: usize,
}

/// The gate that yields as much of some wanted irreps as a product can reach.
#[derive(Clone, Debug)]
pub struct Gate {
    tables: Arc<Tables>,
}

impl Gate {
    /// Keeps the slots of `wanted` that occur in `input1 x input2`. The gates are 0e, or 0o where 0e is unreachable.
    pub fn new(input1: &Irreps, input2: &Irreps, wanted: &Irreps) -> Self {
        let reachable =
            |ir: Irrep| input1.terms().iter().any(|a| input2.terms().iter().any(|b| couples(a.ir, b.ir, ir)));
        let keep = |test: &dyn Fn(u32) -> bool| {
            Irreps::new(wanted.terms().iter().copied().filter(|t| test(t.ir.l) && reachable(t.ir)).collect()).simplify()
        };
        let (scalars, gated) = (keep(&|l| l == 0), keep(&|l| l > 0));
        let gate_parity = if reachable(Irrep::new(0, Parity::Even)) { Parity::Even } else { Parity::Odd };
        let gates = MulIrrep { mul: gated.num_irreps(), ir: Irrep::new(0, gate_parity) };

        let parts: Vec<MulIrrep> = [scalars.terms(), &[gates][..usize::from(gates.mul > 0)], gated.terms()].concat();
        let (sorted, order) = sort(&Irreps::new(parts.clone()));
        let (input, output) =
            (Layout::new(&sorted.simplify()), Layout::new(&Irreps::new([scalars.terms(), gated.terms()].concat())));
        // Where each part starts among the merged slots of the input: (slot, channel).
        let mut places = vec![(0, 0); parts.len()];
        let (mut slot, mut channel) = (0, 0);
        for (k, &part) in order.iter().enumerate() {
            if k > 0 && sorted.terms()[k].ir != sorted.terms()[k - 1].ir {
                (slot, channel) = (slot + 1, 0);
            }
            places[part] = (slot, channel);
            channel += parts[part].mul;
        }
        let columns = |part: usize| -> Vec<usize> {
            let (slot, channel) = places[part];
            input.columns(slot).iter().map(|c| c + channel).collect()
        };
        let mut radial = 0;
        let mut tables_scalars = Vec::new();
        for (k, t) in scalars.terms().iter().enumerate() {
            let activation = if t.ir.p == Parity::Even { Activation::Silu } else { Activation::Tanh };
            let (from, to) = (columns(k)[0], output.columns(k)[0]);
            tables_scalars.push(Scalars { activation, from, to, radial, channels: t.mul });
            radial += t.mul;
        }
        let count = scalars.terms().len();
        let first = [if gates.mul > 0 { columns(count)[0] } else { 0 }, radial];
        let mut runs = Vec::new();
        for (k, t) in gated.terms().iter().enumerate() {
            let orders = columns(count + 1 + k).into_iter().zip(output.columns(count + k));
            runs.extend(orders.map(|(from, to)| Gated { gate: radial - first[1], from, to: *to, columns: t.mul }));
            radial += t.mul;
        }
        let gate_activation = if gate_parity == Parity::Even { Activation::Sigmoid } else { Activation::Tanh };
        let (scalars, gated) = (tables_scalars, merged(runs));
        let tables = Tables { input, output, scalars, gate_activation, gates: first, gated, channels: radial };
        Gate { tables: Arc::new(tables) }
    }

    /// What the gate reads: scalars, gates and gated slots, sorted and merged.
    pub fn input(&self) -> &Layout {
        &self.tables.input
    }

    /// What it gives.
    pub fn output(&self) -> &Layout {
        &self.tables.output
    }

    /// Radial weights a row needs: one per output channel.
    pub fn channels(&self) -> usize {
        self.tables.channels
    }

    /// The gate alone: `[rows, input dim]` -> `[rows, output dim]`, layout order.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let ones = Tensor::ones((x.dims2()?.0, self.channels()), x.dtype(), x.device())?;
        self.forward_weighted(x, &ones)
    }

    /// The gate, then channel `c` of row `r` (all its m) times `weights[r, c]`; `weights` is `[rows, channels]`, channels
    /// in the order of the output slots.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward_weighted(&self, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        self.check(x, weights)?;
        Ok(apply(GateOp { tables: self.tables.clone() }, &[x, weights])?)
    }

    /// As [`Self::forward_weighted`] for edges in their frames, summed over those that start at each node:
    /// [`scatter_rotated`](super::frame::scatter_rotated) of it in one pass, `[nodes, output dim]`, global frame.
    ///
    /// # Errors
    /// As there, and shapes that do not fit the frames.
    pub fn forward_summed(&self, frames: &Arc<EdgeFrames>, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        self.check(x, weights)?;
        let scatter = Scatter::new(frames, &self.tables.output, x.dims2()?.0)?;
        Ok(apply(SumOp { tables: self.tables.clone(), scatter }, &[x, weights])?)
    }

    fn check(&self, x: &Tensor, weights: &Tensor) -> Result<()> {
        let (rows, columns) = x.dims2()?;
        if columns != self.tables.input.dim() || weights.dims2()? != (rows, self.channels()) {
            return Err(Error::Shape {
                operation: "Gate",
                expected: format!("[{rows}, {}] and [{rows}, {}]", self.tables.input.dim(), self.channels()),
                found: format!("{:?} and {:?}", x.dims(), weights.dims()),
            });
        }
        Ok(())
    }
}
