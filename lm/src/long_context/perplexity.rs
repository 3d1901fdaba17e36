//! Perplexity by length of context: always the same tokens, with more or less of the text before them.

use crate::model::decoder::Decoder;
use crate::objective::{Batch, losses};
use crate::{Error, Result};
use serde::Serialize;
use tesseral_nn::train::observer::Observer;

/// Perplexity at one length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Perplexity {
    /// Tokens of context and window together.
    pub length: usize,
    /// exp of the mean loss.
    pub perplexity: f64,
    /// Mean loss, nats a token.
    pub loss: f64,
    /// Tokens.
    pub tokens: usize,
}

/// For each length: the loss of `window` tokens of each document, those that end at the largest length. Documents shorter
/// than that are left out.
///
/// # Errors
/// [`Error::Config`] for lengths not above the window, or no document that is long enough; those of the model.
pub fn by_length(
    decoder: &Decoder,
    documents: &[Vec<u32>],
    lengths: &[usize],
    window: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Perplexity>> {
    let largest = lengths.iter().copied().max().unwrap_or(0);
    if window == 0 || lengths.iter().any(|length| *length <= window) {
        let what = format!("expected lengths above the window of {window} tokens, found {lengths:?}");
        return Err(Error::config("lengths", what));
    }
    let long: Vec<&Vec<u32>> = documents.iter().filter(|ids| ids.len() >= largest).collect();
    if long.is_empty() {
        let found = documents.iter().map(Vec::len).max().unwrap_or(0);
        let what = format!("expected a document of {largest} tokens, found {found} at most");
        return Err(Error::config("documents", what));
    }
    let mut all = Vec::new();
    for length in lengths {
        let (mut sum, mut tokens) = (0.0, 0);
        let what = format!("perplexity at {length} tokens");
        for (done, ids) in long.iter().enumerate() {
            observer.on_progress(done, long.len(), &what);
            let batch = Batch::whole(&ids[largest - length..largest])?;
            // The loss of a token is at the row before it.
            let losses = losses(decoder, &batch)?;
            let counted = &losses[length - window - 1..length - 1];
            sum += counted.iter().flatten().sum::<f64>();
            tokens += counted.iter().flatten().count();
        }
        observer.on_progress(long.len(), long.len(), &what);
        let loss = sum / tokens.max(1) as f64;
        all.push(Perplexity { length: *length, perplexity: loss.exp(), loss, tokens });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::llama::LlamaConfig;
    use candle_core::{DType, Device};
    use tesseral_nn::train::observer::Silent;
    use tesseral_nn::{Parameters, rng::Streams};

    #[test]
    fn the_same_tokens_at_every_length() {
        let text = r#"{"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
            "vocab_size": 11, "rope_theta": 100.0, "tie_word_embeddings": true}"#;
        let config = LlamaConfig::parse(text, "config.json".as_ref()).unwrap();
        let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
        let decoder = Decoder::declare(&parameters.root(), &config, 0.5).unwrap();
        let document: Vec<u32> = (0..20).map(|k| k * k % 11).collect();
        let found = by_length(&decoder, &[document.clone(), vec![1; 3]], &[4, 16], 3, &mut Silent).unwrap();
        assert_eq!((found[0].tokens, found[1].tokens), (3, 3));
        let whole = losses(&decoder, &Batch::whole(&document[..16]).unwrap()).unwrap();
        let by_hand = whole[12..15].iter().flatten().sum::<f64>() / 3.0;
        assert!((found[1].loss - by_hand).abs() < 1e-12 && (found[1].perplexity - by_hand.exp()).abs() < 1e-9);
        let short = losses(&decoder, &Batch::whole(&document[12..16]).unwrap()).unwrap();
        assert!((found[0].loss - short[..3].iter().flatten().sum::<f64>() / 3.0).abs() < 1e-12);
        assert!(by_length(&decoder, std::slice::from_ref(&document), &[3], 3, &mut Silent).is_err());
        assert!(
            by_length(&decoder, &[document], &[21], 3, &mut Silent)
                .unwrap_err()
                .to_string()
                .contains("found 20 at most")
        );
    }
}
