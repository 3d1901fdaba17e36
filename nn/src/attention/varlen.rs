//! Attention within segments of packed sequences: `softmax(scale q k^T + mask) v` for each head, in memory linear in the
//! length forward and backward (Dao et al. 2022: blocks of keys, running maximum and sum, weights made again for the
//! gradient).
//!
//! Modules: [`segments`] (which queries see which keys), `forward`, `backward`, `reference` (the definition, as the oracle
//! of tests).

mod backward;
mod forward;
#[cfg(test)]
pub(crate) mod reference;
pub mod segments;
mod softmax;

pub use segments::Segments;

use crate::kernels::{Array, Operation, Real, apply};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::{Arc, OnceLock};

/// How the columns of queries, keys and values fall into heads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub queries: usize,
    /// Key and value heads; each serves `queries / keys` query heads that follow each other.
    pub keys: usize,
    /// Columns of a head.
    pub width: usize,
    /// Factor of the products q k: 1 / sqrt(width) as a rule, 1 for T5.
    pub scale: f64,
}

impl Heads {
    /// The usual scale, 1 / sqrt(width).
    pub fn new(queries: usize, keys: usize, width: usize) -> Self {
        Heads { queries, keys, width, scale: 1.0 / (width as f64).sqrt() }
    }

    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.queries / self.keys.max(1)
    }
}

/// `q` `[queries, heads.queries * width]`, `k` and `v` `[keys, heads.keys * width]`, all f32 or f64: `[queries, heads.queries *
/// width]`. A query that sees no key gets zeros.
///
/// # Errors
/// [`Error::Shape`] when these do not fit each other and the segments.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, segments: &Arc<Segments>, heads: Heads) -> Result<Tensor> {
    let Heads { queries, keys, width, .. } = heads;
    let rows = [segments.query_rows(), segments.key_rows()];
    let dims = [q.dims2()?, k.dims2()?, v.dims2()?];
    let key_dims = (rows[1], keys * width);
    let fits = dims == [(rows[0], queries * width), key_dims, key_dims];
    if !fits || keys == 0 || queries % keys != 0 || width == 0 {
        return Err(Error::Shape {
            operation: "attention",
            expected: format!("{rows:?} rows of queries and keys, {queries} heads over {keys}, {width} columns each"),
            found: format!("q {:?}, k {:?}, v {:?}", q.dims(), k.dims(), v.dims()),
        });
    }
    Ok(apply(Attention { segments: segments.clone(), heads, log_sums: OnceLock::new() }, &[q, k, v])?)
}

/// The same over slices, without gradient; for keys and values that live in a cache. `k` and `v` may be longer than the
/// segments say.
pub fn attend<T: Real>(q: &[T], k: &[T], v: &[T], segments: &Segments, heads: Heads) -> Vec<T> {
    forward::forward(q, k, v, segments, heads).0
}

struct Attention {
    segments: Arc<Segments>,
    heads: Heads,
    /// log of the sum of exponentials of each query and head, `[queries, heads]`, for the gradient.
    log_sums: OnceLock<Vec<f64>>,
}

impl Operation for Attention {
    const NAME: &'static str = "attention";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (y, log_sums) = forward::forward(x[0].data, x[1].data, x[2].data, &self.segments, self.heads);
        let _ = self.log_sums.set(log_sums);
        Ok((y, x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], y: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let inputs = [x[0].data, x[1].data, x[2].data];
        let log_sums = self.log_sums.get().map_or(&[][..], Vec::as_slice);
        Ok(backward::backward(inputs, y, dy, log_sums, &self.segments, self.heads).into())
    }
}

#[cfg(test)]
mod tests;
