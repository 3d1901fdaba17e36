//! What a step of pruning trains: weights, masks and multipliers together, on rows of the domains that lag behind. The same without
//! masks continues to train the smaller model.

use super::constraint::Constraint;
use super::domain_weights::WeightConfig;
use super::domains::{Domain, Loader, Pick};
use super::fold::{Compatibility, Tensors, masked};
use super::masks::{LearnedMasks, PREFIX};
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::objective::{Recompute, loss, loss_and_gradients};
use crate::{Error, Result};
use candle_core::Tensor;
use serde_json::json;
use std::collections::BTreeMap;
use tesseral_nn::Parameters;
use tesseral_nn::kernels::backward;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::optim::Gradients;
use tesseral_nn::train::{StepContext, Task, Validation};

/// Masks and what they are to become.
pub struct Learning<'a> {
    /// The masks.
    pub masks: &'a LearnedMasks,
    /// The Lagrangian.
    pub constraint: &'a Constraint,
    /// Whether the embedding is masked.
    pub compatibility: Compatibility,
}

/// A model trained on domains.
pub struct DomainTask<'a> {
    /// Its shape.
    pub config: &'a LlamaConfig,
    /// Its tensors, variables of the parameters that are trained.
    pub tensors: Tensors,
    /// Masks on it; none: it is trained as it is.
    pub learning: Option<Learning<'a>>,
    /// The domains.
    pub domains: &'a [Domain],
    /// Which row comes next.
    pub loader: Loader,
    /// Where the loss of each domain should be, nats.
    pub references: &'a [f64],
    /// How weights follow the gaps to these.
    pub update: WeightConfig,
    /// What the backward pass makes again.
    pub recompute: Recompute,
    /// Optimiser steps that are finished: what the targets of the constraint rise with.
    pub finished: u64,
    /// Rows of the step at hand, by number of the trainer's sample: domain and row, tokens, tokens with a loss.
    pub step_rows: BTreeMap<usize, (Pick, usize, usize)>,
}

/// The variables of a model among parameters: all but those of masks and multipliers.
pub fn model_tensors(parameters: &Parameters) -> Tensors {
    let prefix = format!("{PREFIX}.");
    let model = parameters.to_vec().into_iter().filter(|(name, _)| !name.starts_with(&prefix));
    model.map(|(name, variable)| (name, variable.as_tensor().clone())).collect()
}

impl DomainTask<'_> {
    /// The decoder of a step, with masks drawn anew.
    fn decoder(&self, context: &StepContext) -> Result<Decoder> {
        let Some(learning) = &self.learning else { return Decoder::connected(self.config, &self.tensors) };
        learning.masks.clamp()?;
        let noise = learning.masks.noise(context.streams, &[context.step, context.micro_batch])?;
        masked(self.config, &self.tensors, &learning.masks.sample(&noise)?, learning.compatibility)
    }

    /// The decoder with masks without noise, which has as many zeros as are expected; no gradient.
    fn resting_decoder(&self) -> Result<Decoder> {
        let tensors: Tensors = self.tensors.iter().map(|(name, t)| (name.clone(), t.detach())).collect();
        let Some(learning) = &self.learning else { return Decoder::connected(self.config, &tensors) };
        learning.masks.clamp()?;
        masked(self.config, &tensors, &learning.masks.deterministic(None)?, learning.compatibility)
    }

    /// The next row, and its batch.
    fn draw(&mut self, sample: usize, context: &StepContext) -> Result<crate::objective::Batch> {
        if context.micro_batch == 0 {
            self.step_rows.clear();
        }
        self.finished = context.step;
        let pick = self.loader.next(&[context.step, context.micro_batch]);
        let batch = self.domains[pick.domain].batch(pick.row)?;
        self.step_rows.insert(sample, (pick, batch.ids.len(), batch.counted()));
        Ok(batch)
    }

    fn lagrangian(&self, context: &StepContext) -> Result<Option<Tensor>> {
        let finished = context.step.saturating_sub(1);
        self.learning.as_ref().map(|l| l.constraint.lagrangian(l.masks, finished)).transpose()
    }
}

impl Task for DomainTask<'_> {
    fn samples(&self) -> usize {
        self.domains.iter().map(Domain::rows).sum()
    }

    fn loss(&mut self, sample: usize, context: &StepContext) -> tesseral_nn::Result<Tensor> {
        let batch = self.draw(sample, context)?;
        let loss = loss(&self.decoder(context)?, &batch, Reduction::Mean)?;
        Ok(match self.lagrangian(context)? {
            Some(lagrangian) => (loss + lagrangian)?,
            None => loss,
        })
    }

    /// The two terms apart: the graph of the model is then one of our operations alone.
    fn loss_and_gradients(
        &mut self,
        sample: usize,
        context: &StepContext,
        parameters: &Parameters,
    ) -> tesseral_nn::Result<(f64, Gradients)> {
        let batch = self.draw(sample, context)?;
        let decoder = self.decoder(context)?;
        let (mut value, mut gradients) =
            loss_and_gradients(&decoder, parameters, &batch, Reduction::Mean, self.recompute)?;
        if let Some(lagrangian) = self.lagrangian(context)? {
            value += lagrangian.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
            gradients.accumulate(&Gradients::collect(parameters, &backward(lagrangian)?))?;
        }
        Ok((value, gradients))
    }

    fn weight(&self, sample: usize) -> f64 {
        self.step_rows.get(&sample).map_or(0.0, |(_, _, counted)| *counted as f64)
    }

    fn size(&self, sample: usize) -> usize {
        self.step_rows.get(&sample).map_or(0, |(_, tokens, _)| *tokens)
    }

    fn describe(&self, sample: usize) -> Option<serde_json::Value> {
        let (pick, ..) = self.step_rows.get(&sample)?;
        Some(json!({"domain": self.domains[pick.domain].name(), "row": pick.row}))
    }

    /// Losses of the domains, then their next weights. The figure that is compared is the mean over domains.
    fn validate(&mut self) -> tesseral_nn::Result<Option<Validation>> {
        let decoder = self.resting_decoder()?;
        let losses = self.domains.iter().map(|d| d.loss(&decoder)).collect::<Result<Vec<f64>>>()?;
        let gaps: Vec<f64> = losses.iter().zip(self.references).map(|(loss, reference)| loss - reference).collect();
        let mut metrics = BTreeMap::new();
        if gaps.iter().all(|g| g.is_finite()) {
            self.loader.reweigh(self.update.update(&self.loader.state().weights, &gaps)?);
        }
        for (k, domain) in self.domains.iter().enumerate() {
            let name = domain.name();
            metrics.insert(format!("loss_{name}"), losses[k]);
            metrics.insert(format!("gap_{name}"), gaps[k]);
            metrics.insert(format!("weight_{name}"), self.loader.state().weights[k]);
        }
        if let Some(learning) = &self.learning {
            for (name, sparsity) in learning.constraint.expected(learning.masks)? {
                metrics.insert(format!("sparsity_{name}"), sparsity);
            }
            for (name, target) in learning.constraint.targets(learning.masks, self.finished) {
                metrics.insert(format!("target_{name}"), target);
            }
        }
        let loss = losses.iter().sum::<f64>() / losses.len() as f64;
        Ok(Some(Validation { loss, metrics }))
    }

    fn state(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self.loader.state()).ok()
    }

    fn restore(&mut self, state: &serde_json::Value) -> tesseral_nn::Result<()> {
        let state =
            serde_json::from_value(state.clone()).map_err(|e| Error::config("state of the loader", e.to_string()))?;
        Ok(self.loader.restore(state)?)
    }
}
