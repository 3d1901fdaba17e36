//! Rows of data files, whose errors name the file, the row and the field.
//!
//! Files: `.jsonl`, one object a line; `.json`, a list of objects, an object whose `data` is such a list, or one object.
//! The fields of each kind of data set are those of the original's files (see [`super::load`]).

use crate::error::kind;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One row of a file, or an object within it.
#[derive(Clone, Debug)]
pub struct Row {
    value: Map<String, Value>,
    file: Arc<PathBuf>,
    /// `line 3` or `row 3`, and the way to an object within it.
    place: String,
}

/// Rows that are in memory already; `file` is for messages.
///
/// # Errors
/// [`Error::Format`] for a value that is no object.
pub fn rows(values: &[Value], file: &Path) -> Result<Vec<Row>> {
    let file = Arc::new(file.to_path_buf());
    let row = |(k, value): (usize, &Value)| Row::new(value.clone(), &file, format!("line {}", k + 1));
    values.iter().enumerate().map(row).collect()
}

/// Reads the rows of a file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] with the line for what is not JSON or not an object; a file without rows.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let file = Arc::new(path.to_path_buf());
    let whole = path.extension().is_some_and(|extension| extension == "json");
    let rows: Result<Vec<Row>> = if whole {
        let value = serde_json::from_str(&text).map_err(|e| Error::format(path, e.to_string()))?;
        let values = match value {
            Value::Object(mut object) if object.get("data").is_some_and(Value::is_array) => {
                object.remove("data").unwrap_or_default()
            }
            Value::Object(object) => Value::Array(vec![Value::Object(object)]),
            other => other,
        };
        let Value::Array(values) = values else {
            return Err(Error::format(path, format!("expected a list of objects, found {}", kind(&values))));
        };
        let rows = values.into_iter().enumerate();
        rows.map(|(place, value)| Row::new(value, &file, format!("row {}", place + 1))).collect()
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(place, line)| {
                let place = format!("line {}", place + 1);
                let value = serde_json::from_str(line).map_err(|e| Error::format(path, format!("{place}: {e}")))?;
                Row::new(value, &file, place)
            })
            .collect()
    };
    let rows = rows?;
    if rows.is_empty() {
        return Err(Error::format(path, "expected rows, found none"));
    }
    Ok(rows)
}

impl Row {
    /// A row from its value; `place` (`line 3`) is for the messages.
    ///
    /// # Errors
    /// [`Error::Format`] for what is no object.
    pub fn new(value: Value, file: &Arc<PathBuf>, place: String) -> Result<Self> {
        match value {
            Value::Object(value) => Ok(Row { value, file: file.clone(), place }),
            other => Err(Error::format(file, format!("{place}: expected an object, found {}", kind(&other)))),
        }
    }

    /// The row as it was read.
    pub fn value(&self) -> &Map<String, Value> {
        &self.value
    }

    /// An error about a field of this row.
    pub fn wrong(&self, field: &str, expected: &str) -> Error {
        let found = self.value.get(field).map_or("none", kind);
        Error::format(&self.file, format!("{}: {field}: expected {expected}, found {found}", self.place))
    }

    /// A field that is there and not null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.value.get(field).filter(|value| !value.is_null())
    }

    /// A text.
    ///
    /// # Errors
    /// [`Error::Format`] where it is missing or something else.
    pub fn text(&self, field: &str) -> Result<&str> {
        self.get(field).and_then(Value::as_str).ok_or_else(|| self.wrong(field, "a text"))
    }

    /// A text or a whole number, as text.
    ///
    /// # Errors
    /// [`Error::Format`] where it is missing or something else.
    pub fn key(&self, field: &str) -> Result<String> {
        match self.get(field) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
            _ => Err(self.wrong(field, "a text or a whole number")),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Error::Format`] where it is missing or something else.
    pub fn integer(&self, field: &str) -> Result<i64> {
        self.get(field).and_then(Value::as_i64).ok_or_else(|| self.wrong(field, "a whole number"))
    }

    /// A number.
    ///
    /// # Errors
    /// [`Error::Format`] where it is missing or something else.
    pub fn number(&self, field: &str) -> Result<f64> {
        self.get(field).and_then(Value::as_f64).ok_or_else(|| self.wrong(field, "a number"))
    }

    /// A list of texts, not empty; a single text counts as a list of it.
    ///
    /// # Errors
    /// [`Error::Format`] where it is missing or something else.
    pub fn texts(&self, field: &str) -> Result<Vec<String>> {
        let found = match self.get(field) {
            Some(Value::String(text)) => Some(vec![text.clone()]),
            Some(Value::Array(list)) => list.iter().map(|value| value.as_str().map(String::from)).collect(),
            _ => None,
        };
        found.filter(|texts| !texts.is_empty()).ok_or_else(|| self.wrong(field, "texts"))
    }

    /// A list of objects.
    ///
    /// # Errors
    /// [`Error::Format`] where it is missing or something else.
    pub fn rows(&self, field: &str) -> Result<Vec<Row>> {
        let list = self.get(field).and_then(Value::as_array).ok_or_else(|| self.wrong(field, "a list of objects"))?;
        let rows = list.iter().enumerate();
        rows.map(|(n, value)| Row::new(value.clone(), &self.file, format!("{}: {field}[{n}]", self.place))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn lines_lists_and_objects_are_read() {
        for (name, text) in [
            ("a.jsonl", "{\"a\": 1}\n\n{\"a\": 2}\n"),
            ("a.json", "[{\"a\": 1}, {\"a\": 2}]"),
            ("b.json", "{\"data\": [{\"a\": 1}, {\"a\": 2}]}"),
        ] {
            let (_folder, path) = file(name, text);
            let rows = read(&path).unwrap();
            let numbers: Vec<i64> = rows.iter().map(|row| row.integer("a").unwrap()).collect();
            assert_eq!(numbers, [1, 2]);
        }
        let (_folder, path) = file("c.json", "{\"instruction\": \"x\"}");
        assert_eq!(read(&path).unwrap()[0].text("instruction").unwrap(), "x");
    }

    #[test]
    fn bad_rows_are_told_with_file_line_and_field() {
        let message = |name: &str, text: &str| {
            let (_folder, path) = file(name, text);
            let message = read(&path).unwrap_err().to_string();
            message.split_once(name).unwrap().1.to_string()
        };
        assert!(message("a.jsonl", "{}\n{").starts_with(": line 2: EOF"));
        assert_eq!(message("a.jsonl", "{}\n3"), ": line 2: expected an object, found a number");
        assert_eq!(message("a.jsonl", "\n"), ": expected rows, found none");
        assert_eq!(message("a.json", "3"), ": expected a list of objects, found a number");

        let (_folder, path) = file("b.jsonl", r#"{"ctxs": [{"text": 3}], "n": "x", "answers": []}"#);
        let row = &read(&path).unwrap()[0];
        let message = |error: Error| error.to_string().split_once("b.jsonl: ").unwrap().1.to_string();
        assert_eq!(message(row.text("question").unwrap_err()), "line 1: question: expected a text, found none");
        assert_eq!(message(row.integer("n").unwrap_err()), "line 1: n: expected a whole number, found a text");
        assert_eq!(message(row.texts("answers").unwrap_err()), "line 1: answers: expected texts, found an empty list");
        let inner = &row.rows("ctxs").unwrap()[0];
        assert_eq!(message(inner.text("text").unwrap_err()), "line 1: ctxs[0]: text: expected a text, found a number");
    }
}
