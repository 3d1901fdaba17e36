//! Verdicts of the recorded vectors, for tests.

use crate::evaluation::entailment::recorded::Recorded;
use crate::evaluation::entailment::table::Table;
use serde_json::Value;
use std::path::Path;

/// `[[premise, hypothesis, number], ..]`.
pub(super) fn rows(calls: &Value) -> Vec<(String, String, f64)> {
    serde_json::from_value(calls.clone()).unwrap()
}

/// A model that knows only these pairs.
pub(super) fn recorded(calls: &Value) -> Recorded {
    Recorded::new(Table::from_rows(rows(calls), Path::new("golden")).unwrap(), "golden")
}

/// A number; the text "NaN" is none.
pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
