//! Losses of a model that reads contexts: the next token, and beside it what a teacher says.

use super::distil::{Rest, Targets, divergence};
use super::examples::ContextBatch;
use super::model::ContextModel;
use crate::Result;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tesseral_nn::layers::activation::{add, times_constant};
use tesseral_nn::layers::cross_entropy::{self, Reduction, cross_entropy, token_losses};

/// Factors of the two losses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Of the next token.
    pub language: f64,
    /// Of the divergence from the teacher.
    pub teacher: f64,
}

impl Default for Weights {
    /// The original's: 1 and 2.
    fn default() -> Self {
        Weights { language: 1.0, teacher: 2.0 }
    }
}

/// Hidden states `[tokens, width]` of the texts of a batch, each reading its contexts.
///
/// # Errors
/// Ids beyond the vocabulary.
pub fn hidden(model: &ContextModel, batch: &ContextBatch) -> Result<Tensor> {
    let states = model.encode(&batch.contexts, &batch.text.ids, &batch.text.lengths)?;
    model.hidden(&batch.text.ids, &batch.text.lengths, states.as_ref())
}

/// As [`hidden`] with every text reading the contexts of all texts: those of others are negatives to tell apart.
///
/// # Errors
/// As [`hidden`].
pub fn hidden_of_all(model: &ContextModel, batch: &ContextBatch) -> Result<Tensor> {
    let states = model.encode(&batch.contexts, &batch.text.ids, &batch.text.lengths)?;
    let states = states.map(super::States::shared);
    model.hidden(&batch.text.ids, &batch.text.lengths, states.as_ref())
}

/// Loss of the next token, a scalar.
///
/// # Errors
/// As [`hidden`].
pub fn loss(model: &ContextModel, batch: &ContextBatch, reduction: Reduction) -> Result<Tensor> {
    of_hidden(model, &hidden(model, batch)?, batch, reduction)
}

/// Loss of the next token from hidden states.
///
/// # Errors
/// Labels beyond the vocabulary.
pub fn of_hidden(model: &ContextModel, hidden: &Tensor, batch: &ContextBatch, reduction: Reduction) -> Result<Tensor> {
    Ok(cross_entropy(hidden, model.decoder().head(), &batch.text.targets, reduction, cross_entropy::BLOCK)?)
}

/// `language` times the mean loss of the next token and `teacher` times the divergence, over all tokens of the batch.
///
/// # Errors
/// As [`loss`] and [`divergence`].
pub fn distilled(
    model: &ContextModel,
    batch: &ContextBatch,
    targets: &Arc<Targets>,
    rest: Rest,
    weights: Weights,
) -> Result<Tensor> {
    let hidden = hidden(model, batch)?;
    let language = of_hidden(model, &hidden, batch, Reduction::Mean)?;
    let teacher = divergence(&model.decoder().logits(&hidden)?, targets, rest)?;
    let times =
        |x: &Tensor, factor: f64| -> Result<Tensor> { Ok(times_constant(x, &(x.ones_like()?.detach() * factor)?)?) };
    Ok(add(&times(&language, weights.language)?, &times(&teacher, weights.teacher)?)?)
}

/// Loss of each token, `None` where it predicts nothing; without gradient.
///
/// # Errors
/// As [`hidden`].
pub fn losses(model: &ContextModel, batch: &ContextBatch) -> Result<Vec<Option<f64>>> {
    let hidden = hidden(model, batch)?.detach();
    Ok(token_losses(&hidden, model.decoder().head(), &batch.text.targets)?)
}
