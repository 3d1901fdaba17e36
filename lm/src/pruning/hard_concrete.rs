//! The hard concrete distribution: masks between 0 and 1 that are exactly 0 with a probability that has a gradient.
//!
//! Louizos, Welling and Kingma 2018 (arXiv 1712.01312), equations 10 to 12, with Sheared LLaMA's constants: with `u` uniform,
//! `z = min(1, max(0, (b - a) sigmoid((ln u - ln(1 - u) + l) / T) + a))`, and `P(z > 0) = sigmoid(l - T ln(-a / b))`.

use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};
use rand::Rng;
use std::f64::consts::LN_10;
use tesseral_nn::kernels::{Array, Operation, Real, apply};
use tesseral_nn::rng::Streams;

/// Lower and upper end of the stretched interval.
const STRETCH: (f64, f64) = (-0.1, 1.1);
/// Temperature.
const TEMPERATURE: f64 = 2.0 / 3.0;
/// How far from 0 and 1 noise and probabilities stay.
const MARGIN: f64 = 1e-6;
/// Sharpens the mask that is used when nothing is drawn.
const SHARPNESS: f64 = 0.8;
/// Parameters stay within this of 0: ln 100. They begin at its upper end, where z is 0 with probability 0.002.
pub const LARGEST: f64 = 2.0 * LN_10;

/// How many entries of a row are zero in a mask without noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// As many as are expected of the distribution, rounded (halves to even).
    Expected,
    /// All but so many.
    AllBut(usize),
}

/// The probability that each entry is not zero, of the shape of `log_alpha`; differentiable.
///
/// # Errors
/// Those of the operation.
pub fn probability(log_alpha: &Tensor) -> Result<Tensor> {
    Ok(apply(Probability, &[log_alpha])?)
}

/// Masks drawn with uniform numbers `noise` of the same shape, in (0, 1); differentiable in `log_alpha`, with zero gradient
/// where an entry is exactly 0 or 1.
///
/// # Errors
/// Other shapes.
pub fn sample(log_alpha: &Tensor, noise: &Tensor) -> Result<Tensor> {
    if log_alpha.dims() != noise.dims() {
        let what = format!("expected the shape {:?}, found {:?}", log_alpha.dims(), noise.dims());
        return Err(Error::config("noise", what));
    }
    // Logits in f64, so that f32 noise near its ends loses nothing.
    let logits: Vec<f64> = values(noise)?.iter().map(|u| u.ln() - (1.0 - u).ln()).collect();
    let logits = Tensor::from_vec(logits, noise.dims(), noise.device())?.to_dtype(log_alpha.dtype())?;
    Ok(apply(Sample, &[log_alpha, &logits])?)
}

/// Uniform numbers for [`sample`] of this shape and dtype.
///
/// # Errors
/// Those of candle.
pub fn noise(like: &Tensor, streams: Streams, name: &str, counters: &[u64]) -> Result<Tensor> {
    let mut stream = streams.stream(name, counters);
    let numbers: Vec<f64> = (0..like.elem_count()).map(|_| stream.random_range(MARGIN..1.0 - MARGIN)).collect();
    Ok(Tensor::from_vec(numbers, like.dims(), like.device())?.to_dtype(like.dtype())?)
}

/// The mask without noise, row by row (`[n]` or `[rows, n]`): the smallest entries are zero, as many as `zeros` says, the others
/// `sigmoid(0.8 l / T)`. Of equal entries those with the higher number are zero. No gradient.
///
/// # Errors
/// Those of candle.
pub fn deterministic(log_alpha: &Tensor, zeros: Zeros) -> Result<Tensor> {
    let width = log_alpha.dims().last().copied().unwrap_or(1).max(1);
    let mut mask = Vec::with_capacity(log_alpha.elem_count());
    for row in values(log_alpha)?.chunks(width) {
        let count = match zeros {
            Zeros::Expected => row.iter().map(|l| 1.0 - chance(*l)).sum::<f64>().round_ties_even() as usize,
            Zeros::AllBut(kept) => row.len().saturating_sub(kept),
        };
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|a, b| row[*a].total_cmp(&row[*b]).then(b.cmp(a)));
        let mut soft: Vec<f64> = row.iter().map(|l| sigmoid(l * SHARPNESS / TEMPERATURE)).collect();
        order.iter().take(count).for_each(|k| soft[*k] = 0.0);
        mask.extend(soft);
    }
    Ok(Tensor::from_vec(mask, log_alpha.dims(), log_alpha.device())?.to_dtype(log_alpha.dtype())?)
}

/// Brings parameters back into their range, in place.
///
/// # Errors
/// Those of candle.
pub fn clamp(log_alpha: &Var) -> Result<()> {
    Ok(log_alpha.set(&log_alpha.as_detached_tensor().clamp(-LARGEST, LARGEST)?)?)
}

