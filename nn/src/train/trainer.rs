//! The training loop: batches of accumulated gradients, clipping, Adam, schedule, averaged weights, validation,
//! checkpoints, metrics, resume.
//!
//! On the CPU a run is a function of the seed: stopped after any step and resumed, it gives the same weights and the
//! same `metrics.jsonl` to the bit. Schedules and limits by time are the exception.
//! A model of thousands of operations needs [`super::on_large_stack`] around the loop.

mod config;
mod frozen;
mod run_folder;
mod state;
mod task;

pub use config::{NonFinitePolicy, TrainConfig};
pub use task::{StepContext, Task, Validation};

use super::observer::{Observer, Start, Step, ValidationEvent};
use super::sampler::Sampler;
use crate::optim::{AdamW, Ema, Gradients, Plateau, PlateauAction, Schedule, ScheduleKind, ScheduleUnit};
use crate::rng::Streams;
use crate::{Error, Parameters, Result};
use candle_core::Tensor;
use frozen::Frozen;
use run_folder::RunFolder;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The best validation so far.
#[derive(Clone, Debug)]
pub struct Best {
    /// Optimiser steps done then.
    pub step: u64,
    /// Validation loss.
    pub loss: f64,
    /// The weights that were validated, by name.
    pub weights: BTreeMap<String, Tensor>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Optimiser steps done.
    pub step: u64,
    /// Whole epochs done.
    pub epochs: u64,
    /// Seconds, earlier parts of a resumed run included.
    pub seconds: f64,
    /// Loss of the last step of this call.
    pub last_loss: Option<f64>,
    /// Step and loss of the best validation.
    pub best: Option<(u64, f64)>,
}

/// A run: the parameters and everything that moves them.
pub struct Trainer {
    parameters: Parameters,
    streams: Streams,
    config: TrainConfig,
    optimizer: AdamW,
    plateau: Option<Plateau>,
    ema: Option<Ema>,
    best: Option<Best>,
    frozen: Option<Frozen>,
    run: Option<RunFolder>,
    step: u64,
    epoch: u64,
    cursor: usize,
    samples: Option<usize>,
    seconds: f64,
    skipped_in_a_row: u64,
    last_validation: Option<u64>,
    last_checkpoint: Option<u64>,
    /// Of a resumed run, until the task has it.
    task_state: Option<serde_json::Value>,
}

/// Skipped updates in a row after which a run ends in an error.
const MOST_SKIPPED: u64 = 10;

impl Trainer {
    /// A run at its start. `run` is the run folder (none: nothing is written), `config_text` the resolved
    /// configuration that goes into each checkpoint.
    ///
    /// # Errors
    /// [`Error::Config`] for values that do not fit.
    pub fn new(
        parameters: &Parameters,
        streams: Streams,
        config: TrainConfig,
        run: Option<&Path>,
        config_text: &str,
    ) -> Result<Self> {
        config.validate()?;
        let optimizer = AdamW::new(parameters, config.optimizer.clone())?;
        let plateau = (config.schedule.kind == ScheduleKind::Plateau).then(|| {
            Plateau::new(config.schedule.plateau, config.optimizer.learning_rate, config.schedule.minimum_rate)
        });
        let ema = config.ema.map(|ema| Ema::new(parameters, ema)).transpose()?;
        Ok(Trainer {
            parameters: parameters.clone(),
            streams,
            optimizer,
            plateau,
            ema,
            best: None,
            frozen: None,
            run: run.map(|folder| RunFolder::new(folder, config_text)),
            step: 0,
            epoch: 0,
            cursor: 0,
            samples: None,
            seconds: 0.0,
            skipped_in_a_row: 0,
            last_validation: None,
            last_checkpoint: None,
            task_state: None,
            config,
        })
    }

    /// Optimiser steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The best validation so far, with its weights.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// The averaged weights.
    pub fn ema(&self) -> Option<&Ema> {
        self.ema.as_ref()
    }

