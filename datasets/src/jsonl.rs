//! JSON lines: one object a line, in a file or in all `*.jsonl` files of a folder by name.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, Rule};
use crate::files;

/// The longest line that is read: 256 MiB.
pub const MAX_LINE: u64 = 256 << 20;

/// The file, or the `*.jsonl` files of a folder by name.
///
/// Errors: as [`Lines::open`].
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        crate::files::open(path, "a file or folder of JSON lines")?;
        return Ok(vec![path.to_path_buf()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let paths = entries.map_err(Error::io(path, "list"))?.into_iter().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort_unstable();
    if files.is_empty() {
        return Err(Error::invalid(Rule::Format, path, "folder", "at least one *.jsonl file", "none"));
    }
    Ok(files)
}

/// Iterates over the objects of a file or folder, one line in memory at a time. Empty lines are passed over. After an
/// error nothing more comes.
#[derive(Debug)]
pub struct Lines<T> {
    /// Files still to come, last first.
    pending: Vec<PathBuf>,
    open: Option<Open>,
    max_line: u64,
    of: PhantomData<T>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    objects: u64,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Errors: [`Error::Missing`]; [`Error::Invalid`] for a folder without a `*.jsonl` file.
    pub fn open(path: &Path) -> Result<Self> {
        let mut pending = files(path)?;
        pending.reverse();
        Ok(Lines { pending, open: None, max_line: MAX_LINE, of: PhantomData })
    }

    /// The file and line (from 1) of what came last.
    pub fn place(&self) -> Option<(&Path, u64)> {
        self.open.as_ref().map(|open| (open.path.as_path(), open.line))
    }

    /// Refuses longer lines than this, in bytes.
    pub fn with_max_line(mut self, bytes: u64) -> Self {
        self.max_line = bytes;
        self
    }

    fn advance(&mut self) -> Result<Option<T>> {
        loop {
            let Some(mut open) = self.open.take() else {
                let Some(path) = self.pending.pop() else { return Ok(None) };
                let reader = BufReader::new(files::open(&path, "a file of JSON lines")?);
                self.open = Some(Open { path, reader, line: 0, objects: 0 });
                continue;
            };
            let Some(text) = open.read_line(self.max_line)? else {
                if open.objects == 0 {
                    return Err(Error::invalid(Rule::Format, &open.path, "file", "at least one line", "none"));
                }
                continue;
            };
            if text.trim().is_empty() {
                self.open = Some(open);
                continue;
            }
            let object = open.parse(&text)?;
            open.objects += 1;
            self.open = Some(open);
            return Ok(Some(object));
        }
    }
}

impl Open {
    fn read_line(&mut self, limit: u64) -> Result<Option<String>> {
        self.line += 1;
        let mut bytes = Vec::new();
        let mut line = (&mut self.reader).take(limit.saturating_add(1));
        line.read_until(b'\n', &mut bytes).map_err(Error::io(&self.path, "read"))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 > limit {
            return Err(self.invalid(String::new(), format!("at most {limit} bytes"), "more"));
        }
        String::from_utf8(bytes).map(Some).map_err(|e| {
            let at = format!("a byte that is not, at offset {}", e.utf8_error().valid_up_to());
            self.invalid(String::new(), "UTF-8 text".into(), at)
        })
    }

    fn parse<T: DeserializeOwned>(&self, text: &str) -> Result<T> {
        if !text.trim_start().starts_with('{') {
            let cut: String = text.trim().chars().take(60).collect();
            return Err(self.invalid(String::new(), "a JSON object".into(), format!("{cut:?}")));
        }
        serde_json::from_str(text).map_err(|e| {
            let reason = e.to_string();
            let reason = reason.rsplit_once(" at line").map_or(reason.as_str(), |(reason, _)| reason);
            // Columns count bytes from 1, and a reader stops after the last byte that it has taken.
            let field = field_at(text.as_bytes().get(..e.column()).unwrap_or(text.as_bytes()));
            let place = if field.is_empty() { format!(" column {}", e.column()) } else { format!(": {field}") };
            self.invalid(place, "a JSON object with the fields asked for".into(), reason)
        })
    }

    fn invalid(&self, column: String, expected: String, found: impl Into<String>) -> Error {
        Error::invalid(Rule::Format, &self.path, format!("line {}{column}", self.line), expected, found)
    }
}

/// The field, by its keys from the outermost, within which a beginning of a JSON text ends; empty outside of any.
fn field_at(text: &[u8]) -> String {
    // One entry for each open object or array: the key that is being read there.
    let (mut open, mut latest) = (Vec::new(), String::new());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' => open.push(String::new()),
            b'}' | b']' => drop(open.pop()),
            b':' => open.last_mut().into_iter().for_each(|key| *key = std::mem::take(&mut latest)),
            b',' => open.last_mut().into_iter().for_each(String::clear),
            b'"' => {
                let from = at + 1;
                at = from;
                while text.get(at).is_some_and(|&byte| byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                latest = String::from_utf8_lossy(&text[from..at.min(text.len())]).into_owned();
            }
            _ => {}
        }
        at += 1;
    }
    open.retain(|key| !key.is_empty());
    open.join(".")
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let next = self.advance();
        if next.is_err() {
            self.pending.clear();
            self.open = None;
        }
        next.transpose()
    }
}

