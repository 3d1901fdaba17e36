//! Classifiers of the DeBERTa v2 and v3 family that were trained on MNLI or the like.

use super::folder::{parse, settings, share, tensors, tokenizer, variables};
use super::{Entailment, Pair};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use candle_transformers::models::debertav2::{Config, DebertaV2SeqClassificationModel};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokenizers::{Tokenizer, TruncationParams, TruncationStrategy};

/// Most tokens, filling included, that go through the model at once.
const BATCH: usize = 4096;

/// A classifier from a Hugging Face folder; 32-bit numbers, on the processor.
pub struct Deberta {
    identity: String,
    folder: PathBuf,
    model: DebertaV2SeqClassificationModel,
    tokenizer: Tokenizer,
    padding: u32,
    /// The class that means entailment.
    entailment: usize,
}

impl Deberta {
    /// From `config.json`, `tokenizer.json` and the weights. The end of a premise is cut so that no input has more than
    /// `limit` tokens; absent: as many as the model has positions.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a folder of something else, and where no label is named `entailment`.
    pub fn open(folder: &Path, limit: Option<usize>) -> Result<Self> {
        let file = folder.join("config.json");
        let mut settings = settings(folder, &["deberta-v2"])?;
        let width = settings.get("hidden_size").cloned().unwrap_or(Value::Null);
        for (key, value) in
            [("pooler_hidden_size", width), ("pooler_dropout", json!(0.0)), ("pooler_hidden_act", json!("gelu"))]
        {
            settings.entry(key).or_insert(value);
        }
        let config: Config = parse(folder, settings)?;
        if config.conv_kernel_size.unwrap_or(0) > 0 {
            let what = "conv_kernel_size: expected 0 (candle has no such layer), found more";
            return Err(Error::format(&file, what));
        }
        let positions = config.max_position_embeddings;
        let limit = limit.unwrap_or(positions);
        if limit == 0 || limit > positions {
            return Err(Error::config("limit", format!("expected 1 to {positions} tokens, found {limit}")));
        }
        let entailment = label(&config).map_err(|what| Error::format(&file, what))?;
        let model = DebertaV2SeqClassificationModel::load(variables(tensors(folder)?).pp("deberta"), &config, None)
            .map_err(|e| Error::format(folder, format!("weights: {e}")))?;
        let mut tokenizer = tokenizer(folder)?;
        let cut = TruncationParams { max_length: limit, strategy: TruncationStrategy::OnlyFirst, ..Default::default() };
        tokenizer.with_truncation(Some(cut)).map_err(|e| Error::format(folder, e.to_string()))?;
        let identity = format!("DeBERTa {} (inputs up to {limit} tokens)", folder.display());
        let padding = config.pad_token_id.unwrap_or(0) as u32;
        Ok(Deberta { identity, folder: folder.into(), model, tokenizer, padding, entailment })
    }

    /// Logits of the classes, one row a pair.
    ///
    /// # Errors
    /// Those of the tokenizer (a hypothesis that leaves no room for a premise) and the tensors.
    pub fn logits(&self, pairs: &[Pair<'_>]) -> Result<Vec<Vec<f32>>> {
        let ids = |(premise, hypothesis): &Pair<'_>| {
            let encoding = self.tokenizer.encode((*premise, *hypothesis), true);
            encoding.map(|e| e.get_ids().to_vec()).map_err(|e| Error::format(&self.folder, format!("a pair: {e}")))
        };
        let inputs: Vec<Vec<u32>> = pairs.iter().map(ids).collect::<Result<_>>()?;
        // Longest first: a batch is filled up to its first input, and the largest batch comes first.
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(inputs[*place].len()));
        let mut logits = vec![Vec::new(); inputs.len()];
        let mut rest = order.as_slice();
        while let Some(longest) = rest.first() {
            let length = inputs[*longest].len().max(1);
            let (batch, after) = rest.split_at((BATCH / length).clamp(1, rest.len()));
            for (place, row) in batch.iter().zip(self.forward(batch, &inputs, length)?) {
                logits[*place] = row;
            }
            rest = after;
        }
        Ok(logits)
    }

    fn forward(&self, batch: &[usize], inputs: &[Vec<u32>], length: usize) -> Result<Vec<Vec<f32>>> {
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for place in batch {
            let input = &inputs[*place];
            let empty = length - input.len();
            ids.extend(input.iter().copied().chain(std::iter::repeat_n(self.padding, empty)));
            mask.extend(std::iter::repeat_n(1u32, input.len()).chain(std::iter::repeat_n(0, empty)));
        }
        let shape = (batch.len(), length);
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        Ok(self.model.forward(&ids, None, Some(mask))?.to_vec2()?)
    }
}

/// The class named entailment.
fn label(config: &Config) -> std::result::Result<usize, String> {
    let labels = config.id2label.clone().unwrap_or_default();
    let found = labels.iter().find(|(_, name)| ["entailment", "entail"].contains(&name.to_lowercase().as_str()));
    found.map(|(id, _)| *id as usize).ok_or_else(|| {
        let mut names: Vec<&str> = labels.values().map(String::as_str).collect();
        names.sort_unstable();
        format!("id2label: expected a label named entailment, found [{}]", names.join(", "))
    })
}

impl Entailment for Deberta {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
        // The first of the largest, as argmax of PyTorch and NumPy.
        let verdict = |row: Vec<f32>| {
            let best = row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, logit)| {
                if *logit > best.1 { (class, *logit) } else { best }
            });
            best.0 == self.entailment
        };
        Ok(self.logits(pairs)?.into_iter().map(verdict).collect())
    }

    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        Ok(self.logits(pairs)?.iter().map(|row| share(row, self.entailment)).collect())
    }
}
