//! The encoder: a vision Transformer (Dosovitskiy et al. 2021; layers behind their norms, biases, GELU) over the patches that
//! are left, as in masked autoencoders (He et al. 2022).

use super::patches::{PATCH, Screenshot};
use super::positions;
use super::shape::VisionShape;
use crate::Result;
use candle_core::{DType, Tensor};
use std::sync::Arc;
use tesseral_nn::attention::varlen::{Heads, Segments, attention};
use tesseral_nn::layers::activation::add;
use tesseral_nn::layers::arrange::{gather, stacked};
use tesseral_nn::layers::gelu::gelu;
use tesseral_nn::layers::{Dense, norm::LayerNorm};
use tesseral_nn::{Init, Scope};

/// A screenshot as the encoder sees it.
#[derive(Clone, Debug)]
pub struct View {
    /// All of it.
    pub screenshot: Screenshot,
    /// The patches that the encoder gets, in any order.
    pub kept: Vec<usize>,
}

impl View {
    /// Nothing hidden.
    pub fn whole(screenshot: Screenshot) -> Self {
        View { kept: (0..screenshot.len()).collect(), screenshot }
    }

    /// Without the patches that are hidden; those of `hidden` beyond the screenshot lie behind the text.
    pub fn masked(screenshot: Screenshot, hidden: &[bool]) -> Self {
        let kept = (0..screenshot.len()).filter(|k| !hidden.get(*k).copied().unwrap_or(false)).collect();
        View { screenshot, kept }
    }

    /// True for the patches that the encoder does not get.
    pub fn hidden(&self) -> Vec<bool> {
        let mut hidden = vec![true; self.screenshot.len()];
        self.kept.iter().for_each(|k| hidden[*k] = false);
        hidden
    }
}

/// States of some views, one after the other; of each first that of the whole, then those of its kept patches.
pub struct Encoded {
    /// `[rows, width]`.
    pub states: Tensor,
    /// Rows of each view.
    pub lengths: Vec<usize>,
    /// Which rows may be attended to: not those of patches behind the text.
    pub seen: Vec<bool>,
}

/// One layer: attention, then a feed-forward part, each behind a norm and added to its input.
pub(super) struct VisionLayer {
    heads: Heads,
    norms: [LayerNorm; 2],
    query: Dense,
    key: Dense,
    value: Dense,
    output: Dense,
    up: Dense,
    down: Dense,
}