    /// Puts the weights of the best validation into the parameters; false when there was none.
    ///
    /// # Errors
    /// Those of candle.
    pub fn restore_best(&self) -> Result<bool> {
        match &self.best {
            Some(best) => self.parameters.load(&best.weights).map(|()| true),
            None => Ok(false),
        }
    }

    /// Whether [`Self::run`] can begin with so many samples; writes nothing. The schedule, and the steps in all if they are known.
    ///
    /// # Errors
    /// [`Error::Config`] for no sample, another number than the run was begun with, a schedule that does not fit, or a run
    /// folder with later checkpoints.
    pub fn check(&self, samples: usize) -> Result<(Schedule, Option<u64>)> {
        if samples == 0 {
            return Err(Error::Config { key: "training data".into(), what: "expected samples, found none".into() });
        }
        if let Some(expected) = self.samples.filter(|&n| n != samples) {
            return Err(Error::Config {
                key: "training data".into(),
                what: format!("the run was begun with {expected} samples, found {samples}"),
            });
        }
        let total = self.config.total_steps(samples);
        let rate = self.config.optimizer.learning_rate;
        let schedule = Schedule::new(self.config.schedule, rate, total.unwrap_or_default())?;
        self.run.as_ref().map_or(Ok(()), |run| run.check(self.step))?;
        Ok((schedule, total))
    }

