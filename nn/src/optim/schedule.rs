//! Learning rate as a function of progress: constant, linear, cosine, each with a linear warm-up.
//!
//! Convention of Hugging Face `get_scheduler`: `step` counts the updates already done, so the first update of a run
//! with warm-up has rate 0. The plateau schedule also looks at validation: [`super::plateau`].

use super::plateau::PlateauConfig;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Form of the schedule after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// The full rate throughout.
    #[default]
    Constant,
    /// Straight down to the smallest rate.
    Linear,
    /// Half a cosine down to the smallest rate.
    Cosine,
    /// Lowered when validation stops improving.
    Plateau,
}

/// What progress is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleUnit {
    /// Optimiser steps of the planned number: bit-reproducible.
    #[default]
    Steps,
    /// Seconds of the time budget. The rate then depends on the machine's speed: not bit-reproducible.
    Time,
}

/// The schedule section of a configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Form after warm-up.
    pub kind: ScheduleKind,
    /// Unit of progress.
    pub by: ScheduleUnit,
    /// Updates of linear warm-up from 0 (with `by = "steps"`).
    pub warmup_steps: u64,
    /// The same as a share of the whole run, in [0, 1); adds to `warmup_steps`.
    pub warmup_fraction: f64,
    /// Where linear and cosine end, and below which plateau does not go.
    pub minimum_rate: f64,
    /// Settings of `kind = "plateau"`.
    pub plateau: PlateauConfig,
}

/// A schedule with its full rate and length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
    full_rate: f64,
    total_steps: u64,
}

impl Schedule {
    /// A schedule that reaches `full_rate` after warm-up and ends after `total_steps` (0: no end is known, which
    /// `kind = "linear"` and `"cosine"` by steps do not allow).
    ///
    /// # Errors
    /// [`Error::Config`] for values that do not fit each other.
    pub fn new(config: ScheduleConfig, full_rate: f64, total_steps: u64) -> Result<Self> {
        let fail = |key: &str, what: String| Err(Error::Config { key: format!("schedule.{key}"), what });
        if !(0.0..1.0).contains(&config.warmup_fraction) {
            return fail("warmup_fraction", format!("expected a number in [0, 1), found {}", config.warmup_fraction));
        }
        if !(0.0..=full_rate).contains(&config.minimum_rate) {
            let found = config.minimum_rate;
            return fail("minimum_rate", format!("expected a number from 0 to the learning rate, found {found}"));
        }
        if config.kind == ScheduleKind::Plateau {
            config.plateau.validate()?;
        }
        let schedule = Schedule { config, full_rate, total_steps };
        if config.by == ScheduleUnit::Steps {
            let falls = matches!(config.kind, ScheduleKind::Linear | ScheduleKind::Cosine);
            if total_steps == 0 && (falls || config.warmup_fraction > 0.0) {
                return fail("kind", "by steps needs the number of steps (steps or epochs), found none".into());
            }
            if falls && schedule.warmup() >= total_steps as f64 {
                let found = schedule.warmup();
                return fail("warmup_steps", format!("expected fewer than {total_steps} in all, found {found}"));
            }
        } else if config.warmup_steps > 0 {
            return fail("warmup_steps", "by time takes warmup_fraction, found steps".into());
        }
        Ok(schedule)
    }

    /// The configuration.
    pub fn config(&self) -> &ScheduleConfig {
        &self.config
    }

    fn warmup(&self) -> f64 {
        self.config.warmup_steps as f64 + self.config.warmup_fraction * self.total_steps as f64
    }

    /// Rate of the update that follows `step` finished ones (plateau: the rate before any reduction).
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.rate(step as f64, self.warmup(), self.total_steps as f64)
    }

    /// Rate at this share of the time budget, in [0, 1].
    pub fn learning_rate_at(&self, fraction: f64) -> f64 {
        self.rate(fraction.clamp(0.0, 1.0), self.config.warmup_fraction, 1.0)
    }

    fn rate(&self, position: f64, warmup: f64, total: f64) -> f64 {
        if position < warmup {
            return self.full_rate * position / warmup;
        }
        let (low, span) = (self.config.minimum_rate, self.full_rate - self.config.minimum_rate);
        let done = ((position - warmup) / (total - warmup)).clamp(0.0, 1.0);
        match self.config.kind {
            ScheduleKind::Constant | ScheduleKind::Plateau => self.full_rate,
            ScheduleKind::Linear => low + span * (1.0 - done),
            ScheduleKind::Cosine => low + span * 0.5 * (1.0 + (PI * done).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind, warmup_steps: u64, minimum_rate: f64) -> Schedule {
        let config = ScheduleConfig { kind, warmup_steps, minimum_rate, ..ScheduleConfig::default() };
        Schedule::new(config, 2.0, 110).unwrap()
    }

    // transformers: get_cosine_schedule_with_warmup(opt, num_warmup_steps=10, num_training_steps=110) at base 2.0
    //   lr(t) = 2 * t/10 for t < 10, then 2 * 0.5 * (1 + cos(pi * (t-10)/100))
    // get_linear_schedule_with_warmup: 2 * (110-t)/100
    #[test]
    fn closed_forms() {
        let (cosine, linear) = (schedule(ScheduleKind::Cosine, 10, 0.0), schedule(ScheduleKind::Linear, 10, 0.0));
        let constant = schedule(ScheduleKind::Constant, 10, 0.0);
        for t in 0..=110u64 {
            let x = t as f64;
            let warm = 2.0 * x / 10.0;
            let expected = if t < 10 {
                [warm; 3]
            } else {
                [1.0 + (PI * (x - 10.0) / 100.0).cos(), 2.0 * (110.0 - x) / 100.0, 2.0]
            };
            for (schedule, expected) in [cosine, linear, constant].iter().zip(expected) {
                assert!((schedule.learning_rate(t) - expected).abs() < 1e-14, "{schedule:?} at {t}");
            }
        }
        assert_eq!(cosine.learning_rate(10), 2.0);
        assert!(cosine.learning_rate(500) < 1e-15);
    }

    #[test]
    fn smallest_rate_is_the_end_and_time_gives_the_same_curve() {
        let by_steps = schedule(ScheduleKind::Cosine, 0, 0.5);
        assert_eq!(by_steps.learning_rate(0), 2.0);
        assert_eq!(by_steps.learning_rate(110), 0.5);
        let config = ScheduleConfig { by: ScheduleUnit::Time, ..*by_steps.config() };
        let by_time = Schedule::new(config, 2.0, 0).unwrap();
        for t in 0..=110u64 {
            assert!((by_time.learning_rate_at(t as f64 / 110.0) - by_steps.learning_rate(t)).abs() < 1e-14);
        }
    }

    #[test]
    fn unfit_values_are_refused() {
        let base = ScheduleConfig { kind: ScheduleKind::Cosine, ..ScheduleConfig::default() };
        assert!(Schedule::new(base, 1.0, 0).is_err());
        assert!(Schedule::new(ScheduleConfig { warmup_steps: 9, ..base }, 1.0, 9).is_err());
        assert!(Schedule::new(ScheduleConfig { minimum_rate: 2.0, ..base }, 1.0, 9).is_err());
        let error = toml::from_str::<ScheduleConfig>("kind = \"cosine\"\nwarmup = 3").unwrap_err();
        assert!(error.to_string().contains("warmup_steps"), "{error}");
        let read: ScheduleConfig = toml::from_str("kind = \"plateau\"\nplateau.patience = 7").unwrap();
        assert_eq!((read.kind, read.plateau.patience), (ScheduleKind::Plateau, 7));
    }
}
