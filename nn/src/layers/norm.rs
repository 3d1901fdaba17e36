//! Layer norm over the columns of a matrix, with a backward.

use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
use crate::{Init, Result, Scope};
use candle_core::Tensor;

/// `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`, statistics over the columns of each row.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    /// Declares `weight` (1) and `bias` (0), `[width]`; epsilon is PyTorch's 1e-5.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn new(scope: &Scope, width: usize) -> Result<Self> {
        Self::with_epsilon(scope, width, EPSILON)
    }

    /// As [`Self::new`] with another epsilon.
    ///
    /// # Errors
    /// As there.
    pub fn with_epsilon(scope: &Scope, width: usize, epsilon: f64) -> Result<Self> {
        Ok(LayerNorm {
            weight: scope.parameter("weight", width, Init::Constant(1.0))?,
            bias: scope.parameter("bias", width, Init::Constant(0.0))?,
            epsilon,
        })
    }

    /// `[rows, width]` -> `[rows, width]`.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.dims2()?.1 != self.weight.dims1()? {
            return Err(crate::Error::Shape {
                operation: "LayerNorm",
                expected: format!("{} columns", self.weight.dims1()?),
                found: format!("{:?}", x.dims()),
            });
        }
        Ok(apply(Norm { epsilon: self.epsilon }, &[x, &self.weight, &self.bias])?)
    }
}

struct Norm {
    epsilon: f64,
}

const EPSILON: f64 = 1e-5;

impl Operation for Norm {
    const NAME: &'static str = "layer-norm";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (count, d) = (x[0].dims[0], x[0].dims[1]);
        let epsilon = T::of(self.epsilon);
        let y = rows::build(d, &rows::all(count), |chunk, y| {
            norm_rows(&x[0].data[chunk.start * d..chunk.end * d], x[1].data, x[2].data, epsilon, y);
        });
        Ok((y, x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let d = x[0].dims[1];
        let mut dx = vec![T::zero(); x[0].data.len()];
        let (mut dw, mut db) = (vec![T::zero(); d], vec![T::zero(); d]);
        norm_gradients(x[0].data, x[1].data, T::of(self.epsilon), dy, &mut dx, &mut dw, &mut db);
        Ok(vec![dx, dw, db])
    }
}

#[inline(always)]
fn statistics<T: Real>(x: &[T], epsilon: T) -> (T, T) {
    let n = T::of(x.len() as f64);
    let mean = x.iter().copied().sum::<T>() / n;
    let variance = x.iter().map(|x| (*x - mean) * (*x - mean)).sum::<T>() / n;
    (mean, T::one() / (variance + epsilon).sqrt())
}

vectorised! {
    fn norm_rows<T>(x: &[T], w: &[T], b: &[T], epsilon: T, y: &mut [T]) {
        for (x, y) in x.chunks_exact(w.len()).zip(y.chunks_exact_mut(w.len())) {
            let (mean, inverse) = statistics(x, epsilon);
            for c in 0..w.len() {
                y[c] = (x[c] - mean) * inverse * w[c] + b[c];
            }
        }
    }
}

vectorised! {
    fn norm_gradients<T>(x: &[T], w: &[T], epsilon: T, dy: &[T], dx: &mut [T], dw: &mut [T], db: &mut [T]) {
        let d = w.len();
        let n = T::of(d as f64);
        for ((x, dy), dx) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let (mean, inverse) = statistics(x, epsilon);
            let (mut sum, mut projection) = (T::zero(), T::zero());
            for c in 0..d {
                let (z, g) = ((x[c] - mean) * inverse, dy[c] * w[c]);
                dw[c] += dy[c] * z;
                db[c] += dy[c];
                sum += g;
                projection += g * z;
            }
            for c in 0..d {
                let z = (x[c] - mean) * inverse;
                dx[c] = inverse * (dy[c] * w[c] - sum / n - z * projection / n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Parameters, rng::Streams, train::gradcheck::worst_directional_error};
    use candle_core::{DType, Device};

    #[test]
    fn gradient_equals_central_differences() {
        let parameters = Parameters::new(Streams::new(3), DType::F64, &Device::Cpu);
        let norm = LayerNorm::new(&parameters.root(), 5).unwrap();
        let x = parameters.root().parameter("x", (4, 5), Init::Normal(1.0)).unwrap();
        let mut loss = || {
            let y = norm.forward(&x)?;
            Ok((y.sqr()? * y)?.sum_all()?)
        };
        let error = worst_directional_error(&parameters, Streams::new(1), 16, 1e-5, &mut loss).unwrap();
        assert!(error < 1e-6, "{error:e}");
    }
}
