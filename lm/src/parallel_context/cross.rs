//! Cross-attention: what the decoder's tokens read in the states of the contexts.
//!
//! `x += O attention(Q rms_norm(x), K E, V E)` (Yen, Gao and Chen 2024, section 2): the states E of all contexts of a text
//! stand beside each other, without positions, so that their order does not matter. Heads are those of the decoder.

use super::shape::ContextShape;
use crate::Result;
use crate::model::decoder::{Tensors, heads};
use candle_core::{D, Tensor};
use std::sync::Arc;
use tesseral_nn::attention::varlen::{Heads, Segments, attention};
use tesseral_nn::layers::{activation::add, linear, rms_norm};

/// The part of one layer that reads contexts.
#[derive(Clone)]
pub struct CrossAttention {
    norm: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    epsilon: f64,
    heads: Heads,
}

impl CrossAttention {
    /// Of layer `number`, from the tensors that `tensor` gives for each name and shape.
    pub(super) fn build(number: usize, shape: &ContextShape, tensor: &mut Tensors<'_>) -> Result<Self> {
        let (decoder, states) = (&shape.decoder, shape.encoder.hidden_size);
        let heads = heads(decoder);
        let (width, queries, keys) = (decoder.hidden_size, heads.queries * heads.width, heads.keys * heads.width);
        let mut get =
            |name: &str, shape: &[usize]| tensor(&format!("model.layers.{number}.cross_attn.{name}.weight"), shape);
        Ok(CrossAttention {
            norm: get("layernorm", &[width])?,
            query: get("q_proj", &[queries, width])?,
            key: get("k_proj", &[keys, states])?,
            value: get("v_proj", &[keys, states])?,
            output: get("o_proj", &[width, queries])?,
            epsilon: decoder.rms_norm_eps,
            heads,
        })
    }

    /// Keys and values `[rows, key heads * width]` of encoder states `[rows, encoder width]`.
    ///
    /// # Errors
    /// States of another width.
    pub fn keys_values(&self, states: &Tensor) -> Result<[Tensor; 2]> {
        Ok([linear(states, &self.key)?, linear(states, &self.value)?])
    }

    /// What `x` `[tokens, width]` reads in keys and values, without `x` itself; zeros for a token that sees none.
    ///
    /// # Errors
    /// Shapes that do not fit the segments.
    pub fn read(&self, x: &Tensor, keys_values: &[Tensor; 2], segments: &Arc<Segments>) -> Result<Tensor> {
        let q = linear(&rms_norm(x, &self.norm, self.epsilon)?, &self.query)?;
        let [k, v] = keys_values;
        Ok(linear(&attention(&q, k, v, segments, self.heads)?, &self.output)?)
    }

    /// `x` and what it reads in encoder states.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn forward(&self, x: &Tensor, states: &Tensor, segments: &Arc<Segments>) -> Result<Tensor> {
        Ok(add(x, &self.read(x, &self.keys_values(states)?, segments)?)?)
    }

    /// As [`Self::forward`] for few tokens and many states, and without gradient: as `q (K e) = (K^T q) e`, the queries go
    /// to the states instead of the states to the queries, and no keys and values are made.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn forward_few(&self, x: &Tensor, states: &Tensor, segments: &Arc<Segments>) -> Result<Tensor> {
        let Heads { queries, keys, width, scale } = self.heads;
        let (tokens, states_width) = (x.dim(0)?, states.dim(D::Minus1)?);
        let dtype = x.dtype();
        let by_head = |weight: &Tensor| weight.to_dtype(dtype)?.reshape((keys, width, states_width));
        let q = linear(&rms_norm(x, &self.norm, self.epsilon)?, &self.query)?;
        let group = queries / keys;
        let q = q.reshape((tokens, keys, group, width))?.transpose(0, 1)?.reshape((keys, tokens * group, width))?;
        let back =
            |y: Tensor, n: usize| y.reshape((keys, tokens, group, n))?.transpose(0, 1)?.reshape((tokens, queries * n));
        let q = back(q.matmul(&by_head(&self.key)?)?, states_width)?;
        let heads = Heads { queries, keys: 1, width: states_width, scale };
        let seen = attention(&q, states, states, segments, heads)?;
        let seen = seen.reshape((tokens, keys, group, states_width))?.transpose(0, 1)?;
        let seen = seen.reshape((keys, tokens * group, states_width))?;
        let v = back(seen.matmul(&by_head(&self.value)?.transpose(1, 2)?.contiguous()?)?, width)?;
        Ok(add(x, &linear(&v, &self.output)?)?)
    }

    /// Whether [`Self::forward_few`] is the shorter way for `tokens` queries and many states: a query costs the width of the
    /// states in place of that of a head, in each head, and no state is projected.
    pub fn is_few(&self, tokens: usize, states_width: usize) -> bool {
        let Heads { queries, keys, width, .. } = self.heads;
        tokens * queries * states_width.saturating_sub(width) < keys * width * states_width
    }
}
