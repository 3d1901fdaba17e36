//! What the training loop asks of a stage.

use super::config::{ContextConfig, Stage};
use super::data::{Samples, Texts, mask};
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::parallel_context::distil::Targets;
use crate::parallel_context::examples::ContextBatch;
use crate::parallel_context::masked::{MaskedBatch, MaskedModel};
use crate::parallel_context::objective;
use crate::parallel_context::{ContextModel, ContextShape};
use candle_core::Tensor;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{StepContext, Task, Validation};
use tesseral_nn::{Parameters, Result};

/// The values that parameters have now, as tensors without gradient; nothing is copied.
fn present(parameters: &Parameters) -> impl Iterator<Item = (String, Tensor)> {
    parameters.to_vec().into_iter().map(|(name, variable)| (name, variable.as_tensor().detach()))
}

/// Warm-up, contexts and distillation.
pub(super) struct ContextTask<'a> {
    pub(super) config: &'a ContextConfig,
    pub(super) shape: &'a ContextShape,
    pub(super) model: ContextModel,
    pub(super) parameters: Parameters,
    /// All tensors as they were before training.
    pub(super) tensors: &'a BTreeMap<String, Tensor>,
    pub(super) teacher: Option<Decoder>,
    pub(super) training: Samples<'a>,
    pub(super) validation: Option<Samples<'a>>,
}

impl ContextTask<'_> {
    /// What the teacher says at the tokens of each text, reading its contexts before it in one window.
    fn targets(&self, teacher: &Decoder, batch: &ContextBatch) -> crate::Result<Arc<Targets>> {
        let (mut all, mut start) =
            (Targets { ids: Vec::new(), probabilities: Vec::new(), top: self.config.distil.top }, 0);
        for (length, contexts) in batch.text.lengths.iter().zip(&batch.contexts) {
            let text = &batch.text.ids[start..start + length];
            let ids: Arc<[u32]> = contexts.iter().flatten().chain(text).copied().collect();
            let hidden = teacher.hidden(&ids, &teacher.layout(&[ids.len()])?)?.detach();
            let rows = hidden.narrow(0, ids.len() - length, *length)?.contiguous()?;
            let found = Targets::of_logits(&teacher.logits(&rows)?, all.top)?;
            all.ids.extend(found.ids);
            all.probabilities.extend(found.probabilities);
            start += length;
        }
        Ok(Arc::new(all))
    }

    fn loss_of(&self, batch: &ContextBatch, whole: &ContextBatch) -> crate::Result<Tensor> {
        let distil = &self.config.distil;
        match &self.teacher {
            Some(teacher) if self.config.stage == Stage::Distil => {
                // The teacher reads everything, also what is left out for the student.
                let targets = self.targets(teacher, whole)?;
                objective::distilled(&self.model, batch, &targets, distil.rest, distil.weights)
            }
            _ if self.config.data.negatives => {
                let hidden = objective::hidden_of_all(&self.model, batch)?;
                objective::of_hidden(&self.model, &hidden, batch, Reduction::Mean)
            }
            _ => objective::loss(&self.model, batch, Reduction::Mean),
        }
    }
}

impl Task for ContextTask<'_> {
    fn samples(&self) -> usize {
        self.training.len()
    }

    fn loss(&mut self, sample: usize, context: &StepContext) -> Result<Tensor> {
        let whole = self.training.batch(sample)?;
        let mut batch = whole.clone();
        let mut random = context.streams.stream("context-masking", &[context.step, context.micro_batch]);
        mask(&self.config.data, &mut batch, &mut random);
        Ok(self.loss_of(&batch, &whole)?)
    }

    fn weight(&self, _: usize) -> f64 {
        self.training.counted() as f64
    }

    fn size(&self, _: usize) -> usize {
        self.training.tokens()
    }

    fn describe(&self, sample: usize) -> Option<serde_json::Value> {
        let batch = self.training.batch(sample).ok()?;
        Some(json!({"ids": &batch.text.ids[..], "lengths": batch.text.lengths, "contexts": batch.contexts}))
    }

    /// Loss with the contexts; beside it the loss without any, which does not change.
    fn validate(&mut self) -> Result<Option<Validation>> {
        let Some(samples) = &self.validation else { return Ok(None) };
        let mut tensors = self.tensors.clone();
        tensors.extend(present(&self.parameters));
        let model = ContextModel::from_tensors(self.shape, &tensors)?;
        let (mut with, mut without, mut count) = (0.0, 0.0, 0.0);
        for number in 0..samples.len() {
            let mut batch = samples.batch(number)?;
            with += objective::losses(&model, &batch)?.into_iter().flatten().sum::<f64>();
            batch.contexts.iter_mut().for_each(Vec::clear);
            without += objective::losses(&model, &batch)?.into_iter().flatten().sum::<f64>();
            count += samples.counted() as f64;
        }
        let loss = with / count;
        let metrics = [("loss_contexts".to_string(), loss), ("loss_alone".to_string(), without / count)];
        Ok(Some(Validation { loss, metrics: metrics.into() }))
    }
}

/// Masked pre-training of the encoder.
pub(super) struct MaskedTask<'a> {
    pub(super) config: &'a ContextConfig,
    pub(super) encoder: &'a LlamaConfig,
    pub(super) model: MaskedModel,
    pub(super) parameters: Parameters,
    /// The token that hides others.
    pub(super) mask: u32,
    /// Tokens that are never hidden.
    pub(super) kept: Vec<u32>,
    pub(super) training: Texts,
    pub(super) validation: Option<Texts>,
}

impl MaskedTask<'_> {
    fn batch(&self, texts: &Texts, number: usize, streams: Streams, counters: &[u64]) -> MaskedBatch {
        let mut random = streams.stream("masked-tokens", counters);
        MaskedBatch::new(&texts.get(number), self.mask, self.config.data.mask_probability, &self.kept, &mut random)
    }
}

impl Task for MaskedTask<'_> {
    fn samples(&self) -> usize {
        self.training.len()
    }

    fn loss(&mut self, sample: usize, context: &StepContext) -> Result<Tensor> {
        let counters = [context.step, context.micro_batch];
        Ok(self.model.loss(&self.batch(&self.training, sample, context.streams, &counters))?)
    }

    fn size(&self, sample: usize) -> usize {
        self.training.tokens(sample)
    }

    fn validate(&mut self) -> Result<Option<Validation>> {
        let Some(texts) = &self.validation else { return Ok(None) };
        let tensors = present(&self.parameters).collect();
        let model = MaskedModel::from_tensors(self.encoder, &tensors)?;
        let (mut sum, mut count) = (0.0, 0);
        for number in 0..texts.len() {
            // Always the same tokens are hidden.
            let batch = self.batch(texts, number, Streams::new(0), &[number as u64]);
            let losses = model.losses(&batch)?;
            sum += losses.iter().sum::<f64>();
            count += losses.len();
        }
        Ok(Some(Validation::from(sum / f64::from(u32::try_from(count.max(1)).unwrap_or(u32::MAX)))))
    }
}
