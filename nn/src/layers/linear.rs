//! `y = x W^T`, the weight stored as PyTorch does, `[out, in]`; no bias. The product of language models: tall enough to
//! be split over threads by rows, or a single row, where the time is that of reading the weight.

use crate::kernels::matmul::product;
use crate::kernels::{Array, Operation, Real, View, apply, parallel, rows, vectorised};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::array::from_fn;
use std::ops::Range;

mod bfloat;
mod compact;

pub use compact::Compact;

/// Up to this many rows each output is a dot product per row: the weight is read once and not rearranged.
const FEW_ROWS: usize = 4;

/// `[rows, in]` times `[out, in]` transposed: `[rows, out]`.
///
/// A weight in bf16 is widened to the dtype of `x` piece by piece as it is used; gradients then flow to `x` alone.
///
/// # Errors
/// [`Error::Shape`] for another width; candle's for dtypes other than f32, f64 and, for the weight, bf16.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let ((_, width), (_, inputs)) = (x.dims2()?, weight.dims2()?);
    if width != inputs {
        return Err(Error::Shape {
            operation: "linear",
            expected: format!("[rows, {inputs}]"),
            found: format!("{:?}", x.dims()),
        });
    }
    Ok(match weight.dtype() {
        DType::BF16 => bfloat::linear(x, weight)?,
        _ => apply(Linear, &[x, weight])?,
    })
}

struct Linear;

impl Operation for Linear {
    const NAME: &'static str = "linear";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let [x, w] = [inputs[0].data, inputs[1].data];
        let (count, [outputs, ins]) = (inputs[0].rows(), [inputs[1].dims[0], inputs[1].dims[1]]);
        let y = if count <= FEW_ROWS {
            few_rows(outputs, count, |range, y| dots(x, &w[range.start * ins..range.end * ins], ins, y))
        } else {
            product(View::rows(x, [count, ins], ins, 0), View::rows(w, [outputs, ins], ins, 0).t())
        };
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
        let dx = if wanted[0] { input_gradient(dy, w, [count, outputs, ins]) } else { Vec::new() };
        let dw = match wanted[1] {
            true => product(View::rows(dy, [count, outputs], outputs, 0).t(), View::rows(x, [count, ins], ins, 0)),
            false => Vec::new(),
        };
        Ok(vec![dx, dw])
    }
}

/// `dx = dy W`.
fn input_gradient<T: Real>(dy: &[T], w: &[T], [count, outputs, ins]: [usize; 3]) -> Vec<T> {
    product(View::rows(dy, [count, outputs], outputs, 0), View::rows(w, [outputs, ins], ins, 0))
}

/// Outputs that one task computes when there are few rows.
const OUTPUTS: usize = 64;

/// `[count, outputs]` from tasks that fill `[count, range.len()]` each.
fn few_rows<T: Real>(outputs: usize, count: usize, body: impl Fn(Range<usize>, &mut [T]) + Sync) -> Vec<T> {
    let ranges: Vec<_> = (0..outputs).step_by(OUTPUTS).map(|s| s..(s + OUTPUTS).min(outputs)).collect();
    if count == 1 {
        return rows::build(1, &ranges, body);
    }
    let parts = parallel::map(&ranges, |range| {
        let mut part = vec![T::zero(); count * range.len()];
        body(range.clone(), &mut part);
        part
    });
    let mut y = vec![T::zero(); count * outputs];
    for (range, part) in ranges.iter().zip(&parts) {
        for (y, part) in y.chunks_exact_mut(outputs).zip(part.chunks_exact(range.len())) {
            y[range.clone()].copy_from_slice(part);
        }
    }
    y
}

/// Partial sums of a dot product, so that it vectorises.
const LANES: usize = 32;

/// The sum of the partial sums, by halves. Apart from the loops that call it with a copy: inside them its order would be
/// forced on the partial sums, which then are not kept in vectors (three times the time).
#[inline(never)]
fn total<T: Real>(sums: &[T; LANES]) -> T {
    let halves: [T; 16] = from_fn(|k| sums[k] + sums[k + 16]);
    let quarters: [T; 8] = from_fn(|k| halves[k] + halves[k + 8]);
    let few: [T; 4] = from_fn(|k| quarters[k] + quarters[k + 4]);
    (few[0] + few[2]) + (few[1] + few[3])
}

vectorised! {
    /// `y[r, o] = sum_k x[r, k] w[o, k]` for rows of `width`.
    fn dots<T>(x: &[T], w: &[T], width: usize, y: &mut [T]) {
        let outputs = w.len() / width.max(1);
        for (o, w) in w.chunks_exact(width.max(1)).enumerate() {
            for (r, x) in x.chunks_exact(width).enumerate() {
                let mut sums = [T::zero(); LANES];
                let (xs, ws) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
                let rest: T = xs.remainder().iter().zip(ws.remainder()).map(|(x, w)| *x * *w).sum();
                for (x, w) in xs.zip(ws) {
                    for k in 0..LANES {
                        sums[k] = x[k].mul_add(w[k], sums[k]);
                    }
                }
                let sums = sums;
                y[r * outputs + o] = total(&sums) + rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backward;
    use candle_core::{Device, Var};

    #[test]
    fn equals_candles_product_and_its_gradients() {
        for (count, ins, outputs) in [(1, 37, 70), (3, 64, 65), (4, 5, 1), (150, 33, 40), (1100, 8, 600)] {
            let wave = |n: usize, f: f64| (0..n).map(|k| (k as f64 * f).sin()).collect::<Vec<_>>();
            let x = Var::from_vec(wave(count * ins, 0.7), (count, ins), &Device::Cpu).unwrap();
            let w = Var::from_vec(wave(outputs * ins, 1.3), (outputs, ins), &Device::Cpu).unwrap();
            let c = Tensor::from_vec(wave(count * outputs, 0.31), (count, outputs), &Device::Cpu).unwrap();
            let (ours, plain) = (linear(&x, &w).unwrap(), x.matmul(&w.t().unwrap()).unwrap());
            let far =
                |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(far(&ours, &plain) < 1e-11);
            let gradients = |y: &Tensor| backward((y * &c).unwrap().sum_all().unwrap()).unwrap();
            let (ours, plain) = (gradients(&ours), gradients(&plain));
            for v in [&x, &w] {
                assert!(far(ours.get(v).unwrap(), plain.get(v).unwrap()) < 1e-10);
            }
        }
    }

    #[test]
    fn another_width_is_refused() {
        let at = |n, m| Tensor::zeros((n, m), DType::F32, &Device::Cpu).unwrap();
        let message = linear(&at(3, 4), &at(5, 6)).unwrap_err().to_string();
        assert_eq!(message, "linear: expected [rows, 6], found [3, 4]");
    }
}
