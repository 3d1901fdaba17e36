//! The gate of a Llama feed-forward part: `silu(gate) * up`, one pass over memory each way (Shazeer 2020).

use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
use candle_core::{Result, Tensor};

/// `silu(gate) * up`, element by element; equal shapes, f32 or f64.
///
/// # Errors
/// Shapes or dtypes that differ.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        candle_core::bail!("swiglu: equal shapes expected, found {:?} and {:?}", gate.dims(), up.dims());
    }
    apply(SwiGlu, &[gate, up])
}

struct SwiGlu;

const BLOCK: usize = 16_384;

impl Operation for SwiGlu {
    const NAME: &'static str = "swiglu";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let (gate, up) = (x[0].data, x[1].data);
        let y =
            rows::build(1, &rows::blocks(BLOCK, gate.len()), |block, y| values(&gate[block.clone()], &up[block], y));
        Ok((y, x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let (gate, up) = (x[0].data, x[1].data);
        let (dg, du) = rows::build_pair([1, 1], &rows::blocks(BLOCK, gate.len()), |block, dg, du| {
            gradients(&gate[block.clone()], &up[block.clone()], &dy[block], dg, du);
        });
        Ok(vec![dg, du])
    }
}

vectorised! {
    fn values<T>(gate: &[T], up: &[T], y: &mut [T]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            *y = *g * g.sigmoid() * *u;
        }
    }
}

vectorised! {
    fn gradients<T>(gate: &[T], up: &[T], dy: &[T], dg: &mut [T], du: &mut [T]) {
        for k in 0..dy.len().min(gate.len()).min(up.len()).min(dg.len()).min(du.len()) {
            let (g, s) = (gate[k], gate[k].sigmoid());
            dg[k] = dy[k] * up[k] * s * (T::one() + g * (T::one() - s));
            du[k] = dy[k] * g * s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backward;
    use candle_core::{Device, Var};

    #[test]
    fn equals_the_same_in_single_operations() {
        let make = |f: f64| {
            let values = (0..700).map(|k| 3.0 * (f * f64::from(k)).sin()).collect::<Vec<_>>();
            Var::from_vec(values, (7, 100), &Device::Cpu).unwrap()
        };
        let (g, u) = (make(0.7), make(1.3));
        let (ours, plain) = (swiglu(&g, &u).unwrap(), (g.silu().unwrap() * u.as_tensor()).unwrap());
        let far =
            |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(far(&ours, &plain) < 1e-14);
        let (ours, plain) = [ours, plain].map(|y| backward(y.sqr().unwrap().sum_all().unwrap()).unwrap()).into();
        for x in [&g, &u] {
            assert!(far(ours.get(x).unwrap(), plain.get(x).unwrap()) < 1e-12);
        }
        assert!(swiglu(&g, &u.t().unwrap()).is_err());
    }
}
