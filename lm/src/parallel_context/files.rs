//! Model folders: those of the original load by their names, and what is written they load.

use super::model::ContextModel;
use super::shape::ContextShape;
use crate::Result;
use crate::model::decoder::heads;
use crate::model::weights::save::{SaveOptions, write_folder};
use crate::model::weights::{Storage, hugging_face};
use crate::{Error, model::llama::LlamaConfig};
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tesseral_nn::parameters::digest;

/// A model's shape and tensors, on the CPU.
#[derive(Clone, Debug)]
pub struct ContextWeights {
    /// The shape.
    pub shape: ContextShape,
    /// Tensors by name: those of the decoder as Hugging Face has them, `encoder.*` and `model.layers.N.cross_attn.*`.
    pub tensors: BTreeMap<String, Tensor>,
    /// The folder that they come from.
    pub source: PathBuf,
}

impl ContextWeights {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`], [`Error::Invalid`]: a file that is missing or not what it should be, and every tensor
    /// that is missing, not expected or of another shape.
    pub fn open(folder: &Path, storage: Storage) -> Result<Self> {
        let shape = ContextShape::read(&folder.join("config.json"))?;
        let mut tensors = hugging_face::tensors(folder, storage)?;
        if shape.decoder.tie_word_embeddings {
            tensors.remove("lm_head.weight"); // stored a second time by some
        }
        let expected: BTreeMap<String, Vec<usize>> = names(&shape).into_iter().collect();
        let mut problems = Vec::new();
        for (name, dims) in &expected {
            match tensors.get(name) {
                None => problems.push(format!("{name}: expected shape {dims:?}, found no such tensor")),
                Some(found) if found.dims() != dims => {
                    problems.push(format!("{name}: expected shape {dims:?}, found {:?}", found.dims()));
                }
                Some(_) => {}
            }
        }
        let extra = tensors.keys().filter(|name| !expected.contains_key(*name));
        problems.extend(extra.map(|name| format!("{name}: expected no such tensor, found one")));
        match problems.is_empty() {
            true => Ok(ContextWeights { shape, tensors, source: folder.into() }),
            false => Err(Error::Invalid { path: folder.into(), problems }),
        }
    }

    /// Writes the folder, whole or not at all, with the tokenizer's files of the source.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Data`].
    pub fn save(&self, folder: &Path, options: SaveOptions) -> Result<()> {
        write_folder(folder, &self.shape.to_json()?, &self.tensors, &self.source, options)
    }

    /// The model, to run.
    ///
    /// # Errors
    /// As [`ContextModel::from_tensors`].
    pub fn model(&self) -> Result<ContextModel> {
        ContextModel::from_tensors(&self.shape, &self.tensors)
    }
}

/// SHA-256, in hexadecimal, of names and values of the wrapped model's tensors, in name order: what training must leave alone.
///
/// # Errors
/// Those of candle.
pub fn hash(tensors: &BTreeMap<String, Tensor>) -> Result<String> {
    let decoder = |name: &str| !name.contains(".cross_attn.") && !name.starts_with("encoder.");
    Ok(digest(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).filter(|(name, _)| decoder(name)))?)
}

/// Names and shapes of the tensors of an encoder.
pub fn encoder_names(config: &LlamaConfig, prefix: &str) -> Vec<(String, Vec<usize>)> {
    let tied = LlamaConfig { tie_word_embeddings: true, ..config.clone() };
    let renamed =
        |(name, dims): (String, Vec<usize>)| (format!("{prefix}.{}", name.trim_start_matches("model.")), dims);
    tied.tensors().into_iter().map(renamed).collect()
}

/// Names and shapes of the tensors of a model.
pub fn names(shape: &ContextShape) -> Vec<(String, Vec<usize>)> {
    let mut all = shape.decoder.tensors();
    all.extend(encoder_names(&shape.encoder, "encoder"));
    let (width, states, heads) = (shape.decoder.hidden_size, shape.encoder.hidden_size, heads(&shape.decoder));
    let [queries, keys] = [heads.queries, heads.keys].map(|n| n * heads.width);
    for layer in shape.first_cross()..shape.decoder.num_hidden_layers {
        for (name, dims) in [
            ("q_proj", vec![queries, width]),
            ("k_proj", vec![keys, states]),
            ("v_proj", vec![keys, states]),
            ("o_proj", vec![width, queries]),
            ("layernorm", vec![width]),
        ] {
            all.push((format!("model.layers.{layer}.cross_attn.{name}.weight"), dims));
        }
    }
    all
}
