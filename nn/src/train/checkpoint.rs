//! Checkpoints: `RUN/checkpoints/step-000123/` with `model.safetensors`, `optimizer.safetensors`, `state.json`,
//! `config.toml` and, written last, `manifest.json` with the size and SHA-256 of each.
//!
//! A checkpoint is written to a hidden sibling folder, forced to the disk and renamed, so a name `step-N` is always a
//! whole checkpoint; what a killed process leaves is ignored. Loading verifies everything and never goes over to
//! another checkpoint by itself. Equal contents give equal bytes: tensors go in name order.

use super::files::{io_error, sync_folder, write_synced};
use crate::{Error, Parameters, Result};
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const FORMAT: &str = "tesseral-checkpoint";
const VERSION: u32 = 1;
const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const CONFIG: &str = "config.toml";
const MANIFEST: &str = "manifest.json";
const FILES: [&str; 4] = [MODEL, OPTIMIZER, STATE, CONFIG];

/// Everything a run needs to go on.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Optimiser steps done.
    pub step: u64,
    /// Weights by parameter name (after [`load`]: on the CPU).
    pub model: BTreeMap<String, Tensor>,
    /// Whatever else is tensors: moments, averages, best weights.
    pub optimizer: BTreeMap<String, Tensor>,
    /// Whatever else is small.
    pub state: serde_json::Value,
    /// The resolved configuration, as text.
    pub config: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    version: u32,
    step: u64,
    files: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

impl Checkpoint {
    /// The tensors of [`Checkpoint::optimizer`] whose names begin with `prefix.`, without it.
    pub fn optimizer_part(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let cut = |name: &str| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_string());
        self.optimizer.iter().filter_map(|(name, t)| Some((cut(name)?, t.clone()))).collect()
    }

    /// Puts the weights into `parameters`; `folder` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Format`] names every missing, extra or wrongly shaped tensor; nothing is changed then.
    pub fn restore(&self, folder: &Path, parameters: &Parameters) -> Result<()> {
        parameters.load(&self.model).map_err(|error| in_file(&folder.join(MODEL), error))
    }
}

/// Turns a complaint about tensors into one about the file that held them.
pub(super) fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::Config { what, .. } => format_error(path, what),
        other => other,
    }
}

/// The same for the optimizer file of a checkpoint folder.
pub(super) fn in_optimizer_file(folder: &Path, error: Error) -> Error {
    in_file(&folder.join(OPTIMIZER), error)
}

/// The same for the state file of a checkpoint folder.
pub(super) fn state_error(folder: &Path, what: String) -> Error {
    format_error(&folder.join(STATE), what)
}

fn format_error(path: &Path, what: String) -> Error {
    Error::Format { path: path.to_path_buf(), what }
}

