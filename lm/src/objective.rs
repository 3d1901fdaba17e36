//! Next-token prediction: a batch of packed sequences, its loss, and the gradients, with the layers either kept or made
//! again during the backward pass.

pub mod shards;

use crate::model::decoder::{Decoder, Layer, Layout};
use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};
use std::sync::Arc;
use tesseral_nn::Parameters;
use tesseral_nn::kernels::{backward, backward_from};
use tesseral_nn::layers::cross_entropy::{self, IGNORED, Reduction, cross_entropy, token_losses};
use tesseral_nn::optim::Gradients;

/// Sequences packed one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Token ids of all sequences.
    pub ids: Arc<[u32]>,
    /// For each token the one to predict next, or [`IGNORED`].
    pub targets: Arc<[i64]>,
    /// Tokens of each sequence.
    pub lengths: Vec<usize>,
}

impl Batch {
    /// From labels in place, as Hugging Face has them: `labels[t]` is what the token before t should predict (the token t
    /// itself, or [`IGNORED`]). The last token of a sequence predicts nothing.
    ///
    /// # Errors
    /// [`Error::Config`] when the numbers of tokens differ.
    pub fn new(ids: &[u32], labels: &[i64], lengths: &[usize]) -> Result<Self> {
        let tokens: usize = lengths.iter().sum();
        if ids.len() != labels.len() || ids.len() != tokens {
            let found = format!("{} ids, {} labels, lengths of {tokens} in all", ids.len(), labels.len());
            return Err(Error::config("batch", format!("expected equal numbers of tokens, found {found}")));
        }
        let mut targets: Vec<i64> = labels.iter().skip(1).copied().chain([IGNORED]).take(ids.len()).collect();
        let mut end = 0;
        for length in lengths.iter().filter(|n| **n > 0) {
            end += length;
            targets[end - 1] = IGNORED;
        }
        Ok(Batch { ids: ids.into(), targets: targets.into(), lengths: lengths.to_vec() })
    }

    /// One sequence that predicts each of its tokens but the first.
    ///
    /// # Errors
    /// Never; as [`Self::new`] for form.
    pub fn whole(ids: &[u32]) -> Result<Self> {
        let labels: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        Self::new(ids, &labels, &[ids.len()])
    }

    /// Tokens that carry a loss.
    pub fn counted(&self) -> usize {
        self.targets.iter().filter(|t| **t >= 0).count()
    }
}

/// What the backward pass finds of the layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recompute {
    /// Everything: fastest.
    #[default]
    None,
    /// All but the feed-forward parts, which are made again: 6 % more work in products and two thirds of the memory (31M
    /// parameters, 8,192 tokens; docs/performance.md).
    FeedForward,
    /// The input of each layer; the rest is made again, one layer at a time: a quarter more work, and memory that hardly
    /// grows with the number of layers.
    Layers,
}

/// Mean or summed loss of the counted tokens, a scalar.
///
/// # Errors
/// Ids beyond the vocabulary.
pub fn loss(decoder: &Decoder, batch: &Batch, reduction: Reduction) -> Result<Tensor> {
    of_hidden(decoder, &decoder.hidden(&batch.ids, &decoder.layout(&batch.lengths)?)?, batch, reduction)
}

fn of_hidden(decoder: &Decoder, hidden: &Tensor, batch: &Batch, reduction: Reduction) -> Result<Tensor> {
    Ok(cross_entropy(hidden, decoder.head(), &batch.targets, reduction, cross_entropy::BLOCK)?)
}

/// Loss of each token, `None` where it predicts nothing; no gradient, and no more memory than one layer needs.
///
/// # Errors
/// As [`loss`].
pub fn losses(decoder: &Decoder, batch: &Batch) -> Result<Vec<Option<f64>>> {
    let layout = decoder.layout(&batch.lengths)?;
    let mut x = decoder.embed(&batch.ids)?.detach();
    for layer in decoder.layers() {
        x = layer.forward(&x, &layout)?.detach();
    }
    Ok(token_losses(&decoder.finish(&x)?.detach(), decoder.head(), &batch.targets)?)
}

/// Loss and the gradients of `parameters`, which the decoder was declared in.
///
/// # Errors
/// As [`loss`].
pub fn loss_and_gradients(
    decoder: &Decoder,
    parameters: &Parameters,
    batch: &Batch,
    reduction: Reduction,
    recompute: Recompute,
) -> Result<(f64, Gradients)> {
    match recompute {
        Recompute::None => {
            let loss = loss(decoder, batch, reduction)?;
            Ok((scalar(&loss)?, Gradients::collect(parameters, &backward(loss)?)))
        }
        _ => piece_by_piece(decoder, parameters, batch, reduction, recompute),
    }
}

