//! What tuning leaves: a whole model, low-rank additions as PEFT has them, or a prefix.

use super::tuned::{Scope, Tuned};
use crate::model::weights::save::SaveOptions;
use crate::{Error, Result};
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use tesseral_datasets::files::write_folder_atomic;

/// Writes `model/` (a Hugging Face folder, additions merged), `adapter/` (PEFT) or `prefix/` into the run folder; the
/// folder that stands for the run.
///
/// # Errors
/// [`Error::Io`], [`Error::Data`].
pub fn save(tuned: &Tuned, base: &Path, run: &Path) -> Result<PathBuf> {
    let model = run.join("model");
    let named = |rename: &dyn Fn(&str) -> String| -> BTreeMap<String, Tensor> {
        tuned.parameters().to_vec().into_iter().map(|(name, v)| (rename(&name), v.as_detached_tensor())).collect()
    };
    match tuned.scope() {
        Scope::Full => tuned.weights()?.save(&model, SaveOptions::default())?,
        Scope::LowRank { rank, alpha, matrices } => {
            let config = json!({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha,
                "target_modules": matrices, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": false,
                "base_model_name_or_path": base});
            let tensors = named(&|name| format!("base_model.model.{name}"));
            write(&run.join("adapter"), "adapter_model.safetensors", &tensors, "adapter_config.json", &config)?;
            tuned.weights()?.save(&model, SaveOptions::default())?;
        }
        Scope::Prefix { places, positions, .. } => {
            let config = json!({"kind": "prefix", "places": places, "positions": positions, "base": base});
            let folder = run.join("prefix");
            write(&folder, "prefix.safetensors", &named(&str::to_string), "prefix.json", &config)?;
            return Ok(folder);
        }
    }
    Ok(model)
}

fn write(folder: &Path, file: &str, tensors: &BTreeMap<String, Tensor>, about: &str, config: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(config).map_err(|e| Error::format(folder, e.to_string()))? + "\n";
    let metadata = Some(HashMap::from([("format".to_string(), "pt".to_string())]));
    let io = |what: String| tesseral_datasets::Error::Io {
        path: folder.into(),
        action: "write",
        source: std::io::Error::other(what),
    };
    write_folder_atomic(folder, |temporary| {
        let views = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::serialize_to_file(views, metadata, &temporary.join(file)).map_err(|e| io(e.to_string()))?;
        std::fs::write(temporary.join(about), text).map_err(|e| io(e.to_string()))
    })?;
    Ok(())
}
