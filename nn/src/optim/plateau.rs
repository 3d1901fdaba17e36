//! Learning rate lowered when validation stops improving, and the return to the best weights when it runs away.
//!
//! Source: `torch.optim.lr_scheduler.ReduceLROnPlateau` (mode "min", relative threshold; documented behaviour), fed
//! with an exponential average of the validation loss as DeepH-E3 does, and DeepH-E3's revert rule: validation above
//! twice its best for 20 epochs in a row goes back to the best weights at 0.8 times the rate.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Settings; one count is one validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlateauConfig {
    /// Factor of the rate at a reduction.
    pub factor: f64,
    /// Validations without improvement that are borne.
    pub patience: u64,
    /// Validations after a reduction in which none is counted.
    pub cooldown: u64,
    /// An improvement is a value below best times (1 - threshold).
    pub threshold: f64,
    /// Weight of the newest value in the averaged loss; 1 takes the loss itself.
    pub average: f64,
    /// Validations in a row above `revert_above` times the best before the best weights return; 0: never.
    pub revert_after: u64,
    /// What counts as running away.
    pub revert_above: f64,
    /// Factor of the rate at a return.
    pub revert_factor: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        PlateauConfig {
            factor: 0.5,
            patience: 120,
            cooldown: 40,
            threshold: 0.05,
            average: 0.1,
            revert_after: 20,
            revert_above: 2.0,
            revert_factor: 0.8,
        }
    }
}

impl PlateauConfig {
    /// # Errors
    /// [`Error::Config`] for the first value out of range.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            ("factor", self.factor, self.factor > 0.0 && self.factor < 1.0, "a number in (0, 1)"),
            ("threshold", self.threshold, (0.0..1.0).contains(&self.threshold), "a number in [0, 1)"),
            ("average", self.average, self.average > 0.0 && self.average <= 1.0, "a number in (0, 1]"),
            ("revert_above", self.revert_above, self.revert_above >= 1.0, "a number from 1 on"),
            (
                "revert_factor",
                self.revert_factor,
                self.revert_factor > 0.0 && self.revert_factor <= 1.0,
                "a number in (0, 1]",
            ),
        ];
        for (key, value, fits, what) in checks {
            if !fits {
                return Err(Error::Config {
                    key: format!("schedule.plateau.{key}"),
                    what: format!("expected {what}, found {value}"),
                });
            }
        }
        Ok(())
    }
}

/// What a validation result leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlateauAction {
    /// Go on.
    Keep,
    /// The rate was lowered.
    Reduce,
    /// Put the best weights back; the rate was lowered.
    Revert,
}

/// The schedule's memory; saved with a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    config: PlateauConfig,
    minimum_rate: f64,
    rate: f64,
    averaged: Option<f64>,
    best_averaged: Option<f64>,
    best: Option<f64>,
    bad: u64,
    cooldown_left: u64,
    runaway: u64,
}

/// A smaller change of the rate than this is not made (torch's `eps`).
const SMALLEST_CHANGE: f64 = 1e-8;

impl Plateau {
    /// Starts at the full rate.
    pub fn new(config: PlateauConfig, full_rate: f64, minimum_rate: f64) -> Self {
        Plateau {
            config,
            minimum_rate,
            rate: full_rate,
            averaged: None,
            best_averaged: None,
            best: None,
            bad: 0,
            cooldown_left: 0,
            runaway: 0,
        }
    }

