//! Training a language model: a corpus of batches, the exact mean over tokens, stages that follow each other.
//!
//! Modules: [`config`] (the TOML file), [`corpus`] (what is trained on), `text` (rows of documents),
//! [`run`] (a whole run, as the command does it).

pub mod config;
pub mod corpus;
pub mod run;
pub(crate) mod text;

pub use config::LmConfig;
pub use corpus::Corpus;
pub use run::{Report, train};

use crate::model::decoder::Decoder;
use crate::objective::{Batch, Recompute, loss, loss_and_gradients, losses, shards};
use candle_core::{DType, Tensor};
use serde_json::json;
use std::collections::BTreeMap;
use tesseral_nn::kernels::backward;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::optim::Gradients;
use tesseral_nn::train::{StepContext, Task, Validation};
use tesseral_nn::{Parameters, Result};

/// A decoder, what it is trained on, and what it is validated on.
///
/// Each sample counts as many times as it has tokens with a loss, so that the gradient of a step is that of the mean over
/// all its tokens, however they fall into samples.
pub struct LmTask<'a> {
    /// The model, declared in the parameters that are trained.
    pub decoder: Decoder,
    /// What is trained on.
    pub corpus: &'a dyn Corpus,
    /// What is validated on, by name; the first is the one that is compared.
    pub validation: Vec<(String, &'a dyn Corpus)>,
    /// What the backward pass finds of the layers.
    pub recompute: Recompute,
    /// Parts that a sequence is split into.
    pub shards: usize,
}

impl LmTask<'_> {
    fn loss_of(&self, batch: &Batch) -> crate::Result<Tensor> {
        match self.shards {
            0 | 1 => loss(&self.decoder, batch, Reduction::Mean),
            shards => shards::loss(&self.decoder, batch, Reduction::Mean, shards),
        }
    }
}

impl Task for LmTask<'_> {
    fn samples(&self) -> usize {
        self.corpus.len()
    }

    fn loss(&mut self, sample: usize, _: &StepContext) -> Result<Tensor> {
        Ok(self.loss_of(&self.corpus.batch(sample)?)?)
    }

    fn loss_and_gradients(
        &mut self,
        sample: usize,
        _: &StepContext,
        parameters: &Parameters,
    ) -> Result<(f64, Gradients)> {
        let batch = self.corpus.batch(sample)?;
        if self.shards > 1 {
            let loss = self.loss_of(&batch)?;
            let value = loss.to_dtype(DType::F64)?.to_scalar()?;
            return Ok((value, Gradients::collect(parameters, &backward(loss)?)));
        }
        Ok(loss_and_gradients(&self.decoder, parameters, &batch, Reduction::Mean, self.recompute)?)
    }

    fn weight(&self, sample: usize) -> f64 {
        self.corpus.batch(sample).map_or(0.0, |batch| batch.counted() as f64)
    }

    fn size(&self, sample: usize) -> usize {
        self.corpus.batch(sample).map_or(0, |batch| batch.ids.len())
    }

    fn describe(&self, sample: usize) -> Option<serde_json::Value> {
        let batch = self.corpus.batch(sample).ok()?;
        Some(json!({"ids": &batch.ids[..], "targets": &batch.targets[..], "lengths": batch.lengths}))
    }

    fn validate(&mut self) -> Result<Option<Validation>> {
        let mut validation: Option<Validation> = None;
        for (name, corpus) in &self.validation {
            let (mut sum, mut count) = (0.0, 0);
            for sample in 0..corpus.len() {
                let losses = losses(&self.decoder, &corpus.batch(sample)?)?;
                sum += losses.iter().flatten().sum::<f64>();
                count += losses.iter().flatten().count();
            }
            let mean = sum / f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX));
            let all = validation.get_or_insert(Validation { loss: mean, metrics: BTreeMap::new() });
            all.metrics.insert(format!("loss_{name}"), mean);
        }
        Ok(validation)
    }
}

#[cfg(test)]
mod tests;
