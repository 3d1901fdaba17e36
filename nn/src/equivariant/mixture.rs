//! Sums of covariant candidates with weights from elsewhere: `y_{s m} = sum_k w_{s k} x_{s k m}`.
//!
//! Equivariant in `x` when the weights are invariant. This is how a network without symmetry of its own steers
//! covariant features.

use super::irreps::{Irreps, MulIrrep};
use super::layout::Layout;
use crate::kernels::{Array, Operation, Real, apply, rows};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// The sum for some output irreps of one channel a slot.
#[derive(Clone, Debug)]
pub struct Mixture {
    tables: Arc<Tables>,
}

#[derive(Debug)]
struct Tables {
    /// (slot, first column of its candidates, output column) for every component.
    components: Vec<(usize, usize, usize)>,
    input: Layout,
    output: Layout,
    candidates: usize,
}

impl Mixture {
    /// `candidates` channels of each slot of `output` are summed into one.
    pub fn new(output: &Irreps, candidates: usize) -> Self {
        let terms = output.terms().iter().map(|t| MulIrrep { mul: candidates, ir: t.ir }).collect();
        let (input, output) = (Layout::new(&Irreps::new(terms)), Layout::new(output));
        let mut components = Vec::with_capacity(output.dim());
        for slot in 0..output.irreps().terms().len() {
            let pairs = input.columns(slot).iter().zip(output.columns(slot));
            components.extend(pairs.map(|(from, to)| (slot, *from, *to)));
        }
        Mixture { tables: Arc::new(Tables { components, input, output, candidates }) }
    }

    /// Irreps of the candidates.
    pub fn input(&self) -> &Layout {
        &self.tables.input
    }

    /// Weights a row needs: `[slots, candidates]`, row-major.
    pub fn weights(&self) -> usize {
        self.tables.output.irreps().terms().len() * self.tables.candidates
    }

    /// `x` `[rows, input dim]`, `w` `[rows, weights]` -> `[rows, output dim]`, layout order.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, w: &Tensor) -> Result<Tensor> {
        let expected = (self.tables.input.dim(), self.weights());
        if (x.dims2()?.1, w.dims2()?.1) != expected || x.dims()[0] != w.dims()[0] {
            return Err(Error::Shape {
                operation: "Mixture",
                expected: format!("{expected:?} columns"),
                found: format!("{:?} and {:?}", x.dims(), w.dims()),
            });
        }
        Ok(apply(MixtureOp { tables: self.tables.clone() }, &[x, w])?)
    }
}

struct MixtureOp {
    tables: Arc<Tables>,
}

impl Operation for MixtureOp {
    const NAME: &'static str = "mixture";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, count, k) = (&self.tables, inputs[0].rows(), self.tables.candidates);
        let (din, dout, dw) = (t.input.dim(), t.output.dim(), inputs[1].dims[1]);
        let y = rows::build(dout, &rows::all(count), |chunk, y| {
            for (row, y) in chunk.zip(y.chunks_exact_mut(dout)) {
                let (x, w) = (&inputs[0].data[row * din..][..din], &inputs[1].data[row * dw..][..dw]);
                for (slot, from, to) in &t.components {
                    y[*to] = w[slot * k..][..k].iter().zip(&x[*from..]).map(|(w, x)| *w * *x).sum();
                }
            }
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
        let (t, count, k) = (&self.tables, inputs[0].rows(), self.tables.candidates);
        let (din, dout, dw) = (t.input.dim(), t.output.dim(), inputs[1].dims[1]);
        let chunks = rows::all(count);
        let (dx, dweights) = rows::build_pair([din, dw], &chunks, |chunk, dx, dweights| {
            for (row, (dx, dweights)) in chunk.zip(dx.chunks_exact_mut(din).zip(dweights.chunks_exact_mut(dw))) {
                let (x, w) = (&inputs[0].data[row * din..][..din], &inputs[1].data[row * dw..][..dw]);
                let dy = &dy[row * dout..][..dout];
                for (slot, from, to) in &t.components {
                    let (w, dw) = (&w[slot * k..][..k], &mut dweights[slot * k..][..k]);
                    for c in 0..k {
                        dx[from + c] = dy[*to] * w[c];
                        dw[c] += dy[*to] * x[from + c];
                    }
                }
            }
        });
        Ok(vec![dx, dweights])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::gradcheck::worst_directional_error;
    use crate::{Init, Parameters, rng::Streams};
    use candle_core::{DType, Device};

    #[test]
    fn value_and_gradient() {
        let mixture = Mixture::new(&"1x0e+1x2e+1x1o".parse().unwrap(), 2);
        let p = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
        let x = p.root().parameter("x", (3, 18), Init::Normal(1.0)).unwrap();
        let w = p.root().parameter("w", (3, 6), Init::Normal(1.0)).unwrap();
        let y = mixture.forward(&x, &w).unwrap().to_vec2::<f64>().unwrap();
        let (xs, ws) = (x.to_vec2::<f64>().unwrap(), w.to_vec2::<f64>().unwrap());
        // The scalar slot: two candidates, one output.
        let (from, to) = (mixture.input().columns(0)[0], Layout::new(&"1x0e+1x2e+1x1o".parse().unwrap()).columns(0)[0]);
        assert!((y[1][to] - ws[1][0] * xs[1][from] - ws[1][1] * xs[1][from + 1]).abs() < 1e-14);
        let mut loss = || Ok(mixture.forward(&x, &w)?.sqr()?.sum_all()?);
        assert!(worst_directional_error(&p, Streams::new(1), 16, 1e-5, &mut loss).unwrap() < 1e-6);
    }
}
