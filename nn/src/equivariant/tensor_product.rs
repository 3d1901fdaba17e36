//! e3nn's weighted tensor product `uvw`, contracted path by path with the Clebsch-Gordan tensors: the definition, and
//! the oracle of the faster execution in the edge frame ([`super::so2`]).
//!
//! `out_{wk} += c_p W_{uvw} C^{l1 l2 l3}_{ijk} x_{ui} y_{vj}`, paths in the order input 1, input 2, output.

use super::clebsch_gordan::wigner_3j;
use super::irreps::{Convention, Irreps, couples, offsets};
use crate::kernels::{Array, Operation, Real, apply};
use crate::{Init, Result, Scope};
use candle_core::Tensor;
use std::sync::Arc;

/// One allowed product of slots.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Slots of the first input, the second input and the output.
    pub slots: [usize; 3],
    /// Their degrees.
    pub degrees: [u32; 3],
    /// Their multiplicities.
    pub shape: [usize; 3],
    /// Normalisation besides the tensor of norm 1.
    pub coefficient: f64,
}

/// The paths of `x (input1) x y (input2) -> output` with the normalisation of `convention`: component-normalised
/// inputs and normal weights give component-normalised outputs.
pub fn paths(input1: &Irreps, input2: &Irreps, output: &Irreps, convention: Convention) -> Vec<Path> {
    let mut paths = Vec::new();
    for (i1, a) in input1.terms().iter().enumerate() {
        for (i2, b) in input2.terms().iter().enumerate() {
            for (io, c) in output.terms().iter().enumerate() {
                if couples(a.ir, b.ir, c.ir) {
                    let (degrees, shape) = ([a.ir.l, b.ir.l, c.ir.l], [a.mul, b.mul, c.mul]);
                    paths.push(Path { slots: [i1, i2, io], degrees, shape, coefficient: 0.0 });
                }
            }
        }
    }
    let mut fan_in = vec![(0usize, 0usize); output.terms().len()];
    for p in &paths {
        let (total, count) = &mut fan_in[p.slots[2]];
        *total += p.shape[0] * p.shape[1];
        *count += 1;
    }
    for p in &mut paths {
        let (total, count) = fan_in[p.slots[2]];
        let fan_in = match convention {
            Convention::V06 => total,
            Convention::V035 => p.shape[0] * p.shape[1] * count,
        };
        p.coefficient = (f64::from(2 * p.degrees[2] + 1) / fan_in as f64).sqrt();
    }
    paths
}

/// The tensor product on features in e3nn's order.
#[derive(Clone, Debug)]
pub struct TensorProduct {
    tables: Arc<Tables>,
}

#[derive(Debug)]
struct Tables {
    paths: Vec<Path>,
    offsets: [Vec<usize>; 3],
    weights: usize,
    coupling: Vec<Vec<(usize, usize, usize, f64)>>,
}

impl TensorProduct {
    /// All paths from the two inputs to `output`.
    pub fn new(input1: &Irreps, input2: &Irreps, output: &Irreps, convention: Convention) -> Self {
        let paths = paths(input1, input2, output, convention);
        let coupling = paths.iter().map(|p| {
            let [l1, l2, l3] = p.degrees;
            wigner_3j(l1, l2, l3, convention).non_zero().map(|(i, j, k, v)| (i, j, k, v * p.coefficient)).collect()
        });
        let coupling = coupling.collect();
        let weights = paths.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let offsets = [input1, input2, output].map(offsets);
        TensorProduct { tables: Arc::new(Tables { paths, offsets, weights, coupling }) }
    }

    /// The paths, in weight order.
    pub fn paths(&self) -> &[Path] {
        &self.tables.paths
    }

    /// Number of weights: the `[u, v, w]` blocks of all paths.
    pub fn weight_count(&self) -> usize {
        self.tables.weights
    }

    /// `x` `[rows, dim 1]`, `y` `[rows, dim 2]`, `weight` flat, paths one after another, `[u, v, w]` each. Returns
    /// `[rows, dim out]`; differentiable in all three.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, y: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let t = &self.tables;
        let expected = [t.offsets[0].last(), t.offsets[1].last(), Some(&t.weights)];
        let found = [x.dims2()?.1, y.dims2()?.1, weight.dims1()?];
        if expected != [Some(&found[0]), Some(&found[1]), Some(&found[2])] || x.dims()[0] != y.dims()[0] {
            return Err(crate::Error::Shape {
                operation: "TensorProduct",
                expected: format!("columns and weights {expected:?}"),
                found: format!("{found:?}"),
            });
        }
        Ok(apply(ProductOp { tables: t.clone() }, &[x, y, weight])?)
    }
}

