//! Rows of a data file and texts made of their fields.

use crate::{Error, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Map;
use std::path::{Path, PathBuf};
use tesseral_datasets::jsonl::Lines;

/// A row: fields by name.
pub type Row = Map<String, serde_json::Value>;

/// Reads JSON lines (`.jsonl`), a JSON list of objects (`.json`) or a table with a heading (`.csv`, all fields texts).
///
/// # Errors
/// A file of another kind or content, or without a row.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let rows = match path.extension().and_then(|e| e.to_str()) {
        Some("jsonl") => Lines::<Row>::open(path)?.collect::<Result<Vec<_>, _>>()?,
        Some("json") => {
            let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
            serde_json::from_str(&text).map_err(|e| Error::format(path, format!("expected a list of objects: {e}")))?
        }
        Some("csv") => table(path)?,
        _ => return Err(Error::format(path, "expected a .jsonl, .json or .csv file")),
    };
    if rows.is_empty() {
        return Err(Error::format(path, "expected at least one row, found none"));
    }
    Ok(rows)
}

fn table(path: &Path) -> Result<Vec<Row>> {
    let fail = |e: csv::Error| Error::format(path, e.to_string());
    let mut reader = csv::Reader::from_path(path).map_err(fail)?;
    let names = reader.headers().map_err(fail)?.clone();
    let row = |record: csv::StringRecord| {
        names.iter().zip(record.iter()).map(|(name, value)| (name.to_string(), value.into())).collect()
    };
    reader.records().map(|record| record.map(row).map_err(fail)).collect()
}

/// A Jinja template over the fields of a row; a field that a row has not is an error.
#[derive(Clone, Debug)]
pub struct Template {
    /// Which key of the task it is, for messages.
    key: &'static str,
    text: String,
    source: PathBuf,
}

impl Template {
    /// A template; `source` is the file of the rows, for messages.
    pub fn new(key: &'static str, text: &str, source: &Path) -> Self {
        Template { key, text: text.into(), source: source.into() }
    }

    /// The text of a row, number `number` of its file from 0; messages count from 1.
    ///
    /// # Errors
    /// [`Error::Format`]: a template that does not parse, a field that is not there.
    pub fn render(&self, row: &Row, number: usize) -> Result<String> {
        let fail = |e: minijinja::Error| {
            let fields: Vec<&str> = row.keys().map(String::as_str).collect();
            let what = format!("row {}: {} {:?}: {e} (fields: {})", number + 1, self.key, self.text, fields.join(", "));
            Error::format(&self.source, what)
        };
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build().map_err(fail)?);
        environment.render_str(&self.text, Value::from(Serde(row))).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kinds_of_files_and_what_is_wrong_with_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let row = |text: &str| serde_json::from_str::<Row>(text).unwrap();
        assert_eq!(read(&file("a.jsonl", "{\"x\": 1}\n{\"x\": 2}\n")).unwrap()[1], row(r#"{"x": 2}"#));
        assert_eq!(read(&file("a.json", "[{\"x\": 1}]")).unwrap()[0], row(r#"{"x": 1}"#));
        let quoted = read(&file("a.csv", "x,y\n\"1, 2\",b\n")).unwrap();
        assert_eq!(quoted[0], row(r#"{"x": "1, 2", "y": "b"}"#));
        let message = |path: PathBuf| read(&path).unwrap_err().to_string();
        assert!(message(file("b.csv", "x,y\n1\n")).contains("b.csv"));
        assert!(message(file("b.csv", "x,y\n")).contains("at least one row"));
        assert!(message(file("b.json", "{}")).contains("expected a list of objects"));
        assert!(message(file("b.txt", "x")).contains("expected a .jsonl"));
    }

    #[test]
    fn a_field_that_is_not_there_is_told() {
        let row: Row = serde_json::from_str(r#"{"question": "Q", "list": ["a", "b"]}"#).unwrap();
        let template = |text: &str| Template::new("prompt", text, "rows.json".as_ref()).render(&row, 3);
        assert_eq!(template("{{ question.lower() }}: {{ list[1] }}\n").unwrap(), "q: b\n");
        let message = template("{{ answer }}").unwrap_err().to_string();
        assert!(message.starts_with("rows.json: row 4: prompt") && message.contains("question, list"), "{message}");
    }
}
