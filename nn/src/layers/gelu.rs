//! Gaussian error units (Hendrycks and Gimpel 2016): `x Phi(x)` with the normal distribution itself, and the gate of T5 1.1
//! with its approximation by a hyperbolic tangent (`gelu_new`; Shazeer 2020).

use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
use candle_core::{Result, Tensor};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `x (1 + erf(x / sqrt 2)) / 2`, element by element; f32 or f64.
///
/// # Errors
/// Another dtype.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    apply(Gelu, &[x])
}

/// `g(gate) * up` with `g(x) = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, element by element; equal shapes, f32
/// or f64.
///
/// # Errors
/// Shapes or dtypes that differ.
pub fn geglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if gate.shape() != up.shape() {
        candle_core::bail!("geglu: equal shapes expected, found {:?} and {:?}", gate.dims(), up.dims());
    }
    apply(GeGlu, &[gate, up])
}

const BLOCK: usize = 4096;

struct Gelu;

impl Operation for Gelu {
    const NAME: &'static str = "gelu";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let y = rows::build(1, &rows::blocks(BLOCK, x[0].data.len()), |block, y| gelu_values(&x[0].data[block], y));
        Ok((y, x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let dx = rows::build(1, &rows::blocks(BLOCK, dy.len()), |block, dx| {
            gelu_gradients(&x[0].data[block.clone()], &dy[block], dx);
        });
        Ok(vec![dx])
    }
}

vectorised! {
    fn gelu_values<T>(x: &[T], y: &mut [T]) {
        let half = T::of(0.5);
        for (y, x) in y.iter_mut().zip(x) {
            *y = half * *x * (T::one() + (*x * T::of(FRAC_1_SQRT_2)).erf());
        }
    }
}

vectorised! {
    /// Phi(x) + x phi(x).
    fn gelu_gradients<T>(x: &[T], dy: &[T], dx: &mut [T]) {
        let (half, density) = (T::of(0.5), T::of(1.0 / (2.0 * PI).sqrt()));
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            let below = half * (T::one() + (*x * T::of(FRAC_1_SQRT_2)).erf());
            *dx = *dy * (below + *x * density * (-half * *x * *x).exp());
        }
    }
}

struct GeGlu;

impl Operation for GeGlu {
    const NAME: &'static str = "geglu";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let (gate, up) = (x[0].data, x[1].data);
        let y = rows::build(1, &rows::blocks(BLOCK, gate.len()), |block, y| {
            gated_values(&gate[block.clone()], &up[block], y)
        });
        Ok((y, x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let (gate, up) = (x[0].data, x[1].data);
        let (dg, du) = rows::build_pair([1, 1], &rows::blocks(BLOCK, gate.len()), |block, dg, du| {
            gated_gradients(&gate[block.clone()], &up[block.clone()], &dy[block], dg, du);
        });
        Ok(vec![dg, du])
    }
}

/// (1 + tanh(u)) / 2 = 1 / (1 + e^-2u) of u = sqrt(2 / pi) (x + 0.044715 x^3), and 2 du/dx.
#[inline(always)]
fn share<T: Real>(x: T) -> (T, T) {
    let (c, cubic) = (T::of(2.0 * (2.0 / PI).sqrt()), T::of(0.044_715));
    let square = x * x;
    ((c * x * (T::one() + cubic * square)).sigmoid(), c * (T::one() + T::of(3.0) * cubic * square))
}

vectorised! {
    fn gated_values<T>(gate: &[T], up: &[T], y: &mut [T]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            *y = *g * share(*g).0 * *u;
        }
    }
}

vectorised! {
    fn gated_gradients<T>(gate: &[T], up: &[T], dy: &[T], dg: &mut [T], du: &mut [T]) {
        for k in 0..dy.len().min(gate.len()).min(up.len()).min(dg.len()).min(du.len()) {
            let (s, slope) = share(gate[k]);
            dg[k] = dy[k] * up[k] * (s + gate[k] * s * (T::one() - s) * slope);
            du[k] = dy[k] * gate[k] * s;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::activation::tanh;
    use crate::train::gradcheck::worst_directional_error;
    use crate::{Init, Parameters, rng::Streams};
    use candle_core::{DType, Device};

    #[test]
    fn equal_candles_functions_and_central_differences() {
        let parameters = Parameters::new(Streams::new(3), DType::F64, &Device::Cpu);
        let make = |name| parameters.root().parameter(name, (7, 100), Init::Normal(2.0)).unwrap();
        let (x, u) = (make("x"), make("u"));
        let far =
            |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        let near = |a: &Tensor, b: &Tensor, tolerance: f64| assert!(far(a, b) < tolerance, "{}", far(a, b));
        near(&gelu(&x).unwrap(), &x.gelu_erf().unwrap(), 1e-14);
        near(&geglu(&x, &u).unwrap(), &(x.gelu().unwrap() * &u).unwrap(), 1e-13);
        let single = gelu(&x.to_dtype(DType::F32).unwrap()).unwrap().to_dtype(DType::F64).unwrap();
        near(&single, &x.gelu_erf().unwrap(), 2e-6);
        let loss = || Ok((gelu(&x)?.sqr()? + (tanh(&u)? * geglu(&u, &x)?)?)?.sum_all()?);
        let error = worst_directional_error(&parameters, Streams::new(1), 16, 1e-5, loss).unwrap();
        assert!(error < 1e-6, "{error:e}");
        assert!(geglu(&x, &u.t().unwrap()).is_err());
    }
}
