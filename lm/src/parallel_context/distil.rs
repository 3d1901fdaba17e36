//! CEPED: what a chat model that reads everything in its own window would say, taught to one that reads it as contexts
//! (Yen et al. 2024, section 2.4).
//!
//! Of the teacher's distribution the most probable tokens are kept, and the probability of the rest as one more. The loss
//! is the Kullback-Leibler divergence KL(teacher | student) over these, averaged over all tokens.

use crate::{Error, Result};
use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tesseral_nn::kernels::{Array, Operation, Real, apply};

/// The teacher's distributions, a row a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    /// The most probable tokens, `[tokens, top]`.
    pub ids: Vec<u32>,
    /// Their probabilities and that of the rest, `[tokens, top + 1]`.
    pub probabilities: Vec<f32>,
    /// Tokens that are kept of each distribution.
    pub top: usize,
}

/// What becomes of the rest, and of probabilities near zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rest {
    /// The rest is left out. The two sides then do not sum to one, and the divergence may be negative.
    #[default]
    Drop,
    /// Everything gets so much more before both sides are normalised again.
    Smooth(f64),
    /// Taken as it is.
    None,
}

impl Targets {
    /// Of logits `[tokens, vocabulary]`.
    ///
    /// # Errors
    /// [`Error::Config`] for `top` 0 or beyond the vocabulary.
    pub fn of_logits(logits: &Tensor, top: usize) -> Result<Self> {
        let (tokens, vocabulary) = logits.dims2()?;
        if top == 0 || top > vocabulary {
            return Err(Error::config("distil.top", format!("expected 1 to {vocabulary}, found {top}")));
        }
        let values = logits.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let (mut ids, mut probabilities) = (Vec::with_capacity(tokens * top), Vec::with_capacity(tokens * (top + 1)));
        for row in values.chunks_exact(vocabulary) {
            let mut order: Vec<u32> = (0..vocabulary as u32).collect();
            let better = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
            if top < vocabulary {
                order.select_nth_unstable_by(top - 1, better);
            }
            order[..top].sort_unstable_by(better);
            let highest = f64::from(row[order[0] as usize]);
            let weight = |id: &u32| (f64::from(row[*id as usize]) - highest).exp();
            // Summed apart, so that the rest is never below zero.
            let rest: f64 = order[top..].iter().map(weight).sum();
            let sum = order[..top].iter().map(weight).sum::<f64>() + rest;
            probabilities.extend(order[..top].iter().map(|id| (weight(id) / sum) as f32).chain([(rest / sum) as f32]));
            ids.extend(&order[..top]);
        }
        Ok(Targets { ids, probabilities, top })
    }

    /// Distributions.
    pub fn tokens(&self) -> usize {
        self.ids.len().checked_div(self.top).unwrap_or(0)
    }

    fn row(&self, token: usize) -> (&[u32], &[f32]) {
        let (k, n) = (token * self.top, token * (self.top + 1));
        (&self.ids[k..k + self.top], &self.probabilities[n..n + self.top + 1])
    }
}

/// The divergence of logits `[tokens, vocabulary]` from the targets, a scalar.
///
/// # Errors
/// [`Error::Config`] for another number of tokens or an id beyond the vocabulary.
pub fn divergence(logits: &Tensor, targets: &Arc<Targets>, rest: Rest) -> Result<Tensor> {
    let (tokens, vocabulary) = logits.dims2()?;
    let beyond = targets.ids.iter().find(|id| **id as usize >= vocabulary);
    if targets.tokens() != tokens || beyond.is_some() {
        let found = format!("{} distributions, id {beyond:?}", targets.tokens());
        return Err(Error::config(
            "distil",
            format!("expected {tokens} distributions over {vocabulary} tokens, found {found}"),
        ));
    }
    Ok(apply(Divergence { targets: targets.clone(), rest }, &[logits])?)
}

struct Divergence {
    targets: Arc<Targets>,
    rest: Rest,
}

