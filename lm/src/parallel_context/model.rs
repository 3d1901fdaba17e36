//! A decoder that reads contexts: the wrapped model, the encoder, and cross-attention in its last layers.

use super::cross::CrossAttention;
use super::encoder::{Context, Encoder, States};
use super::shape::ContextShape;
use crate::model::decoder::{Decoder, Tensors, stored};
use crate::{Error, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::sync::Arc;
use tesseral_nn::attention::varlen::Segments;
use tesseral_nn::{Init, Parameters};

/// The model. The decoder is the wrapped one as it is: without contexts it is that to the bit. Cloning shares tensors.
#[derive(Clone)]
pub struct ContextModel {
    shape: ContextShape,
    decoder: Decoder,
    encoder: Encoder,
    /// Of each layer, if it reads contexts.
    cross: Vec<Option<CrossAttention>>,
}

/// Which tensors are trained. The decoder never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trained {
    /// The encoder, beside cross-attention.
    pub encoder: bool,
}

impl Trained {
    /// Whether the tensor of this name is trained.
    pub fn holds(self, name: &str) -> bool {
        name.contains(".cross_attn.") || (self.encoder && name.starts_with("encoder."))
    }
}

impl ContextModel {
    /// From tensors by name, which are not copied and get no gradient.
    ///
    /// # Errors
    /// [`Error::Config`] for a tensor that is missing or of another shape.
    pub fn from_tensors(shape: &ContextShape, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Self::build(shape, &mut stored(tensors))
    }

    /// Declares what is trained in `parameters`, with the values of `tensors`; everything else is taken as it is, and
    /// gradients pass through it.
    ///
    /// # Errors
    /// As [`Self::from_tensors`].
    pub fn declare_from(
        parameters: &Parameters,
        shape: &ContextShape,
        tensors: &BTreeMap<String, Tensor>,
        trained: Trained,
    ) -> Result<Self> {
        let scope = parameters.root();
        let mut plain = stored(tensors);
        let model = Self::build(shape, &mut |name, dims| match trained.holds(name) {
            true => Ok(scope.parameter(name, dims, Init::Constant(0.0))?),
            false => plain(name, dims),
        })?;
        let names: Vec<String> = parameters.to_vec().into_iter().map(|(name, _)| name).collect();
        let values = names.iter().filter_map(|name| Some((name.clone(), tensors.get(name)?.clone()))).collect();
        parameters.load(&values)?;
        Ok(model)
    }

    fn build(shape: &ContextShape, tensor: &mut Tensors<'_>) -> Result<Self> {
        let problems = shape.problems();
        if !problems.is_empty() {
            return Err(Error::Invalid { path: "model".into(), problems });
        }
        let decoder = Decoder::build(&shape.decoder, tensor)?;
        let encoder = Encoder::build(&shape.encoder, "encoder", tensor)?;
        let cross = (0..shape.decoder.num_hidden_layers).map(|k| {
            let reads = k >= shape.first_cross();
            reads.then(|| CrossAttention::build(k, shape, tensor)).transpose()
        });
        Ok(ContextModel { cross: cross.collect::<Result<_>>()?, shape: shape.clone(), decoder, encoder })
    }

    /// The shape.
    pub fn shape(&self) -> &ContextShape {
        &self.shape
    }

    /// The wrapped model.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Cross-attention of each layer, if it has some.
    pub fn cross(&self) -> &[Option<CrossAttention>] {
        &self.cross
    }

    /// States of the contexts of packed texts of these lengths, all encoded at once. `None` without any context.
    ///
    /// # Errors
    /// An id beyond the vocabulary; [`Error::Config`] for other numbers of texts.
    pub fn encode(&self, contexts: &[Vec<Context>], ids: &[u32], lengths: &[usize]) -> Result<Option<States>> {
        if contexts.len() != lengths.len() || lengths.iter().sum::<usize>() != ids.len() {
            let found = format!("{} lists of contexts, {} texts", contexts.len(), lengths.len());
            return Err(Error::config("contexts", format!("expected a list for each text, found {found}")));
        }
        let mut rest = ids;
        let texts = lengths.iter().map(|n| {
            let (text, more) = rest.split_at(*n);
            rest = more;
            text
        });
        self.encoder.states(contexts, &texts.collect::<Vec<_>>(), self.shape.mode)
    }

    /// Hidden states `[tokens, width]` of packed texts of these lengths after the final norm, each reading its own states; or
    /// all reading all of them, where `states` are [`States::shared`].
    ///
    /// # Errors
    /// An id beyond the vocabulary, or other numbers of texts.
    pub fn hidden(&self, ids: &Arc<[u32]>, lengths: &[usize], states: Option<&States>) -> Result<Tensor> {
        let layout = self.decoder.layout(lengths)?;
        let Some(states) = states else { return self.decoder.hidden(ids, &layout) };
        let queries = if states.lengths.len() == 1 { vec![ids.len()] } else { lengths.to_vec() };
        let segments = Arc::new(Segments::cross(&queries, &states.lengths, false)?);
        self.decoder.hidden_with(ids, &layout, &mut |layer, x| match &self.cross[layer] {
            Some(cross) => cross.forward(&x, &states.hidden, &segments),
            None => Ok(x),
        })
    }
}
