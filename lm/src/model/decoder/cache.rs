//! Keys and values of the tokens so far, so that each new token costs one row.

use super::layout::Layout;
use crate::Result;
use crate::model::llama::LlamaConfig;
use candle_core::{CpuStorage, Storage, Tensor};
use tesseral_nn::attention::varlen::attend;

/// The cache of one sequence, f32.
#[derive(Clone, Default)]
pub struct Cache {
    layers: Vec<LayerCache>,
    length: usize,
    columns: usize,
}

#[derive(Clone, Default)]
pub(super) struct LayerCache {
    /// `[tokens, key heads * width]`, turned to their positions.
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Cache {
    /// Empty, with room for `tokens` tokens before anything is moved.
    pub fn new(config: &LlamaConfig, tokens: usize) -> Self {
        let columns = config.key_value_heads() * config.head_width();
        let room = || Vec::with_capacity(tokens * columns);
        let layers = (0..config.num_hidden_layers).map(|_| LayerCache { keys: room(), values: room() }).collect();
        Cache { layers, length: 0, columns }
    }

    /// Tokens in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(|l| 4 * (l.keys.len() + l.values.len())).sum()
    }

    /// Forgets the tokens from number `length` on: to score several continuations of one prompt.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        for layer in &mut self.layers {
            layer.keys.truncate(self.length * self.columns);
            layer.values.truncate(self.length * self.columns);
        }
    }

    pub(super) fn layers(&mut self) -> &mut [LayerCache] {
        &mut self.layers
    }

    pub(super) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
    }
}

impl LayerCache {
    /// Takes up keys and values.
    pub(super) fn extend(&mut self, keys: &[f32], values: &[f32]) {
        self.keys.extend_from_slice(keys);
        self.values.extend_from_slice(values);
    }

    /// Takes up new keys and values; what the new queries see in all of them.
    pub(super) fn attend(&mut self, q: &Tensor, k: &Tensor, v: &Tensor, layout: &Layout) -> Result<Tensor> {
        with_values(k, |k| self.keys.extend_from_slice(k))?;
        with_values(v, |v| self.values.extend_from_slice(v))?;
        let seen = with_values(q, |q| attend(q, &self.keys, &self.values, &layout.segments, layout.heads))?;
        Ok(Tensor::from_vec(seen, q.dims(), q.device())?)
    }
}

fn with_values<R>(x: &Tensor, body: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(body(&values[start..end])),
        _ => Err(crate::Error::config("dtype", format!("expected f32 on the CPU, found {:?}", x.dtype()))),
    }
}
