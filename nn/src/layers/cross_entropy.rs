//! The loss of a language model from hidden states: `-log softmax(h W^T)[label]`, without ever holding the logits of all
//! tokens.
//!
//! Tokens go in blocks. A block's logits are made tile by tile of the vocabulary, on all threads; where gradients are
//! wanted they are taken while the block is there, so that nothing is computed twice and memory does not grow with
//! the number of tokens times the vocabulary.

use crate::kernels::matmul::multiply;
use crate::kernels::{Array, Operation, Real, View, ViewMut, apply, parallel, rows, vectorised};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// The label of a token that carries no loss.
pub const IGNORED: i64 = -100;

/// Tokens whose logits are held at a time, unless the caller says otherwise.
pub const BLOCK: usize = 512;

/// Tokens of the vocabulary in a tile. Not a power of two: columns would fall into the same few sets of the cache.
const TILE: usize = 1040;

/// Most tokens whose hidden gradients one task makes.
const ROWS: usize = 256;

/// What becomes of the losses of the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Mean over the tokens that have a label; zero when none has.
    Mean,
    /// Their sum.
    Sum,
}

/// A scalar; gradients flow to `hidden` `[tokens, width]` and `weight` `[vocabulary, width]`. `labels[t]` is the token that
/// row t should predict, negative where there is none.
///
/// # Errors
/// [`Error::Shape`] for other shapes or a label beyond the vocabulary.
pub fn cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    labels: &Arc<[i64]>,
    reduction: Reduction,
    block: usize,
) -> Result<Tensor> {
    check(hidden, weight, labels)?;
    let counted = labels.iter().filter(|l| **l >= 0).count();
    let scale = if reduction == Reduction::Mean { 1.0 / counted.max(1) as f64 } else { 1.0 };
    let wanted = [hidden.track_op(), weight.track_op()];
    let operation = CrossEntropy { labels: labels.clone(), scale, block: block.max(1), wanted, kept: Mutex::new(None) };
    Ok(apply(operation, &[hidden, &widened(weight)?])?)
}

/// The loss of each token, `None` where it has no label; no gradient.
///
/// # Errors
/// As [`cross_entropy`].
pub fn token_losses(hidden: &Tensor, weight: &Tensor, labels: &[i64]) -> Result<Vec<Option<f64>>> {
    check(hidden, weight, labels)?;
    let (hidden, weight) = (hidden.detach().flatten_all()?, widened(weight)?.detach().flatten_all()?);
    let losses = match hidden.dtype() {
        DType::F64 => blocks(&hidden.to_vec1::<f64>()?, &weight.to_vec1::<f64>()?, labels, 1.0, BLOCK, [false; 2]).0,
        _ => blocks(&hidden.to_vec1::<f32>()?, &weight.to_vec1::<f32>()?, labels, 1.0, BLOCK, [false; 2]).0,
    };
    let mut losses = losses.into_iter();
    Ok(labels.iter().map(|l| if *l >= 0 { losses.next() } else { None }).collect())
}

fn widened(weight: &Tensor) -> Result<Tensor> {
    Ok(if weight.dtype() == DType::BF16 { weight.to_dtype(DType::F32)? } else { weight.clone() })
}

fn check(hidden: &Tensor, weight: &Tensor, labels: &[i64]) -> Result<()> {
    let ((tokens, width), (vocabulary, columns)) = (hidden.dims2()?, weight.dims2()?);
    let fail = |expected: String, found: String| Err(Error::Shape { operation: "cross_entropy", expected, found });
    if tokens != labels.len() || width != columns {
        return fail(format!("[{}, {columns}]", labels.len()), format!("{:?}", hidden.dims()));
    }
    match labels.iter().find(|l| **l >= vocabulary as i64) {
        Some(bad) => fail(format!("labels below {vocabulary}"), bad.to_string()),
        None => Ok(()),
    }
}

