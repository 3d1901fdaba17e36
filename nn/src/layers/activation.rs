//! Pointwise functions with a vectorised forward and backward.

use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
use candle_core::{Result, Tensor};

/// x / (1 + e^-x), element by element; f32 or f64.
///
/// # Errors
/// Another dtype.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    apply(Silu, &[x])
}

struct Silu;

const BLOCK: usize = 4096;

impl Operation for Silu {
    const NAME: &'static str = "silu";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let x = inputs[0].data;
        let mut y = vec![T::zero(); x.len()];
        let blocks: Vec<_> = (0..x.len()).step_by(BLOCK).map(|s| s..(s + BLOCK).min(x.len())).collect();
        rows::for_each(&mut y, 1, &blocks, |block, y| {
            silu_values(&x[block], y);
        });
        Ok((y, inputs[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let x = inputs[0].data;
        let mut dx = vec![T::zero(); x.len()];
        let blocks: Vec<_> = (0..x.len()).step_by(BLOCK).map(|s| s..(s + BLOCK).min(x.len())).collect();
        rows::for_each(&mut dx, 1, &blocks, |block, dx| {
            silu_gradients(&x[block.clone()], &dy[block], dx);
        });
        Ok(vec![dx])
    }
}

vectorised! {
    fn silu_values<T>(x: &[T], y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = *x * x.sigmoid();
        }
    }
}

vectorised! {
    fn silu_gradients<T>(x: &[T], dy: &[T], dx: &mut [T]) {
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            let s = x.sigmoid();
            *dx = *dy * s * (T::one() + *x * (T::one() - s));
        }
    }
}
