//! How cross-attention begins: from the self-attention of its layer, so that it can read before it has learnt to.

use super::shape::ContextShape;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tesseral_nn::rng::Streams;
use tesseral_nn::{Init, Parameters};

/// Values of a new cross-attention. Norm, queries, keys and values are those of self-attention (keys and values by their
/// first columns, as many as the encoder is wide) in all but `random`; they differ in the output matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrossStart {
    /// That of self-attention.
    #[default]
    Copy,
    /// Zero: the model begins as the wrapped one to the bit.
    Zero,
    /// Normal with variance 2 / columns (He et al. 2015).
    Normal,
    /// Every matrix normal with deviation 0.02, gains one.
    Random,
}

/// All tensors of a model before its training: the decoder's and the encoder's as they are, cross-attention new.
///
/// # Errors
/// [`Error::Config`] for a tensor of the decoder that is missing, or an encoder wider than the decoder with anything but
/// `random`.
pub fn tensors(
    shape: &ContextShape,
    decoder: &BTreeMap<String, Tensor>,
    encoder: &BTreeMap<String, Tensor>,
    start: CrossStart,
    streams: Streams,
) -> Result<BTreeMap<String, Tensor>> {
    let (width, states) = (shape.decoder.hidden_size, shape.encoder.hidden_size);
    if states > width && start != CrossStart::Random {
        let what = format!("expected \"random\" for an encoder wider than the decoder's {width}, found {start:?}");
        return Err(Error::config("cross_start", what));
    }
    let drawn = Parameters::new(streams, DType::F32, &Device::Cpu);
    let mut all: BTreeMap<String, Tensor> = decoder.clone();
    all.extend(encoder.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
    for layer in shape.first_cross()..shape.decoder.num_hidden_layers {
        let of = |name: &str| {
            let name = format!("model.layers.{layer}.{name}.weight");
            let missing = || Error::config(&name, "expected a tensor of the decoder, found none");
            decoder.get(&name).cloned().ok_or_else(missing)
        };
        let (mut q, mut k, mut v) = (of("self_attn.q_proj")?, of("self_attn.k_proj")?, of("self_attn.v_proj")?);
        let (mut o, mut norm) = (of("self_attn.o_proj")?, of("post_attention_layernorm")?);
        let normal = |name: &str, (rows, columns): (usize, usize), deviation: f64| -> Result<Tensor> {
            let name = format!("model.layers.{layer}.cross_attn.{name}.weight");
            Ok(drawn.root().parameter(&name, (rows, columns), Init::Normal(deviation))?.detach())
        };
        let keys = (k.dim(0)?, states);
        match start {
            CrossStart::Copy => {}
            CrossStart::Zero => o = o.zeros_like()?,
            CrossStart::Normal => o = normal("o_proj", o.dims2()?, (2.0 / o.dim(1)? as f64).sqrt())?,
            CrossStart::Random => {
                let deviation = 0.02;
                (q, o) = (normal("q_proj", q.dims2()?, deviation)?, normal("o_proj", o.dims2()?, deviation)?);
                (k, v) = (normal("k_proj", keys, deviation)?, normal("v_proj", keys, deviation)?);
                norm = norm.ones_like()?;
            }
        }
        let narrow = |x: &Tensor| x.narrow(1, 0, states)?.contiguous();
        let named =
            [("q_proj", q), ("k_proj", narrow(&k)?), ("v_proj", narrow(&v)?), ("o_proj", o), ("layernorm", norm)];
        for (name, tensor) in named {
            let name = format!("model.layers.{layer}.cross_attn.{name}.weight");
            all.insert(name, if tensor.dtype() == DType::BF16 { tensor.to_dtype(DType::F32)? } else { tensor });
        }
    }
    Ok(all)
}
