//! The pixel decoder: a mask token in place of each hidden patch, some layers, the numbers of the patch.

use super::super::encoder::{Encoded, View, VisionLayer, add_positions};
use super::super::patches::PATCH;
use super::super::positions;
use super::super::shape::VisionShape;
use crate::Result;
use candle_core::Tensor;
use std::sync::Arc;
use tesseral_nn::attention::varlen::Segments;
use tesseral_nn::layers::arrange::{gather, stacked};
use tesseral_nn::layers::{Dense, norm::LayerNorm};
use tesseral_nn::{Init, Scope};

pub(super) struct PixelDecoder {
    embed: Dense,
    mask: Tensor,
    table: Vec<f32>,
    layers: Vec<VisionLayer>,
    norm: LayerNorm,
    predict: Dense,
}

impl PixelDecoder {
    pub(super) fn declare(scope: &Scope, shape: &VisionShape) -> Result<Self> {
        let (width, sigma) = (shape.decoder_hidden_size, shape.initializer_range);
        let sizes = [width, shape.decoder_num_attention_heads, shape.decoder_intermediate_size];
        let layers = (0..shape.decoder_num_hidden_layers)
            .map(|k| VisionLayer::declare(&scope.enter("decoder_layers").enter(k), sizes, shape));
        Ok(PixelDecoder {
            embed: Dense::normal(&scope.enter("decoder_embed"), shape.hidden_size, width, sigma)?,
            mask: scope.parameter("mask_token", (1, width), Init::Normal(sigma))?,
            table: positions::table(shape.patches(), width),
            layers: layers.collect::<Result<_>>()?,
            norm: LayerNorm::with_epsilon(&scope.enter("decoder_norm"), width, shape.layer_norm_eps)?,
            predict: Dense::normal(&scope.enter("decoder_pred"), width, PATCH, sigma)?,
        })
    }

    /// `[chosen, 768]` for `chosen` of the patches of all views, counted through.
    pub(super) fn forward(&self, encoded: &Encoded, views: &[View], chosen: &[usize]) -> Result<Tensor> {
        let (_, width) = self.mask.dims2()?;
        let table = stacked(&[&self.embed.forward(&encoded.states)?, &self.mask])?;
        let mask_row = encoded.seen.len();
        let (mut rows, mut places, mut seen, mut patch_rows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for (view, length) in views.iter().zip(&encoded.lengths) {
            let count = view.screenshot.len();
            let mut of_patch = vec![mask_row; count];
            view.kept.iter().enumerate().for_each(|(row, patch)| of_patch[*patch] = start + 1 + row);
            patch_rows.extend(rows.len() + 1..=rows.len() + count);
            rows.push(start);
            rows.extend(of_patch);
            places.extend(0..=count);
            seen.push(true);
            seen.extend_from_slice(&view.screenshot.seen);
            start += length;
        }
        let mut x = add_positions(&gather(&table, &rows.into(), 0..width)?, &self.table, &places)?;
        let lengths: Vec<usize> = views.iter().map(|view| 1 + view.screenshot.len()).collect();
        let segments = Arc::new(Segments::packed(&lengths, false).with_key_mask(seen)?);
        for layer in &self.layers {
            x = layer.forward(&x, &segments)?;
        }
        let chosen: Arc<[usize]> = chosen.iter().map(|patch| patch_rows[*patch]).collect();
        let x = gather(&x, &chosen, 0..width)?;
        Ok(self.predict.forward(&self.norm.forward(&x)?)?)
    }
}
