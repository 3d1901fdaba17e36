//! The same with a weight stored in bf16: half the memory, and half the bytes to read for each generated token.

use super::{FEW_ROWS, LANES, few_rows, input_gradient, total};
use crate::kernels::matmul::multiply;
use crate::kernels::{Array, Operation, Real, View, ViewMut, apply, rows, vectorised};
use candle_core::{CpuStorage, Result, Storage, Tensor};
use half::bf16;

/// Outputs whose weights are widened at a time: 256 rows of a few thousand columns stay in the second-level cache.
const PIECE: usize = 256;

/// Most rows of one product: enough that rearranging the weight for the product costs little beside it.
const LARGEST: usize = 512;

pub(super) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    apply(BfloatLinear { weight: weight.contiguous()?.detach() }, &[x])
}

struct BfloatLinear {
    /// `[out, in]`.
    weight: Tensor,
}

impl BfloatLinear {
    fn with_weight<R>(&self, body: impl FnOnce(&[bf16]) -> R) -> Result<R> {
        let (storage, layout) = self.weight.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::BF16(w)), Some((start, end))) => Ok(body(&w[start..end])),
            _ => candle_core::bail!("linear: a contiguous bf16 weight on the CPU expected"),
        }
    }
}

impl Operation for BfloatLinear {
    const NAME: &'static str = "linear-bf16";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let (x, count) = (inputs[0].data, inputs[0].rows());
        let (outputs, ins) = self.weight.dims2()?;
        let y = self.with_weight(|w| {
            if count <= FEW_ROWS {
                return few_rows(outputs, count, |range, y| {
                    dots(x, &w[range.start * ins..range.end * ins], ins, y);
                });
            }
            rows::build(outputs, &rows::all_up_to(LARGEST, count), |chunk, y| {
                let x = View::rows(&x[chunk.start * ins..], [chunk.len(), ins], ins, 0);
                let mut wide = vec![T::zero(); PIECE.min(outputs) * ins];
                for first in (0..outputs).step_by(PIECE) {
                    let n = PIECE.min(outputs - first);
                    widen(&w[first * ins..(first + n) * ins], &mut wide[..n * ins]);
                    let mut y = ViewMut::rows(y, [chunk.len(), n], outputs, first);
                    multiply(x, View::rows(&wide, [n, ins], ins, 0).t(), &mut y, 1.0, false);
                }
            })
        })?;
        Ok((y, vec![count, outputs]))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let (outputs, ins) = self.weight.dims2()?;
        let dx = self.with_weight(|w| {
            let mut wide = vec![T::zero(); w.len()];
            widen(w, &mut wide);
            input_gradient(dy, &wide, [inputs[0].rows(), outputs, ins])
        })?;
        Ok(vec![dx])
    }
}

/// The f32 that a bf16 is the upper half of.
#[inline(always)]
fn wide<T: Real>(x: bf16) -> T {
    T::of(f64::from(f32::from_bits(u32::from(x.to_bits()) << 16)))
}

vectorised! {
    fn widen<T>(narrow: &[bf16], out: &mut [T]) {
        for (out, x) in out.iter_mut().zip(narrow) {
            *out = wide(*x);
        }
    }
}

vectorised! {
    /// As the one for weights of the type of `x`.
    pub(super) fn dots<T>(x: &[T], w: &[bf16], width: usize, y: &mut [T]) {
        let outputs = w.len() / width.max(1);
        for (o, w) in w.chunks_exact(width.max(1)).enumerate() {
            for (r, x) in x.chunks_exact(width).enumerate() {
                let mut sums = [T::zero(); LANES];
                let (xs, ws) = (x.chunks_exact(LANES), w.chunks_exact(LANES));
                let rest: T = xs.remainder().iter().zip(ws.remainder()).map(|(x, w)| *x * wide(*w)).sum();
                for (x, w) in xs.zip(ws) {
                    for k in 0..LANES {
                        sums[k] = x[k].mul_add(wide(w[k]), sums[k]);
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
    use crate::kernels::backward;
    use crate::layers::linear;
    use candle_core::{DType, Device, Tensor, Var};

    #[test]
    fn equals_the_product_with_the_widened_weight() {
        for count in [1, 3, 130] {
            let wave = |n: usize, f: f32| (0..n).map(|k| (k as f32 * f).sin()).collect::<Vec<_>>();
            let w = Tensor::from_vec(wave(300 * 50, 1.3), (300, 50), &Device::Cpu).unwrap();
            let narrow = w.to_dtype(DType::BF16).unwrap();
            let same = narrow.to_dtype(DType::F32).unwrap();
            let x = Var::from_vec(wave(count * 50, 0.7), (count, 50), &Device::Cpu).unwrap();
            let run = |w: &Tensor| {
                let y = linear(&x, w).unwrap();
                let loss = y.sqr().unwrap().sum_all().unwrap();
                (y, backward(loss).unwrap().get(&x).unwrap().clone())
            };
            let ((a, da), (b, db)) = (run(&narrow), run(&same));
            for (a, b) in [(a, b), (da, db)] {
                let far = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(far < 1e-3, "{far}");
            }
        }
    }
}
