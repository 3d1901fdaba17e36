//! One sequence over several workers (DeepSpeed-Ulysses, arXiv 2309.14509), here one after the other in one process: each
//! holds an equal part of the tokens for everything that works token by token, and some of the heads, over all tokens,
//! for attention. Losses and gradients are those of one worker.
//!
//! ProLong's code sums over workers what it has divided by the number of tokens of one worker; here the sum over all workers
//! is divided by the tokens of all.

use super::Batch;
use crate::data::collate::ranks::{self, Part};
use crate::model::decoder::{Decoder, Layout};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;
use tesseral_nn::attention::varlen::{Heads, Segments, attention};
use tesseral_nn::layers::cross_entropy::{self, Reduction, cross_entropy};

/// Mean or summed loss of the counted tokens, computed by `workers` parts. The batch is padded to a multiple of them with
/// tokens that carry no loss.
///
/// # Errors
/// [`Error::Config`] for a number of workers that does not divide that of the key heads; ids beyond the vocabulary.
pub fn loss(decoder: &Decoder, batch: &Batch, reduction: Reduction, workers: usize) -> Result<Tensor> {
    let heads = decoder.heads();
    if workers == 0 || !heads.keys.is_multiple_of(workers) {
        let what = format!("expected a divisor of the {} key heads, found {workers}", heads.keys);
        return Err(Error::config("workers", what));
    }
    let held = ranks::parts(&batch.ids, &batch.targets, &batch.lengths, workers)?;
    let (share, lengths) = (held[0].input_ids.len(), &held[0].segments);
    let positions: Vec<u32> = lengths.iter().flat_map(|n| 0..*n as u32).collect();
    let segments = Arc::new(Segments::packed(lengths, true));
    // A worker's part knows its positions; who sees whom is decided over all tokens.
    let layout = |part: &Part| {
        Layout::new(Segments::packed(&[share], true), &positions[part.offset..][..share], decoder.config())
    };
    let layouts = held.iter().map(layout).collect::<Result<Vec<Layout>>>()?;
    let embed = |part: &Part| decoder.embed(&Arc::from(&part.input_ids[..]));
    let mut parts = held.iter().map(embed).collect::<Result<Vec<_>>>()?;
    for layer in decoder.layers() {
        let projected = parts.iter().zip(&layouts).map(|(x, part)| layer.queries_keys_values(x, part));
        let projected = projected.collect::<Result<Vec<[Tensor; 3]>>>()?;
        let seen = attend(&projected, &segments, heads, share)?;
        let finished = parts.iter().zip(&seen).map(|(x, seen)| layer.feed_forward(&layer.attended(x, seen)?));
        parts = finished.collect::<Result<_>>()?;
    }
    let mut sum = Tensor::zeros((), parts[0].dtype(), parts[0].device())?;
    for (x, part) in parts.iter().zip(&held) {
        let (hidden, targets) = (decoder.finish(x)?, Arc::from(&part.shifted_labels[..]));
        let part = cross_entropy(&hidden, decoder.head(), &targets, Reduction::Sum, cross_entropy::BLOCK)?;
        sum = (sum + part)?;
    }
    Ok(match reduction {
        Reduction::Sum => sum,
        Reduction::Mean => (sum / batch.counted().max(1) as f64)?,
    })
}

/// From queries, keys and values of some tokens and all heads to those of all tokens and some heads, attention, and back.
fn attend(projected: &[[Tensor; 3]], segments: &Arc<Segments>, heads: Heads, share: usize) -> Result<Vec<Tensor>> {
    let workers = projected.len();
    let heads = Heads { queries: heads.queries / workers, keys: heads.keys / workers, ..heads };
    let of_heads = |worker: usize, what: usize| -> Result<Tensor> {
        let columns = |part: &[Tensor; 3]| {
            let width = part[what].dim(1)? / workers;
            part[what].narrow(1, worker * width, width)
        };
        let columns = projected.iter().map(columns).collect::<candle_core::Result<Vec<_>>>()?;
        Ok(Tensor::cat(&columns, 0)?.contiguous()?)
    };
    let mut by_heads = Vec::with_capacity(workers);
    for worker in 0..workers {
        let [q, k, v] = [of_heads(worker, 0)?, of_heads(worker, 1)?, of_heads(worker, 2)?];
        by_heads.push(attention(&q, &k, &v, segments, heads)?);
    }
    let of_tokens = |worker: usize| -> Result<Tensor> {
        let rows = by_heads.iter().map(|seen| seen.narrow(0, worker * share, share));
        Ok(Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 1)?.contiguous()?)
    };
    (0..workers).map(of_tokens).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::llama::LlamaConfig;
    use crate::objective;
    use candle_core::{DType, Device};
    use tesseral_nn::Parameters;
    use tesseral_nn::kernels::backward;
    use tesseral_nn::layers::cross_entropy::IGNORED;
    use tesseral_nn::optim::Gradients;
    use tesseral_nn::rng::Streams;

    fn far(a: &Tensor, b: &Tensor) -> f64 {
        let distance = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        distance.to_vec1::<f64>().unwrap().into_iter().fold(0.0, f64::max)
    }

    #[test]
    fn any_number_of_workers_is_one() {
        let text = r#"{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 8,
            "num_key_value_heads": 4, "vocab_size": 31, "rope_theta": 100.0, "tie_word_embeddings": true}"#;
        let config = LlamaConfig::parse(text, "config.json".as_ref()).unwrap();
        let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
        let decoder = Decoder::declare(&parameters.root(), &config, 0.3).unwrap();
        // 21 tokens are no multiple of the workers, documents cross from one to the next, targets lie unevenly.
        let ids: Vec<u32> = (0..21).map(|k| (k * k + 3) % 31).collect();
        let label = |(k, id): (usize, &u32)| if k < 7 { IGNORED } else { i64::from(*id) };
        let labels: Vec<i64> = ids.iter().enumerate().map(label).collect();
        let batch = Batch::new(&ids, &labels, &[9, 1, 11]).unwrap();
        let gradients = |loss: &Tensor| Gradients::collect(&parameters, &backward(loss.clone()).unwrap());
        for reduction in [Reduction::Mean, Reduction::Sum] {
            let one = objective::loss(&decoder, &batch, reduction).unwrap();
            let expected = gradients(&one);
            for workers in [1, 2, 4] {
                let many = loss(&decoder, &batch, reduction, workers).unwrap();
                assert!(far(&one, &many) < 1e-12);
                let found = gradients(&many);
                assert_eq!(expected.iter().count(), found.iter().count());
                for (name, gradient) in expected.iter() {
                    assert!(far(gradient, found.get(name).unwrap()) < 1e-12, "{workers} {name}");
                }
            }
        }
        assert!(loss(&decoder, &batch, Reduction::Mean, 3).unwrap_err().to_string().contains("divisor of the 4"));
        assert!(loss(&decoder, &batch, Reduction::Mean, 0).is_err());
    }
}