struct ProductOp {
    tables: Arc<Tables>,
}

impl ProductOp {
    /// Calls `term(x column, y column, weight, out column, coefficient)` for every product of the contraction.
    fn for_each_term(&self, mut term: impl FnMut(usize, usize, usize, usize, f64)) {
        let t = &self.tables;
        let mut weight = 0;
        for (path, coupling) in t.paths.iter().zip(&t.coupling) {
            let bases: [usize; 3] = std::array::from_fn(|k| t.offsets[k][path.slots[k]]);
            let widths = path.degrees.map(|l| 2 * l as usize + 1);
            for u in 0..path.shape[0] {
                for v in 0..path.shape[1] {
                    for w in 0..path.shape[2] {
                        for &(i, j, k, c) in coupling {
                            let column = |s: usize, channel: usize, m: usize| bases[s] + channel * widths[s] + m;
                            term(column(0, u, i), column(1, v, j), weight, column(2, w, k), c);
                        }
                        weight += 1;
                    }
                }
            }
        }
    }

    fn dims(&self) -> [usize; 3] {
        std::array::from_fn(|k| self.tables.offsets[k].last().copied().unwrap_or(0))
    }
}

impl Operation for ProductOp {
    const NAME: &'static str = "tensor-product";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let ([d1, d2, d3], rows) = (self.dims(), inputs[0].rows());
        let mut out = vec![T::zero(); rows * d3];
        self.for_each_term(|x, y, w, o, c| {
            let c = T::of(c) * inputs[2].data[w];
            for r in 0..rows {
                out[r * d3 + o] += c * inputs[0].data[r * d1 + x] * inputs[1].data[r * d2 + y];
            }
        });
        Ok((out, vec![rows, d3]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        _: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let ([d1, d2, d3], rows) = (self.dims(), inputs[0].rows());
        let mut gradients: Vec<Vec<T>> = inputs.iter().map(|i| vec![T::zero(); i.data.len()]).collect();
        self.for_each_term(|x, y, w, o, c| {
            let (c, weight) = (T::of(c), inputs[2].data[w]);
            for r in 0..rows {
                let (a, b, g) = (inputs[0].data[r * d1 + x], inputs[1].data[r * d2 + y], c * dy[r * d3 + o]);
                gradients[0][r * d1 + x] += g * weight * b;
                gradients[1][r * d2 + y] += g * weight * a;
                gradients[2][w] += g * a * b;
            }
        });
        Ok(gradients)
    }
}

/// Weights of DeepH-E3's `SeparateWeightTensorProduct`: `W_uvw = a_uw b_vw` for each path.
#[derive(Clone, Debug)]
pub struct SeparateWeights {
    /// All `a_uw`, path after path, `[u, w]` each.
    pub first: Tensor,
    /// All `b_vw`, path after path, `[v, w]` each.
    pub second: Tensor,
}

impl SeparateWeights {
    /// Declares `weights1` and `weights2`, normally distributed as in the original.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn new(scope: &Scope, paths: &[Path]) -> Result<Self> {
        let count = |k: usize| paths.iter().map(|p| p.shape[k] * p.shape[2]).sum::<usize>();
        Ok(SeparateWeights {
            first: scope.parameter("weights1", count(0), Init::Normal(1.0))?,
            second: scope.parameter("weights2", count(1), Init::Normal(1.0))?,
        })
    }

    /// The flat `[u, v, w]` weights for [`TensorProduct::forward`].
    ///
    /// # Errors
    /// Weights of other paths.
    pub fn full(&self, paths: &[Path]) -> Result<Tensor> {
        let (mut a, mut b) = (0, 0);
        let mut parts = Vec::with_capacity(paths.len());
        for p in paths {
            let [u, v, w] = p.shape;
            let first = self.first.narrow(0, a, u * w)?.reshape((u, 1, w))?;
            let second = self.second.narrow(0, b, v * w)?.reshape((1, v, w))?;
            parts.push(first.broadcast_mul(&second)?.flatten_all()?);
            (a, b) = (a + u * w, b + v * w);
        }
        Ok(Tensor::cat(&parts, 0)?)
    }
}
