//! The training section of a configuration.

use crate::optim::{AdamConfig, EmaConfig, Schedule, ScheduleConfig, ScheduleUnit};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// What happens at a loss or gradient that is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonFinitePolicy {
    /// The run ends in an error.
    #[default]
    Stop,
    /// The update is left out; ten in a row end the run.
    Skip,
}

/// Length, batches, optimiser and bookkeeping of a run. It ends at the first of `steps`, `epochs` and `max_seconds`
/// that is reached; at least one must be given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: Option<u64>,
    /// Passes over the training samples.
    pub epochs: Option<u64>,
    /// Wall-clock seconds, validation included. Where it ends the run, the result is not bit-reproducible.
    pub max_seconds: Option<f64>,
    /// Samples whose gradients are averaged into one step.
    pub batch: u64,
    /// Validate every so many steps; 0: at the end of each epoch. Always at the end.
    pub validate_every: u64,
    /// Save every so many steps; 0: at the end of each epoch. Always at the end.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept; the one of the best validation is kept besides.
    pub keep_last: usize,
    /// What happens at a loss or gradient that is not finite.
    pub non_finite: NonFinitePolicy,
    /// With `schedule.kind = "plateau"`: the run ends when the rate falls below.
    pub stop_below_rate: Option<f64>,
    /// Adam.
    pub optimizer: AdamConfig,
    /// Learning rate over the run.
    pub schedule: ScheduleConfig,
    /// Averaged weights; validation and the best weights are theirs then.
    pub ema: Option<EmaConfig>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            steps: None,
            epochs: None,
            max_seconds: None,
            batch: 1,
            validate_every: 0,
            checkpoint_every: 0,
            keep_last: 2,
            non_finite: NonFinitePolicy::Stop,
            stop_below_rate: None,
            optimizer: AdamConfig::default(),
            schedule: ScheduleConfig::default(),
            ema: None,
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// The first of [`Self::problems`].
    pub fn validate(&self) -> Result<()> {
        self.problems().into_iter().next().map_or(Ok(()), Err)
    }

    /// An [`Error::Config`] for every value out of range; of the optimiser and the schedule the first of each.
    pub fn problems(&self) -> Vec<Error> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, what: String| problems.push(Error::Config { key: key.into(), what });
        if self.steps.is_none() && self.epochs.is_none() && self.max_seconds.is_none() {
            wrong("steps", "expected one of steps, epochs and max_seconds, found none".into());
        }
        let counts = [("steps", self.steps), ("epochs", self.epochs), ("batch", Some(self.batch))];
        for (key, number) in counts.into_iter().chain([("keep_last", Some(self.keep_last as u64))]) {
            if number == Some(0) {
                wrong(key, "expected at least 1, found 0".into());
            }
        }
        if let Some(seconds) = self.max_seconds.filter(|s| !(s.is_finite() && *s > 0.0)) {
            wrong("max_seconds", format!("expected a positive number, found {seconds}"));
        }
        if self.schedule.by == ScheduleUnit::Time && self.max_seconds.is_none() {
            wrong("schedule.by", "\"time\" needs max_seconds, found none".into());
        }
        let optimizer = self.optimizer.validate().err();
        // With epochs the data says how many steps there are, and no number would be too small. A schedule of a rate that is
        // wrong cannot be judged.
        let rate = self.optimizer.learning_rate;
        let steps = self.steps.filter(|_| self.epochs.is_none()).filter(|steps| *steps > 0);
        let steps = steps.or(self.epochs.map(|_| u64::MAX));
        // Seconds alone tell of no steps.
        let alone = self.max_seconds.filter(|_| self.steps.is_none() && self.schedule.by == ScheduleUnit::Steps);
        let steps = steps.or(alone.map(|_| 0)).filter(|_| rate.is_finite() && rate >= 0.0);
        let schedule = steps.and_then(|steps| Schedule::new(self.schedule, rate, steps).err());
        problems.into_iter().chain(optimizer).chain(schedule).collect()
    }

    /// Planned steps for this many samples, if steps or epochs limit the run.
    pub fn total_steps(&self, samples: usize) -> Option<u64> {
        let by_epochs = self.epochs.map(|epochs| (epochs * samples as u64).div_ceil(self.batch));
        match (self.steps, by_epochs) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::ScheduleKind;

    #[test]
    fn length_is_the_shortest_limit() {
        let config = TrainConfig { epochs: Some(3), batch: 2, ..TrainConfig::default() };
        assert_eq!(config.total_steps(5), Some(8));
        assert_eq!(TrainConfig { steps: Some(4), ..config }.total_steps(5), Some(4));
        assert_eq!(TrainConfig::default().total_steps(5), None);
        let many = TrainConfig { steps: Some(0), batch: 0, keep_last: 0, ..TrainConfig::default() };
        let told: Vec<String> = many.problems().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["steps", "batch", "keep_last"].map(|key| format!("{key}: expected at least 1, found 0")));
        assert!(TrainConfig::default().validate().is_err());
        let schedule = ScheduleConfig { warmup_fraction: 2.0, ..ScheduleConfig::default() };
        let late = TrainConfig { epochs: Some(3), schedule, ..TrainConfig::default() };
        assert!(late.validate().unwrap_err().to_string().starts_with("schedule.warmup_fraction"));
        // Seconds alone tell of no steps to go by.
        let schedule = ScheduleConfig { kind: ScheduleKind::Cosine, ..ScheduleConfig::default() };
        let timed = TrainConfig { max_seconds: Some(9.0), schedule, ..TrainConfig::default() };
        assert!(timed.validate().unwrap_err().to_string().starts_with("schedule.kind"));
        let schedule = ScheduleConfig { by: ScheduleUnit::Time, ..schedule };
        TrainConfig { schedule, ..timed }.validate().unwrap();
    }

    #[test]
    fn reads_toml_and_refuses_unknown_keys() {
        let text = "epochs = 3\nema = { decay = 0.99 }\n[optimizer]\nclip = { norm = 1.0 }\n[schedule]\nkind = \"cosine\"\n\
                    [[optimizer.groups]]\npattern = \"stage1\"\nfrozen = true";
        let config: TrainConfig = toml::from_str(text).unwrap();
        assert!(config.optimizer.groups[0].frozen);
        assert_eq!(toml::from_str::<TrainConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        assert!(toml::from_str::<TrainConfig>("epoch = 3").is_err());
    }
}