impl Divergence {
    /// The divergence at one token; with `dz` its gradient, `dz_v = p_v (g_b(v) - sum over b of g_b p_b)`, where `g_b` is the
    /// derivative by the probability of the bucket b: a kept token or the rest.
    fn token<T: Real>(&self, token: usize, z: &[T], dz: Option<&mut [T]>) -> f64 {
        let (ids, teacher) = self.targets.row(token);
        let top = z.iter().map(|z| z.to_f64()).fold(f64::NEG_INFINITY, f64::max);
        let mut weights: Vec<f64> = z.iter().map(|z| (z.to_f64() - top).exp()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        let mut buckets: Vec<f64> = ids.iter().map(|id| weights[*id as usize]).collect();
        // The rest is the sum of the others, not one less the sum: it cannot fall below zero.
        let kept: Vec<f64> = ids.iter().map(|id| std::mem::take(&mut weights[*id as usize])).collect();
        buckets.push(weights.iter().sum());
        ids.iter().zip(kept).for_each(|(id, p)| weights[*id as usize] = p);
        let (more, scale) = match self.rest {
            Rest::Smooth(more) => (more, 1.0 / (1.0 + more * buckets.len() as f64)),
            Rest::Drop | Rest::None => (0.0, 1.0),
        };
        let counted = if self.rest == Rest::Drop { ids.len() } else { ids.len() + 1 };
        let (mut value, mut slopes) = (0.0, vec![0.0; buckets.len()]);
        for (b, p) in buckets.iter().enumerate().take(counted) {
            let t = (f64::from(teacher[b]).max(0.0) + more) * scale;
            let p = (p + more).max(f64::MIN_POSITIVE);
            if t > 0.0 {
                value += t * (t.ln() - (p * scale).ln());
                slopes[b] = -t / p;
            }
        }
        if let Some(dz) = dz {
            let mean: f64 = buckets.iter().zip(&slopes).map(|(p, g)| p * g).sum();
            let rest = slopes[ids.len()];
            dz.iter_mut().zip(&weights).for_each(|(dz, p)| *dz = T::of(p * (rest - mean)));
            for (id, slope) in ids.iter().zip(&slopes) {
                dz[*id as usize] = T::of(weights[*id as usize] * (slope - mean));
            }
        }
        value
    }
}

impl Operation for Divergence {
    const NAME: &'static str = "divergence";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let width = inputs[0].dims[1].max(1);
        let rows: Vec<f64> =
            inputs[0].data.par_chunks_exact(width).enumerate().map(|(t, z)| self.token(t, z, None)).collect();
        Ok((vec![T::of(rows.iter().sum::<f64>() / rows.len().max(1) as f64)], vec![]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        _: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let width = inputs[0].dims[1].max(1);
        let scale = dy[0] / T::of(inputs[0].rows().max(1) as f64);
        let mut dz = vec![T::zero(); inputs[0].data.len()];
        let rows = dz.par_chunks_exact_mut(width).zip(inputs[0].data.par_chunks_exact(width)).enumerate();
        rows.for_each(|(t, (dz, z))| {
            self.token(t, z, Some(dz));
            dz.iter_mut().for_each(|g| *g *= scale);
        });
        Ok(vec![dz])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use tesseral_nn::rng::Streams;
    use tesseral_nn::train::gradcheck::worst_directional_error;
    use tesseral_nn::{Init, Parameters};

    fn logits() -> (Parameters, Tensor) {
        let parameters = Parameters::new(Streams::new(4), DType::F64, &Device::Cpu);
        let z = parameters.root().parameter("z", (5, 7), Init::Normal(2.0)).unwrap();
        (parameters, z)
    }

    #[test]
    fn gradients_by_central_differences_and_none_at_the_teacher_itself() {
        let (parameters, z) = logits();
        let teacher = Arc::new(Targets::of_logits(&z.affine(-0.7, 0.3).unwrap(), 3).unwrap());
        for rest in [Rest::Drop, Rest::Smooth(1e-3), Rest::None] {
            let loss = || Ok(divergence(&z, &teacher, rest).unwrap());
            let error = worst_directional_error(&parameters, Streams::new(1), 6, 1e-5, loss).unwrap();
            assert!(error < 1e-6, "{rest:?}: {error:e}");
        }
        let own = Arc::new(Targets::of_logits(&z, 3).unwrap());
        for rest in [Rest::Smooth(1e-6), Rest::None] {
            let value = divergence(&z, &own, rest).unwrap().to_scalar::<f64>().unwrap();
            assert!((-1e-9..1e-6).contains(&value), "{value:e}");
        }
        // All of the vocabulary kept: nothing is left, and the divergence is the whole one.
        let whole = Arc::new(Targets::of_logits(&z.affine(-0.7, 0.3).unwrap(), 7).unwrap());
        assert!(whole.probabilities.iter().skip(7).step_by(8).all(|rest| *rest == 0.0));
        let [drop, none] =
            [Rest::Drop, Rest::None].map(|r| divergence(&z, &whole, r).unwrap().to_scalar::<f64>().unwrap());
        assert!((drop - none).abs() < 1e-12 && drop > 0.1);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let z = Tensor::new(&[[800f64, 0.0, -800.0]], &Device::Cpu).unwrap();
        let teacher = Arc::new(Targets { ids: vec![2], probabilities: vec![1.2, -0.2], top: 1 });
        for rest in [Rest::Drop, Rest::Smooth(1e-6), Rest::None] {
            assert!(divergence(&z, &teacher, rest).unwrap().to_scalar::<f64>().unwrap().is_finite());
        }
        assert!(divergence(&z, &Arc::new(Targets { ids: vec![3], ..(*teacher).clone() }), Rest::None).is_err());
        assert!(Targets::of_logits(&z, 4).is_err());
    }
}