impl VisionLayer {
    pub(super) fn declare(scope: &Scope, [width, heads, hidden]: [usize; 3], shape: &VisionShape) -> Result<Self> {
        let (sigma, epsilon) = (shape.initializer_range, shape.layer_norm_eps);
        let attention = scope.enter("attention");
        let square = |scope: &Scope, name: &str| Dense::normal(&scope.enter(name), width, width, sigma);
        let inner = attention.enter("attention");
        Ok(VisionLayer {
            heads: Heads::new(heads, heads, width / heads),
            norms: [
                LayerNorm::with_epsilon(&scope.enter("layernorm_before"), width, epsilon)?,
                LayerNorm::with_epsilon(&scope.enter("layernorm_after"), width, epsilon)?,
            ],
            query: square(&inner, "query")?,
            key: square(&inner, "key")?,
            value: square(&inner, "value")?,
            output: square(&attention.enter("output"), "dense")?,
            up: Dense::normal(&scope.enter("intermediate.dense"), width, hidden, sigma)?,
            down: Dense::normal(&scope.enter("output.dense"), hidden, width, sigma)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor, segments: &Arc<Segments>) -> Result<Tensor> {
        let n = self.norms[0].forward(x)?;
        let (q, k, v) = (self.query.forward(&n)?, self.key.forward(&n)?, self.value.forward(&n)?);
        let x = add(x, &self.output.forward(&attention(&q, &k, &v, segments, self.heads)?)?)?;
        let n = self.norms[1].forward(&x)?;
        Ok(add(&x, &self.down.forward(&gelu(&self.up.forward(&n)?)?)?)?)
    }
}

/// Adds the fixed positions of rows: `places[r]` is a row of the table `[places, width]`.
pub(super) fn add_positions(x: &Tensor, table: &[f32], places: &[usize]) -> Result<Tensor> {
    let width = x.dims2()?.1;
    let rows: Vec<f32> = places.iter().flat_map(|place| &table[place * width..(place + 1) * width]).copied().collect();
    let rows = Tensor::from_vec(rows, (places.len(), width), x.device())?.to_dtype(x.dtype())?;
    Ok(add(x, &rows)?)
}

/// Patches to states.
pub struct Encoder {
    embed: Dense,
    whole: Tensor,
    table: Vec<f32>,
    layers: Vec<VisionLayer>,
    norm: LayerNorm,
    dtype: DType,
}

impl Encoder {
    /// Declares every parameter, with PTP's names.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn declare(scope: &Scope, shape: &VisionShape) -> Result<Self> {
        let (width, sigma) = (shape.hidden_size, shape.initializer_range);
        let embeddings = scope.enter("embeddings");
        let sizes = [width, shape.num_attention_heads, shape.intermediate_size];
        let layers = (0..shape.num_hidden_layers)
            .map(|k| VisionLayer::declare(&scope.enter("encoder.layer").enter(k), sizes, shape));
        Ok(Encoder {
            embed: Dense::normal(&embeddings.enter("patch_embeddings.projection"), PATCH, width, sigma)?,
            whole: embeddings.parameter("cls_token", (1, width), Init::Normal(sigma))?,
            table: positions::table(shape.patches(), width),
            layers: layers.collect::<Result<_>>()?,
            norm: LayerNorm::with_epsilon(&scope.enter("layernorm"), width, shape.layer_norm_eps)?,
            dtype: scope.dtype(),
        })
    }

    /// Patches with their positions: the rows of each view, that of the whole first.
    ///
    /// # Errors
    /// A view with more patches than the image has.
    pub fn embed(&self, views: &[View]) -> Result<Tensor> {
        let (_, width) = self.whole.dims2()?;
        let most = self.table.len() / width - 1;
        if let Some(view) = views.iter().find(|view| view.screenshot.len() > most) {
            let what = format!("expected at most {most} patches, found {}", view.screenshot.len());
            return Err(crate::Error::config("screenshot", what));
        }
        let (mut pixels, mut rows, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for view in views {
            rows.push(0);
            places.push(0);
            for kept in &view.kept {
                rows.push(1 + pixels.len() / PATCH);
                places.push(1 + kept);
                pixels.extend_from_slice(view.screenshot.patch(*kept));
            }
        }
        let count = pixels.len() / PATCH;
        let table = if count == 0 {
            stacked(&[&self.whole, &self.whole])?
        } else {
            let pixels = Tensor::from_vec(pixels, (count, PATCH), self.whole.device())?.to_dtype(self.dtype)?;
            stacked(&[&self.whole, &self.embed.forward(&pixels)?])?
        };
        add_positions(&gather(&table, &rows.into(), 0..width)?, &self.table, &places)
    }

    /// The states of some views.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn forward(&self, views: &[View]) -> Result<Encoded> {
        let mut x = self.embed(views)?;
        let lengths: Vec<usize> = views.iter().map(|view| 1 + view.kept.len()).collect();
        let of_view = |view: &View| -> Vec<bool> {
            std::iter::once(true).chain(view.kept.iter().map(|k| view.screenshot.seen[*k])).collect()
        };
        let seen: Vec<bool> = views.iter().flat_map(of_view).collect();
        let segments = Arc::new(Segments::packed(&lengths, false).with_key_mask(seen.clone())?);
        for layer in &self.layers {
            x = layer.forward(&x, &segments)?;
        }
        Ok(Encoded { states: self.norm.forward(&x)?, lengths, seen })
    }
}
