//! From masks to a smaller model: masks are multiplied in once, what they set to zero is cut out, layers are numbered anew.

use super::fold::{Compatibility, Tensors, fold, layer_of, masked};
use super::masks::{Kind, Masks};
use super::shape::{Shape, pruned_config};
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::Serialize;
use std::sync::Arc;
use tesseral_nn::layers::scale_columns;

/// What is left of a model, by numbers of the model before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Dimensions of the residual stream.
    pub hidden: Vec<usize>,
    /// Layers.
    pub layers: Vec<usize>,
    /// Groups of heads of each of these layers.
    pub groups: Vec<Vec<usize>>,
    /// Intermediate dimensions of each of these layers.
    pub intermediate: Vec<Vec<usize>>,
}

impl Kept {
    /// What masks leave of a model of `source`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every reason for which the rest is no model of one shape: layers of different widths, half a layer, or
    /// nothing.
    pub fn of(masks: &Masks, source: &Shape) -> Result<Self> {
        let all = |kind: Kind| -> Result<Vec<Vec<usize>>> {
            let (rows, width) = kind.sizes(source);
            Ok(masks.kept(kind)?.unwrap_or_else(|| vec![(0..width).collect(); rows]))
        };
        let mut problems = Vec::new();
        let whole = masks.kept(Kind::Layer)?;
        let part = |kind| whole.clone().map_or_else(|| all(kind), Ok).map(|rows| rows.concat());
        let (attention, feed_forward) = (part(Kind::HeadLayer)?, part(Kind::Mlp)?);
        if attention != feed_forward {
            problems.push(format!(
                "layers: expected whole ones, found attention of {attention:?} and MLP of {feed_forward:?}"
            ));
        }
        let (groups, intermediate) = (all(Kind::Head)?, all(Kind::Intermediate)?);
        let of_layers =
            |rows: &[Vec<usize>]| attention.iter().filter_map(|l| rows.get(*l).cloned()).collect::<Vec<_>>();
        let kept = Kept {
            hidden: all(Kind::Hidden)?.concat(),
            groups: of_layers(&groups),
            intermediate: of_layers(&intermediate),
            layers: attention,
        };
        for (name, rows) in [("heads", &kept.groups), ("intermediate", &kept.intermediate)] {
            let counts: Vec<usize> = rows.iter().map(Vec::len).collect();
            if counts.iter().any(|n| Some(n) != counts.first() || *n == 0) {
                problems.push(format!("{name}: expected equally many in each layer, at least one, found {counts:?}"));
            }
        }
        for (name, count) in [("layers", kept.layers.len()), ("hidden", kept.hidden.len())] {
            if count == 0 {
                problems.push(format!("{name}: expected at least one, found none"));
            }
        }
        if problems.is_empty() { Ok(kept) } else { Err(Error::Invalid { path: "masks".into(), problems }) }
    }

    /// The shape of what is left.
    pub fn shape(&self, source: &Shape) -> Shape {
        Shape {
            layers: self.layers.len(),
            groups: self.groups.first().map_or(0, Vec::len),
            hidden: self.hidden.len(),
            intermediate: self.intermediate.first().map_or(0, Vec::len),
            ..*source
        }
    }
}

/// A smaller model.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// Its shape.
    pub config: LlamaConfig,
    /// Its tensors by Hugging Face name.
    pub tensors: Tensors,
    /// What it is made of.
    pub kept: Kept,
}