struct CrossEntropy {
    labels: Arc<[i64]>,
    scale: f64,
    block: usize,
    wanted: [bool; 2],
    /// Gradients for a gradient of one of the loss, `[Vec<T>; 2]`, from the forward pass until they are asked for.
    kept: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Operation for CrossEntropy {
    const NAME: &'static str = "cross-entropy";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (losses, gradients) = blocks(x[0].data, x[1].data, &self.labels, self.scale, self.block, self.wanted);
        if self.wanted.contains(&true) {
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(gradients));
        }
        Ok((vec![T::of(self.scale * losses.iter().sum::<f64>())], vec![]))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut gradients = match kept.and_then(|kept| kept.downcast::<[Vec<T>; 2]>().ok()) {
            Some(gradients) => *gradients,
            // A second pass over the same graph.
            None => blocks(x[0].data, x[1].data, &self.labels, self.scale, self.block, self.wanted).1,
        };
        if dy[0] != T::one() {
            gradients.iter_mut().flatten().for_each(|g| *g *= dy[0]);
        }
        Ok(gradients.into())
    }
}

/// What a tile tells about a row: the largest logit, the sum of exponentials less that, the logit of the label.
#[derive(Clone, Copy)]
struct RowPart {
    top: f64,
    sum: f64,
    target: Option<f64>,
}

/// Losses of the tokens with a label, in order, and `scale` times the gradients of their sum where they are wanted.
fn blocks<T: Real>(
    hidden: &[T],
    weight: &[T],
    labels: &[i64],
    scale: f64,
    block: usize,
    wanted: [bool; 2],
) -> (Vec<f64>, [Vec<T>; 2]) {
    let width = hidden.len() / labels.len().max(1);
    let counted: Vec<usize> = (0..labels.len()).filter(|t| labels[*t] >= 0).collect();
    let sized = |wanted: bool, n: usize| if wanted { vec![T::zero(); n] } else { Vec::new() };
    let (mut dh, mut dw) = (sized(wanted[0], hidden.len()), sized(wanted[1], weight.len()));
    let mut losses = Vec::with_capacity(counted.len());
    let vocabulary = weight.len() / width.max(1);
    let mut tiles = vec![T::zero(); block.min(counted.len()) * vocabulary];
    for tokens in counted.chunks(block) {
        let h: Vec<T> = tokens.iter().flat_map(|t| &hidden[t * width..][..width]).copied().collect();
        let targets: Vec<usize> = tokens.iter().map(|t| labels[*t] as usize).collect();
        let tiles = &mut tiles[..tokens.len() * vocabulary];
        let parts = exponentials(&h, weight, &targets, width, tiles);
        let normalisers: Vec<f64> = (0..tokens.len()).map(|r| log_sum(parts.iter().map(|p| &p[r]))).collect();
        for (r, normaliser) in normalisers.iter().enumerate() {
            let target = parts.iter().find_map(|p| p[r].target).unwrap_or(f64::NEG_INFINITY);
            losses.push(normaliser - target);
        }
        if wanted == [false; 2] {
            continue;
        }
        finish(tiles, &targets, &parts, &normalisers, scale);
        if wanted[1] {
            weight_gradient(tiles, &h, width, &mut dw);
        }
        if wanted[0] {
            let rows = hidden_gradient(tiles, weight, [tokens.len(), width]);
            for (row, t) in rows.chunks_exact(width).zip(tokens) {
                dh[t * width..][..width].copy_from_slice(row);
            }
        }
    }
    (losses, [dh, dw])
}

fn log_sum<'a>(parts: impl Iterator<Item = &'a RowPart> + Clone) -> f64 {
    let top = parts.clone().fold(f64::NEG_INFINITY, |top, p| top.max(p.top));
    top + parts.map(|p| p.sum * (p.top - top).exp()).sum::<f64>().ln()
}