/// All elements as f64.
pub(super) fn values(t: &Tensor) -> Result<Vec<f64>> {
    Ok(t.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The logit of P(z = 0) at l = 0: T ln(-a / b).
fn offset() -> f64 {
    TEMPERATURE * (-STRETCH.0 / STRETCH.1).ln()
}

/// P(z > 0).
fn chance(log_alpha: f64) -> f64 {
    1.0 - sigmoid(offset() - log_alpha).clamp(MARGIN, 1.0 - MARGIN)
}

struct Probability;

impl Operation for Probability {
    const NAME: &'static str = "hard-concrete-probability";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        Ok((x[0].data.iter().map(|l| T::of(chance(l.to_f64()))).collect(), x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let slope = |l: f64| {
            let zero = sigmoid(offset() - l);
            if (MARGIN..1.0 - MARGIN).contains(&zero) { zero * (1.0 - zero) } else { 0.0 }
        };
        Ok(vec![x[0].data.iter().zip(dy).map(|(l, dy)| T::of(slope(l.to_f64())) * *dy).collect()])
    }
}

struct Sample;

/// sigmoid of the noisy logit, and the stretched number before it is cut to 0..1.
fn stretched(log_alpha: f64, noise: f64) -> (f64, f64) {
    let s = sigmoid((noise + log_alpha) / TEMPERATURE);
    (s, s * (STRETCH.1 - STRETCH.0) + STRETCH.0)
}

impl Operation for Sample {
    const NAME: &'static str = "hard-concrete-sample";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let z = |(l, noise): (&T, &T)| T::of(stretched(l.to_f64(), noise.to_f64()).1.clamp(0.0, 1.0));
        Ok((x[0].data.iter().zip(x[1].data).map(z).collect(), x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let slope = |l: &T, noise: &T| {
            let (s, z) = stretched(l.to_f64(), noise.to_f64());
            let inside = z > 0.0 && z < 1.0;
            T::of(if inside { s * (1.0 - s) * (STRETCH.1 - STRETCH.0) / TEMPERATURE } else { 0.0 })
        };
        let dl = x[0].data.iter().zip(x[1].data).zip(dy).map(|((l, noise), dy)| slope(l, noise) * *dy).collect();
        Ok(vec![dl, Vec::new()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use tesseral_nn::train::gradcheck::worst_directional_error;
    use tesseral_nn::{Init, Parameters};

    #[test]
    fn probability_is_the_share_of_draws_that_are_not_zero() -> Result<()> {
        for (l, draws) in [(-2.0, 20_000_usize), (0.0, 20_000), (1.5, 20_000)] {
            let log_alpha = Tensor::new(vec![l; draws], &Device::Cpu)?;
            let z = values(&sample(&log_alpha, &noise(&log_alpha, Streams::new(1), "u", &[0])?)?)?;
            let share = z.iter().filter(|z| **z > 0.0).count() as f64 / draws as f64;
            let expected = values(&probability(&log_alpha)?)?[0];
            assert!((share - expected).abs() < 4.0 * (0.25 / draws as f64).sqrt(), "{l}: {share} {expected}");
            assert!(z.iter().all(|z| (0.0..=1.0).contains(z)));
        }
        Ok(())
    }

    #[test]
    fn gradients_by_central_differences() {
        let parameters = Parameters::new(Streams::new(2), DType::F64, &Device::Cpu);
        let l = parameters.root().parameter("l", (3, 40), Init::Normal(2.0)).unwrap();
        let u = noise(&l, Streams::new(3), "u", &[]).unwrap();
        let loss = || {
            let z = sample(&l, &u).unwrap();
            Ok((z.sqr()? + probability(&l).unwrap().sqr()?)?.sum_all()?)
        };
        assert!(worst_directional_error(&parameters, Streams::new(4), 8, 1e-6, loss).unwrap() < 1e-5);
    }

    #[test]
    fn a_mask_without_noise_has_the_zeros_asked_for() -> Result<()> {
        let l = Tensor::new(&[[4.6, 1.0, 4.6, -3.0, 4.6], [4.6, 4.6, 4.6, 4.6, 4.6]], &Device::Cpu)?;
        let zero = |mask: Tensor| -> Result<Vec<bool>> { Ok(values(&mask)?.iter().map(|z| *z == 0.0).collect()) };
        let three = zero(deterministic(&l, Zeros::AllBut(3))?)?;
        assert_eq!(three, [false, true, false, true, false, false, false, false, true, true]);
        assert_eq!(zero(deterministic(&l, Zeros::Expected)?)?.iter().filter(|z| **z).count(), 1);
        let far = Var::new(&[9.0, -9.0, 0.5], &Device::Cpu)?;
        clamp(&far)?;
        assert_eq!(far.to_vec1::<f64>()?, [LARGEST, -LARGEST, 0.5]);
        Ok(())
    }
}
