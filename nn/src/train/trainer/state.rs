//! A trainer's state in a checkpoint, and back.

use super::{Best, Trainer};
use crate::optim::Plateau;
use crate::train::checkpoint::{self, Checkpoint, in_optimizer_file, state_error};
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// `state.json`. Random streams are functions of (seed, name, step), so the seed is their whole state.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    step: u64,
    epoch: u64,
    cursor: usize,
    samples: Option<usize>,
    seed: u64,
    seconds: f64,
    skipped_in_a_row: u64,
    last_validation: Option<u64>,
    plateau: Option<Plateau>,
    best_step: Option<u64>,
    best_loss: Option<f64>,
    /// What the task remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<serde_json::Value>,
}

impl Trainer {
    /// The whole state: weights, `adam.*`, `ema.*`, `best.*`, and `state.json`.
    pub(super) fn contents(&self, task: Option<serde_json::Value>) -> Result<Checkpoint> {
        let mut optimizer = BTreeMap::new();
        let mut put = |prefix: &str, tensors: BTreeMap<String, Tensor>| {
            optimizer.extend(tensors.into_iter().map(|(name, t)| (format!("{prefix}.{name}"), t)));
        };
        put("adam", self.optimizer.state_tensors()?);
        if let Some(ema) = &self.ema {
            put("ema", ema.state_tensors()?);
        }
        if let Some(best) = &self.best {
            put("best", best.weights.clone());
        }
        let state = State {
            step: self.step,
            epoch: self.epoch,
            cursor: self.cursor,
            samples: self.samples,
            seed: self.streams.seed(),
            seconds: self.seconds,
            skipped_in_a_row: self.skipped_in_a_row,
            last_validation: self.last_validation,
            plateau: self.plateau.clone(),
            best_step: self.best.as_ref().map(|best| best.step),
            best_loss: self.best.as_ref().map(|best| best.loss),
            task,
        };
        let state = serde_json::to_value(state)
            .map_err(|e| Error::Config { key: "checkpoint state".into(), what: e.to_string() })?;
        let config = self.run.as_ref().map(|run| run.config_text.clone()).unwrap_or_default();
        Ok(Checkpoint { step: self.step, model: self.parameters.snapshot()?, optimizer, state, config })
    }

    /// Begins where another run ended: takes its weights and, with `keep_optimizer`, the moments of its Adam; steps, schedule
    /// and the place in the data begin anew.
    ///
    /// # Errors
    /// Those of [`checkpoint::load`]; [`Error::Format`] for tensors that do not fit the model. The weights may be changed
    /// after an error.
    pub fn start_from(&mut self, folder: &Path, keep_optimizer: bool) -> Result<()> {
        let saved = checkpoint::load(folder)?;
        if keep_optimizer {
            // Of parameters that this run keeps as they are the moments are of no use.
            let mut state = saved.optimizer_part("adam");
            let moved: std::collections::BTreeSet<&str> = self.optimizer.names().collect();
            state.retain(|name, _| {
                let parameter = name.split_once('.').map_or("", |(_, parameter)| parameter);
                moved.contains(parameter) || self.parameters.get(parameter).is_none()
            });
            self.optimizer.load_state(&state).map_err(|e| in_optimizer_file(folder, e))?;
        }
        saved.restore(folder, &self.parameters)?;
        if let Some(ema) = &mut self.ema {
            ema.restart()?;
        }
        Ok(())
    }

    /// Takes over the state of a checkpoint folder; the next [`Trainer::run`] goes on from there. Call it on a new
    /// trainer with the same configuration and seed.
    ///
    /// # Errors
    /// Those of [`checkpoint::load`]; [`Error::Format`] for tensors that do not fit the model, another seed, or
    /// settings (averaging, plateau) that the checkpoint does not have. The weights may be changed after an error.
    pub fn resume(&mut self, folder: &Path) -> Result<()> {
        let saved = checkpoint::load(folder)?;
        let state: State =
            serde_json::from_value(saved.state.clone()).map_err(|e| state_error(folder, e.to_string()))?;
        if state.seed != self.streams.seed() {
            let what = format!("seed: expected {}, found {}", self.streams.seed(), state.seed);
            return Err(state_error(folder, what));
        }
        if state.plateau.is_some() != self.plateau.is_some() {
            let what = |some: bool| if some { "a plateau schedule" } else { "no plateau schedule" };
            let (expected, found) = (what(self.plateau.is_some()), what(state.plateau.is_some()));
            return Err(state_error(folder, format!("plateau: expected {expected}, found {found}")));
        }
        let unknown: Vec<&String> = saved
            .optimizer
            .keys()
            .filter(|name| !["adam.", "ema.", "best."].iter().any(|prefix| name.starts_with(prefix)))
            .collect();
        if !unknown.is_empty() {
            let what = format!("expected adam.*, ema.* and best.*, found {unknown:?}");
            return Err(in_optimizer_file(folder, Error::Config { key: String::new(), what }));
        }
        let averaged = saved.optimizer_part("ema");
        let best = saved.optimizer_part("best");
        self.optimizer.load_state(&saved.optimizer_part("adam")).map_err(|e| in_optimizer_file(folder, e))?;
        match &mut self.ema {
            Some(ema) => ema.load_state(&averaged).map_err(|e| in_optimizer_file(folder, e))?,
            None if averaged.is_empty() => {}
            None => return Err(state_error(folder, "ema: expected no averaged weights, found some".into())),
        }
        self.best = match (state.best_step, state.best_loss) {
            (Some(step), Some(loss)) => {
                // Loading them first checks names and shapes; the present weights follow below.
                self.parameters.load(&best).map_err(|e| in_optimizer_file(folder, e))?;
                Some(Best { step, loss, weights: self.parameters.snapshot()? })
            }
            _ => None,
        };
        saved.restore(folder, &self.parameters)?;
        (self.step, self.epoch, self.cursor) = (state.step, state.epoch, state.cursor);
        (self.samples, self.seconds) = (state.samples, state.seconds);
        (self.skipped_in_a_row, self.plateau) = (state.skipped_in_a_row, state.plateau);
        (self.last_validation, self.last_checkpoint) = (state.last_validation, Some(state.step));
        self.task_state = state.task;
        Ok(())
    }
}
