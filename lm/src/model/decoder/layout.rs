//! Which tokens see which, and where they stand.

use super::heads;
use crate::Result;
use crate::model::llama::LlamaConfig;
use std::sync::Arc;
use tesseral_nn::attention::varlen::{Heads, Segments};
use tesseral_nn::layers::rope::Rotations;

/// What attention needs to know of a batch beside its hidden states.
#[derive(Clone)]
pub struct Layout {
    /// Who sees whom.
    pub segments: Arc<Segments>,
    /// Rotary angles of each row.
    pub rotations: Arc<Rotations>,
    /// Columns of heads.
    pub heads: Heads,
}

impl Layout {
    /// Sequences of these lengths, one after the other, each seeing itself; without `causal` in both directions. Positions
    /// begin at 0 in each: attention knows distances alone, and small angles are exact.
    ///
    /// # Errors
    /// A base of the rotary angles that is out of range.
    pub fn packed(lengths: &[usize], causal: bool, config: &LlamaConfig) -> Result<Self> {
        let positions: Vec<u32> = lengths.iter().flat_map(|n| 0..*n as u32).collect();
        Self::new(Segments::packed(lengths, causal), &positions, config)
    }

    /// `count` tokens after `before` others of the same sequence.
    ///
    /// # Errors
    /// As [`Self::packed`].
    pub fn following(before: usize, count: usize, config: &LlamaConfig) -> Result<Self> {
        let positions: Vec<u32> = (before as u32..(before + count) as u32).collect();
        Self::new(Segments::cross(&[count], &[before + count], true)?, &positions, config)
    }

    /// Any segments and positions, one for each row of queries.
    ///
    /// # Errors
    /// As [`Self::packed`].
    pub fn new(segments: Segments, positions: &[u32], config: &LlamaConfig) -> Result<Self> {
        let rotations = Rotations::new(positions, config.head_width(), config.rope_theta)?;
        Ok(Layout { segments: Arc::new(segments), rotations: Arc::new(rotations), heads: heads(config) })
    }
}
