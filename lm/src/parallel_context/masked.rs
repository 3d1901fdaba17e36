//! Masked pre-training of the encoder (Devlin et al. 2019; 30 % of the tokens, always the mask token): `dense -> silu ->
//! rms_norm -> the embedding transposed, plus a bias`.

use super::encoder::Encoder;
use super::files::encoder_names;
use crate::Result;
use crate::model::decoder::{Tensors, stored};
use crate::model::llama::LlamaConfig;
use candle_core::Tensor;
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use tesseral_nn::layers::activation::silu;
use tesseral_nn::layers::arrange::side_by_side;
use tesseral_nn::layers::cross_entropy::{self, IGNORED, Reduction, cross_entropy, token_losses};
use tesseral_nn::layers::{add_bias, linear, rms_norm};
use tesseral_nn::{Init, Parameters};

/// An encoder with the head that guesses masked tokens. Names are those of the original: `model.*` for the encoder,
/// `lm_dense`, `lm_layer_norm`, `lm_bias`.
#[derive(Clone)]
pub struct MaskedModel {
    encoder: Encoder,
    dense: Tensor,
    dense_bias: Tensor,
    norm: Tensor,
    bias: Tensor,
}

/// Packed texts in which some tokens are hidden.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskedBatch {
    /// Token ids, the mask token where one is hidden.
    pub ids: Arc<[u32]>,
    /// In place: the hidden token, or [`IGNORED`].
    pub labels: Arc<[i64]>,
    /// Tokens of each text.
    pub lengths: Vec<usize>,
}

impl MaskedBatch {
    /// Hides each token with this probability behind `mask`; those of `kept` (special tokens) never.
    pub fn new(texts: &[&[u32]], mask: u32, probability: f64, kept: &[u32], random: &mut impl Rng) -> Self {
        let all = || texts.iter().flat_map(|text| text.iter());
        let hidden: Vec<bool> = all().map(|id| random.random::<f64>() < probability && !kept.contains(id)).collect();
        let ids = all().zip(&hidden).map(|(id, hidden)| if *hidden { mask } else { *id });
        let labels = all().zip(&hidden).map(|(id, hidden)| if *hidden { i64::from(*id) } else { IGNORED });
        MaskedBatch { ids: ids.collect(), labels: labels.collect(), lengths: texts.iter().map(|t| t.len()).collect() }
    }
}