fn scalar(loss: &Tensor) -> Result<f64> {
    Ok(loss.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

/// What is made again together, or kept.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Layer(&'a Layer),
    Attention(&'a Layer),
    FeedForward(&'a Layer),
}

impl Piece<'_> {
    fn forward(self, x: &Tensor, layout: &Layout) -> Result<Tensor> {
        match self {
            Piece::Layer(layer) => layer.forward(x, layout),
            Piece::Attention(layer) => layer.attention(x, layout),
            Piece::FeedForward(layer) => layer.feed_forward(x),
        }
    }
}

/// Forward with the input of each piece kept, then the pieces, last to first, with the gradient of their output: from what
/// was kept of them, or made again.
fn piece_by_piece(
    decoder: &Decoder,
    parameters: &Parameters,
    batch: &Batch,
    reduction: Reduction,
    recompute: Recompute,
) -> Result<(f64, Gradients)> {
    let layout = decoder.layout(&batch.lengths)?;
    let pieces = decoder.layers().iter().flat_map(|layer| match recompute {
        Recompute::FeedForward => vec![Piece::Attention(layer), Piece::FeedForward(layer)],
        _ => vec![Piece::Layer(layer)],
    });
    let embedded = decoder.embed(&batch.ids)?;
    let (mut x, mut done) = (embedded.detach(), Vec::new());
    for piece in pieces {
        let input = Var::from_tensor(&x)?;
        let output = piece.forward(&input, &layout)?;
        x = output.detach();
        done.push((piece, input, matches!(piece, Piece::Attention(_)).then_some(output)));
    }
    let mut gradients = Gradients::new();
    let top = Var::from_tensor(&x)?;
    drop(x);
    let loss = of_hidden(decoder, &decoder.finish(&top)?, batch, reduction)?;
    let value = scalar(&loss)?;
    let store = backward(loss)?;
    gradients.accumulate(&Gradients::collect(parameters, &store))?;
    let missing = || Error::config("gradient", "expected one for the input of each layer, found none");
    let mut dx = store.get(&top).ok_or_else(missing)?.clone();
    while let Some((piece, input, kept)) = done.pop() {
        let output = match kept {
            Some(output) => output,
            None => piece.forward(&input, &layout)?,
        };
        let store = backward_from(output, &dx)?;
        gradients.accumulate(&Gradients::collect(parameters, &store))?;
        dx = store.get(&input).ok_or_else(missing)?.clone();
    }
    gradients.accumulate(&Gradients::collect(parameters, &backward_from(embedded, &dx)?))?;
    Ok((value, gradients))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::llama::LlamaConfig;
    use candle_core::Device;
    use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
    use tesseral_nn::rng::Streams;
    use tesseral_nn::train::gradcheck::worst_directional_error;

    fn tiny(tied: bool, biased: bool) -> (Parameters, Decoder) {
        let text = format!(
            r#"{{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 31, "rope_theta": 100.0, "tie_word_embeddings": {tied}
            , "attention_bias": {biased}, "mlp_bias": {biased}}}"#
        );
        let config = LlamaConfig::parse(&text, "config.json".as_ref()).unwrap();
        let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
        let decoder = Decoder::declare(&parameters.root(), &config, 0.3).unwrap();
        (parameters, decoder)
    }

    fn batch() -> Batch {
        let ids: Vec<u32> = (0..23).map(|k| (k * k + 3) % 31).collect();
        let mut labels: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        labels[5] = IGNORED;
        Batch::new(&ids, &labels, &[9, 1, 13]).unwrap()
    }

    #[test]
    fn every_parameter_has_its_gradient_with_and_without_recompute() {
        for (tied, biased) in [(false, false), (true, false), (false, true)] {
            let (parameters, decoder) = tiny(tied, biased);
            let run =
                |recompute| loss_and_gradients(&decoder, &parameters, &batch(), Reduction::Mean, recompute).unwrap();
            let (a, kept) = run(Recompute::None);
            assert_every_variable_has_gradient(&parameters, &kept).unwrap();
            for (b, again) in [run(Recompute::FeedForward), run(Recompute::Layers)] {
                assert_eq!(a, b);
                for (name, gradient) in kept.iter() {
                    let far = (gradient - again.get(name).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
                    assert!(far.to_scalar::<f64>().unwrap() < 1e-14, "{name}");
                }
            }
            let (streams, loss) = (Streams::new(1), || Ok(loss(&decoder, &batch(), Reduction::Sum).unwrap()));
            assert!(worst_directional_error(&parameters, streams, 4, 1e-5, loss).unwrap() < 1e-6);
        }
    }

    #[test]
    fn packed_sequences_are_those_sequences_alone() {
        let (_, decoder) = tiny(false, false);
        let packed = batch();
        let together = losses(&decoder, &packed).unwrap();
        assert_eq!(together.iter().flatten().count(), packed.counted());
        let mut start = 0;
        for length in &packed.lengths {
            let ids = &packed.ids[start..start + length];
            let alone = losses(&decoder, &Batch::whole(ids).unwrap()).unwrap();
            for (k, loss) in together[start..start + length].iter().enumerate() {
                assert!(loss.is_none_or(|loss| (loss - alone[k].unwrap()).abs() < 1e-12));
            }
            start += length;
        }
        let mean = scalar(&loss(&decoder, &packed, Reduction::Mean).unwrap()).unwrap();
        let sum: f64 = together.iter().flatten().sum();
        assert!((sum / packed.counted() as f64 - mean).abs() < 1e-12);
        assert!(Batch::new(&[1, 2], &[1], &[2]).is_err());
    }
}