/// Fills each tile, `[rows, tile]`, with exponentials of logits less the row's largest in it.
fn exponentials<T: Real>(h: &[T], weight: &[T], targets: &[usize], width: usize, tiles: &mut [T]) -> Vec<Vec<RowPart>> {
    let rows = targets.len();
    let mut parts: Vec<Vec<RowPart>> = weight.chunks(TILE * width).map(|_| Vec::new()).collect();
    let tasks = weight.chunks(TILE * width).zip(tiles.chunks_mut(TILE * rows)).zip(&mut parts).enumerate();
    parallel::for_each(tasks, |(k, ((w, tile), part))| {
        let n = w.len() / width;
        let (h, w) = (View::rows(h, [rows, width], width, 0), View::rows(w, [n, width], width, 0).t());
        multiply(h, w, &mut ViewMut::rows(tile, [rows, n], n, 0), 1.0, false);
        let target = |r: usize| targets[r].checked_sub(k * TILE).filter(|c| *c < n);
        let logits: Vec<_> = (0..rows).map(|r| target(r).map(|c| tile[r * n + c].to_f64())).collect();
        let (mut tops, mut sums) = (vec![T::zero(); rows], vec![T::zero(); rows]);
        exponentiate(tile, n, &mut tops, &mut sums);
        let join =
            |((top, sum), target): ((&T, &T), Option<f64>)| RowPart { top: top.to_f64(), sum: sum.to_f64(), target };
        *part = tops.iter().zip(&sums).zip(logits).map(join).collect();
    });
    parts
}

/// Exponentials to the gradient of the logits: `scale` times the probability, less one at the label.
fn finish<T: Real>(tiles: &mut [T], targets: &[usize], parts: &[Vec<RowPart>], normalisers: &[f64], scale: f64) {
    let rows = targets.len();
    let tasks = tiles.chunks_mut(TILE * rows).zip(parts).enumerate();
    parallel::for_each(tasks, |(k, (tile, part))| {
        let n = tile.len() / rows;
        for (r, row) in tile.chunks_exact_mut(n).enumerate() {
            let factor = T::of(scale * (part[r].top - normalisers[r]).exp());
            row.iter_mut().for_each(|p| *p *= factor);
            if let Some(column) = targets[r].checked_sub(k * TILE).filter(|c| *c < n) {
                row[column] -= T::of(scale);
            }
        }
    });
}

/// Adds `p^T h` to `dw`, p the gradient of the logits.
fn weight_gradient<T: Real>(tiles: &[T], h: &[T], width: usize, dw: &mut [T]) {
    let rows = h.len() / width;
    let tasks = tiles.chunks(TILE * rows).zip(dw.chunks_mut(TILE * width));
    parallel::for_each(tasks, |(tile, dw)| {
        let n = tile.len() / rows;
        let (p, h) = (View::rows(tile, [rows, n], n, 0).t(), View::rows(h, [rows, width], width, 0));
        multiply(p, h, &mut ViewMut::rows(dw, [n, width], width, 0), 1.0, true);
    });
}

/// `p W`, tile by tile.
fn hidden_gradient<T: Real>(tiles: &[T], weight: &[T], [rows, width]: [usize; 2]) -> Vec<T> {
    rows::build(width, &rows::all_up_to(ROWS, rows), |chunk, dh| {
        for (tile, w) in tiles.chunks(TILE * rows).zip(weight.chunks(TILE * width)) {
            let n = w.len() / width;
            let p = View::rows(&tile[chunk.start * n..], [chunk.len(), n], n, 0);
            let mut dh = ViewMut::rows(dh, [chunk.len(), width], width, 0);
            multiply(p, View::rows(w, [n, width], width, 0), &mut dh, 1.0, true);
        }
    })
}

