//! The text decoder: T5's layers (Raffel et al. 2020; products without scale, no biases, gated feed-forward parts) that read the
//! encoder's states, with learnt positions and layer norms of mean and bias.

use super::super::encoder::Encoded;
use super::super::shape::TextShape;
use crate::Result;
use candle_core::Tensor;
use std::sync::Arc;
use tesseral_nn::attention::varlen::{Heads, Segments, attention};
use tesseral_nn::layers::activation::add;
use tesseral_nn::layers::gelu::geglu;
use tesseral_nn::layers::{embed, linear, norm::LayerNorm};
use tesseral_nn::{Init, Scope};

/// Rows of the table of positions before the first token's.
const FIRST_POSITION: usize = 2;

/// Attention behind a norm, added to its input.
struct Attention {
    norm: LayerNorm,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    heads: Heads,
}

impl Attention {
    fn declare(scope: &Scope, shape: &TextShape) -> Result<Self> {
        let (width, inner) = (shape.hidden_size, shape.num_heads * shape.d_kv);
        let factor = shape.initializer_factor;
        let sigma = |fan: usize| Init::Normal(factor * (fan as f64).powf(-0.5));
        let matrices = scope.enter("attention");
        let matrix = |name: &str, shape, init| matrices.enter(name).parameter("weight", shape, init);
        Ok(Attention {
            norm: norm(scope, shape)?,
            query: matrix("query", (inner, width), sigma(width * shape.d_kv))?,
            key: matrix("key", (inner, width), sigma(width))?,
            value: matrix("value", (inner, width), sigma(width))?,
            output: matrix("output", (width, inner), sigma(inner))?,
            heads: Heads { scale: 1.0, ..Heads::new(shape.num_heads, shape.num_heads, shape.d_kv) },
        })
    }

    /// With `others`, those are what is attended to.
    fn forward(&self, x: &Tensor, others: Option<&Tensor>, segments: &Arc<Segments>) -> Result<Tensor> {
        let n = self.norm.forward(x)?;
        let from = others.unwrap_or(&n);
        let (q, k, v) = (linear(&n, &self.query)?, linear(from, &self.key)?, linear(from, &self.value)?);
        Ok(add(x, &linear(&attention(&q, &k, &v, segments, self.heads)?, &self.output)?)?)
    }
}

fn norm(scope: &Scope, shape: &TextShape) -> Result<LayerNorm> {
    let scope = scope.enter("layer_norm.layer_norm");
    Ok(LayerNorm::with_epsilon(&scope, shape.hidden_size, shape.layer_norm_epsilon)?)
}

struct Layer {
    among: Attention,
    across: Attention,
    norm: LayerNorm,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
}

impl Layer {
    fn declare(scope: &Scope, shape: &TextShape) -> Result<Self> {
        let (width, hidden) = (shape.hidden_size, shape.d_ff);
        let sigma = |fan: usize| Init::Normal(shape.initializer_factor * (fan as f64).powf(-0.5));
        let mlp = scope.enter("mlp");
        let dense = mlp.enter("DenseReluDense");
        Ok(Layer {
            among: Attention::declare(&scope.enter("self_attention"), shape)?,
            across: Attention::declare(&scope.enter("encoder_decoder_attention"), shape)?,
            norm: norm(&mlp, shape)?,
            gate: dense.parameter("wi_0.weight", (hidden, width), sigma(width))?,
            up: dense.parameter("wi_1.weight", (hidden, width), sigma(width))?,
            down: dense.parameter("wo.weight", (width, hidden), sigma(hidden))?,
        })
    }

    fn forward(&self, x: &Tensor, states: &Tensor, own: &Arc<Segments>, cross: &Arc<Segments>) -> Result<Tensor> {
        let x = self.across.forward(&self.among.forward(x, None, own)?, Some(states), cross)?;
        let n = self.norm.forward(&x)?;
        let gated = geglu(&linear(&n, &self.gate)?, &linear(&n, &self.up)?)?;
        Ok(add(&x, &linear(&gated, &self.down)?)?)
    }
}

pub(super) struct TextDecoder {
    start: u32,
    pub(super) tokens: Tensor,
    positions: Tensor,
    first_norm: LayerNorm,
    layers: Vec<Layer>,
    last_norm: LayerNorm,
}

impl TextDecoder {
    pub(super) fn declare(scope: &Scope, shape: &TextShape) -> Result<Self> {
        let width = shape.hidden_size;
        let init = Init::Normal(shape.initializer_factor * (width as f64).powf(-0.5));
        let layers = (0..shape.num_layers).map(|k| Layer::declare(&scope.enter("layer").enter(k), shape));
        let norm = |name: &str| {
            let scope = scope.enter(name).enter("layer_norm");
            LayerNorm::with_epsilon(&scope, width, shape.layer_norm_epsilon)
        };
        Ok(TextDecoder {
            start: shape.decoder_start_token_id,
            tokens: scope.parameter("embed_tokens.weight", (shape.vocab_size, width), init)?,
            positions: scope.parameter("embed_pos.weight", (shape.max_positions + FIRST_POSITION, width), init)?,
            first_norm: norm("embed_layer_norm")?,
            layers: layers.collect::<Result<_>>()?,
            last_norm: norm("final_layer_norm")?,
        })
    }

    /// `[tokens, width]`: row t of a text should predict its token t from those before it and from its view.
    pub(super) fn forward(&self, texts: &[&[u32]], encoded: &Encoded) -> Result<Tensor> {
        let shifted = |text: &&[u32]| -> Vec<u32> {
            std::iter::once(self.start).chain(text.iter().copied()).take(text.len()).collect()
        };
        let inputs: Arc<[u32]> = texts.iter().flat_map(shifted).collect();
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let first = FIRST_POSITION as u32;
        let places: Arc<[u32]> = lengths.iter().flat_map(|n| first..first + *n as u32).collect();
        let mut x =
            self.first_norm.forward(&add(&embed(&self.tokens, &inputs)?, &embed(&self.positions, &places)?)?)?;
        let own = Arc::new(Segments::packed(&lengths, true));
        let cross = Segments::cross(&lengths, &encoded.lengths, false)?.with_key_mask(encoded.seen.clone())?;
        let cross = Arc::new(cross);
        for layer in &self.layers {
            x = layer.forward(&x, &encoded.states, &own, &cross)?;
        }
        Ok(self.last_norm.forward(&x)?)
    }
}
