//! Root-mean-square norm: `y = w x / sqrt(mean(x^2) + epsilon)` over the columns of each row (Zhang and Sennrich 2019).

use crate::kernels::{Array, Operation, Real, apply, parallel, rows, vectorised};
use crate::{Error, Result};
use candle_core::Tensor;

/// `x` `[rows, width]`, `weight` `[width]`, one dtype (f32 or f64): `[rows, width]`.
///
/// # Errors
/// [`Error::Shape`] for another width.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    if x.dims2()?.1 != weight.dims1()? {
        return Err(Error::Shape {
            operation: "rms_norm",
            expected: format!("{} columns", weight.dims1()?),
            found: format!("{:?}", x.dims()),
        });
    }
    Ok(apply(RmsNorm { epsilon }, &[x, weight])?)
}

struct RmsNorm {
    epsilon: f64,
}

/// Rows whose contributions to the gradient of the weight are summed apart: fixed, so that the sum does not depend on
/// the number of threads.
const BLOCK: usize = 256;

impl Operation for RmsNorm {
    const NAME: &'static str = "rms-norm";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (count, d) = (x[0].dims[0], x[0].dims[1]);
        let epsilon = T::of(self.epsilon);
        let y = rows::build(d, &rows::all(count), |chunk, y| {
            norm_rows(&x[0].data[chunk.start * d..chunk.end * d], x[1].data, epsilon, y);
        });
        Ok((y, x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let d = x[0].dims[1];
        let (epsilon, length) = (T::of(self.epsilon), (BLOCK * d).max(1));
        let mut dx = vec![T::zero(); x[0].data.len()];
        let mut parts = vec![T::zero(); dx.len().div_ceil(length) * d];
        let blocks = x[0].data.chunks(length).zip(dy.chunks(length));
        let tasks = blocks.zip(dx.chunks_mut(length).zip(parts.chunks_mut(d.max(1))));
        parallel::for_each(tasks, |((x_block, dy), (dx, dw))| {
            norm_gradients(x_block, x[1].data, epsilon, dy, dx, dw);
        });
        let mut dw = vec![T::zero(); d];
        for part in parts.chunks_exact(d.max(1)) {
            dw.iter_mut().zip(part).for_each(|(w, p)| *w += *p);
        }
        Ok(vec![dx, dw])
    }
}

/// Sums of products in independent partial sums, so that they vectorise.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    const LANES: usize = 32;
    let mut sums = [T::zero(); LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: T = a.remainder().iter().zip(b.remainder()).map(|(a, b)| *a * *b).sum();
    for (a, b) in a.zip(b) {
        for k in 0..LANES {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().copied().sum::<T>() + rest
}

#[inline(always)]
fn inverse_root<T: Real>(x: &[T], epsilon: T) -> T {
    T::one() / (dot(x, x) / T::of(x.len() as f64) + epsilon).sqrt()
}

vectorised! {
    fn norm_rows<T>(x: &[T], w: &[T], epsilon: T, y: &mut [T]) {
        let d = w.len().max(1);
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
            let inverse = inverse_root(x, epsilon);
            for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
                *y = *w * (*x * inverse);
            }
        }
    }
}

vectorised! {
    /// With r the inverse root and n the width: `dx = r (w dy) - x r^3 / n sum(w dy x)`, `dw = sum over rows of dy x r`.
    fn norm_gradients<T>(x: &[T], w: &[T], epsilon: T, dy: &[T], dx: &mut [T], dw: &mut [T]) {
        let d = w.len().max(1);
        for ((x, dy), dx) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
            let r = inverse_root(x, epsilon);
            for c in 0..d {
                dx[c] = dy[c] * w[c];
                dw[c] += dy[c] * x[c] * r;
            }
            let pull = dot(dx, x) * r * r * r / T::of(d as f64);
            for c in 0..d {
                dx[c] = dx[c] * r - x[c] * pull;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::gradcheck::worst_directional_error;
    use crate::{Init, Parameters, rng::Streams};
    use candle_core::{DType, Device};

    #[test]
    fn value_by_hand_and_gradient_by_central_differences() {
        let parameters = Parameters::new(Streams::new(3), DType::F64, &Device::Cpu);
        let w = parameters.root().parameter("w", 40, Init::Normal(1.0)).unwrap();
        let x = parameters.root().parameter("x", (300, 40), Init::Normal(1.0)).unwrap();
        let y = rms_norm(&x, &w, 1e-5).unwrap().to_vec2::<f64>().unwrap();
        let (row, weights) = (x.to_vec2::<f64>().unwrap()[257].clone(), w.to_vec1::<f64>().unwrap());
        let root = (row.iter().map(|x| x * x).sum::<f64>() / 40.0 + 1e-5).sqrt();
        assert!((0..40).all(|c| (y[257][c] - weights[c] * row[c] / root).abs() < 1e-14));
        let loss = || Ok((rms_norm(&x, &w, 1e-5)?.sqr()? * &x)?.sum_all()?);
        let error = worst_directional_error(&parameters, Streams::new(1), 8, 1e-5, loss).unwrap();
        assert!(error < 1e-6, "{error:e}");
        assert!(rms_norm(&x, &x.narrow(0, 0, 1).unwrap().squeeze(0).unwrap().narrow(0, 0, 3).unwrap(), 1e-5).is_err());
    }
}
