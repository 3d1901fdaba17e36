//! What is kept of contexts while text is generated: the states of the encoder, or the keys and values that each layer
//! makes of them.
//!
//! States cost one row of the encoder's width for each token of context, keys and values `2 layers` rows of the decoder's.
//! A single new token reads states without projecting them ([`super::cross::CrossAttention::forward_few`]); only where many tokens are
//! read at once are keys and values made for the moment, a layer at a time.

use super::encoder::Context;
use super::model::ContextModel;
use super::shape::ContextShape;
use crate::model::decoder::{Cache, heads};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tesseral_nn::attention::varlen::Segments;
use tesseral_nn::layers::activation::add;

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The states of the encoder: least memory.
    #[default]
    States,
    /// Keys and values of each layer: nothing is projected again.
    KeysValues,
}

impl Keep {
    /// Numbers that are kept for each token of context.
    pub fn numbers(self, shape: &ContextShape) -> usize {
        let heads = heads(&shape.decoder);
        match self {
            Keep::States => shape.encoder.hidden_size,
            Keep::KeysValues => 2 * shape.cross_layers * heads.keys * heads.width,
        }
    }
}

/// How contexts are read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// What is kept.
    pub keep: Keep,
    /// Tokens of context that go through the encoder at a time (whole contexts, at least one): bounds the memory.
    pub block: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { keep: Keep::States, block: 4096 }
    }
}

/// Contexts that were read for one text, f32.
pub struct Memory {
    kept: Kept,
    rows: usize,
}

enum Kept {
    States(Tensor),
    /// Of each layer that reads contexts.
    KeysValues(Vec<Option<[Tensor; 2]>>),
}

impl Memory {
    /// Rows that the decoder may read: tokens of context, and of queries where the mode keeps theirs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of what is kept.
    pub fn bytes(&self) -> usize {
        let size = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        match &self.kept {
            Kept::States(states) => size(states),
            Kept::KeysValues(layers) => layers.iter().flatten().flatten().map(size).sum(),
        }
    }
}

impl ContextModel {
    /// Reads contexts, some at a time, for a text that begins with `query`.
    ///
    /// # Errors
    /// An id beyond the vocabulary; a model that is not run in f32.
    pub fn read(&self, contexts: &[Context], query: &[u32], reading: Reading) -> Result<Memory> {
        let layers = match reading.keep {
            Keep::States => 1,
            Keep::KeysValues => 2 * self.cross().len(),
        };
        let mut columns: Vec<Vec<f32>> = vec![Vec::new(); layers];
        let mut rows = 0;
        let most: usize = contexts.iter().map(|context| context.len() + self.shape().mode.query()).sum();
        for block in blocks(contexts, reading.block) {
            let Some(states) = self.encoder().states(&[block.to_vec()], &[query], self.shape().mode)? else { continue };
            let states = states.hidden.detach();
            if states.dtype() != DType::F32 {
                return Err(Error::config(
                    "dtype",
                    format!("expected f32 or bf16 to generate, found {:?}", states.dtype()),
                ));
            }
            rows += states.dim(0)?;
            let mut push = |place: usize, x: &Tensor| -> Result<()> {
                // Room for all at once: growing would hold half as much again for a moment.
                let room = most * x.dim(1)? - columns[place].len();
                columns[place].reserve_exact(room);
                columns[place].extend(x.flatten_all()?.to_vec1::<f32>()?);
                Ok(())
            };
            match reading.keep {
                Keep::States => push(0, &states)?,
                Keep::KeysValues => {
                    for (k, cross) in self.cross().iter().enumerate() {
                        let Some(cross) = cross else { continue };
                        let [keys, values] = cross.keys_values(&states)?;
                        push(2 * k, &keys)?;
                        push(2 * k + 1, &values)?;
                    }
                }
            }
        }
        let mut tensor = |place: usize| {
            let values = std::mem::take(&mut columns[place]);
            let width = values.len().checked_div(rows).unwrap_or(0);
            Tensor::from_vec(values, (rows, width), &Device::Cpu)
        };
        let kept = match reading.keep {
            Keep::States => Kept::States(tensor(0)?),
            Keep::KeysValues => {
                let layer = |(k, cross): (usize, &Option<_>)| -> Result<_> {
                    Ok(if cross.is_some() { Some([tensor(2 * k)?, tensor(2 * k + 1)?]) } else { None })
                };
                Kept::KeysValues(self.cross().iter().enumerate().map(layer).collect::<Result<_>>()?)
            }
        };
        Ok(Memory { kept, rows })
    }

    /// Hidden states of tokens that follow those in `cache`, which takes them up; all of them read the contexts.
    ///
    /// # Errors
    /// As [`crate::model::decoder::Decoder::continue_from`].
    pub fn continue_from(&self, cache: &mut Cache, ids: &[u32], memory: &Memory) -> Result<Tensor> {
        if memory.rows == 0 {
            return self.decoder().continue_from(cache, ids);
        }
        let segments = Arc::new(Segments::cross(&[ids.len()], &[memory.rows], false)?);
        self.decoder().continue_with(cache, ids, &mut |layer, x| {
            let Some(cross) = &self.cross()[layer] else { return Ok(x) };
            match &memory.kept {
                Kept::States(states) if cross.is_few(ids.len(), states.dim(1)?) => {
                    cross.forward_few(&x, states, &segments)
                }
                Kept::States(states) => cross.forward(&x, states, &segments),
                Kept::KeysValues(layers) => match &layers[layer] {
                    Some(keys_values) => Ok(add(&x, &cross.read(&x, keys_values, &segments)?)?),
                    None => Ok(x),
                },
            }
        })
    }
}

/// Contexts in runs of at most `tokens` tokens, or a single longer one.
fn blocks(contexts: &[Context], tokens: usize) -> impl Iterator<Item = &[Context]> {
    let mut rest = contexts;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |context: &&Context| {
            sum += context.len();
            sum <= tokens
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (block, more) = rest.split_at(count);
        rest = more;
        (!block.is_empty()).then_some(block)
    })
}