vectorised! {
    fn exponentiate<T>(tile: &mut [T], columns: usize, tops: &mut [T], sums: &mut [T]) {
        const LANES: usize = 32;
        for ((row, top), sum) in tile.chunks_exact_mut(columns).zip(tops).zip(sums) {
            let mut tops = [row[0]; LANES];
            let chunks = row.chunks_exact(LANES);
            let rest = chunks.remainder().iter().fold(row[0], |a, b| if *b > a { *b } else { a });
            for chunk in chunks {
                for k in 0..LANES {
                    tops[k] = if chunk[k] > tops[k] { chunk[k] } else { tops[k] };
                }
            }
            *top = tops.iter().fold(rest, |a, b| if *b > a { *b } else { a });
            let mut parts = [T::zero(); LANES];
            let mut chunks = row.chunks_exact_mut(LANES);
            for chunk in &mut chunks {
                for k in 0..LANES {
                    chunk[k] = (chunk[k] - *top).weight();
                    parts[k] += chunk[k];
                }
            }
            let mut total = T::zero();
            for x in chunks.into_remainder() {
                *x = (*x - *top).weight();
                total += *x;
            }
            *sum = total + parts.iter().copied().sum::<T>();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backward;
    use candle_core::{D, Device, Var};

    /// Logits, log-softmax and picking, by single operations.
    fn plain(h: &Tensor, w: &Tensor, labels: &[i64]) -> Tensor {
        let logits = h.matmul(&w.t().unwrap()).unwrap();
        let top = logits.max_keepdim(D::Minus1).unwrap().detach();
        let log_sum = logits.broadcast_sub(&top).unwrap().exp().unwrap().sum_keepdim(D::Minus1).unwrap().log().unwrap();
        let log_probabilities = logits.broadcast_sub(&top).unwrap().broadcast_sub(&log_sum).unwrap();
        let rows: Vec<u32> = (0..labels.len() as u32).filter(|t| labels[*t as usize] >= 0).collect();
        let picked: Vec<u32> = rows.iter().map(|t| labels[*t as usize] as u32).collect();
        let index = |v: Vec<u32>| Tensor::new(v, &Device::Cpu).unwrap();
        let n = picked.len();
        let kept = log_probabilities.index_select(&index(rows), 0).unwrap();
        kept.gather(&index(picked).reshape((n, 1)).unwrap(), 1).unwrap().sum_all().unwrap().neg().unwrap()
    }

    #[test]
    fn equals_single_operations_for_every_block() {
        let wave = |n: usize, f: f64| (0..n).map(|k| 2.0 * (k as f64 * f).sin()).collect::<Vec<_>>();
        let (tokens, width, vocabulary) = (11, 6, TILE + 70);
        let h = Var::from_vec(wave(tokens * width, 0.7), (tokens, width), &Device::Cpu).unwrap();
        let w = Var::from_vec(wave(vocabulary * width, 1.3), (vocabulary, width), &Device::Cpu).unwrap();
        let labels: Arc<[i64]> = Arc::from([0, -100, 5, TILE as i64, 1093, -100, 2, 1023, 7, 7, -100]);
        let reference = plain(&h, &w, &labels);
        let expected = backward(reference.clone()).unwrap();
        let far =
            |a: &Tensor, b: &Tensor| (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        for block in [1, 3, 8, 512] {
            for (reduction, scale) in [(Reduction::Sum, 1.0), (Reduction::Mean, 1.0 / 8.0)] {
                let loss = cross_entropy(&h, &w, &labels, reduction, block).unwrap();
                assert!(far(&loss, &(&reference * scale).unwrap()) < 1e-12);
                for _second_pass_too in 0..2 {
                    let gradients = backward(loss.clone()).unwrap();
                    for x in [&h, &w] {
                        let expected = (expected.get(x).unwrap() * scale).unwrap();
                        assert!(far(gradients.get(x).unwrap(), &expected) < 1e-12);
                    }
                }
            }
        }
        let losses = token_losses(&h, &w, &labels).unwrap();
        assert!(losses[1].is_none() && losses.len() == tokens);
        let sum: f64 = losses.iter().flatten().sum();
        assert!((sum - reference.to_scalar::<f64>().unwrap()).abs() < 1e-11);
    }

    #[test]
    fn no_label_is_no_loss_and_a_wrong_one_is_refused() {
        let h = Var::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        let w = Tensor::zeros((5, 3), DType::F32, &Device::Cpu).unwrap();
        let loss = cross_entropy(&h, &w, &Arc::from([-100, -1]), Reduction::Mean, 8).unwrap();
        assert_eq!(loss.to_scalar::<f32>().unwrap(), 0.0);
        assert_eq!(backward(loss).unwrap().get(&h).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 3]; 2]);
        let message = cross_entropy(&h, &w, &Arc::from([5, 0]), Reduction::Mean, 8).unwrap_err().to_string();
        assert_eq!(message, "cross_entropy: expected labels below 5, found 5");
    }
}
