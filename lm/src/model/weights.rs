//! Weights by Hugging Face name, from folders and GGUF files, and back to folders.
//!
//! Modules: [`hugging_face`] (`config.json` and safetensors or PyTorch's files, in one or in shards), [`gguf`], [`save`].

pub mod gguf;
pub mod hugging_face;
pub mod save;
mod shard;

use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A model's shape and tensors, on the CPU.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The shape.
    pub config: LlamaConfig,
    /// Tensors by name; every name and shape is that of the configuration.
    pub tensors: BTreeMap<String, Tensor>,
    /// The file or folder they come from.
    pub source: PathBuf,
}

/// In which type weights are kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// f32.
    #[default]
    F32,
    /// Matrices in bf16, gains and biases in f32: half the memory.
    Bf16,
    /// f64, for tests.
    F64,
}

impl Storage {
    /// The dtype of a tensor of this rank.
    pub fn dtype(self, rank: usize) -> DType {
        match (self, rank) {
            (Storage::F64, _) => DType::F64,
            (Storage::Bf16, 2..) => DType::BF16,
            _ => DType::F32,
        }
    }
}

impl Weights {
    /// Reads a Hugging Face folder, a GGUF file, or a folder with one GGUF file in it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`], [`Error::Invalid`]: a file that is missing, cut short or not what it should be, an
    /// architecture that is not Llama's, tensors that are missing, not expected, of another shape or not finite.
    pub fn open(path: &Path, storage: Storage) -> Result<Self> {
        match Layout::of(path)? {
            Layout::Folder(folder) => hugging_face::read(&folder, storage),
            Layout::Gguf(file) => gguf::read(&file, storage),
        }
    }
}

/// What a path to a model points at.
pub(crate) enum Layout {
    Folder(PathBuf),
    Gguf(PathBuf),
}

impl Layout {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let is_gguf = |path: &Path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
        if path.is_file() && is_gguf(path) {
            return Ok(Layout::Gguf(path.into()));
        }
        if path.join("config.json").is_file() {
            return Ok(Layout::Folder(path.into()));
        }
        let entries = std::fs::read_dir(path).map_err(Error::io(path))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| is_gguf(p)).collect();
        match (files.pop(), files.is_empty()) {
            (Some(file), true) => Ok(Layout::Gguf(file)),
            (found, _) => {
                let found = if found.is_some() { "several .gguf files" } else { "neither" };
                Err(Error::format(path, format!("model: expected a config.json or one .gguf file, found {found}")))
            }
        }
    }
}

/// Checks names and shapes against the configuration, all problems at once.
fn check(path: &Path, config: &LlamaConfig, found: &BTreeMap<String, Vec<usize>>) -> Result<()> {
    let expected: BTreeMap<String, Vec<usize>> = config.tensors().into_iter().collect();
    let mut problems = Vec::new();
    for (name, shape) in &expected {
        match found.get(name) {
            None => problems.push(format!("{name}: expected shape {shape:?}, found no such tensor")),
            Some(other) if other != shape => {
                problems.push(format!("{name}: expected shape {shape:?}, found {other:?}"))
            }
            Some(_) => {}
        }
    }
    let extra = found.keys().filter(|name| !expected.contains_key(*name));
    problems.extend(extra.map(|name| format!("{name}: expected no such tensor, found one")));
    if problems.is_empty() { Ok(()) } else { Err(Error::Invalid { path: path.into(), problems }) }
}

/// The tensor in the type it is kept in.
///
/// # Errors
/// [`Error::Format`] for a value that is not finite.
fn kept(path: &Path, name: &str, tensor: &Tensor, storage: Storage) -> Result<Tensor> {
    let dtype = storage.dtype(tensor.rank());
    // In f32 every stored type keeps its infinities and NaNs, and a sum of absolute values shows them.
    let wide = tensor.to_dtype(DType::F32)?;
    if !wide.abs()?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?.is_finite() {
        return Err(Error::format(path, format!("{name}: expected finite numbers, found NaN or infinity")));
    }
    Ok(if tensor.dtype() == dtype { tensor.clone() } else { tensor.to_dtype(dtype)? })
}

#[cfg(test)]
mod tests;
