//! Golden files for the tests of this folder.

use crate::evaluation::metrics::golden;
use serde_json::Value;

/// A golden file, or `None`, with the reason printed.
pub(super) fn file(name: &str) -> Option<Value> {
    golden::file(&format!("helmet/{name}"))
}

/// The cases of a golden file: none where the file is absent, at least one where it is there.
pub(super) fn cases(name: &str) -> Vec<Value> {
    golden::cases(&format!("helmet/{name}"))
}

/// Equal numbers, `"NaN"` included, within 1e-9.
pub(super) fn close(found: f64, expected: &Value) -> bool {
    let expected = match expected {
        Value::Bool(yes) => f64::from(u8::from(*yes)),
        Value::Null => return found.is_nan(),
        Value::String(text) if text == "NaN" => return found.is_nan(),
        other => other.as_f64().unwrap(),
    };
    (found - expected).abs() < 1e-9
}
