//! What a trainer asks of the thing that is trained.

use crate::optim::Gradients;
use crate::rng::Streams;
use crate::{Parameters, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;

/// Where in the run a loss is asked for. Draw random numbers from `streams` with these counters, so that a resumed
/// run draws the same.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// Number of the optimiser step that this belongs to, from 1.
    pub step: u64,
    /// Place in the step's batch, from 0.
    pub micro_batch: u64,
    /// Epoch of the sample, from 0.
    pub epoch: u64,
    /// The run's random streams.
    pub streams: Streams,
}

/// Result of a validation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// The figure that is compared (smaller is better).
    pub loss: f64,
    /// Further figures by name; they go to the metrics.
    pub metrics: BTreeMap<String, f64>,
}

impl From<f64> for Validation {
    fn from(loss: f64) -> Self {
        Validation { loss, metrics: BTreeMap::new() }
    }
}

/// What is trained.
pub trait Task {
    /// Number of training samples, 0..n.
    fn samples(&self) -> usize;

    /// The loss of one sample (or micro-batch), a scalar that depends on the parameters.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn loss(&mut self, sample: usize, context: &StepContext) -> Result<Tensor>;

    /// Told before each loss which one is asked next, and then which one most likely after it, so that samples that are
    /// costly to make can be begun ([`Ahead`](crate::train::Ahead)). Nothing but time may depend on it.
    fn prepare(&mut self, sample: usize, context: &StepContext) {
        let _ = (sample, context);
    }

    /// Loss and gradients of one sample. By default [`Task::loss`] and its backward pass.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn loss_and_gradients(
        &mut self,
        sample: usize,
        context: &StepContext,
        parameters: &Parameters,
    ) -> Result<(f64, Gradients)> {
        let loss = self.loss(sample, context)?;
        let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if !value.is_finite() {
            return Ok((value, Gradients::new()));
        }
        Ok((value, Gradients::collect(parameters, &crate::kernels::backward(loss)?)))
    }

    /// Units of work in a sample (edges, tokens), for the throughput.
    fn size(&self, sample: usize) -> usize {
        let _ = sample;
        1
    }

    /// What the sample counts in the mean over its step: 1, or the number of its tokens that carry a loss, so that a step
    /// is the mean over tokens however they fall into samples. Not negative; a step whose samples all count nothing is
    /// a step without gradient.
    fn weight(&self, sample: usize) -> f64 {
        let _ = sample;
        1.0
    }

    /// What to write down of a sample whose loss or gradient is not finite; `None`: its number alone.
    fn describe(&self, sample: usize) -> Option<serde_json::Value> {
        let _ = sample;
        None
    }

    /// Quality on unseen data with the present weights; `None` when there is nothing to validate on.
    ///
    /// # Errors
    /// Whatever stops the run.
    fn validate(&mut self) -> Result<Option<Validation>> {
        Ok(None)
    }

    /// What the task itself must remember of the steps so far, beside the parameters: it goes into each checkpoint.
    fn state(&self) -> Option<serde_json::Value> {
        None
    }

    /// Takes over what [`Task::state`] gave, before the first step of a resumed run.
    ///
    /// # Errors
    /// A state that is not the task's.
    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}
