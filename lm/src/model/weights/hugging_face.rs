//! Hugging Face folders: `config.json`, and `model.safetensors` or the shards that `model.safetensors.index.json` lists; where
//! there is neither, PyTorch's `pytorch_model.bin` or the shards of its index.
//!
//! Tensors are read one at a time, so that a model needs its own size in memory and that of one tensor.

use super::shard::Shard;
use super::{Storage, Weights, check, kept};
use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// What older folders have in place of the two.
const PICKLED: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Reads a folder.
///
/// # Errors
/// As [`Weights::open`].
pub fn read(folder: &Path, storage: Storage) -> Result<Weights> {
    let config = LlamaConfig::read(&folder.join("config.json"))?;
    let mut shards = Vec::new();
    for path in files(folder)? {
        shards.push(Shard::open(path)?);
    }
    let mut shapes = BTreeMap::new();
    for shard in &shards {
        for (name, shape) in shard.shapes().filter(|(name, _)| !is_buffer(name)) {
            if shapes.insert(name.clone(), shape.to_vec()).is_some() {
                return Err(Error::format(shard.path(), format!("{name}: expected once, found in two files")));
            }
        }
    }
    // A tied matrix may be stored a second time under its own name.
    let copy = config.tie_word_embeddings && shapes.remove("lm_head.weight").is_some();
    check(folder, &config, &shapes)?;
    let mut tensors = BTreeMap::new();
    for shard in &mut shards {
        for name in parameters(shard) {
            let tensor = shard.read(&name)?;
            tensors.insert(name.clone(), kept(shard.path(), &name, &tensor, storage)?);
        }
    }
    if copy {
        let (head, embedding) = (tensors.remove("lm_head.weight"), &tensors["model.embed_tokens.weight"]);
        let same = |head: &Tensor| -> Result<bool> {
            let equal = head.dims() == embedding.dims() && head.eq(embedding)?.min_all()?.to_scalar::<u8>()? == 1;
            Ok(equal)
        };
        if !head.as_ref().map_or(Ok(true), same)? {
            let what = "lm_head.weight: expected the embedding (tie_word_embeddings is true), found another matrix";
            return Err(Error::format(folder, what));
        }
    }
    Ok(Weights { config, tensors, source: folder.into() })
}

/// All tensors of a folder by name, whatever its architecture.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`]: files that are missing, cut short or hold a tensor twice, numbers that are not finite.
pub fn tensors(folder: &Path, storage: Storage) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for path in files(folder)? {
        let mut shard = Shard::open(path)?;
        for name in parameters(&shard) {
            let tensor = shard.read(&name)?;
            let tensor = kept(shard.path(), &name, &tensor, storage)?;
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::format(shard.path(), format!("{name}: expected once, found in two files")));
            }
        }
    }
    Ok(tensors)
}

/// Tables that old checkpoints store beside the parameters.
fn is_buffer(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
}

/// Names of a file's tensors, but for such tables.
fn parameters(shard: &Shard) -> Vec<String> {
    shard.shapes().map(|(name, _)| name).filter(|name| !is_buffer(name)).cloned().collect()
}

/// The files of a folder that hold tensors.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let place = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    if let Some(index) = place(INDEX) {
        return listed(folder, &index);
    }
    if let Some(single) = place(SINGLE) {
        return Ok(vec![single]);
    }
    match PICKLED.map(place) {
        [_, Some(index)] => listed(folder, &index),
        [Some(single), None] => Ok(vec![single]),
        [None, None] => {
            let what = format!("weights: expected {SINGLE}, {INDEX}, or {} or its index, found none", PICKLED[0]);
            Err(Error::format(folder, what))
        }
    }
}

/// The files that an index lists.
fn listed(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(Error::io(index))?;
    let parsed: Index = serde_json::from_str(&text).map_err(|e| Error::format(index, e.to_string()))?;
    let names: BTreeSet<&String> = parsed.weight_map.values().collect();
    let place = |name: &String| {
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            let what = format!("weight_map: expected names of files in this folder, found {name:?}");
            return Err(Error::format(index, what));
        }
        let path = folder.join(name);
        match path.is_file() {
            true => Ok(path),
            false => Err(Error::format(index, format!("weight_map: expected a file {name}, found none"))),
        }
    };
    names.into_iter().map(place).collect()
}