/// Writes one object a line, whole or not at all.
///
/// Errors: [`Error::Io`], also for a value that JSON cannot hold.
pub fn write<T: Serialize>(path: &Path, objects: impl IntoIterator<Item = T>) -> Result<()> {
    files::write_atomic(path, |w| {
        objects.into_iter().try_for_each(|object| {
            serde_json::to_writer(&mut *w, &object)?;
            w.write_all(b"\n")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Text {
        text: String,
    }

    fn read(path: &Path) -> Result<Vec<Text>> {
        Lines::open(path)?.with_max_line(40).collect()
    }

    #[test]
    fn files_and_folders_come_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let texts = |names: &[&str]| names.iter().map(|t| Text { text: t.to_string() }).collect::<Vec<_>>();
        write(&folder.path().join("b.jsonl"), texts(&["3"])).unwrap();
        write(&folder.path().join("a.jsonl"), texts(&["1", "ä\n"])).unwrap();
        fs::write(folder.path().join("c.txt"), "no").unwrap();
        assert_eq!(read(folder.path()).unwrap(), texts(&["1", "ä\n", "3"]));
    }

    #[test]
    fn fields_are_found_by_where_a_text_is_cut() {
        for (text, field) in [
            (r#"{"a": 1, "b": 5"#, "b"),
            (r#"{"a": {"x": [{"y": tr"#, "a.x.y"),
            (r#"{"a:,\"": "q:"#, r#"a:,\""#),
            (r#"{"a": {"x": 1}"#, "a"),
            (r#"{"a": {"x": 1}, "b"#, ""),
            (r#"{"a": [1]}"#, ""),
        ] {
            assert_eq!(field_at(text.as_bytes()), field, "{text}");
        }
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        assert!(read(folder.path()).unwrap_err().to_string().contains("at least one *.jsonl file, found none"));
        assert!(read(&path).unwrap_err().to_string().contains("found nothing"));
        let cases: [(&[u8], &str); 7] = [
            (b"", "a.jsonl: file: expected at least one line, found none"),
            (b"\n\n", "expected at least one line"),
            (b"{\"text\": \"a\"}\n\xff\xfe", "line 2: expected UTF-8 text, found a byte that is not, at offset 0"),
            (b"[1]", "line 1: expected a JSON object, found \"[1]\""),
            (b"{}", "line 1 column 2: expected a JSON object with the fields asked for, found missing field `text`"),
            (
                b"\n{\"text\": 5}",
                "line 2: text: expected a JSON object with the fields asked for, found invalid type: integer `5`, expected a string",
            ),
            (
                b"{\"text\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
                "line 1: expected at most 40 bytes, found more",
            ),
        ];
        for (bytes, message) in cases {
            fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        fs::write(&path, "[]\n{\"text\": \"a\"}").unwrap();
        assert_eq!(Lines::<Text>::open(&path).unwrap().count(), 1); // nothing after an error
    }
}
