//! The decoder: embedding, layers of attention and feed-forward parts, final norm, output matrix.
//!
//! Llama (Touvron et al. 2023) with grouped-query attention: per layer `x += O attention(rope(Q n), rope(K n), V n)` with
//! `n = rms_norm(x)`, then `x += D (silu(G n) * U n)`. Parameter names are those of Hugging Face, byte for byte.

use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;
use tesseral_nn::attention::varlen::Heads;
use tesseral_nn::layers::{Compact, embed, linear, rms_norm};
use tesseral_nn::{Init, Parameters, Scope};

mod branches;
mod cache;
mod layer;
mod layout;
mod low_rank;
mod prefix;

pub use branches::{Branches, PrefixPositions, Text};
pub use cache::Cache;
pub use layer::Layer;
pub(crate) use layer::Tensors;
pub use layout::Layout;
pub use low_rank::{Additions, LowRank};
pub use prefix::Prefix;

/// What stands between the attention and the feed-forward part of a layer, given its number and what attention made:
/// the place of recipes that read something else there.
pub(crate) type Between<'a> = dyn FnMut(usize, Tensor) -> Result<Tensor> + 'a;

/// A model of the Llama family. Its tensors are variables of a parameter collection (to train) or plain (to run; in bf16
/// if memory is short). Cloning shares them.
#[derive(Clone)]
pub struct Decoder {
    config: LlamaConfig,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    /// None: the embedding.
    head: Option<Tensor>,
    /// The output matrix in fewer bytes, for few tokens.
    compact_head: Option<Compact>,
}

