//! Prompts with several continuations each: a prompt goes through the model once, whatever follows it.

use super::{Decoder, Layout, Prefix};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::sync::Arc;
use tesseral_nn::attention::varlen::{Segments, attention};

/// A prompt and what may follow it; none of its parts is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Read once.
    pub prompt: Vec<u32>,
    /// Each as if it alone followed the prompt.
    pub continuations: Vec<Vec<u32>>,
}

/// Texts as one batch. Its rows are, text by text, those of the prompt, then those of each continuation but its last token,
/// which predicts nothing.
pub struct Branches {
    ids: Arc<[u32]>,
    positions: Vec<u32>,
    queries: Vec<usize>,
    /// Rows of the keys of each segment of queries.
    keys: Vec<Vec<u32>>,
    /// By text and continuation: the row that predicts each of its tokens.
    predictors: Vec<Vec<Vec<u32>>>,
}

impl Branches {
    /// # Errors
    /// [`Error::Config`] for an empty prompt or continuation.
    pub fn new(texts: &[Text]) -> Result<Self> {
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        let (mut queries, mut keys, mut predictors) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts {
            let length = text.prompt.len();
            if length == 0 || text.continuations.iter().any(Vec::is_empty) {
                return Err(Error::config("prompt", "expected at least one token in it and after it, found none"));
            }
            let prompt: Vec<u32> = (ids.len() as u32..(ids.len() + length) as u32).collect();
            ids.extend_from_slice(&text.prompt);
            positions.extend(0..length as u32);
            queries.push(length);
            keys.push(prompt.clone());
            let mut of_text = Vec::new();
            for continuation in &text.continuations {
                let read = &continuation[..continuation.len() - 1];
                let own: Vec<u32> = (ids.len() as u32..(ids.len() + read.len()) as u32).collect();
                of_text.push(prompt[length - 1..].iter().chain(&own).copied().collect());
                if read.is_empty() {
                    continue;
                }
                ids.extend_from_slice(read);
                positions.extend(length as u32..(length + read.len()) as u32);
                queries.push(read.len());
                keys.push([&prompt[..], &own].concat());
            }
            predictors.push(of_text);
        }
        Ok(Branches { ids: ids.into(), positions, queries, keys, predictors })
    }

    /// Rows that go through the model.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// By text and continuation: the row of [`Decoder::branched`] that predicts each of its tokens.
    pub fn predictors(&self) -> &[Vec<Vec<u32>>] {
        &self.predictors
    }

    /// Whether keys are the rows themselves.
    fn is_plain(&self) -> bool {
        self.keys.len() == self.predictors.len()
    }
}

/// Where texts stand after a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrefixPositions {
    /// After it, as if it were text.
    #[default]
    Shifted,
    /// At 0, over it: MeZO's code.
    Original,
}

