//! The loss of a model of some size from those of others: `L(N) = a / N^b + c` (Hoffmann et al. 2022 without the data's term), which
//! Sheared LLaMA (arXiv 2310.06694, section 2.2) fits to each domain.

use crate::{Error, Result};
use serde::Serialize;

/// A fitted law; N counts scalars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScalingLaw {
    /// Factor.
    pub a: f64,
    /// Exponent.
    pub b: f64,
    /// Loss of an endless model, nats. Fits to a few points can make it negative: read no more than differences into it.
    pub c: f64,
}

/// Exponents that are looked at.
const EXPONENTS: (f64, f64) = (1e-3, 4.0);

impl ScalingLaw {
    /// The law that fits `(scalars, loss)` best, in the sense of least squares: for each exponent the other two are a linear fit, and
    /// the exponent is searched for. Three points are met exactly where a law goes through them.
    ///
    /// # Errors
    /// [`Error::Config`] for fewer than three sizes, or losses that do not fall with size.
    pub fn fit(points: &[(f64, f64)]) -> Result<Self> {
        let mut sizes: Vec<f64> = points.iter().map(|p| p.0).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        let usable = points.iter().all(|(n, loss)| n.is_finite() && *n > 0.0 && loss.is_finite());
        if !usable || sizes.len() < 3 {
            let found = format!("{} sizes of {points:?}", sizes.len());
            return Err(Error::config(
                "losses",
                format!("expected at least three sizes with their losses, found {found}"),
            ));
        }
        // In units of the geometric mean, so that powers stay near 1.
        let unit = (points.iter().map(|p| p.0.ln()).sum::<f64>() / points.len() as f64).exp();
        let error = |log_b: f64| linear(points, unit, log_b.exp()).2;
        let (low, high) = (EXPONENTS.0.ln(), EXPONENTS.1.ln());
        const STEPS: usize = 400;
        let at = |k: usize| low + (high - low) * k as f64 / STEPS as f64;
        let best = (0..=STEPS).min_by(|i, j| error(at(*i)).total_cmp(&error(at(*j)))).unwrap_or(0);
        let log_b = minimum(error, at(best.saturating_sub(1)), at((best + 1).min(STEPS)));
        let b = log_b.exp();
        let (scaled, c, _) = linear(points, unit, b);
        if scaled <= 0.0 {
            return Err(Error::config("losses", format!("expected ones that fall with size, found {points:?}")));
        }
        Ok(ScalingLaw { a: scaled * unit.powf(b), b, c })
    }

    /// The loss at this number of scalars, nats.
    pub fn loss(&self, scalars: f64) -> f64 {
        self.a / scalars.powf(self.b) + self.c
    }
}

/// `a'` (for N in `unit`), c and the sum of squared errors of the best fit with this exponent.
fn linear(points: &[(f64, f64)], unit: f64, b: f64) -> (f64, f64, f64) {
    let count = points.len() as f64;
    let power = |n: f64| (n / unit).powf(-b);
    let x = points.iter().map(|p| power(p.0)).sum::<f64>() / count;
    let y = points.iter().map(|p| p.1).sum::<f64>() / count;
    let covariance: f64 = points.iter().map(|p| (power(p.0) - x) * (p.1 - y)).sum();
    let variance: f64 = points.iter().map(|p| (power(p.0) - x).powi(2)).sum();
    let a = covariance / variance;
    let c = y - a * x;
    (a, c, points.iter().map(|p| (a * power(p.0) + c - p.1).powi(2)).sum())
}

/// Golden-section search for the minimum in an interval.
fn minimum(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..120 {
        let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
        if f(left) < f(right) {
            high = right;
        } else {
            low = left;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_law_is_found_again(a in 1.0..500.0_f64, b in 0.05..0.6_f64, c in -1.0..2.0_f64) {
            let law = ScalingLaw { a, b, c };
            let points = [1e6, 4e6, 3e7, 2e8].map(|n| (n, law.loss(n)));
            let found = ScalingLaw::fit(&points).unwrap();
            for n in [2e5, 1e7, 1e9] {
                prop_assert!((found.loss(n) - law.loss(n)).abs() < 1e-3 * law.loss(2e5).abs().max(1.0));
            }
        }
    }

    #[test]
    fn too_few_or_rising_losses_are_refused() {
        assert!(ScalingLaw::fit(&[(1e6, 3.0), (1e6, 2.9), (2e6, 2.5)]).is_err());
        assert!(ScalingLaw::fit(&[(1e6, 2.0), (2e6, 2.5), (3e6, 2.8)]).is_err());
        assert!(ScalingLaw::fit(&[(1e6, 2.0), (2e6, f64::NAN), (3e6, 1.8)]).is_err());
    }
}