impl MaskedModel {
    /// Declares every parameter: matrices normal with standard deviation `sigma`, gains one, biases zero.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn declare(parameters: &Parameters, config: &LlamaConfig, sigma: f64) -> Result<Self> {
        let scope = parameters.root();
        Self::build(config, &mut |name, shape| {
            let init = match shape {
                [_] if name.ends_with("bias") => Init::Constant(0.0),
                [_] => Init::Constant(1.0),
                _ => Init::Normal(sigma),
            };
            Ok(scope.parameter(name, shape, init)?)
        })
    }

    /// From tensors by name, without gradient.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a tensor that is missing or of another shape.
    pub fn from_tensors(config: &LlamaConfig, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Self::build(config, &mut stored(tensors))
    }

    fn build(config: &LlamaConfig, tensor: &mut Tensors<'_>) -> Result<Self> {
        let (width, vocabulary) = (config.hidden_size, config.vocab_size);
        let tied = LlamaConfig { tie_word_embeddings: true, ..config.clone() };
        Ok(MaskedModel {
            encoder: Encoder::build(&tied, "model", tensor)?,
            dense: tensor("lm_dense.weight", &[width, width])?,
            dense_bias: tensor("lm_dense.bias", &[width])?,
            norm: tensor("lm_layer_norm.weight", &[width])?,
            bias: tensor("lm_bias", &[vocabulary])?,
        })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// What the last matrix reads, `[tokens, width]`.
    fn guesses(&self, batch: &MaskedBatch) -> Result<Tensor> {
        let hidden = self.encoder.hidden(&batch.ids, &batch.lengths)?;
        let dense = silu(&add_bias(&linear(&hidden, &self.dense)?, &self.dense_bias)?)?;
        Ok(rms_norm(&dense, &self.norm, self.encoder.config().rms_norm_eps)?)
    }

    /// Logits `[tokens, vocabulary]`.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn logits(&self, batch: &MaskedBatch) -> Result<Tensor> {
        Ok(add_bias(&linear(&self.guesses(batch)?, self.encoder.embedding())?, &self.bias)?)
    }

    /// The bias as one more column of the last matrix, and a column of ones to meet it.
    fn with_bias(&self, batch: &MaskedBatch) -> Result<[Tensor; 2]> {
        let guesses = self.guesses(batch)?;
        let ones = Tensor::ones((guesses.dim(0)?, 1), guesses.dtype(), guesses.device())?;
        let bias = self.bias.reshape((self.bias.dim(0)?, 1))?;
        Ok([side_by_side(&[&guesses, &ones])?, side_by_side(&[self.encoder.embedding(), &bias])?])
    }

    /// Mean loss of the hidden tokens, a scalar.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn loss(&self, batch: &MaskedBatch) -> Result<Tensor> {
        let [guesses, matrix] = self.with_bias(batch)?;
        Ok(cross_entropy(&guesses, &matrix, &batch.labels, Reduction::Mean, cross_entropy::BLOCK)?)
    }

    /// Losses of the hidden tokens, without gradient.
    ///
    /// # Errors
    /// As [`Self::logits`].
    pub fn losses(&self, batch: &MaskedBatch) -> Result<Vec<f64>> {
        let [guesses, matrix] = self.with_bias(batch)?;
        Ok(token_losses(&guesses, &matrix, &batch.labels)?.into_iter().flatten().collect())
    }
}

/// The encoder's tensors under the names that they have in a model that reads contexts.
pub fn encoder_tensors(config: &LlamaConfig, tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let named = encoder_names(config, "model").into_iter().filter_map(|(name, _)| {
        let tensor = tensors.get(&name)?.clone();
        Some((format!("encoder.{}", name.trim_start_matches("model.")), tensor))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use tesseral_nn::kernels::backward;
    use tesseral_nn::optim::Gradients;
    use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
    use tesseral_nn::rng::Streams;

    #[test]
    fn every_parameter_is_trained_and_only_hidden_tokens_count() {
        let config = super::super::shape::tests::tiny().encoder;
        let parameters = Parameters::new(Streams::new(2), DType::F64, &Device::Cpu);
        let model = MaskedModel::declare(&parameters, &config, 0.3).unwrap();
        let text: Vec<u32> = (0..23).collect();
        let batch = MaskedBatch::new(&[&text, &text[..5]], 23, 0.3, &[0, 1], &mut Streams::new(1).stream("mask", &[]));
        assert!(batch.ids.iter().zip(&batch.labels[..]).all(|(id, label)| (*id == 23) == (*label >= 0)));
        assert!(batch.labels[..2].iter().all(|l| *l == IGNORED) && batch.labels.iter().any(|l| *l >= 0));
        let loss = model.loss(&batch).unwrap();
        let gradients = Gradients::collect(&parameters, &backward(loss.clone()).unwrap());
        assert_every_variable_has_gradient(&parameters, &gradients).unwrap();
        let losses = model.losses(&batch).unwrap();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        assert!((mean - loss.to_scalar::<f64>().unwrap()).abs() < 1e-12);
        let share = |n: usize| {
            let long = vec![5u32; n];
            let batch = MaskedBatch::new(&[&long], 23, 0.3, &[], &mut Streams::new(2).stream("mask", &[]));
            batch.labels.iter().filter(|l| **l >= 0).count() as f64 / n as f64
        };
        assert!((share(20_000) - 0.3).abs() < 0.01);
    }
}
