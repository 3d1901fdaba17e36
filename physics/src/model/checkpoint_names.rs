//! The name map between a DeepH-E3 state dict and ours.
//!
//! Names are equal, but for the tensor products: the original stores one small matrix for each path,
//! `<conv>.tp.weights1.<p>` `[mul_in, mul_out]` and `<conv>.tp.weights2.<p>` `[1, mul_out]`; here all paths of a product
//! are one vector `<conv>.tp.weights1`, path after path, each row-major. `lin_node.*` (the original's unused node
//! output) and buffers are left out.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use tesseral_nn::Parameters;

/// Where a name of the original goes: our name and the number of the path.
fn packed_name(original: &str) -> Option<(&str, usize)> {
    let (prefix, number) = original.rsplit_once('.')?;
    let is_weights = prefix.ends_with(".tp.weights1") || prefix.ends_with(".tp.weights2");
    Some((prefix, number.parse().ok().filter(|_| is_weights)?))
}

/// Our tensors from a DeepH-E3 state dict; names that `ours` does not know are returned beside them.
///
/// # Errors
/// [`Error::Mismatch`] when a path is missing or the sizes do not add up.
pub fn from_deeph_e3(
    state: &BTreeMap<String, Tensor>,
    ours: &Parameters,
) -> Result<(BTreeMap<String, Tensor>, Vec<String>)> {
    let mut parts: BTreeMap<&str, BTreeMap<usize, &Tensor>> = BTreeMap::new();
    let mut ignored = Vec::new();
    for (name, tensor) in state {
        let (name, path) = packed_name(name).unwrap_or((name, 0));
        match ours.get(name) {
            Some(_) => _ = parts.entry(name).or_default().insert(path, tensor),
            None => ignored.push(name.to_string()),
        }
    }
    let mut out = BTreeMap::new();
    for (name, variable) in ours.to_vec() {
        let mismatch = |found: String| Error::Mismatch {
            what: format!("DeepH-E3 parameter {name}"),
            expected: format!("{} numbers", variable.elem_count()),
            found,
        };
        let paths = parts.get(name.as_str()).ok_or_else(|| mismatch("nothing".into()))?;
        if paths.keys().copied().ne(0..paths.len()) {
            return Err(mismatch(format!("paths {:?}", paths.keys().collect::<Vec<_>>())));
        }
        let flat = paths.values().map(|t| t.to_dtype(DType::F64)?.flatten_all()).collect::<Result<Vec<_>, _>>()?;
        let flat = Tensor::cat(&flat, 0)?;
        if flat.elem_count() != variable.elem_count() {
            return Err(mismatch(flat.elem_count().to_string()));
        }
        out.insert(name.clone(), flat.reshape(variable.shape())?);
    }
    Ok((out, ignored))
}

/// Reads a state dict saved as safetensors into `ours`; returns the names that were ignored.
///
/// # Errors
/// An unreadable file, or as [`from_deeph_e3`].
pub fn load_deeph_e3(path: &std::path::Path, ours: &Parameters) -> Result<Vec<String>> {
    let state = candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| e.with_path(path))?;
    let (tensors, ignored) = from_deeph_e3(&state.into_iter().collect(), ours)?;
    ours.load(&tensors)?;
    Ok(ignored)
}
