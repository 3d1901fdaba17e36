//! Finds a golden file of a family by name, in the folders that `golden.rs` names.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read its vectors must fail")]

use std::path::{Path, PathBuf};

/// The path of `family/name`; `None`, with the reason printed, where it is not there.
pub fn path(family: &str, name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = match std::env::var_os("TESSERAL_GOLDEN") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => vec![root.join("tests/golden"), root.join("../shared/golden")],
    };
    let found = folders.into_iter().map(|folder| folder.join(family).join(name)).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: golden {family}/{name} is not here");
    }
    found
}

/// The JSON file `family/name`.
pub fn json(family: &str, name: &str) -> Option<serde_json::Value> {
    let path = path(family, name)?;
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}
