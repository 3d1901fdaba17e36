//! `y = x W^T + b`, with the weight stored as PyTorch does, `[out, in]`.

use super::activation::{silu_values, times_silu_slope};
use crate::kernels::matmul::multiply;
use crate::kernels::{Array, Operation, Real, View, ViewMut, apply, rows};
use crate::{Init, Result, Scope};
use candle_core::Tensor;
use std::borrow::Cow;

/// A linear layer with bias.
#[derive(Clone, Debug)]
pub struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Declares `weight` `[outputs, inputs]` and `bias` `[outputs]`, both uniform within 1 / sqrt(inputs) as PyTorch's
    /// `nn.Linear`.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn new(scope: &Scope, inputs: usize, outputs: usize) -> Result<Self> {
        let bound = Init::Uniform(1.0 / (inputs.max(1) as f64).sqrt());
        Self::with_init(scope, inputs, outputs, bound, bound)
    }

    /// As [`Self::new`] with zeros: the layer starts as the zero map.
    ///
    /// # Errors
    /// As there.
    pub fn zeros(scope: &Scope, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_init(scope, inputs, outputs, Init::Constant(0.0), Init::Constant(0.0))
    }

    /// As [`Self::new`] with a normal weight of this standard deviation and a bias of zero.
    ///
    /// # Errors
    /// As there.
    pub fn normal(scope: &Scope, inputs: usize, outputs: usize, sigma: f64) -> Result<Self> {
        Self::with_init(scope, inputs, outputs, Init::Normal(sigma), Init::Constant(0.0))
    }

    fn with_init(scope: &Scope, inputs: usize, outputs: usize, weight: Init, bias: Init) -> Result<Self> {
        Ok(Dense {
            weight: scope.parameter("weight", (outputs, inputs), weight)?,
            bias: scope.parameter("bias", outputs, bias)?,
        })
    }

    /// `[rows, inputs]` -> `[rows, outputs]`.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, false)
    }

    /// The layer after [`silu`](super::activation::silu), in one pass: `silu(x) W^T + b`, `[rows, inputs]` -> `[rows, outputs]`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_after_silu(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, true)
    }

    fn apply(&self, x: &Tensor, silu: bool) -> Result<Tensor> {
        let (outputs, inputs) = self.weight.dims2()?;
        if x.dims2()?.1 != inputs {
            return Err(crate::Error::Shape {
                operation: "Dense",
                expected: format!("[rows, {inputs}] -> [rows, {outputs}]"),
                found: format!("{:?}", x.dims()),
            });
        }
        Ok(apply(DenseOp { silu }, &[x, &self.weight, &self.bias])?)
    }
}

struct DenseOp {
    /// Of what comes in, before anything else.
    silu: bool,
}

impl DenseOp {
    /// What is multiplied with the weight.
    fn activated<'a, T: Real>(&self, x: &'a [T]) -> Cow<'a, [T]> {
        if !self.silu {
            return x.into();
        }
        let mut y = vec![T::zero(); x.len()];
        silu_values(x, &mut y);
        y.into()
    }
}

impl Operation for DenseOp {
    const NAME: &'static str = "dense";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let [x, w, b] = [inputs[0].data, inputs[1].data, inputs[2].data];
        let (count, [outputs, ins]) = (inputs[0].rows(), [inputs[1].dims[0], inputs[1].dims[1]]);
        let w = View::rows(w, [outputs, ins], ins, 0).t();
        let y = rows::build(outputs, &rows::all(count), |chunk, y| {
            y.chunks_exact_mut(outputs.max(1)).for_each(|y| y.copy_from_slice(b));
            let x = self.activated(&x[chunk.start * ins..chunk.end * ins]);
            let x = View::rows(&x, [chunk.len(), ins], ins, 0);
            multiply(x, w, &mut ViewMut::rows(y, [chunk.len(), outputs], outputs, 0), 1.0, true);
        });
        Ok((y, vec![count, outputs]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        wanted: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let [x, w] = [inputs[0].data, inputs[1].data];
        let (count, [outputs, ins]) = (inputs[0].rows(), [inputs[1].dims[0], inputs[1].dims[1]]);
        // What a group of rows adds to the gradients of weight and bias.
        let groups = rows::groups(std::slice::from_ref(&(0..count)));
        let dx_width = if wanted[0] { ins } else { 0 };
        let (dx, shared) = rows::build_onto(Vec::new(), dx_width, &groups, |group, dx| {
            let dy = &dy[group.start * outputs..group.end * outputs];
            let rows = View::rows(dy, [group.len(), outputs], outputs, 0);
            let x = &x[group.start * ins..group.end * ins];
            if wanted[0] {
                let w = View::rows(w, [outputs, ins], ins, 0);
                multiply(rows, w, &mut ViewMut::rows(dx, [group.len(), ins], ins, 0), 1.0, true);
                if self.silu {
                    times_silu_slope(x, dx);
                }
            }
            let (mut dw, mut db) = (vec![T::zero(); outputs * ins], vec![T::zero(); outputs]);
            let x = self.activated(x);
            let x = View::rows(&x, [group.len(), ins], ins, 0);
            multiply(rows.t(), x, &mut ViewMut::rows(&mut dw, [outputs, ins], ins, 0), 1.0, true);
            rows::add_columns(&mut db, dy, outputs, 0);
            (dw, db)
        });
        let (dw, db) = shared.into_iter().unzip();
        Ok(vec![dx, rows::sum(outputs * ins, dw), rows::sum(outputs, db)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::activation::silu;
    use crate::rng::Streams;
    use crate::{Parameters, kernels::backward_from};
    use candle_core::{DType, Device, Var};

    #[test]
    fn silu_in_the_same_pass_is_silu_before() {
        for dtype in [DType::F64, DType::F32] {
            let p = Parameters::new(Streams::new(4), dtype, &Device::Cpu);
            let dense = Dense::new(&p.root(), 37, 20).unwrap();
            let values = |n: usize| (0..n).map(|k| 3.0 * (k as f64 * 0.7).sin()).collect::<Vec<_>>();
            let tensor = |n, m| Tensor::from_vec(values(n * m), (n, m), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let x = Var::from_tensor(&tensor(300, 37)).unwrap();
            let (found, expected) = (dense.forward_after_silu(&x).unwrap(), dense.forward(&silu(&x).unwrap()).unwrap());
            let far = |a: &Tensor, b: &Tensor| {
                let distance = (a - b).unwrap().abs().unwrap().max_all().unwrap();
                distance.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
            };
            let tolerance = if dtype == DType::F64 { 1e-11 } else { 1e-3 };
            assert!(far(&found, &expected) < tolerance);
            let cotangent = tensor(300, 20);
            let [found, expected] = [found, expected].map(|y| backward_from(y, &cotangent).unwrap());
            for v in [x.as_tensor(), &dense.weight, &dense.bias] {
                assert!(far(found.get(v).unwrap(), expected.get(v).unwrap()) < tolerance);
            }
        }
    }
}
