//! What a Hugging Face folder of a model that is no decoder holds: settings, tokenizer, tensors.

use crate::error::reason;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor, pickle, safetensors};
use candle_nn::VarBuilder;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use tokenizers::Tokenizer;

/// `config.json`, checked to be of one of `kinds` (its `model_type`).
pub(super) fn settings(folder: &Path, kinds: &[&str]) -> Result<Map<String, Value>> {
    let file = folder.join("config.json");
    let settings: Map<String, Value> = json(&file)?;
    let found = settings.get("model_type").and_then(Value::as_str).unwrap_or("none");
    if !kinds.contains(&found) {
        return Err(Error::format(&file, format!("model_type: expected {}, found {found}", kinds.join(" or "))));
    }
    Ok(settings)
}

/// The settings as a type of candle.
pub(super) fn parse<T: serde::de::DeserializeOwned>(folder: &Path, settings: Map<String, Value>) -> Result<T> {
    serde_json::from_value(Value::Object(settings))
        .map_err(|e| Error::format(&folder.join("config.json"), e.to_string()))
}

/// `tokenizer.json`, neither cutting nor filling up.
pub(super) fn tokenizer(folder: &Path) -> Result<Tokenizer> {
    let file = folder.join("tokenizer.json");
    if !file.is_file() {
        let what = "tokenizer: expected a tokenizer.json (transformers writes one: \
                    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)), found none";
        return Err(Error::format(folder, what));
    }
    let fail = |e: tokenizers::Error| Error::format(&file, e.to_string());
    let mut tokenizer = Tokenizer::from_file(&file).map_err(fail)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(fail)?;
    Ok(tokenizer)
}

/// Every tensor, as 32-bit numbers.
pub(super) fn tensors(folder: &Path) -> Result<HashMap<String, Tensor>> {
    let mut tensors = HashMap::new();
    for file in files(folder)? {
        let fail = |e: candle_core::Error| Error::format(&file, reason(&e));
        let read = match file.extension().is_some_and(|end| end == "safetensors") {
            true => safetensors::load(&file, &Device::Cpu).map_err(fail)?.into_iter().collect(),
            false => pickle::read_all(&file).map_err(fail)?,
        };
        for (name, tensor) in read {
            tensors.insert(name, tensor.to_dtype(DType::F32)?);
        }
    }
    Ok(tensors)
}

/// The tensors as candle's models take them.
pub(super) fn variables(tensors: HashMap<String, Tensor>) -> VarBuilder<'static> {
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

/// The probability of one class among logits.
pub(super) fn share(logits: &[f32], class: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    weights.get(class).copied().unwrap_or(0.0) / weights.iter().sum::<f64>()
}

/// The weights: one file, or those that an index lists; safetensors before PyTorch's own.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let names = ["model.safetensors", "pytorch_model.bin"];
    for name in names {
        let (single, index) = (folder.join(name), folder.join(format!("{name}.index.json")));
        if single.is_file() {
            return Ok(vec![single]);
        }
        if index.is_file() {
            return listed(folder, &index);
        }
    }
    Err(Error::format(folder, format!("weights: expected {} or an index of one, found neither", names.join(" or "))))
}

fn listed(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let names: BTreeSet<String> = json::<Index>(index)?.weight_map.into_values().collect();
    let place = |name: String| {
        let mut parts = Path::new(&name).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(_)), None) => Ok(folder.join(&name)),
            _ => {
                let what = format!("weight_map: expected names of files in this folder, found {name:?}");
                Err(Error::format(index, what))
            }
        }
    };
    names.into_iter().map(place).collect()
}

fn json<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
    serde_json::from_str(&text).map_err(|e| Error::format(file, e.to_string()))
}
