//! Answers kept by the key of their request, one JSON line each, as soon as they are known: a run that is stopped goes on
//! where it was.

use super::request::{Request, Response};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// [`Request::key`].
    pub key: String,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub response: Response,
}

/// Answers by key, in memory and, if it has a file, there too.
#[derive(Debug, Default)]
pub struct Store {
    answers: HashMap<String, Response>,
    file: Option<(PathBuf, File)>,
}

impl Store {
    /// In memory only.
    pub fn in_memory() -> Self {
        Store::default()
    }

    /// Opens a file of answers, or begins one. A last line that was cut short by the end of its process is dropped.
    ///
    /// # Errors
    /// [`Error::Format`] for another line that does not parse, and while another process has the file; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).map_err(Error::io(path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::format(path, "expected no other run on these answers, found one"));
            }
            Err(fs::TryLockError::Error(source)) => return Err(Error::Io { path: path.into(), source }),
        }
        let bytes = fs::read(path).map_err(Error::io(path))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(Error::io(path))?;
        }
        let mut answers = HashMap::new();
        for (number, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let kept: Kept = serde_json::from_slice(line)
                .map_err(|e| Error::format(path, format!("line {}: expected a kept answer: {e}", number + 1)))?;
            answers.entry(kept.key).or_insert(kept.response);
        }
        Ok(Store { answers, file: Some((path.into(), file)) })
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The answer kept under a key.
    pub fn get(&self, key: &str) -> Option<&Response> {
        self.answers.get(key)
    }

    /// Keeps an answer, in the file before this returns. What is kept under the key already stays.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] for a log-probability that is no number.
    pub fn keep(&mut self, key: &str, request: &Request, response: Response) -> Result<()> {
        if let Response::LogLikelihood { sum, .. } = response
            && !sum.is_finite()
        {
            return Err(Error::config("answer", format!("expected a finite log-probability, found {sum}")));
        }
        if self.answers.contains_key(key) {
            return Ok(());
        }
        if let Some((path, file)) = &mut self.file {
            let kept = Kept { key: key.into(), request: request.clone(), response: response.clone() };
            let mut line = serde_json::to_vec(&kept).map_err(|e| Error::format(path, e.to_string()))?;
            line.push(b'\n');
            file.write_all(&line).map_err(Error::io(path))?;
        }
        self.answers.insert(key.into(), response);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::request::Decoding;

    fn answer(text: &str) -> Response {
        Response::Text { text: text.into() }
    }

    #[test]
    fn kept_answers_are_there_again_and_a_cut_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/answers.jsonl");
        let request = Request::generate("p", Decoding::default());
        {
            let mut store = Store::open(&path).unwrap();
            store.keep("one", &request, answer("1")).unwrap();
            store.keep("two", &request, answer("2\n")).unwrap();
            store.keep("one", &request, answer("other")).unwrap();
            let message = Store::open(&path).unwrap_err().to_string();
            assert!(message.contains("found one"), "{message}");
        }
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        {
            let mut store = Store::open(&path).unwrap();
            assert_eq!((store.len(), store.get("one")), (1, Some(&answer("1"))));
            store.keep("two", &request, answer("2\n")).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), whole);
        fs::write(&path, b"{}\n").unwrap();
        let message = Store::open(&path).unwrap_err().to_string();
        assert!(message.contains("answers.jsonl") && message.contains("line 1"), "{message}");
    }

    #[test]
    fn no_number_is_not_kept() {
        let request = Request::log_likelihood("a", "b");
        let response = Response::LogLikelihood { sum: f64::NAN, tokens: 1, greedy: false };
        assert!(Store::in_memory().keep("k", &request, response).unwrap_err().to_string().contains("finite"));
    }
}
