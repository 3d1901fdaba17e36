//! T5 that answers "1" or "0" to `premise: .. hypothesis: ..`, as TRUE (arXiv 2204.04991) was trained to.

use super::folder::{parse, settings, share, tensors, tokenizer, variables};
use super::{Entailment, Pair};
use crate::{Error, Result};
use candle_core::{D, Device, Tensor};
use candle_transformers::models::t5::{Config, T5ForConditionalGeneration};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

/// Most tokens of an answer.
const ANSWER: usize = 10;

/// Most tokens of the inputs that go through the model at once.
const BATCH: usize = 8192;

/// A T5 model from a Hugging Face folder; 32-bit numbers, on the processor.
pub struct T5 {
    identity: String,
    folder: PathBuf,
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    start: u32,
    end: u32,
    one: u32,
    limit: Option<usize>,
}

impl T5 {
    /// From `config.json`, `tokenizer.json` and the weights. With `limit`, the end of a premise is cut so that no input
    /// has more tokens; without, inputs are as long as they are.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] for a folder of something else.
    pub fn open(folder: &Path, limit: Option<usize>) -> Result<Self> {
        let mut settings = settings(folder, &["t5", "mt5"])?;
        let mut tensors = tensors(folder)?;
        // transformers 5 writes T5 v1.1 (whose output is not scaled) as tied; a matrix of its own is then optional.
        if settings.get("scale_decoder_outputs") == Some(&Value::Bool(false)) {
            settings.insert("tie_word_embeddings".into(), Value::Bool(false));
            if let (false, Some(shared)) = (tensors.contains_key("lm_head.weight"), tensors.get("shared.weight")) {
                tensors.insert("lm_head.weight".into(), shared.clone());
            }
        }
        settings.insert("use_cache".into(), Value::Bool(true));
        let config: Config = parse(folder, settings)?;
        if !config.is_encoder_decoder {
            let what = "is_encoder_decoder: expected true, found false";
            return Err(Error::format(&folder.join("config.json"), what));
        }
        let model = T5ForConditionalGeneration::load(variables(tensors), &config)
            .map_err(|e| Error::format(folder, format!("weights: {e}")))?;
        let tokenizer = tokenizer(folder)?;
        let one = tokenizer.token_to_id("▁1").or_else(|| tokenizer.token_to_id("1"));
        let one =
            one.ok_or_else(|| Error::format(folder, "tokenizer: expected a token \"▁1\" or \"1\", found none"))?;
        let identity = match limit {
            Some(limit) => format!("T5 {} (inputs up to {limit} tokens)", folder.display()),
            None => format!("T5 {}", folder.display()),
        };
        let start = config.decoder_start_token_id.unwrap_or(config.pad_token_id) as u32;
        let end = config.eos_token_id as u32;
        Ok(T5 { identity, folder: folder.into(), model, tokenizer, start, end, one, limit })
    }

    /// Logits over the vocabulary of the first token of the answer, one row a pair.
    ///
    /// # Errors
    /// Those of the tokenizer and the tensors.
    pub fn logits(&self, pairs: &[Pair<'_>]) -> Result<Vec<Vec<f32>>> {
        self.in_batches(pairs, |inputs| {
            let mut model = self.model.clone();
            let encoded = model.encode(inputs)?;
            let first = Tensor::full(self.start, (inputs.dim(0)?, 1), &Device::Cpu)?;
            Ok(model.decode(&first, &encoded)?.to_vec2()?)
        })
    }

    /// Ids of a pair, its end cut to the limit.
    fn ids(&self, (premise, hypothesis): Pair<'_>) -> Result<Vec<u32>> {
        let before = format!("premise: {premise}");
        let text = format!("{before} hypothesis: {hypothesis}");
        let encoding = self.tokenizer.encode(text, true).map_err(|e| Error::format(&self.folder, e.to_string()))?;
        let mut ids = encoding.get_ids().to_vec();
        if let Some(excess) = self.limit.map(|limit| ids.len().saturating_sub(limit)).filter(|excess| *excess > 0) {
            let of_premise = encoding.get_offsets().iter().take_while(|(_, end)| *end <= before.len()).count();
            ids.drain(of_premise.saturating_sub(excess)..of_premise);
        }
        Ok(ids)
    }

    /// Runs inputs of equal length together (candle's T5 has no mask for filling up); results in the order of the pairs.
    fn in_batches<T: Clone>(
        &self,
        pairs: &[Pair<'_>],
        mut run: impl FnMut(&Tensor) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let inputs: Vec<Vec<u32>> = pairs.iter().map(|pair| self.ids(*pair)).collect::<Result<_>>()?;
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|place| inputs[*place].len());
        let mut results: Vec<(usize, T)> = Vec::with_capacity(pairs.len());
        for same in order.chunk_by(|a, b| inputs[*a].len() == inputs[*b].len()) {
            let length = same.first().map_or(1, |place| inputs[*place].len()).max(1);
            for batch in same.chunks((BATCH / length).max(1)) {
                let ids: Vec<u32> = batch.iter().flat_map(|place| inputs[*place].iter().copied()).collect();
                let found = run(&Tensor::from_vec(ids, (batch.len(), length), &Device::Cpu)?)?;
                results.extend(batch.iter().copied().zip(found));
            }
        }
        results.sort_by_key(|(place, _)| *place);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// Greedy answers to a batch of inputs: whether each is "1".
    fn answers(&self, inputs: &Tensor) -> Result<Vec<bool>> {
        let rows = inputs.dim(0)?;
        let mut model = self.model.clone();
        let encoded = model.encode(inputs)?;
        let mut last = vec![self.start; rows];
        let mut answers: Vec<Vec<u32>> = vec![Vec::new(); rows];
        let mut verdicts: Vec<Option<bool>> = vec![None; rows];
        for _ in 0..ANSWER {
            let tokens = Tensor::from_vec(last, (rows, 1), &Device::Cpu)?;
            last = model.decode(&tokens, &encoded)?.argmax(D::Minus1)?.to_vec1()?;
            for ((answer, verdict), token) in answers.iter_mut().zip(&mut verdicts).zip(&last) {
                if verdict.is_none() {
                    answer.push(*token);
                    *verdict = self.verdict(answer)?;
                }
            }
            if verdicts.iter().all(Option::is_some) {
                break;
            }
        }
        let closed = verdicts.iter().zip(&answers).map(|(verdict, answer)| match verdict {
            Some(verdict) => Ok(*verdict),
            None => Ok(self.text(answer)? == "1"),
        });
        closed.collect()
    }

    /// What an unfinished answer already decides.
    fn verdict(&self, answer: &[u32]) -> Result<Option<bool>> {
        let text = self.text(answer)?;
        Ok(match answer.last() == Some(&self.end) {
            true => Some(text == "1"),
            false if text.is_empty() || text == "1" => None,
            false => Some(false),
        })
    }

    fn text(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer.decode(ids, true).map_err(|e| Error::format(&self.folder, e.to_string()))
    }
}

impl Entailment for T5 {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
        self.in_batches(pairs, |inputs| self.answers(inputs))
    }

    /// The probability of "1" as the first token.
    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        Ok(self.logits(pairs)?.iter().map(|row| share(row, self.one as usize)).collect())
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
