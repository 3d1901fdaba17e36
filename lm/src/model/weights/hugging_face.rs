//! Hugging Face folders: `config.json`, and `model.safetensors` or the shards that `model.safetensors.index.json` lists.
//!
//! Tensors are read one at a time, so that a model needs its own size in memory and that of one tensor.

use super::{Storage, Weights, check, kept};
use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// The longest header that is read, as safetensors has it.
const LONGEST_HEADER: u64 = 100_000_000;

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
        for (name, entry) in shard.entries.iter().filter(|(name, _)| !is_buffer(name)) {
            if shapes.insert(name.clone(), entry.shape.clone()).is_some() {
                return Err(Error::format(&shard.path, format!("{name}: expected once, found in two files")));
            }
        }
    }
    // A tied matrix may be stored a second time under its own name.
    let copy = config.tie_word_embeddings && shapes.remove("lm_head.weight").is_some();
    check(folder, &config, &shapes)?;
    let mut tensors = BTreeMap::new();
    for shard in &mut shards {
        for name in shard.entries.keys().cloned().collect::<Vec<_>>() {
            if !is_buffer(&name) {
                let tensor = shard.read(&name)?;
                tensors.insert(name.clone(), kept(&shard.path, &name, &tensor, storage)?);
            }
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
        let names: Vec<String> = shard.entries.keys().filter(|name| !is_buffer(name)).cloned().collect();
        for name in names {
            let tensor = shard.read(&name)?;
            let tensor = kept(&shard.path, &name, &tensor, storage)?;
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(Error::format(&shard.path, format!("{name}: expected once, found in two files")));
            }
        }
    }
    Ok(tensors)
}

/// Tables that old checkpoints store beside the parameters.
fn is_buffer(name: &str) -> bool {
    name.ends_with("rotary_emb.inv_freq")
}

/// The files of a folder that hold tensors.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let index = folder.join(INDEX);
    if !index.is_file() {
        let single = folder.join(SINGLE);
        return match single.is_file() {
            true => Ok(vec![single]),
            false => Err(Error::format(folder, format!("weights: expected {SINGLE} or {INDEX}, found neither"))),
        };
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(&index).map_err(Error::io(&index))?;
    let parsed: Index = serde_json::from_str(&text).map_err(|e| Error::format(&index, e.to_string()))?;
    let names: BTreeSet<&String> = parsed.weight_map.values().collect();
    let place = |name: &String| {
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            let what = format!("weight_map: expected names of files in this folder, found {name:?}");
            return Err(Error::format(&index, what));
        }
        let path = folder.join(name);
        match path.is_file() {
            true => Ok(path),
            false => Err(Error::format(&index, format!("weight_map: expected a file {name}, found none"))),
        }
    };
    names.into_iter().map(place).collect()
}

/// A safetensors file whose header was read and checked.
struct Shard {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    dtype: DType,
    shape: Vec<usize>,
    /// Place in the file.
    start: u64,
    bytes: usize,
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self> {
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let size = file.metadata().map_err(Error::io(&path))?.len();
        let mut length = [0; 8];
        let fail = |what: String| Error::format(&path, what);
        file.read_exact(&mut length).map_err(|_| fail(format!("header: expected 8 bytes, found {size}")))?;
        let header = u64::from_le_bytes(length);
        if header > LONGEST_HEADER || header + 8 > size {
            return Err(fail(format!("header: expected at most {} bytes, found {header}", size.saturating_sub(8))));
        }
        let mut bytes = length.to_vec();
        file.by_ref().take(header).read_to_end(&mut bytes).map_err(Error::io(&path))?;
        let metadata = metadata(&bytes).map_err(|what| fail(format!("header: {what}")))?;
        let tensors = metadata.tensors();
        let (expected, data) = (tensors.values().map(|t| t.data_offsets.1).max().unwrap_or(0), size - 8 - header);
        if expected as u64 != data {
            return Err(fail(format!("data: expected {expected} bytes, found {data}")));
        }
        let mut entries = BTreeMap::new();
        for (name, info) in tensors {
            let dtype = dtype(info.dtype)
                .ok_or_else(|| fail(format!("{name}: expected f32, f64, f16 or bf16, found {:?}", info.dtype)))?;
            let (start, end) = info.data_offsets;
            let start_in_file = 8 + header + start as u64;
            entries.insert(name, Entry { dtype, shape: info.shape.clone(), start: start_in_file, bytes: end - start });
        }
        Ok(Shard { path, file, entries })
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let entry = &self.entries[name];
        self.file.seek(SeekFrom::Start(entry.start)).map_err(Error::io(&self.path))?;
        let mut bytes = vec![0; entry.bytes];
        self.file.read_exact(&mut bytes).map_err(Error::io(&self.path))?;
        Ok(Tensor::from_raw_buffer(&bytes, entry.dtype, &entry.shape, &Device::Cpu)?)
    }
}

/// The header alone, with all that safetensors checks of it: that the data are not there is the last thing it complains
/// about.
fn metadata(header: &[u8]) -> std::result::Result<Metadata, String> {
    match SafeTensors::read_metadata(header) {
        Ok((_, metadata)) => Ok(metadata),
        Err(SafeTensorError::MetadataIncompleteBuffer) => {
            serde_json::from_slice(&header[8..]).map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn dtype(stored: Dtype) -> Option<DType> {
    match stored {
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}