/// Cuts out of a model what `masks` set to zero.
///
/// # Errors
/// As [`Kept::of`]; those of candle.
pub fn extract(
    config: &LlamaConfig,
    tensors: &Tensors,
    masks: &Masks,
    compatibility: Compatibility,
) -> Result<Extracted> {
    let source = Shape::of(config);
    let kept = Kept::of(masks, &source)?;
    let folded = fold(config, tensors, masks, false)?;
    let mut cut = Tensors::new();
    for (name, tensor) in &folded {
        let (name, [rows, columns]) = match layer_of(name) {
            Some((layer, part)) => {
                let Some(number) = kept.layers.iter().position(|l| *l == layer) else { continue };
                (format!("model.layers.{number}.{part}"), places(part, number, &kept, &source))
            }
            None if tensor.rank() == 1 => (name.clone(), [Some(kept.hidden.clone()), None]),
            None => (name.clone(), [None, Some(kept.hidden.clone())]),
        };
        let mut tensor = tensor.detach();
        // A bias has rows alone.
        for (dim, places) in [rows, columns].into_iter().take(tensor.rank()).enumerate() {
            if let Some(places) = places {
                tensor = select(&tensor, dim, &places)?;
            }
        }
        if let ("lm_head.weight", true, Some(z)) = (name.as_str(), compatibility.head_folded_twice, masks.hidden()) {
            tensor = scale_columns(&tensor, &select(&z.detach(), 1, &kept.hidden)?)?;
        }
        cut.insert(name, tensor.contiguous()?);
    }
    Ok(Extracted { config: pruned_config(config, &kept.shape(&source))?, tensors: cut, kept })
}

/// Rows and columns that are kept of a layer's tensor.
fn places(part: &str, number: usize, kept: &Kept, source: &Shape) -> [Option<Vec<usize>>; 2] {
    let spread = |share: usize| {
        let of_group = |g: &usize| g * share..(g + 1) * share;
        Some(kept.groups[number].iter().flat_map(of_group).collect::<Vec<usize>>())
    };
    let (queries, keys) = (spread(source.group_heads * source.head_width), spread(source.head_width));
    let (hidden, inner) = (Some(kept.hidden.clone()), Some(kept.intermediate[number].clone()));
    match part.rsplit_once('.').map_or(part, |(module, _)| module) {
        "self_attn.q_proj" => [queries, hidden],
        "self_attn.k_proj" | "self_attn.v_proj" => [keys, hidden],
        "self_attn.o_proj" => [hidden, queries],
        "mlp.gate_proj" | "mlp.up_proj" => [inner, hidden],
        "mlp.down_proj" => [hidden, inner],
        _ => [hidden, None],
    }
}

fn select(tensor: &Tensor, dim: usize, places: &[usize]) -> Result<Tensor> {
    let places: Vec<u32> = places.iter().map(|k| *k as u32).collect();
    let count = places.len();
    Ok(tensor.index_select(&Tensor::from_vec(places, count, tensor.device())?, dim)?)
}

/// Largest difference between logits of the masked and of the smaller model, and the largest logit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Largest absolute difference.
    pub difference: f64,
    /// Largest absolute logit.
    pub largest: f64,
}

impl Agreement {
    /// Most difference that rounding explains, relative to the largest logit where that is above 1.
    pub const TOLERANCE: f64 = 1e-4;

    /// Whether the two are one model.
    pub fn holds(&self) -> bool {
        self.difference <= Self::TOLERANCE * self.largest.max(1.0)
    }
}

/// Compares the masked model with what was cut out of it, on one text.
///
/// # Errors
/// Ids beyond the vocabulary; a tensor that is missing.
pub fn agreement(
    config: &LlamaConfig,
    tensors: &Tensors,
    masks: &Masks,
    extracted: &Extracted,
    ids: &[u32],
) -> Result<Agreement> {
    let ids: Arc<[u32]> = ids.into();
    let logits = |decoder: Decoder| -> Result<Vec<f64>> {
        let hidden = decoder.hidden(&ids, &decoder.layout(&[ids.len()])?)?;
        super::hard_concrete::values(&decoder.logits(&hidden)?)
    };
    let constant: Tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect();
    let before = logits(masked(config, &constant, masks, Compatibility::default())?)?;
    let after = logits(Decoder::from_tensors(&extracted.config, &extracted.tensors)?)?;
    let worst =
        |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |m: f64, x| if x > m || x.is_nan() { x } else { m });
    Ok(Agreement {
        difference: worst(&mut before.iter().zip(&after).map(|(a, b)| (a - b).abs())),
        largest: worst(&mut before.iter().map(|x| x.abs())),
    })
}
