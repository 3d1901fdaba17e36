//! Three dense layers with silu between them, tile by tile: what one layer leaves for the next stays in the caches.

use super::activation::{silu_and_slope, silu_values};
use super::dense::{Dense, Layer};
use crate::kernels::{Array, Operation, Real, apply, rows};
use crate::{Result, Scope};
use candle_core::{CpuStorage, Tensor};
use std::sync::OnceLock;

/// `y = W3 silu(W2 silu(W1 x + b1) + b2) + b3`, f32 or f64: the radial network of DeepH-E3's EquiConv.
#[derive(Clone, Debug)]
pub struct Perceptron {
    layers: [Dense; 3],
}

impl Perceptron {
    /// Declares the layers as [`Dense::new`] does, in scopes `0`, `2` and `4`: the places of PyTorch's `nn.Sequential` with the
    /// activations between them. `widths`: inputs, both hidden layers, outputs.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn new(scope: &Scope, widths: [usize; 4]) -> Result<Self> {
        let layer = |k: usize| Dense::new(&scope.enter(2 * k), widths[k], widths[k + 1]);
        Ok(Perceptron { layers: [layer(0)?, layer(1)?, layer(2)?] })
    }

    /// `[rows, inputs]` -> `[rows, outputs]`.
    ///
    /// # Errors
    /// Another number of columns, or another dtype than the parameters'.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.layers[0].check(x)?;
        let [[w1, b1], [w2, b2], [w3, b3]] = self.layers.each_ref().map(Dense::parameters);
        Ok(apply(PerceptronOp::default(), &[x, w1, b1, w2, b2, w3, b3])?)
    }
}

#[derive(Default)]
struct PerceptronOp {
    /// What the hidden layers had before silu, `[rows, width]` each, for the gradients.
    hidden: OnceLock<[CpuStorage; 2]>,
}

fn layers<'a, T: Real>(inputs: &[Array<'a, T>]) -> [Layer<'a, T>; 3] {
    [1, 3, 5].map(|k| Layer::new(&inputs[k], &inputs[k + 1]))
}

impl Operation for PerceptronOp {
    const NAME: &'static str = "perceptron";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (x, count, [first, second, third]) = (inputs[0].data, inputs[0].rows(), layers(inputs));
        let widths = [first.outputs, second.outputs, third.outputs];
        let [h1, h2, y] = rows::build_each(widths, &rows::all(count), |chunk, [h1, h2, y]| {
            first.forward(rows::slice(x, first.inputs, &chunk), h1);
            let mut active = vec![T::zero(); h1.len().max(h2.len())];
            silu_values(h1, &mut active[..h1.len()]);
            second.forward(&active[..h1.len()], h2);
            silu_values(h2, &mut active[..h2.len()]);
            third.forward(&active[..h2.len()], y);
        });
        // An operation is applied once.
        let _ = self.hidden.set([h1, h2].map(T::to_cpu_storage_owned));
        Ok((y, vec![count, widths[2]]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        wanted: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let Some([h1, h2]) = self.hidden.get() else { candle_core::bail!("perceptron: no forward pass") };
        let (h1, h2) = (T::cpu_storage_as_slice(h1)?, T::cpu_storage_as_slice(h2)?);
        let (x, count, [first, second, third]) = (inputs[0].data, inputs[0].rows(), layers(inputs));
        let dx_width = if wanted[0] { first.inputs } else { 0 };
        // What a group of rows adds to the gradients of weights and biases.
        let groups = rows::groups(std::slice::from_ref(&(0..count)));
        let (dx, shares) = rows::build_onto(Vec::new(), dx_width, &groups, |group, dx| {
            let of = |all, width| rows::slice(all, width, &group);
            let (h1, h2, dy) = (of(h1, first.outputs), of(h2, second.outputs), of(dy, third.outputs));
            let (mut d1, mut d2) = (vec![T::zero(); h1.len()], vec![T::zero(); h2.len()]);
            let mut active = vec![T::zero(); h1.len().max(h2.len())];
            third.backward(dy, &mut d2);
            silu_and_slope(h2, &mut active[..h2.len()], &mut d2);
            let [dw3, db3] = third.gradients(&active[..h2.len()], dy);
            second.backward(&d2, &mut d1);
            silu_and_slope(h1, &mut active[..h1.len()], &mut d1);
            let [dw2, db2] = second.gradients(&active[..h1.len()], &d2);
            let [dw1, db1] = first.gradients(of(x, first.inputs), &d1);
            if wanted[0] {
                first.backward(&d1, dx);
            }
            [dw1, db1, dw2, db2, dw3, db3]
        });
        let lengths = std::array::from_fn(|k| inputs[k + 1].data.len());
        Ok(std::iter::once(dx).chain(rows::sum_each::<_, 6>(lengths, shares)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Streams;
    use crate::{Parameters, kernels::backward_from};
    use candle_core::{DType, Device, Var};

    #[test]
    fn equals_plain_operations_of_candle() {
        for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 1e-3)] {
            let p = Parameters::new(Streams::new(4), dtype, &Device::Cpu);
            let perceptron = Perceptron::new(&p.root(), [37, 20, 24, 9]).unwrap();
            let names: Vec<String> = p.to_vec().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["0.bias", "0.weight", "2.bias", "2.weight", "4.bias", "4.weight"]);
            let far = |a: &Tensor, b: &Tensor| {
                let distance = (a - b).unwrap().abs().unwrap().max_all().unwrap();
                distance.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
            };
            for rows in [1, 300] {
                let values = |n: usize| (0..n).map(|k| 3.0 * (k as f64 * 0.7).sin()).collect::<Vec<_>>();
                let tensor =
                    |n, m| Tensor::from_vec(values(n * m), (n, m), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                let x = Var::from_tensor(&tensor(rows, 37)).unwrap();
                let plain = |x: &Tensor, k: usize| {
                    let [weight, bias] = perceptron.layers[k].parameters();
                    let y = x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(bias).unwrap();
                    assert!(far(&perceptron.layers[k].forward(x).unwrap(), &y) < tolerance);
                    y
                };
                let y = plain(&plain(&x, 0).silu().unwrap(), 1);
                let expected = plain(&y.silu().unwrap(), 2);
                let found = perceptron.forward(&x).unwrap();
                assert!(far(&found, &expected) < tolerance);
                let cotangent = tensor(rows, 9);
                let by_candle = (&found * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();
                let [found, expected] = [found, expected].map(|y| backward_from(y, &cotangent).unwrap());
                let parameters = p.to_vec();
                for v in parameters.iter().map(|(_, v)| v).chain([&x]) {
                    assert!(far(found.get(v).unwrap(), expected.get(v).unwrap()) < tolerance);
                    assert!(far(by_candle.get(v).unwrap(), expected.get(v).unwrap()) < tolerance);
                }
            }
            // A constant as input: gradients of the parameters alone.
            let x = Tensor::ones((5, 37), dtype, &Device::Cpu).unwrap();
            let y = perceptron.forward(&x).unwrap();
            let gradients = backward_from(y.clone(), &y.ones_like().unwrap()).unwrap();
            assert!(p.to_vec().iter().all(|(_, v)| gradients.get(v).is_some()));
            assert!(perceptron.forward(&Tensor::ones((5, 36), dtype, &Device::Cpu).unwrap()).is_err());
        }
    }
}