impl Decoder {
    /// Hidden states `[rows, width]` after the final norm, all texts standing after the prefix if there is one.
    ///
    /// # Errors
    /// An id beyond the vocabulary; a prefix of another model.
    pub fn branched(&self, branches: &Branches, prefix: Option<(&Prefix, PrefixPositions)>) -> Result<Tensor> {
        let ahead = prefix.map_or(0, |(prefix, _)| prefix.len() as u32);
        let shift = prefix.map_or(0, |(_, place)| if place == PrefixPositions::Shifted { ahead } else { 0 });
        let positions: Vec<u32> = branches.positions.iter().map(|p| p + shift).collect();
        let keys: Vec<usize> = branches.keys.iter().map(|rows| rows.len() + ahead as usize).collect();
        let layout = Layout::new(Segments::cross(&branches.queries, &keys, true)?, &positions, self.config())?;
        let gathered = match branches.is_plain() && ahead == 0 {
            true => None,
            false => {
                let of_segment = |rows: &Vec<u32>| (0..ahead).chain(rows.iter().map(|row| row + ahead)).collect();
                let rows: Vec<u32> = branches.keys.iter().flat_map::<Vec<u32>, _>(of_segment).collect();
                Some(Tensor::new(rows, &Device::Cpu)?)
            }
        };
        let mut x = self.embed(&branches.ids)?;
        for (number, layer) in self.layers().iter().enumerate() {
            let [q, mut k, mut v] = layer.queries_keys_values(&x, &layout)?;
            if let Some((prefix, _)) = prefix {
                let missing = || Error::config("prefix", "expected keys and values for each layer, found fewer");
                let of_layer = prefix.keys.get(number).zip(prefix.values.get(number)).ok_or_else(missing)?;
                k = Tensor::cat(&[of_layer.0, &k], 0)?;
                v = Tensor::cat(&[of_layer.1, &v], 0)?;
            }
            if let Some(rows) = &gathered {
                (k, v) = (k.index_select(rows, 0)?, v.index_select(rows, 0)?);
            }
            let seen = attention(&q, &k, &v, &layout.segments, layout.heads)?;
            x = layer.feed_forward(&layer.attended(&x, &seen)?)?;
        }
        self.finish(&x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::llama::LlamaConfig;
    use candle_core::DType;
    use tesseral_nn::Parameters;
    use tesseral_nn::rng::Streams;

    fn tiny() -> Decoder {
        let text = r#"{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 31, "rope_theta": 100.0}"#;
        let config = LlamaConfig::parse(text, "config.json".as_ref()).unwrap();
        let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
        Decoder::declare(&parameters.root(), &config, 0.3).unwrap()
    }

    fn rows(x: &Tensor) -> Vec<Vec<f64>> {
        x.to_vec2().unwrap()
    }

    fn far(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn branches_are_their_texts_alone() {
        let decoder = tiny();
        let texts = [
            Text { prompt: vec![3, 1, 4], continuations: vec![vec![1, 5, 9], vec![2], vec![6, 5]] },
            Text { prompt: vec![7], continuations: vec![vec![8, 2]] },
            Text { prompt: vec![2, 2], continuations: vec![] },
        ];
        let branches = Branches::new(&texts).unwrap();
        let prefix = Prefix::of_tokens(&decoder, &[11, 12]).unwrap();
        for before in [&[][..], &[11, 12]] {
            let given = if before.is_empty() { None } else { Some((&prefix, PrefixPositions::Shifted)) };
            let found = rows(&decoder.branched(&branches, given).unwrap());
            assert_eq!(found.len(), branches.rows());
            for (text, predictors) in texts.iter().zip(branches.predictors()) {
                for (continuation, predictors) in text.continuations.iter().zip(predictors) {
                    let whole = [before, &text.prompt, continuation].concat();
                    let alone = decoder.hidden(&Arc::from(&whole[..]), &decoder.layout(&[whole.len()]).unwrap());
                    let alone = rows(&alone.unwrap());
                    for (k, row) in predictors.iter().enumerate() {
                        let expected = &alone[before.len() + text.prompt.len() - 1 + k];
                        assert!(far(&found[*row as usize], expected) < 1e-12);
                    }
                }
            }
        }
        assert!(Branches::new(&[Text { prompt: vec![], continuations: vec![vec![1]] }]).is_err());
    }

    #[test]
    fn a_cache_that_begins_with_a_prefix() {
        let text = r#"{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 31, "rope_theta": 100.0}"#;
        let config = LlamaConfig::parse(text, "config.json".as_ref()).unwrap();
        let parameters = Parameters::new(Streams::new(5), DType::F32, &Device::Cpu);
        let decoder = Decoder::declare(&parameters.root(), &config, 0.3).unwrap();
        let prefix = Prefix::of_tokens(&decoder, &[11, 12]).unwrap();
        let mut cache = prefix.cache(&decoder, 3).unwrap();
        assert_eq!((cache.len(), prefix.len()), (2, 2));
        let after = decoder.continue_from(&mut cache, &[3, 1]).unwrap();
        let whole = decoder.hidden(&Arc::from(&[11, 12, 3, 1][..]), &decoder.layout(&[4]).unwrap()).unwrap();
        let rows = |x: &Tensor| x.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
        assert!(far(&rows(&after)[1], &rows(&whole)[3]) < 1e-5);
    }
}