    /// Trains until a limit of the configuration is reached, or `stop` becomes true.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after `stop` (a checkpoint is written first); [`Error::NonFinite`] for a loss, gradient
    /// or validation that is not finite (the last checkpoint stays); [`Error::Config`] when the run folder holds
    /// checkpoints of later steps (a finished run, or one that was not resumed); those of the task and of writing.
    pub fn run(&mut self, task: &mut dyn Task, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Summary> {
        let samples = task.samples();
        let (schedule, total) = self.check(samples)?;
        self.samples = Some(samples);
        if let Some(state) = self.task_state.take() {
            task.restore(&state)?;
        }
        let mut sampler = Sampler::new(self.streams, samples, self.epoch, self.cursor);
        self.frozen = Some(Frozen::new(&self.parameters, &self.optimizer)?);
        if let Some(run) = &mut self.run {
            run.open(self.step)?;
        }
        observer.on_start(Start {
            step: self.step,
            total_steps: total,
            max_seconds: self.config.max_seconds,
            parameters: self.parameters.count(),
        });

        let before = self.seconds;
        let clock = Instant::now();
        let mut last_loss = None;
        while !self.finished(total) {
            let fraction = self.config.max_seconds.map(|budget| self.seconds / budget);
            let rate = self.rate(&schedule, fraction);
            if self.config.stop_below_rate.is_some_and(|lowest| self.plateau.is_some() && rate < lowest) {
                observer.on_message(&format!("learning rate {rate:e} is below the limit: done"));
                break;
            }
            let epochs_before = sampler.finished_epochs();
            last_loss = self.one_step(task, &mut sampler, rate, observer)?.or(last_loss);
            (self.epoch, self.cursor) = (sampler.epoch(), sampler.cursor());
            self.seconds = before + clock.elapsed().as_secs_f64();

            let epoch_ended = sampler.finished_epochs() > epochs_before;
            let last = self.finished(total);
            if last || due(self.config.validate_every, self.step, epoch_ended) {
                self.validate(task, observer)?;
                self.seconds = before + clock.elapsed().as_secs_f64();
            }
            let stopped = stop.load(Ordering::Relaxed);
            if last || stopped || due(self.config.checkpoint_every, self.step, epoch_ended) {
                self.checkpoint(task, observer)?;
            }
            if stopped && !last {
                return Err(Error::Interrupted { step: self.step });
            }
        }
        // Time may have run out during the bookkeeping of the last step.
        if self.step > 0 && self.last_validation != Some(self.step) {
            self.validate(task, observer)?;
            self.last_checkpoint = None;
        }
        if self.last_checkpoint != Some(self.step) {
            self.checkpoint(task, observer)?;
        }
        self.frozen.iter().try_for_each(Frozen::check)?;
        if let Some(run) = &self.run {
            run.finish()?;
        }
        observer.on_end(self.step, self.seconds);
        Ok(Summary {
            step: self.step,
            epochs: sampler.finished_epochs(),
            seconds: self.seconds,
            last_loss,
            best: self.best.as_ref().map(|best| (best.step, best.loss)),
        })
    }

    fn finished(&self, total: Option<u64>) -> bool {
        total.is_some_and(|total| self.step >= total)
            || self.config.max_seconds.is_some_and(|limit| self.seconds >= limit)
    }

    fn rate(&self, schedule: &Schedule, fraction: Option<f64>) -> f64 {
        let pure = match (schedule.config().by, fraction) {
            (ScheduleUnit::Time, Some(fraction)) => schedule.learning_rate_at(fraction),
            _ => schedule.learning_rate(self.step),
        };
        let full = self.config.optimizer.learning_rate;
        match &self.plateau {
            // The warm-up of the schedule times what validation left of the full rate.
            Some(plateau) if full > 0.0 => pure * (plateau.rate() / full),
            _ => pure,
        }
    }

    /// One update; the loss, or `None` when the update was skipped.
    fn one_step(
        &mut self,
        task: &mut dyn Task,
        sampler: &mut Sampler,
        learning_rate: f64,
        observer: &mut dyn Observer,
    ) -> Result<Option<f64>> {
        let clock = Instant::now();
        let (step, batch) = (self.step + 1, self.config.batch);
        let (mut loss, mut size, mut gradients) = (0.0, 0, Gradients::new());
        let (mut fault, mut total_weight, mut samples) = (None, 0.0, Vec::new());
        for micro_batch in 0..batch {
            let Some(sample) = sampler.next_sample() else { break };
            let streams = self.streams;
            let context = StepContext { step, micro_batch, epoch: sampler.epoch(), streams };
            task.prepare(sample, &context);
            if let Some((next, epoch)) = sampler.peek() {
                let (step, micro_batch) = if micro_batch + 1 < batch { (step, micro_batch + 1) } else { (step + 1, 0) };
                task.prepare(next, &StepContext { step, micro_batch, epoch, streams });
            }
            let (value, mut part) = task.loss_and_gradients(sample, &context, &self.parameters)?;
            let weight = task.weight(sample);
            if !value.is_finite() {
                fault.get_or_insert(Error::NonFinite { what: format!("loss of sample {sample}"), step });
            } else if fault.is_none() {
                loss += weight * value;
                if weight != 1.0 {
                    part.scale(weight)?;
                }
                gradients.accumulate(&part)?;
            }
            (size, total_weight) = (size + task.size(sample), total_weight + weight);
            samples.push(sample);
        }
        let total_weight = if total_weight > 0.0 { total_weight } else { 1.0 };
        loss /= total_weight;
        let mut line = json!({"step": step, "epoch": sampler.epoch(), "loss": loss, "learning_rate": learning_rate});
        let report = match fault {
            Some(fault) => Err(fault),
            None => {
                if total_weight != 1.0 {
                    gradients.scale(1.0 / total_weight)?;
                }
                self.optimizer.step(&gradients, learning_rate).map_err(|error| match error {
                    Error::NonFinite { what, .. } => Error::NonFinite { what, step },
                    other => other,
                })
            }
        };
        let report = match report {
            Ok(report) => Some(report),
            Err(fault @ Error::NonFinite { .. })
                if self.config.non_finite == NonFinitePolicy::Skip && self.skipped_in_a_row < MOST_SKIPPED =>
            {
                observer.on_message(&format!("{fault}; update skipped"));
                None
            }
            Err(error) => {
                return Err(match (error, &self.run) {
                    (Error::NonFinite { what, step: at }, Some(run)) => {
                        let path = run.save_fault(step, &what, &samples, task)?;
                        Error::NonFinite { what: format!("{what} (samples in {})", path.display()), step: at }
                    }
                    (error, _) => error,
                });
            }
        };
        self.step = step;
        let seconds = clock.elapsed().as_secs_f64();
        let Some(report) = report else {
            self.skipped_in_a_row += 1;
            line["loss"] = serde_json::Value::Null;
            line["skipped"] = true.into();
            self.log(&line, seconds)?;
            return Ok(None);
        };
        self.skipped_in_a_row = 0;
        if let Some(ema) = &mut self.ema {
            ema.update()?;
        }
        line["gradient_norm"] = report.gradient_norm.into();
        self.log(&line, seconds)?;
        let throughput = size as f64 / seconds.max(f64::MIN_POSITIVE);
        observer.on_step(Step { step, loss, learning_rate, gradient_norm: report.gradient_norm, throughput });
        Ok(Some(loss))
    }

    fn log(&mut self, line: &serde_json::Value, seconds: f64) -> Result<()> {
        match &mut self.run {
            Some(run) => run.log(line, seconds),
            None => Ok(()),
        }
    }

    /// Validates the averaged weights where there are some, else the weights.
    fn validate(&mut self, task: &mut dyn Task, observer: &mut dyn Observer) -> Result<()> {
        self.last_validation = Some(self.step);
        let clock = Instant::now();
        let (parameters, best) = (&self.parameters, self.best.as_ref().map(|best| best.loss));
        let mut measure = || -> Result<_> {
            let Some(result) = task.validate()? else { return Ok(None) };
            let is_best = result.loss.is_finite() && best.is_none_or(|best| result.loss < best);
            Ok(Some((result, if is_best { Some(parameters.snapshot()?) } else { None })))
        };
        let measured = match &mut self.ema {
            Some(ema) => ema.with_average(measure)?,
            None => measure()?,
        };
        let Some((result, weights)) = measured else { return Ok(()) };
        let (step, loss) = (self.step, result.loss);
        if !loss.is_finite() && self.config.non_finite == NonFinitePolicy::Stop {
            return Err(Error::NonFinite { what: "validation loss".into(), step });
        }
        let is_best = weights.is_some();
        if let Some(weights) = weights {
            self.best = Some(Best { step, loss, weights });
        }
        let mut line = json!({"step": step, "epoch": self.epoch, "validation": loss, "best": is_best});
        for (name, &value) in &result.metrics {
            line[name.as_str()] = value.into();
        }
        self.log(&line, clock.elapsed().as_secs_f64())?;
        observer.on_validation(ValidationEvent { step, loss, metrics: &result.metrics, best: is_best });
        match self.plateau.as_mut().map(|plateau| (plateau.observe(loss), plateau.rate())) {
            Some((PlateauAction::Reduce, rate)) => {
                observer.on_message(&format!("validation stopped improving: learning rate {rate:e}"));
            }
            Some((PlateauAction::Revert, rate)) => {
                observer.on_message(&format!("validation ran away: back to the best weights, learning rate {rate:e}"));
                self.restore_best()?;
                // Moments and averages belong to the weights that were left.
                self.optimizer.reset()?;
                if let Some(ema) = &mut self.ema {
                    ema.restart()?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn checkpoint(&mut self, task: &dyn Task, observer: &mut dyn Observer) -> Result<()> {
        self.frozen.iter().try_for_each(Frozen::check)?;
        let contents = match &self.run {
            Some(_) => self.contents(task.state())?,
            None => return Ok(()),
        };
        let best = self.best.as_ref().map(|best| best.step);
        if let Some(run) = &mut self.run {
            let path: PathBuf = run.save(&contents, self.config.keep_last, best)?;
            self.last_checkpoint = Some(self.step);
            observer.on_checkpoint(self.step, &path);
        }
        Ok(())
    }
}

/// Whether something that happens every `every` steps (0: at the end of each epoch) happens now.
fn due(every: u64, step: u64, epoch_ended: bool) -> bool {
    if every == 0 { epoch_ended } else { step.is_multiple_of(every) }
}
