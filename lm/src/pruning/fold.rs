//! A masked decoder: an ordinary decoder whose tensors are products of weights and masks.
//!
//! Every mask of Sheared LLaMA (arXiv 2310.06694; spec of its forward pass in `composer_llama.py`) stands next to a matrix or a
//! gain, and so can be multiplied into it: the hidden mask into embedding, gains and the rows of the output matrices, the others
//! into rows of V, O, U and D. The norms of a masked stream are means over the dimensions that are kept, n of d, the others being
//! zero: `x / sqrt(sum x^2 / n + e) = sqrt(n / d) x / sqrt(sum x^2 / d + e n / d)`. What is trained is then what is exported.

use super::masks::{Kind, Masks};
use crate::Result;
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use candle_core::Tensor;
use std::collections::BTreeMap;
use tesseral_nn::layers::{scale_columns, scale_rows};

/// Tensors by Hugging Face name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Where the released code differs from itself: neither while learning nor in what it writes by default here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compatibility {
    /// While masks are learned the embedding is not multiplied by the hidden mask (its zeros apart), though the export is.
    pub embedding_unmasked: bool,
    /// On export `lm_head` is multiplied by the hidden mask that the last gain carries already.
    pub head_folded_twice: bool,
}

impl Compatibility {
    /// Everything as the released code does it.
    pub const ORIGINAL: Self = Compatibility { embedding_unmasked: true, head_folded_twice: true };
}

/// The decoder of `config` with masks on it; gradients flow to the tensors and to the masks, where they are variables.
///
/// # Errors
/// A tensor that is missing, masks of another shape.
pub fn masked(config: &LlamaConfig, tensors: &Tensors, masks: &Masks, compatibility: Compatibility) -> Result<Decoder> {
    let mut folded = fold(config, tensors, masks, compatibility.embedding_unmasked)?;
    let mut config = config.clone();
    if let Some(kept) = masks.kept(Kind::Hidden)? {
        let share = kept.concat().len() as f64 / config.hidden_size as f64;
        config.rms_norm_eps *= share;
        for (_, gain) in folded.iter_mut().filter(|(name, _)| name.ends_with("norm.weight")) {
            let root = Tensor::new(&[share.sqrt()], gain.device())?.to_dtype(gain.dtype())?;
            *gain = scale_columns(gain, &root)?;
        }
    }
    Decoder::connected(&config, &folded)
}

/// Every tensor of a model times what masks it. A tied embedding carries the hidden mask to the output too, and the last gain
/// none; with `embedding_unmasked` it has only the zeros of the mask, and the gain all of it.
pub(super) fn fold(
    config: &LlamaConfig,
    tensors: &Tensors,
    masks: &Masks,
    embedding_unmasked: bool,
) -> Result<Tensors> {
    tensors
        .iter()
        .map(|(name, tensor)| {
            let folded = match layer_of(name) {
                Some((layer, part)) => fold_layer(layer, part, tensor, masks)?,
                None => match (name.as_str(), masks.hidden()) {
                    ("model.embed_tokens.weight", Some(z)) if embedding_unmasked => {
                        scale_columns(tensor, &z.detach().ne(0.0)?.to_dtype(z.dtype())?)?
                    }
                    ("model.embed_tokens.weight", Some(z)) => scale_columns(tensor, z)?,
                    ("model.norm.weight", Some(z)) if embedding_unmasked || !config.tie_word_embeddings => {
                        scale_columns(tensor, z)?
                    }
                    _ => tensor.clone(),
                },
            };
            Ok((name.clone(), folded))
        })
        .collect()
}

/// Number of the layer and the rest of the name of a layer's tensor.
pub(super) fn layer_of(name: &str) -> Option<(usize, &str)> {
    let (number, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
    Some((number.parse().ok()?, part))
}

fn fold_layer(layer: usize, part: &str, tensor: &Tensor, masks: &Masks) -> Result<Tensor> {
    let hidden = masks.hidden();
    let rows = |mask: Option<Tensor>| match mask {
        Some(mask) => scale_rows(tensor, &mask),
        None => Ok(tensor.clone()),
    };
    let module = part.rsplit_once('.').map_or(part, |(module, _)| module);
    Ok(match module {
        "input_layernorm" | "post_attention_layernorm" => match hidden {
            Some(mask) => scale_columns(tensor, mask)?,
            None => tensor.clone(),
        },
        "self_attn.v_proj" => rows(masks.row(Kind::Head, layer)?)?,
        "mlp.up_proj" => rows(masks.row(Kind::Intermediate, layer)?)?,
        "self_attn.o_proj" => rows(product(hidden, masks.attention(layer)?)?)?,
        "mlp.down_proj" => rows(product(hidden, masks.feed_forward(layer)?)?)?,
        _ => tensor.clone(),
    })
}

/// A mask of columns and one of a whole part, together.
fn product(columns: Option<&Tensor>, whole: Option<Tensor>) -> Result<Option<Tensor>> {
    Ok(match (columns, whole) {
        (Some(columns), Some(whole)) => Some(scale_columns(columns, &whole)?),
        (Some(columns), None) => Some(columns.clone()),
        (None, whole) => whole,
    })
}
