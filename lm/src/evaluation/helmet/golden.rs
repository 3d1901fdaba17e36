//! Golden files for the tests of this folder.

use serde_json::Value;
use std::path::PathBuf;

/// A golden file, or `None`, with the reason printed.
pub(super) fn file(name: &str) -> Option<Value> {
    let shared = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden");
    let folder = std::env::var_os("TESSERAL_GOLDEN").map_or_else(shared, PathBuf::from);
    let path = folder.join("helmet").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            println!("not tried: {}: {error}", path.display());
            None
        }
    }
}

/// The cases of a golden file: none where the file is absent, at least one where it is there.
pub(super) fn cases(name: &str) -> Vec<Value> {
    let Some(file) = file(name) else { return Vec::new() };
    let cases = file["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{name} has no case");
    cases
}

/// Equal numbers, `"NaN"` included, within 1e-9.
pub(super) fn close(found: f64, expected: &Value) -> bool {
    let expected = match expected {
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::String(text) if text == "NaN" => return found.is_nan(),
        other => other.as_f64().unwrap(),
    };
    (found - expected).abs() < 1e-9
}