    /// The present rate.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes a validation loss in. One that is not finite counts as running away and is not averaged.
    pub fn observe(&mut self, loss: f64) -> PlateauAction {
        let config = self.config;
        let runs_away = match self.best {
            Some(best) => !loss.is_finite() || loss > config.revert_above * best,
            None => !loss.is_finite(),
        };
        if loss.is_finite() {
            self.best = Some(self.best.map_or(loss, |best| best.min(loss)));
        }
        self.runaway = if runs_away { self.runaway + 1 } else { 0 };
        if config.revert_after > 0 && self.runaway >= config.revert_after {
            self.runaway = 0;
            self.bad = 0;
            self.averaged = self.best;
            self.rate = (self.rate * config.revert_factor).max(self.minimum_rate);
            return PlateauAction::Revert;
        }

        let averaged = match self.averaged {
            Some(old) if !loss.is_finite() => old,
            None if !loss.is_finite() => return PlateauAction::Keep,
            Some(old) => config.average * loss + (1.0 - config.average) * old,
            None => loss,
        };
        self.averaged = Some(averaged);
        if self.best_averaged.is_none_or(|best| averaged < best * (1.0 - config.threshold)) {
            self.best_averaged = Some(averaged);
            self.bad = 0;
        } else {
            self.bad += 1;
        }
        if self.cooldown_left > 0 {
            self.cooldown_left -= 1;
            self.bad = 0;
        }
        if self.bad <= config.patience {
            return PlateauAction::Keep;
        }
        self.cooldown_left = config.cooldown;
        self.bad = 0;
        let lowered = (self.rate * config.factor).max(self.minimum_rate);
        if self.rate - lowered <= SMALLEST_CHANGE {
            return PlateauAction::Keep;
        }
        self.rate = lowered;
        PlateauAction::Reduce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torch_like(patience: u64, cooldown: u64) -> Plateau {
        let config = PlateauConfig {
            factor: 0.1,
            patience,
            cooldown,
            threshold: 1e-4,
            average: 1.0,
            revert_after: 0,
            ..PlateauConfig::default()
        };
        Plateau::new(config, 1.0, 0.0)
    }

    // p = torch.nn.Parameter(torch.zeros(1)); o = torch.optim.SGD([p], 1.0)
    // s = torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=2, cooldown=3, threshold=1e-4)
    // for v in [1.0] * 14: s.step(v); print(o.param_groups[0]["lr"])
    // By the documented rule: value 1 sets the best, 2..4 are bad (the third exceeds the patience of 2) -> 0.1 after
    // the 4th; three in cooldown; then three bad ones -> 0.01 after the 10th.
    #[test]
    fn patience_and_cooldown_count_as_in_torch() {
        let mut plateau = torch_like(2, 3);
        let rates: Vec<f64> = (0..14)
            .map(|_| {
                plateau.observe(1.0);
                plateau.rate()
            })
            .collect();
        let expected = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.01];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn threshold_is_relative_and_the_smallest_rate_holds() {
        let mut plateau = torch_like(0, 0);
        plateau.config.threshold = 0.05;
        plateau.minimum_rate = 0.05;
        assert_eq!(plateau.observe(1.0), PlateauAction::Keep);
        assert_eq!(plateau.observe(0.96), PlateauAction::Reduce); // less than 5 % better
        assert_eq!(plateau.observe(0.94), PlateauAction::Keep);
        assert_eq!(plateau.observe(0.94), PlateauAction::Reduce);
        assert_eq!(plateau.rate(), 0.05);
        assert_eq!(plateau.observe(0.94), PlateauAction::Keep);
        assert_eq!(plateau.rate(), 0.05);
    }

    #[test]
    fn running_away_returns_to_the_best() {
        let config = PlateauConfig { revert_after: 3, ..PlateauConfig::default() };
        let mut plateau = Plateau::new(config, 1.0, 0.0);
        let losses = [1.0, 2.5, 2.5, 1.5, 2.1, f64::NAN, 2.1];
        let actions: Vec<_> = losses.iter().map(|&loss| plateau.observe(loss)).collect();
        assert_eq!(actions[..6], [PlateauAction::Keep; 6]);
        assert_eq!(actions[6], PlateauAction::Revert);
        assert!((plateau.rate() - 0.8).abs() < 1e-15);
    }

    #[test]
    fn state_goes_round_to_the_bit() {
        let mut plateau = Plateau::new(PlateauConfig::default(), 2e-3, 3e-5);
        for i in 0..50 {
            plateau.observe(1.0 / (1.0 + f64::from(i)).sqrt());
        }
        let text = serde_json::to_string(&plateau).unwrap();
        assert_eq!(serde_json::from_str::<Plateau>(&text).unwrap(), plateau);
    }
}