fn folder_of(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// The folder of this step's checkpoint.
pub fn path(run: &Path, step: u64) -> PathBuf {
    folder_of(run).join(format!("step-{step:06}"))
}

/// Writes a checkpoint of `run` and returns its folder. One of the same step is replaced.
///
/// # Errors
/// [`Error::Io`]; whatever was there before is untouched then.
pub fn save(run: &Path, checkpoint: &Checkpoint) -> Result<PathBuf> {
    let parent = folder_of(run);
    fs::create_dir_all(&parent).map_err(io_error(&parent))?;
    let temporary = tempfile::Builder::new().prefix(".writing-").tempdir_in(&parent).map_err(io_error(&parent))?;

    let mut state = serde_json::to_vec_pretty(&checkpoint.state)
        .map_err(|e| format_error(&temporary.path().join(STATE), e.to_string()))?;
    state.push(b'\n');
    let contents: [(&str, Vec<u8>); 4] = [
        (MODEL, tensor_bytes(&temporary.path().join(MODEL), &checkpoint.model)?),
        (OPTIMIZER, tensor_bytes(&temporary.path().join(OPTIMIZER), &checkpoint.optimizer)?),
        (STATE, state),
        (CONFIG, checkpoint.config.clone().into_bytes()),
    ];
    let mut files = BTreeMap::new();
    for (name, bytes) in contents {
        write_synced(&temporary.path().join(name), &bytes)?;
        files.insert(name.to_string(), Entry { bytes: bytes.len() as u64, sha256: sha256(&bytes) });
    }
    let manifest = Manifest { format: FORMAT.into(), version: VERSION, step: checkpoint.step, files };
    let path_of_manifest = temporary.path().join(MANIFEST);
    let mut text = serde_json::to_vec_pretty(&manifest).map_err(|e| format_error(&path_of_manifest, e.to_string()))?;
    text.push(b'\n');
    write_synced(&path_of_manifest, &text)?;
    sync_folder(temporary.path())?;

    let target = path(run, checkpoint.step);
    if target.exists() {
        // A folder cannot be renamed over a full one: move the old one aside first.
        let aside = tempfile::Builder::new().prefix(".old-").tempdir_in(&parent).map_err(io_error(&parent))?;
        let old = aside.path().join("checkpoint");
        fs::rename(&target, &old).map_err(io_error(&target))?;
        if let Err(e) = fs::rename(temporary.path(), &target) {
            fs::rename(&old, &target).map_err(io_error(&target))?;
            return Err(io_error(&target)(e));
        }
    } else {
        fs::rename(temporary.path(), &target).map_err(io_error(&target))?;
    }
    // Its folder is gone under that name; nothing is left to delete.
    let _ = temporary.keep();
    sync_folder(&parent)?;
    Ok(target)
}

/// All checkpoints of a run, oldest first. Folders of other names are not checkpoints and are passed over.
///
/// # Errors
/// [`Error::Io`]; a run without `checkpoints/` has none.
pub fn list(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let parent = folder_of(run);
    let entries = match fs::read_dir(&parent) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error(&parent)(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error(&parent))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|n| n.strip_prefix("step-")).and_then(|n| n.parse::<u64>().ok());
        if let Some(step) = step.filter(|_| entry.path().is_dir()) {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The checkpoint of the highest step, whether or not it can be read.
///
/// # Errors
/// [`Error::Io`].
pub fn latest(run: &Path) -> Result<Option<PathBuf>> {
    Ok(list(run)?.pop().map(|(_, path)| path))
}

/// Reads and verifies one checkpoint folder; tensors come to the CPU.
///
/// # Errors
/// [`Error::Format`] or [`Error::Io`], each naming the file: no manifest, a manifest that is not one, a missing file,
/// one cut short or too long, one whose SHA-256 differs, a file that is not what its name says.
pub fn load(folder: &Path) -> Result<Checkpoint> {
    let manifest_path = folder.join(MANIFEST);
    if !folder.is_dir() {
        return Err(format_error(folder, "expected a checkpoint folder, found none".into()));
    }
    let text = fs::read(&manifest_path).map_err(io_error(&manifest_path))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|e| format_error(&manifest_path, format!("expected a checkpoint manifest, found: {e}")))?;
    let expected = format!("{FORMAT} version {VERSION}");
    let found = format!("{} version {}", manifest.format, manifest.version);
    if found != expected {
        return Err(format_error(&manifest_path, format!("expected {expected}, found {found}")));
    }
    if !manifest.files.keys().map(String::as_str).eq(sorted(FILES)) {
        let found: Vec<_> = manifest.files.keys().collect();
        return Err(format_error(&manifest_path, format!("files: expected {:?}, found {found:?}", sorted(FILES))));
    }
    let read = |name: &str| -> Result<Vec<u8>> {
        let (path, entry) = (folder.join(name), &manifest.files[name]);
        let size = fs::metadata(&path).map_err(io_error(&path))?.len();
        if size != entry.bytes {
            let kind = if size < entry.bytes { "cut short" } else { "too long" };
            return Err(format_error(&path, format!("{kind}: expected {} bytes, found {size}", entry.bytes)));
        }
        let bytes = fs::read(&path).map_err(io_error(&path))?;
        let digest = sha256(&bytes);
        if digest != entry.sha256 {
            return Err(format_error(&path, format!("sha256: expected {}, found {digest}", entry.sha256)));
        }
        Ok(bytes)
    };
    let state_path = folder.join(STATE);
    let state: serde_json::Value =
        serde_json::from_slice(&read(STATE)?).map_err(|e| format_error(&state_path, e.to_string()))?;
    if state.get("step").and_then(serde_json::Value::as_u64) != Some(manifest.step) {
        let found = state.get("step").cloned().unwrap_or_default();
        return Err(format_error(&state_path, format!("step: expected {}, found {found}", manifest.step)));
    }
    let config = String::from_utf8(read(CONFIG)?)
        .map_err(|_| format_error(&folder.join(CONFIG), "expected UTF-8 text, found other bytes".into()))?;
    Ok(Checkpoint {
        step: manifest.step,
        model: tensors(&folder.join(MODEL), &read(MODEL)?)?,
        optimizer: tensors(&folder.join(OPTIMIZER), &read(OPTIMIZER)?)?,
        state,
        config,
    })
}

/// Deletes all checkpoints but the `keep_last` newest and those of the steps in `keep`; returns what went.
///
/// # Errors
/// [`Error::Io`].
pub fn prune(run: &Path, keep_last: usize, keep: &[u64]) -> Result<Vec<PathBuf>> {
    let all = list(run)?;
    let old = all.len().saturating_sub(keep_last.max(1));
    let mut deleted = Vec::new();
    for (_, path) in all.into_iter().take(old).filter(|(step, _)| !keep.contains(step)) {
        // Renamed first, so that a half-deleted folder is never taken for a checkpoint.
        let hidden = path.with_file_name(format!(".old-{}", path.file_name().unwrap_or_default().to_string_lossy()));
        fs::rename(&path, &hidden).map_err(io_error(&path))?;
        fs::remove_dir_all(&hidden).map_err(io_error(&hidden))?;
        deleted.push(path);
    }
    Ok(deleted)
}

/// Deletes what killed processes left in `RUN/checkpoints`. Only one process may train into a run folder.
///
/// # Errors
/// [`Error::Io`].
pub fn sweep(run: &Path) -> Result<()> {
    let parent = folder_of(run);
    let Ok(entries) = fs::read_dir(&parent) else { return Ok(()) };
    for entry in entries {
        let entry = entry.map_err(io_error(&parent))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name.starts_with(".writing-") || name.starts_with(".old-")) && entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).map_err(io_error(&entry.path()))?;
        }
    }
    Ok(())
}

fn sorted<const N: usize>(mut names: [&str; N]) -> [&str; N] {
    names.sort_unstable();
    names
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tensor_bytes(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    let on_host =
        tensors.iter().map(|(name, t)| Ok((name.as_str(), t.to_device(&Device::Cpu)?))).collect::<Result<Vec<_>>>()?;
    safetensors::serialize(on_host, None).map_err(|e| format_error(path, e.to_string()))
}

fn tensors(path: &Path, bytes: &[u8]) -> Result<BTreeMap<String, Tensor>> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format_error(path, format!("not safetensors: {e}")))?;
    file.iter()
        .map(|(name, view)| {
            let tensor = candle_core::safetensors::Load::load(&view, &Device::Cpu)
                .map_err(|e| format_error(path, format!("{name}: {e}")))?;
            Ok((name.to_string(), tensor))
        })
        .collect()
}
