//! Pointwise functions with a vectorised forward and backward.

use crate::kernels::operation::added;
use crate::kernels::vectors::{Vectors, update};
use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
use candle_core::{Result, Tensor};

/// x / (1 + e^-x), element by element; f32 or f64.
///
/// # Errors
/// Another dtype.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    apply(Silu, &[x])
}

/// `a + b`, equal shapes; f32 or f64. As an operation of ours it keeps the reverse pass ours
/// ([`crate::kernels::backward`]).
///
/// # Errors
/// Shapes or dtypes that differ.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.shape() != b.shape() {
        candle_core::bail!("add: equal shapes expected, found {:?} and {:?}", a.dims(), b.dims());
    }
    apply(Add, &[a, b])
}

/// `x` times a constant of its shape (no gradient flows into that), element by element; f32 or f64.
///
/// # Errors
/// Shapes or dtypes that differ.
pub fn times_constant(x: &Tensor, constant: &Tensor) -> Result<Tensor> {
    if x.shape() != constant.shape() {
        candle_core::bail!("times: equal shapes expected, found {:?} and {:?}", x.dims(), constant.dims());
    }
    apply(Times, &[x, &constant.detach()])
}

/// Hyperbolic tangent, element by element; f32 or f64.
///
/// # Errors
/// Another dtype.
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    apply(Tanh, &[x])
}

struct Tanh;

impl Operation for Tanh {
    const NAME: &'static str = "tanh";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        Ok((inputs[0].data.iter().map(|x| x.tanh()).collect(), inputs[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], y: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        Ok(vec![y.iter().zip(dy).map(|(y, dy)| *dy * (T::one() - *y * *y)).collect()])
    }
}

struct Times;

impl Operation for Times {
    const NAME: &'static str = "times";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let (a, b) = (inputs[0].data, inputs[1].data);
        let y = rows::build(1, &rows::blocks(BLOCK, a.len()), |block, y| product(&a[block.clone()], &b[block], y));
        Ok((y, inputs[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let b = inputs[1].data;
        let dx = rows::build(1, &rows::blocks(BLOCK, dy.len()), |block, dx| product(&dy[block.clone()], &b[block], dx));
        Ok(vec![dx, Vec::new()])
    }
}

vectorised! {
    fn product<T>(a: &[T], b: &[T], y: &mut [T]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = *a * *b;
        }
    }
}

struct Add;

impl Operation for Add {
    const NAME: &'static str = "add";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let (a, b) = (inputs[0].data, inputs[1].data);
        let y = rows::build(1, &rows::blocks(BLOCK, a.len()), |block, y| sum(&a[block.clone()], &b[block], y));
        Ok((y, inputs[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], wanted: &[bool]) -> Result<Vec<Vec<T>>> {
        Ok(wanted.iter().map(|wanted| if *wanted { dy.to_vec() } else { Vec::new() }).collect())
    }

    fn backward_added<T: Real>(
        &self,
        _: &[Array<T>],
        _: &[T],
        dy: Vec<T>,
        wanted: &[bool],
        mut sums: Vec<Vec<T>>,
    ) -> Result<Vec<Vec<T>>> {
        let last = usize::from(wanted[1]);
        if wanted[0] && last == 1 {
            match sums[0].is_empty() {
                true => sums[0] = dy.clone(),
                false => rows::add_in_blocks(&mut sums[0], &dy),
            }
        }
        sums[last] = added(std::mem::take(&mut sums[last]), dy);
        Ok(sums)
    }
}

vectorised! {
    fn sum<T>(a: &[T], b: &[T], y: &mut [T]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = *a + *b;
        }
    }
}

struct Silu;

const BLOCK: usize = 4096;

impl Operation for Silu {
    const NAME: &'static str = "silu";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let x = inputs[0].data;
        let y = rows::build(1, &rows::blocks(BLOCK, x.len()), |block, y| {
            silu_values(&x[block], y);
        });
        Ok((y, inputs[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let x = inputs[0].data;
        let dx = rows::build(1, &rows::blocks(BLOCK, x.len()), |block, dx| {
            dx.copy_from_slice(&dy[block.clone()]);
            times_silu_slope(&x[block], dx);
        });
        Ok(vec![dx])
    }
}

vectorised! {
    /// `y = silu(x)`.
    pub(super) fn silu_values<T, V>(v: V, x: &[T], y: &mut [T]) {
        update(v, [x], [y], #[inline(always)] |[x], _| [v.mul(x, v.sigmoid(x))]);
    }
}

vectorised! {
    /// `g *= silu'(x)`.
    fn times_silu_slope<T, V>(v: V, x: &[T], g: &mut [T]) {
        update(v, [x], [g], #[inline(always)] |[x], [g]| {
            let s = v.sigmoid(x);
            [v.mul(v.mul(g, s), rest_of_slope(v, x, s))]
        });
    }
}

vectorised! {
    /// `y = silu(x)` and `g *= silu'(x)`.
    pub(super) fn silu_and_slope<T, V>(v: V, x: &[T], y: &mut [T], g: &mut [T]) {
        update(v, [x], [y, g], #[inline(always)] |[x], [_, g]| {
            let s = v.sigmoid(x);
            [v.mul(x, s), v.mul(v.mul(g, s), rest_of_slope(v, x, s))]
        });
    }
}

/// silu'(x) over its sigmoid `s`: `1 + x (1 - s)`.
#[inline(always)]
fn rest_of_slope<T: Real, V: Vectors<T>>(v: V, x: V::Vector, s: V::Vector) -> V::Vector {
    let one = v.splat(T::one());
    v.mul_add(x, v.sub(one, s), one)
}
