//! Vectors of the original code, for tests.

use serde_json::Value;
use std::path::Path;

/// One file of the folder `TESSERAL_GOLDEN`, else of `../../shared/golden`; `None`, with the reason printed, if absent.
pub(crate) fn file(name: &str) -> Option<Value> {
    let root = match std::env::var_os("TESSERAL_GOLDEN") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden"),
    };
    let path = root.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(error) => {
            println!("skipped: {}: {error}", path.display());
            None
        }
    }
}

/// The `cases` of a file; none if it is absent.
pub(crate) fn cases(name: &str) -> Vec<Value> {
    let Some(file) = file(name) else { return Vec::new() };
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{name} has no cases");
    cases
}
