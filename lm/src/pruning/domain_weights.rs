//! How much of each domain is seen, from how far its loss is from where it should be.
//!
//! Sheared LLaMA's dynamic batch loading (arXiv 2310.06694, algorithm 1), as in the paper and as in its code, which differ.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How weights w follow the gaps g = loss - reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `w exp(rate max(g, 0))`, normalised: algorithm 1 of the paper.
    #[default]
    Paper,
    /// `w exp(rate g)`, normalised, then mixed with equal shares (`smoothing`): the released code's default.
    Doremi,
    /// `exp(w + rate g)`, normalised and mixed: the released code's other rule.
    Bandit,
    /// Weights stay.
    Constant,
}

/// Rule and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WeightConfig {
    /// How weights follow the gaps.
    pub rule: Rule,
    /// Factor of the gaps.
    pub rate: f64,
    /// Share of equal weights that `doremi` and `bandit` mix in.
    pub smoothing: f64,
    /// No domain gets less, as a share.
    pub floor: f64,
    /// No domain gets more.
    pub cap: f64,
}

impl Default for WeightConfig {
    fn default() -> Self {
        WeightConfig { rule: Rule::Paper, rate: 1.0, smoothing: 1e-4, floor: 0.0, cap: 1.0 }
    }
}

impl WeightConfig {
    /// Everything that is wrong for so many domains, as `key: expected .., found ..`.
    pub fn problems(&self, domains: usize) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, key: &str, expected: String, found: f64| {
            if !holds {
                problems.push(format!("{key}: expected {expected}, found {found}"));
            }
        };
        let equal = 1.0 / domains.max(1) as f64;
        require(self.rate.is_finite() && self.rate >= 0.0, "rate", "a number from 0 on".into(), self.rate);
        require((0.0..=1.0).contains(&self.smoothing), "smoothing", "a number from 0 to 1".into(), self.smoothing);
        let domains = domains.max(1);
        require(
            (0.0..=equal).contains(&self.floor),
            "floor",
            format!("0 to 1/{domains} of {domains} domains"),
            self.floor,
        );
        require((equal..=1.0).contains(&self.cap), "cap", format!("1/{domains} to 1 of {domains} domains"), self.cap);
        problems
    }

    /// The next weights from the present ones and the gaps; they sum to 1 and keep to the bounds.
    ///
    /// # Errors
    /// [`Error::Config`] for other numbers of domains, or a gap that is not finite.
    pub fn update(&self, weights: &[f64], gaps: &[f64]) -> Result<Vec<f64>> {
        if weights.len() != gaps.len() || gaps.iter().any(|g| !g.is_finite()) {
            let what = format!("expected {} finite gaps, found {gaps:?}", weights.len());
            return Err(Error::config("losses", what));
        }
        let exponents: Vec<f64> = weights
            .iter()
            .zip(gaps)
            .map(|(w, g)| match self.rule {
                Rule::Paper => w.ln() + self.rate * g.max(0.0),
                Rule::Doremi => w.ln() + self.rate * g,
                Rule::Bandit => w + self.rate * g,
                Rule::Constant => w.ln(),
            })
            .collect();
        let highest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut next = normalised(exponents.iter().map(|x| (x - highest).exp()).collect());
        if matches!(self.rule, Rule::Doremi | Rule::Bandit) {
            let equal = self.smoothing / next.len().max(1) as f64;
            next.iter_mut().for_each(|w| *w = (1.0 - self.smoothing) * *w + equal);
        }
        Ok(self.bounded(normalised(next)))
    }

    /// Moves weights beyond a bound onto it, and gives or takes the rest in proportion, until all keep to the bounds.
    fn bounded(&self, mut weights: Vec<f64>) -> Vec<f64> {
        let mut fixed = vec![false; weights.len()];
        // Each round fixes one weight or more, and bounds of one side alone: what that costs the others shows in the next round.
        for _ in 0..weights.len() {
            let excess = |bound: f64, sign: f64| -> f64 {
                weights.iter().zip(&fixed).filter(|(_, f)| !**f).map(|(w, _)| (sign * (w - bound)).max(0.0)).sum()
            };
            let (over, under) = (excess(self.cap, 1.0), excess(self.floor, -1.0));
            if over.max(under) <= 1e-15 {
                break;
            }
            let (bound, sign) = if over >= under { (self.cap, 1.0) } else { (self.floor, -1.0) };
            for (w, f) in weights.iter_mut().zip(&mut fixed).filter(|(w, f)| !**f && sign * (**w - bound) >= 0.0) {
                (*w, *f) = (bound, true);
            }
            let held: f64 = weights.iter().zip(&fixed).filter(|(_, f)| **f).map(|(w, _)| w).sum();
            let free: f64 = weights.iter().zip(&fixed).filter(|(_, f)| !**f).map(|(w, _)| w).sum();
            let share = if free > 0.0 { (1.0 - held) / free } else { 1.0 };
            weights.iter_mut().zip(&fixed).filter(|(_, f)| !**f).for_each(|(w, _)| *w *= share);
        }
        weights
    }
}

/// Shares of the sum.
pub(super) fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_keep_to_their_bounds_and_sum_to_one(
            weights in prop::collection::vec(0.01..1.0_f64, 5),
            gaps in prop::collection::vec(-3.0..3.0_f64, 5),
            floor in 0.0..0.2_f64,
            cap in 0.2..1.0_f64,
            rule in prop::sample::select(vec![Rule::Paper, Rule::Doremi, Rule::Bandit, Rule::Constant]),
        ) {
            let config = WeightConfig { rule, floor, cap, ..WeightConfig::default() };
            prop_assert!(config.problems(5).is_empty());
            let next = config.update(&normalised(weights), &gaps).unwrap();
            prop_assert!((next.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{next:?}");
            prop_assert!(next.iter().all(|w| *w >= floor - 1e-9 && *w <= cap + 1e-9), "{next:?}");
        }
    }

    #[test]
    fn a_larger_gap_gets_more_and_equal_gaps_change_nothing() {
        let weights = [0.5, 0.3, 0.2];
        for rule in [Rule::Paper, Rule::Doremi] {
            let config = WeightConfig { rule, smoothing: 0.0, ..WeightConfig::default() };
            let next = config.update(&weights, &[0.4, 0.4, 0.4]).unwrap();
            assert!(next.iter().zip(weights).all(|(a, b)| (a - b).abs() < 1e-12));
            let next = config.update(&weights, &[0.0, 0.0, 1.0]).unwrap();
            assert!(next[2] > 0.2 && next[0] < 0.5);
        }
        // Below its reference a domain loses weight by the code's rule alone.
        let gaps = [0.0, -1.0, 0.0];
        let paper = WeightConfig::default().update(&weights, &gaps).unwrap();
        assert!((paper[1] - 0.3).abs() < 1e-12);
        let code = WeightConfig { rule: Rule::Doremi, ..WeightConfig::default() };
        assert!(code.update(&weights, &gaps).unwrap()[1] < 0.2);
        assert!(code.update(&weights, &[0.0, f64::NAN, 0.0]).is_err());
        let bad = WeightConfig { floor: 0.5, cap: 0.2, rate: -1.0, smoothing: 2.0, ..code };
        assert_eq!(bad.problems(3).len(), 4);
    }
}
