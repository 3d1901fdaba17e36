//! The masked screenshot model (PTP section 3): an encoder of the patches that are left, a decoder of the hidden pixels, and
//! a decoder of the text, the hidden words included.
//!
//! Modules: `pixels`, `text` (the two decoders).

mod pixels;
mod text;

use super::encoder::{Encoded, Encoder, View};
use super::patches::{PATCH, normalised};
use super::shape::MaskedShape;
use crate::Result;
use candle_core::{DType, Tensor};
use pixels::PixelDecoder;
use std::sync::Arc;
use tesseral_nn::Scope;
use tesseral_nn::layers::activation::{add, times_constant};
use tesseral_nn::layers::cross_entropy::{self, Reduction, cross_entropy, token_losses};
use tesseral_nn::layers::linear;
use tesseral_nn::layers::loss::{Power, summed_error};
use text::TextDecoder;

/// A screenshot with what should be read from it.
#[derive(Clone, Debug)]
pub struct Example {
    /// What the encoder sees.
    pub view: View,
    /// The text, hidden words included.
    pub text: Vec<u32>,
}

/// The loss of some examples and its parts.
pub struct Losses {
    /// The weighted sum, a scalar.
    pub total: Tensor,
    /// Mean squared error of the hidden patches with text on them; none where there is no such patch.
    pub pixels: Option<f64>,
    /// Mean loss of a token, nats.
    pub text: Option<f64>,
}

/// Encoder and decoders, declared in parameters that are trained or loaded.
pub struct MaskedModel {
    shape: MaskedShape,
    encoder: Encoder,
    pixels: PixelDecoder,
    text: TextDecoder,
}

impl MaskedModel {
    /// Declares every parameter under PTP's names: the vision parts normal with its `initializer_range`, the text decoder as T5.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn declare(scope: &Scope, shape: &MaskedShape) -> Result<Self> {
        Ok(MaskedModel {
            encoder: Encoder::declare(&scope.enter("encoder"), &shape.vision_config)?,
            pixels: PixelDecoder::declare(&scope.enter("mae_decoder"), &shape.vision_config)?,
            text: TextDecoder::declare(&scope.enter("decoder"), &shape.text_config)?,
            shape: shape.clone(),
        })
    }

    /// The shape.
    pub fn shape(&self) -> &MaskedShape {
        &self.shape
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Numbers that the pixel decoder gives for `chosen` of the patches of all views, counted through: `[chosen, 768]`.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn pixels(&self, encoded: &Encoded, views: &[View], chosen: &[usize]) -> Result<Tensor> {
        self.pixels.forward(encoded, views, chosen)
    }

    /// Logits `[tokens, vocabulary]` of texts, each read from its view.
    ///
    /// # Errors
    /// A text longer than the table of positions, or an id beyond the vocabulary.
    pub fn text_logits(&self, encoded: &Encoded, texts: &[&[u32]]) -> Result<Tensor> {
        Ok(linear(&self.text.forward(texts, encoded)?, &self.text.tokens)?)
    }

    /// The loss of some examples. A part of weight zero is not computed; hidden patches behind the text count nothing, and
    /// where no others are hidden the pixels have no part in it (a mean over nothing would be no number). With no part at all it
    /// is zero, without gradient.
    ///
    /// # Errors
    /// As [`Self::text_logits`].
    pub fn losses(&self, examples: &[Example]) -> Result<Losses> {
        let views: Vec<View> = examples.iter().map(|example| example.view.clone()).collect();
        let encoded = self.encoder.forward(&views)?;
        let mut parts = Vec::new();
        let pixels = match self.shape.mae_weight > 0.0 {
            true => self.pixel_loss(&encoded, &views)?.map(|loss| (loss, self.shape.mae_weight)),
            false => None,
        };
        let text = match self.shape.text_weight > 0.0 {
            true => self.text_loss(&encoded, examples)?.map(|loss| (loss, self.shape.text_weight)),
            false => None,
        };
        let value = |part: &Option<(Tensor, f64)>| part.as_ref().map(|(loss, _)| scalar(loss)).transpose();
        let (pixel_value, text_value) = (value(&pixels)?, value(&text)?);
        for (loss, weight) in [pixels, text].into_iter().flatten() {
            let weight = Tensor::full(weight, (), loss.device())?.to_dtype(loss.dtype())?;
            parts.push(times_constant(&loss, &weight)?);
        }
        let total = parts.into_iter().map(Ok).reduce(|a: candle_core::Result<_>, b| add(&a?, &b?));
        let nothing = || Tensor::zeros((), encoded.states.dtype(), encoded.states.device());
        Ok(Losses { total: total.unwrap_or_else(nothing)?, pixels: pixel_value, text: text_value })
    }

    fn pixel_loss(&self, encoded: &Encoded, views: &[View]) -> Result<Option<Tensor>> {
        let (mut chosen, mut targets, mut start) = (Vec::new(), Vec::new(), 0);
        for view in views {
            for (patch, _) in view.hidden().into_iter().enumerate().filter(|(k, h)| *h && view.screenshot.seen[*k]) {
                chosen.push(start + patch);
                let values = view.screenshot.patch(patch);
                match self.shape.vision_config.norm_pix_loss {
                    true => targets.extend(normalised(values)),
                    false => targets.extend_from_slice(values),
                }
            }
            start += view.screenshot.len();
        }
        if chosen.is_empty() {
            return Ok(None);
        }
        let predicted = self.pixels(encoded, views, &chosen)?;
        let targets = Tensor::from_vec(targets, (chosen.len(), PATCH), predicted.device())?;
        let scale = 1.0 / (chosen.len() * PATCH) as f64;
        let targets = targets.to_dtype(predicted.dtype())?;
        Ok(Some(summed_error(&predicted, &targets, None, Power::Squared, scale)?))
    }

    fn text_loss(&self, encoded: &Encoded, examples: &[Example]) -> Result<Option<Tensor>> {
        let texts: Vec<&[u32]> = examples.iter().map(|example| example.text.as_slice()).collect();
        let labels: Arc<[i64]> = texts.iter().copied().flatten().map(|id| i64::from(*id)).collect();
        if labels.is_empty() {
            return Ok(None);
        }
        let hidden = self.text.forward(&texts, encoded)?;
        Ok(Some(cross_entropy(&hidden, &self.text.tokens, &labels, Reduction::Mean, cross_entropy::BLOCK)?))
    }

    /// Loss of each token of each text, nats; no gradient.
    ///
    /// # Errors
    /// As [`Self::text_logits`].
    pub fn token_losses(&self, examples: &[Example]) -> Result<Vec<Vec<f64>>> {
        let views: Vec<View> = examples.iter().map(|example| example.view.clone()).collect();
        let texts: Vec<&[u32]> = examples.iter().map(|example| example.text.as_slice()).collect();
        let labels: Vec<i64> = texts.iter().copied().flatten().map(|id| i64::from(*id)).collect();
        let hidden = self.text.forward(&texts, &self.encoder.forward(&views)?)?.detach();
        let mut losses = token_losses(&hidden, &self.text.tokens, &labels)?.into_iter().flatten();
        Ok(texts.iter().map(|text| losses.by_ref().take(text.len()).collect()).collect())
    }
}

/// The value of a scalar.
pub(super) fn scalar(loss: &Tensor) -> Result<f64> {
    Ok(loss.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

#[cfg(test)]
mod tests;