impl Decoder {
    /// Declares every parameter: matrices normal with standard deviation `sigma` (0.02 as a rule), gains one, biases zero.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn declare(scope: &Scope, config: &LlamaConfig, sigma: f64) -> Result<Self> {
        Self::build(config, &mut |name, shape| {
            let init = match shape {
                [_] if name.ends_with(".bias") => Init::Constant(0.0),
                [_] => Init::Constant(1.0),
                _ => Init::Normal(sigma),
            };
            Ok(scope.parameter(name, shape, init)?)
        })
    }

    /// Declares every parameter and gives it the tensor of its name.
    ///
    /// # Errors
    /// [`Error::Config`] names each missing, extra or wrongly shaped tensor.
    pub fn declare_from(
        parameters: &Parameters,
        config: &LlamaConfig,
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let scope = parameters.root();
        let decoder = Self::build(config, &mut |name, shape| Ok(scope.parameter(name, shape, Init::Constant(0.0))?))?;
        parameters.load(tensors)?;
        Ok(decoder)
    }

    /// From tensors by name, which are not copied and get no gradient.
    ///
    /// # Errors
    /// [`Error::Config`] for a tensor that is missing or of another shape.
    pub fn from_tensors(config: &LlamaConfig, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Self::build(config, &mut stored(tensors))
    }

    /// From tensors by name that depend on variables, which gradients flow to; each must be there, in its shape.
    pub(crate) fn connected(config: &LlamaConfig, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Self::build(config, &mut |name, _| match tensors.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => Err(Error::config(name, "expected a tensor, found none")),
        })
    }

    /// From the tensors that `tensor` gives for each name and shape.
    pub(crate) fn build(config: &LlamaConfig, tensor: &mut Tensors<'_>) -> Result<Self> {
        let (width, vocabulary) = (config.hidden_size, config.vocab_size);
        let embedding = tensor("model.embed_tokens.weight", &[vocabulary, width])?;
        let layers = (0..config.num_hidden_layers).map(|k| Layer::build(k, config, tensor)).collect::<Result<_>>()?;
        let norm = tensor("model.norm.weight", &[width])?;
        let head = match config.tie_word_embeddings {
            true => None,
            false => Some(tensor("lm_head.weight", &[vocabulary, width])?),
        };
        Ok(Decoder { config: config.clone(), embedding, layers, norm, head, compact_head: None })
    }

    /// The same model with additions to its matrices: `find` is asked for each by name (`model.layers.0.self_attn.q_proj`)
    /// and shape `[outputs, inputs]`.
    ///
    /// # Errors
    /// Those of `find`.
    pub fn with_low_rank(mut self, find: &mut Additions<'_>) -> Result<Self> {
        for (number, layer) in self.layers.iter_mut().enumerate() {
            layer.add_low_rank(number, find)?;
        }
        Ok(self)
    }

    /// The same model, to the bit, that generates sooner: beside each matrix in f32 whose values have a smaller form (they came
    /// from a quantised or bf16 checkpoint) it keeps that form, and reads it where there are few tokens. For weights that no
    /// longer change.
    ///
    /// # Errors
    /// Those of [`Compact::of`].
    pub fn compacted(mut self) -> Result<Self> {
        for layer in &mut self.layers {
            layer.compact()?;
        }
        self.compact_head = Compact::of(self.head())?;
        Ok(self)
    }

    /// The shape.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The output matrix `[vocabulary, width]`: the embedding itself where they are tied.
    pub fn head(&self) -> &Tensor {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// How the columns of the projections fall into heads.
    pub fn heads(&self) -> Heads {
        heads(&self.config)
    }

    /// Which tokens see which, and the positions, for sequences of these lengths that are packed one after the other.
    ///
    /// # Errors
    /// A base of the rotary angles that is out of range.
    pub fn layout(&self, lengths: &[usize]) -> Result<Layout> {
        Layout::packed(lengths, true, &self.config)
    }

    /// Rows of the embedding: `[tokens, width]`.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn embed(&self, ids: &Arc<[u32]>) -> Result<Tensor> {
        Ok(embed(&self.embedding, ids)?)
    }

    /// The norm after the last layer.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn finish(&self, x: &Tensor) -> Result<Tensor> {
        Ok(rms_norm(x, &self.norm, self.config.rms_norm_eps)?)
    }

    /// Hidden states `[tokens, width]` of packed sequences, after the final norm.
    ///
    /// # Errors
    /// An id beyond the vocabulary, or another number of tokens than the layout has.
    pub fn hidden(&self, ids: &Arc<[u32]>, layout: &Layout) -> Result<Tensor> {
        self.hidden_with(ids, layout, &mut |_, x| Ok(x))
    }

    /// As [`Self::hidden`] with something between the parts of each layer.
    pub(crate) fn hidden_with(&self, ids: &Arc<[u32]>, layout: &Layout, between: &mut Between<'_>) -> Result<Tensor> {
        let mut x = self.embed(ids)?;
        for (k, layer) in self.layers.iter().enumerate() {
            x = layer.feed_forward(&between(k, layer.attention(&x, layout)?)?)?;
        }
        self.finish(&x)
    }

    /// Logits `[tokens, vocabulary]` of hidden states.
    ///
    /// # Errors
    /// Another width.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(match &self.compact_head {
            Some(compact) => compact.linear(hidden)?,
            None => linear(hidden, self.head())?,
        })
    }

    /// Hidden states of tokens that follow those in `cache`, which takes them up.
    ///
    /// # Errors
    /// An id beyond the vocabulary; a model in a dtype that the cache has not (f32 and bf16 are run in f32).
    pub fn continue_from(&self, cache: &mut Cache, ids: &[u32]) -> Result<Tensor> {
        self.continue_with(cache, ids, &mut |_, x| Ok(x))
    }

    /// As [`Self::continue_from`] with something between the parts of each layer.
    pub(crate) fn continue_with(&self, cache: &mut Cache, ids: &[u32], between: &mut Between<'_>) -> Result<Tensor> {
        let layout = Layout::following(cache.len(), ids.len(), &self.config)?;
        let mut x = self.embed(&Arc::from(ids))?;
        if x.dtype() != DType::F32 {
            return Err(Error::config("dtype", format!("expected f32 or bf16 to generate, found {:?}", x.dtype())));
        }
        for (k, (layer, cache)) in self.layers.iter().zip(cache.layers()).enumerate() {
            x = layer.feed_forward(&between(k, layer.attention_cached(&x, &layout, cache)?)?)?;
        }
        cache.advance(ids.len());
        self.finish(&x)
    }
}

/// Gives the tensors of a map, without gradient.
pub(crate) fn stored(tensors: &BTreeMap<String, Tensor>) -> impl FnMut(&str, &[usize]) -> Result<Tensor> {
    |name, shape| match tensors.get(name) {
        Some(tensor) if tensor.dims() == shape => Ok(tensor.detach()),
        Some(tensor) => Err(Error::config(name, format!("expected shape {shape:?}, found {:?}", tensor.dims()))),
        None => Err(Error::config(name, format!("expected a tensor of shape {shape:?}, found none"))),
    }
}

/// How the columns of the projections of a model fall into heads.
pub(crate) fn heads(config: &LlamaConfig) -> Heads {
    Heads::new(config.num_attention_heads, config.key_value_heads(), config.head_width())
}

#[cfg(test)]
mod tests;
