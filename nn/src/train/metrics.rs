//! `metrics.jsonl`, one object a line in the order of steps, and `metrics.csv` made from it.
//!
//! Nothing in these files depends on the clock, so two runs of one seed give the same bytes. Times go to
//! `timing.jsonl`.

use super::files::{io_error, write_atomic};
use crate::{Error, Result};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A JSON-lines file that grows; every line has an integer `step`.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens `path` to append after dropping every line of a step above `after_step`, and a last line that a killed
    /// process left unfinished. `after_step` 0 starts anew.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a line that is not an object with a step.
    pub fn open(path: &Path, after_step: u64) -> Result<Self> {
        let kept = match fs::read_to_string(path) {
            Ok(text) => keep_until(path, &text, after_step)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(io_error(path)(e)),
        };
        write_atomic(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(io_error(path))?;
        Ok(MetricsLog { path: path.to_path_buf(), file })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, line: &Value) -> Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(io_error(&self.path))
    }

    /// Forces what was written to the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(io_error(&self.path))
    }
}

fn keep_until(path: &Path, text: &str, after_step: u64) -> Result<String> {
    let mut kept = String::new();
    // Only lines with their line end are whole.
    for (i, line) in text.split_inclusive('\n').filter(|line| line.ends_with('\n')).enumerate() {
        let step = serde_json::from_str::<Value>(line).ok().and_then(|v| v.get("step")?.as_u64());
        let Some(step) = step else {
            return Err(Error::Format {
                path: path.to_path_buf(),
                what: format!("line {}: expected an object with an integer step, found {:?}", i + 1, line.trim_end()),
            });
        };
        if step <= after_step && after_step > 0 {
            kept.push_str(line);
        }
    }
    Ok(kept)
}

/// Writes the lines of a JSON-lines file as a table; columns in the order in which keys first appear.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub fn write_csv(jsonl: &Path, csv: &Path) -> Result<()> {
    let text = fs::read_to_string(jsonl).map_err(io_error(jsonl))?;
    let mut rows = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let row: serde_json::Map<String, Value> = serde_json::from_str(line).map_err(|e| Error::Format {
            path: jsonl.to_path_buf(),
            what: format!("line {}: expected an object, found: {e}", i + 1),
        })?;
        for key in row.keys().filter(|key| !columns.contains(key)).cloned().collect::<Vec<_>>() {
            columns.push(key);
        }
        rows.push(row);
    }
    let mut table = columns.iter().map(|c| cell(c)).collect::<Vec<_>>().join(",");
    table.push('\n');
    for row in rows {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| match row.get(column) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => cell(text),
                Some(other) => cell(&other.to_string()),
            })
            .collect();
        table.push_str(&cells.join(","));
        table.push('\n');
    }
    write_atomic(csv, table.as_bytes())
}

/// RFC 4180 quoting.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn later_and_torn_lines_go_when_a_run_resumes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        for step in 1..=4 {
            log.write(&json!({"step": step, "loss": 0.1})).unwrap();
        }
        log.file.write_all(b"{\"step\":5,\"lo").unwrap();
        let mut log = MetricsLog::open(&path, 2).unwrap();
        log.write(&json!({"step": 3, "note": "a,b"})).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":1,\"loss\":0.1}\n{\"step\":2,\"loss\":0.1}\n{\"step\":3,\"note\":\"a,b\"}\n");
        write_csv(&path, &folder.path().join("m.csv")).unwrap();
        let table = fs::read_to_string(folder.path().join("m.csv")).unwrap();
        assert_eq!(table, "step,loss,note\n1,0.1,\n2,0.1,\n3,,\"a,b\"\n");
        MetricsLog::open(&path, 0).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_foreign_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\nhello\n").unwrap();
        let error = MetricsLog::open(&path, 1).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
