//! The encoder: a Llama stack that sees in both directions, over one context at a time.

use super::shape::EncodeMode;
use crate::Result;
use crate::model::decoder::{Decoder, Layout, Tensors};
use crate::model::llama::LlamaConfig;
use candle_core::Tensor;
use std::sync::Arc;
use tesseral_nn::layers::arrange::gather;

/// Token ids of one context. An empty one is no context at all.
pub type Context = Vec<u32>;

/// The encoder. Its tensors are called as those of a decoder with another word in front.
#[derive(Clone)]
pub struct Encoder {
    network: Decoder,
}

/// States of the contexts of some texts, one text after the other.
#[derive(Clone, Debug)]
pub struct States {
    /// `[rows, encoder width]`.
    pub hidden: Tensor,
    /// Rows of each text.
    pub lengths: Vec<usize>,
}

impl States {
    /// The same states for all texts together, each reading those of all (negatives of the batch).
    pub fn shared(self) -> Self {
        States { lengths: vec![self.lengths.iter().sum()], hidden: self.hidden }
    }
}

impl Encoder {
    /// From the tensors that `tensor` gives for each name and shape; names begin with `prefix` (`encoder`, or `model` in the
    /// files of masked pre-training).
    pub(super) fn build(config: &LlamaConfig, prefix: &str, tensor: &mut Tensors<'_>) -> Result<Self> {
        let network = Decoder::build(config, &mut |name, shape| {
            tensor(&format!("{prefix}.{}", name.trim_start_matches("model.")), shape)
        })?;
        Ok(Encoder { network })
    }

    /// The shape.
    pub fn config(&self) -> &LlamaConfig {
        self.network.config()
    }

    /// The embedding `[vocabulary, width]`.
    pub fn embedding(&self) -> &Tensor {
        self.network.head()
    }

    /// Hidden states `[tokens, width]` of packed texts of these lengths, each seeing itself in both directions; positions
    /// begin at 0 in each.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn hidden(&self, ids: &Arc<[u32]>, lengths: &[usize]) -> Result<Tensor> {
        self.network.hidden(ids, &Layout::packed(lengths, false, self.config())?)
    }

    /// States of the contexts of each text; `queries[t]` is the text itself, whose beginning some modes put after each
    /// context. `None` when there is no context at all.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn states(&self, contexts: &[Vec<Context>], queries: &[&[u32]], mode: EncodeMode) -> Result<Option<States>> {
        let (mut ids, mut lengths, mut rows, mut kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (contexts, query) in contexts.iter().zip(queries) {
            let query = &query[..mode.query().min(query.len())];
            let before = kept.len();
            for context in contexts.iter().filter(|context| !context.is_empty()) {
                let start = ids.len();
                ids.extend(context.iter().chain(query));
                lengths.push(context.len() + query.len());
                let end = if matches!(mode, EncodeMode::WithQuery(_)) { ids.len() } else { start + context.len() };
                kept.extend(start..end);
            }
            rows.push(kept.len() - before);
        }
        if ids.is_empty() {
            return Ok(None);
        }
        let hidden = self.hidden(&Arc::from(ids.as_slice()), &lengths)?;
        let width = self.config().hidden_size;
        let hidden = if kept.len() == ids.len() { hidden } else { gather(&hidden, &Arc::from(kept), 0..width)? };
        Ok(Some(States { hidden, lengths: rows }))
    }
}
