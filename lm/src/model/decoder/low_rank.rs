//! Low-rank additions to matrices (LoRA, Hu et al. 2021, arXiv 2106.09685): `y = x W^T + scale (x A^T) B^T`.

use crate::Result;
use candle_core::Tensor;
use tesseral_nn::layers::linear;

/// What is added to one matrix.
#[derive(Clone)]
pub struct LowRank {
    /// `[rank, inputs]`.
    pub a: Tensor,
    /// `[outputs, rank]`.
    pub b: Tensor,
    /// alpha / rank.
    pub scale: f64,
}

/// Gives what is added to the matrix of a name and shape `[outputs, inputs]`; none: nothing.
pub type Additions<'a> = dyn FnMut(&str, [usize; 2]) -> Result<Option<LowRank>> + 'a;

impl LowRank {
    /// `[tokens, inputs]` -> `[tokens, outputs]`.
    ///
    /// # Errors
    /// Another width.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(linear(&(linear(x, &self.a)? * self.scale)?, &self.b)?)
    }

    /// The matrix that has it in it: `W + scale B A`.
    ///
    /// # Errors
    /// Another shape.
    pub fn merged(&self, weight: &Tensor) -> Result<Tensor> {
        Ok((weight + (self.b.matmul(&self.a)? * self.scale)?)?)
    }
}
