//! Folders of screenshot models: `config.json`, `model.safetensors` under the names and shapes of PTP's own, and the tokenizer.

use super::patches::{CHANNELS, PATCH, SIDE};
use super::positions;
use super::shape::MaskedShape;
use crate::model::weights::save::{SaveOptions, write_folder};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
/// The tables of fixed positions, which files hold beside the parameters.
const TABLES: [&str; 2] = ["encoder.embeddings.position_embeddings", "mae_decoder.decoder_pos_embed"];
const PROJECTION: &str = "encoder.embeddings.patch_embeddings.projection.weight";
const TOKENS: [&str; 2] = ["encoder.embeddings.cls_token", "mae_decoder.mask_token"];

/// Tensors as PTP stores them in the form that the model declares: the projection of patches as a matrix over rows, columns,
/// channels; no tables of positions and no second copy of the embedding.
///
/// # Errors
/// A projection that is not one of patches.
pub fn imported(mut tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
    TABLES.iter().for_each(|name| drop(tensors.remove(*name)));
    tensors.remove("lm_head.weight");
    if let Some(weight) = tensors.get_mut(PROJECTION) {
        let width = weight.dim(0)?;
        *weight = weight.permute((0, 2, 3, 1))?.reshape((width, PATCH))?;
    }
    for name in TOKENS {
        if let Some(token) = tensors.get_mut(name) {
            *token = token.reshape((1, token.elem_count()))?;
        }
    }
    Ok(tensors)
}

/// The other way.
///
/// # Errors
/// Tensors that are not those of such a model.
pub fn exported(shape: &MaskedShape, mut tensors: BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
    if let Some(weight) = tensors.get_mut(PROJECTION) {
        let width = weight.dim(0)?;
        *weight = weight.reshape((width, SIDE, SIDE, CHANNELS))?.permute((0, 3, 1, 2))?.contiguous()?;
    }
    for name in TOKENS {
        if let Some(token) = tensors.get_mut(name) {
            *token = token.reshape((1, 1, token.elem_count()))?;
        }
    }
    let vision = &shape.vision_config;
    for (name, width) in TABLES.into_iter().zip([vision.hidden_size, vision.decoder_hidden_size]) {
        let table = positions::table(vision.patches(), width);
        let rows = table.len() / width;
        tensors.insert(name.into(), Tensor::from_vec(table, (1, rows, width), &Device::Cpu)?);
    }
    Ok(tensors)
}

/// Writes a folder, whole or not at all, with the tokenizer's files of the folder `tokenizer`.
///
/// # Errors
/// [`Error::Io`], [`Error::Data`].
pub fn save(folder: &Path, config: &Value, tensors: &BTreeMap<String, Tensor>, tokenizer: &Path) -> Result<()> {
    write_folder(folder, config, tensors, tokenizer, SaveOptions::default())
}

/// The text of `config.json` and the tensors of a folder.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub fn open(folder: &Path) -> Result<(String, BTreeMap<String, Tensor>)> {
    let config = folder.join(CONFIG);
    let text = std::fs::read_to_string(&config).map_err(Error::io(&config))?;
    let file = folder.join(WEIGHTS);
    if !file.is_file() {
        return Err(Error::format(folder, format!("weights: expected {WEIGHTS}, found none")));
    }
    let tensors =
        candle_core::safetensors::load(&file, &Device::Cpu).map_err(|e| Error::format(&file, e.to_string()))?;
    Ok((text, tensors.into_iter().collect()))
}
