//! Reads golden cases: `NAME.safetensors` (f64) with its twin `NAME.json`.
//!
//! Folders, in order: the variable TESSERAL_GOLDEN alone when it is set; else `tests/golden`, then `../shared/golden`.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its vectors must fail")]

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One golden case.
pub struct Golden {
    pub name: String,
    pub json: Value,
    pub tensors: BTreeMap<String, Tensor>,
}

fn folders(family: &str) -> Vec<PathBuf> {
    // Tests run in the folder of their crate: the workspace or one below.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if here.join("Cargo.lock").exists() { here.to_path_buf() } else { here.join("..") };
    match std::env::var_os("TESSERAL_GOLDEN") {
        Some(folder) => vec![PathBuf::from(folder).join(family)],
        None => vec![root.join("tests/golden").join(family), root.join("../shared/golden").join(family)],
    }
}

/// Names of the cases of a family (`deephe3`) that start with `prefix`, sorted; prints why when there is none.
pub fn cases(family: &str, prefix: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    for entry in folders(family).iter().filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".safetensors").filter(|n| n.starts_with(prefix)) {
            names.insert(name.to_string());
        }
    }
    if names.is_empty() {
        println!("skipped: no golden case {family}/{prefix}* in {:?}", folders(family));
    }
    names.into_iter().collect()
}

/// Reads a case; `None`, with the reason printed, where it is not there.
pub fn load(family: &str, name: &str) -> Option<Golden> {
    let file = folders(family).into_iter().map(|f| f.join(name)).find(|f| f.with_extension("safetensors").exists());
    let Some(file) = file else {
        println!("skipped: golden case {family}/{name} is not here");
        return None;
    };
    let json = std::fs::read_to_string(file.with_extension("json")).unwrap();
    let tensors = candle_core::safetensors::load(file.with_extension("safetensors"), &Device::Cpu).unwrap();
    Some(Golden {
        name: name.into(),
        json: serde_json::from_str(&json).unwrap(),
        tensors: tensors.into_iter().collect(),
    })
}

/// A file of a family; `None`, with the reason printed, where it is not there.
pub fn file(family: &str, name: &str) -> Option<PathBuf> {
    let found = folders(family).into_iter().map(|folder| folder.join(name)).find(|file| file.exists());
    if found.is_none() {
        println!("skipped: golden file {family}/{name} is not here");
    }
    found
}

/// All tensors of `NAME.safetensors`, as stored.
pub fn tensors(family: &str, name: &str) -> Option<BTreeMap<String, Tensor>> {
    let file = file(family, &format!("{name}.safetensors"))?;
    Some(candle_core::safetensors::load(file, &Device::Cpu).unwrap().into_iter().collect())
}

impl Golden {
    /// The tensor `name` as f64.
    pub fn tensor(&self, name: &str) -> Tensor {
        let found = self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor {name}", self.name));
        found.to_dtype(DType::F64).unwrap()
    }

    pub fn get(&self, name: &str) -> Option<Tensor> {
        self.tensors.contains_key(name).then(|| self.tensor(name))
    }

    /// All elements of `name`.
    pub fn values(&self, name: &str) -> Vec<f64> {
        values(&self.tensor(name))
    }

    /// Integer elements of `name`.
    pub fn indices(&self, name: &str) -> Vec<usize> {
        self.tensors[name]
            .to_dtype(DType::I64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<i64>()
            .unwrap()
            .into_iter()
            .map(|i| i as usize)
            .collect()
    }
}

pub fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// `[[mul, l, p]]` of a JSON value.
pub fn triples(value: &Value) -> Vec<[i64; 3]> {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("irreps expected, found {value}: {e}"))
}

/// Largest absolute difference; panics on different shapes.
pub fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    values(a)
        .iter()
        .zip(values(b))
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m })
}

/// |a - b| / |b| in the 2-norm.
pub fn relative_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let scale = norm(&mut b.iter().copied());
    norm(&mut a.iter().zip(b).map(|(x, y)| x - y)) / scale.max(1e-30)
}

/// `value[i] = offset + scale * hash(name, seed)[i]`: the parameters of the golden networks (golden README, section 3).
pub fn hash_parameter(name: &str, seed: u64, count: usize) -> Vec<f64> {
    let (scale, offset) = match name {
        n if n.contains(".norm.weight") || n.starts_with("norm.weight") => (0.25, 1.0),
        n if n.contains("fc.") || n.ends_with("bias") => (0.25, 0.0),
        _ => (2.0, 0.0),
    };
    hash_symmetric(name, seed, count).into_iter().map(|h| offset + scale * h).collect()
}

/// Numbers in [-1, 1) from splitmix64 keyed by fnv1a64(name) xor seed.
pub fn hash_symmetric(name: &str, seed: u64, count: usize) -> Vec<f64> {
    let splitmix = |z: u64| {
        let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let fnv = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    let key = splitmix(fnv ^ seed);
    (0..count).map(|i| 2.0 * (splitmix(key.wrapping_add(i as u64)) >> 40) as f64 / f64::powi(2.0, 24) - 1.0).collect()
}
