//! Errors summed over all elements, as one operation.

use crate::kernels::{Array, Operation, Real, apply, rows, sums, vectorised};
use candle_core::{Result, Tensor};
use smallvec::SmallVec;
use std::ops::Range;

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// |x - y|.
    Absolute,
    /// (x - y)^2.
    Squared,
}

/// `scale` times the sum over all elements of |mask (x - label)|^p, a scalar; without `mask` all count. Shapes and dtypes
/// (f32 or f64) are equal; gradients flow to `x` alone. Summed in f64.
///
/// # Errors
/// Shapes or dtypes that differ.
pub fn summed_error(x: &Tensor, label: &Tensor, mask: Option<&Tensor>, power: Power, scale: f64) -> Result<Tensor> {
    if x.shape() != label.shape() || mask.is_some_and(|mask| mask.shape() != x.shape()) {
        candle_core::bail!("error: shapes {:?}, {:?}, mask {:?}", x.dims(), label.dims(), mask.map(|m| m.dims()));
    }
    let operation = SummedError { power, scale };
    let label = label.detach();
    match mask {
        Some(mask) => apply(operation, &[x, &label, &mask.detach()]),
        None => apply(operation, &[x, &label]),
    }
}

struct SummedError {
    power: Power,
    scale: f64,
}

/// Elements whose errors are added in their own type before they go to f64.
const BLOCK: usize = 256;
/// Elements whose gradients are one task.
const TASK: usize = 1 << 13;

impl Operation for SummedError {
    const NAME: &'static str = "summed-error";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let sum = sums::by_chunks(inputs[0].data.len(), |chunk| {
            let (mut differences, mut sum) = ([T::zero(); BLOCK], 0.0);
            for start in chunk.clone().step_by(BLOCK) {
                let block = start..(start + BLOCK).min(chunk.end);
                let differences = &mut differences[..block.len()];
                masked_difference(&parts(inputs, &block), differences);
                match self.power {
                    Power::Absolute => sums::add_magnitudes(differences, &mut sum),
                    Power::Squared => sums::add_squares(differences, &mut sum),
                }
            }
            sum
        });
        Ok((vec![T::of(self.scale * sum)], vec![]))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let scale = T::of(self.scale) * dy[0];
        let dx = rows::build(1, &rows::blocks(TASK, inputs[0].data.len()), |block, dx| {
            let inputs = parts(inputs, &block);
            masked_difference(&inputs, dx);
            match self.power {
                Power::Squared => dx.iter_mut().for_each(|d| *d = (*d + *d) * scale),
                Power::Absolute => dx.iter_mut().for_each(|d| {
                    *d = if *d > T::zero() {
                        scale
                    } else if *d < T::zero() {
                        -scale
                    } else {
                        *d // zero, or not a number
                    }
                }),
            }
            if let Some(mask) = inputs.get(2) {
                dx.iter_mut().zip(*mask).for_each(|(d, m)| *d *= *m);
            }
        });
        Ok(vec![dx, Vec::new(), Vec::new()].into_iter().take(inputs.len()).collect())
    }
}

/// The same part of all inputs.
fn parts<'a, T>(inputs: &[Array<'a, T>], part: &Range<usize>) -> SmallVec<[&'a [T]; 3]> {
    inputs.iter().map(|input| &input.data[part.clone()]).collect()
}

vectorised! {
    fn masked_difference<T>(inputs: &[&[T]], out: &mut [T]) {
        for ((d, x), y) in out.iter_mut().zip(inputs[0]).zip(inputs[1]) {
            *d = *x - *y;
        }
        if let Some(mask) = inputs.get(2) {
            for (d, m) in out.iter_mut().zip(*mask) {
                *d *= *m;
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
    fn equals_the_same_in_single_operations() -> Result<()> {
        // In one task, and in several.
        [700, 21_000].into_iter().try_for_each(equals_single_operations)
    }

    fn equals_single_operations(n: usize) -> Result<()> {
        let values = |f: &dyn Fn(f64) -> f64| (0..n).map(|k| f(k as f64)).collect::<Vec<_>>();
        let x = Var::from_vec(values(&|k| (1.3 * k).sin()), (n / 7, 7), &Device::Cpu)?;
        let label = Tensor::from_vec(values(&|k| (0.7 * k).cos()), (n / 7, 7), &Device::Cpu)?;
        let mask = Tensor::from_vec(values(&|k| f64::from(k % 3.0 > 0.5)), (n / 7, 7), &Device::Cpu)?;
        for mask in [None, Some(&mask)] {
            for power in [Power::Absolute, Power::Squared] {
                let ours = summed_error(&x, &label, mask, power, 0.01)?;
                let d = (x.as_tensor() - &label)?;
                let d = mask.map_or(Ok(d.clone()), |mask| d * mask)?;
                let d = if power == Power::Absolute { d.abs()? } else { d.sqr()? };
                let plain = (d.sum_all()? * 0.01)?;
                let expected = plain.to_scalar::<f64>()?;
                assert!((ours.to_scalar::<f64>()? / expected - 1.0).abs() < 1e-13);
                let (ours, plain) = (backward(ours)?, plain.backward()?);
                let [a, b] = [ours, plain].map(|g| g.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap());
                assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14));
            }
        }
        assert!(summed_error(&x, &label.t()?, None, Power::Squared, 1.0).is_err());
        Ok(())
    }
}
