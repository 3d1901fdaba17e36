//! Writes Hugging Face folders, whole or not at all.

use super::hugging_face::{INDEX, SINGLE};
use super::{Storage, Weights};
use crate::{Error, Result};
use candle_core::Tensor;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tesseral_datasets::files::write_folder_atomic;

/// Files of a model folder that belong to its tokenizer and are copied with it.
pub const COMPANIONS: [&str; 5] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
];

/// How a model is written.
#[derive(Clone, Copy, Debug)]
pub struct SaveOptions {
    /// Type of the matrices.
    pub storage: Storage,
    /// A file gets no more bytes of tensors than this, unless one tensor alone has more.
    pub largest_file: usize,
}

impl Default for SaveOptions {
    fn default() -> Self {
        SaveOptions { storage: Storage::F32, largest_file: 5_000_000_000 }
    }
}

impl Weights {
    /// Writes `config.json`, the tensors, and copies of the tokenizer's files that lie in (or beside) the source.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Data`]; nothing is left at `folder` then.
    pub fn save(&self, folder: &Path, options: SaveOptions) -> Result<()> {
        let mut config = serde_json::to_value(&self.config).map_err(|e| Error::format(folder, e.to_string()))?;
        config["architectures"] = json!(["LlamaForCausalLM"]);
        write_folder(folder, &config, &self.tensors, &self.source, options)
    }
}

/// Writes the folder of any model: its `config.json`, its tensors, the tokenizer's files of `source` (none of an empty path).
///
/// # Errors
/// As [`Weights::save`].
pub fn write_folder(
    folder: &Path,
    config: &serde_json::Value,
    tensors: &BTreeMap<String, Tensor>,
    source: &Path,
    options: SaveOptions,
) -> Result<()> {
    let files = split(tensors, options)?;
    // A model without a source has no tokenizer: not what lies in the working folder.
    let beside = |source: &Path| {
        if source.is_dir() { source.into() } else { source.parent().map(Path::to_path_buf).unwrap_or_default() }
    };
    let source = (!source.as_os_str().is_empty()).then(|| beside(source));
    let mut failure = None;
    let written = write_folder_atomic(folder, |temporary| {
        // The floor below knows its own errors alone: ours is kept aside.
        fill(temporary, config, source.as_deref(), &files).map_err(|error| {
            let cause = std::io::Error::other(error.to_string());
            failure = Some(error);
            tesseral_datasets::Error::Io { path: folder.into(), action: "write", source: cause }
        })
    });
    match (failure, written) {
        (Some(error), _) => Err(error),
        (None, written) => Ok(written?),
    }
}

/// Tensors in their output type, file by file, in name order.
fn split(tensors: &BTreeMap<String, Tensor>, options: SaveOptions) -> Result<Vec<BTreeMap<String, Tensor>>> {
    let mut files = vec![BTreeMap::new()];
    let mut bytes = 0;
    for (name, tensor) in tensors {
        let tensor = tensor.to_dtype(options.storage.dtype(tensor.rank()))?;
        let size = tensor.elem_count() * tensor.dtype().size_in_bytes();
        if bytes > 0 && bytes + size > options.largest_file {
            files.push(BTreeMap::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(file) = files.last_mut() {
            file.insert(name.clone(), tensor);
        }
    }
    Ok(files)
}

fn fill(
    folder: &Path,
    config: &serde_json::Value,
    source: Option<&Path>,
    files: &[BTreeMap<String, Tensor>],
) -> Result<()> {
    write_json(&folder.join("config.json"), config)?;
    let metadata = || Some(HashMap::from([("format".to_string(), "pt".to_string())]));
    let mut map = serde_json::Map::new();
    for (k, tensors) in files.iter().enumerate() {
        let name = match files.len() {
            1 => SINGLE.to_string(),
            n => format!("model-{:05}-of-{n:05}.safetensors", k + 1),
        };
        let path = folder.join(&name);
        let views = tensors.iter().map(|(n, t)| (n.as_str(), t));
        safetensors::serialize_to_file(views, metadata(), &path).map_err(|e| Error::format(&path, e.to_string()))?;
        map.extend(tensors.keys().map(|n| (n.clone(), name.clone().into())));
    }
    if files.len() > 1 {
        let total: usize = files.iter().flatten().map(|(_, t)| t.elem_count() * t.dtype().size_in_bytes()).sum();
        write_json(&folder.join(INDEX), &json!({"metadata": {"total_size": total}, "weight_map": map}))?;
    }
    for from in source.iter().flat_map(|source| COMPANIONS.map(|name| source.join(name))) {
        if from.is_file() {
            let to = folder.join(from.file_name().unwrap_or_default());
            std::fs::copy(&from, to).map_err(Error::io(&from))?;
        }
    }
    Ok(())
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::format(path, e.to_string()))?;
    std::fs::write(path, text + "\n").map_err(Error::io(path))
}
