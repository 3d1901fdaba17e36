//! A recorded table of requests and answers, such as the answers kept by an earlier run.

use super::{Backend, Tell};
use crate::evaluation::request::{Request, Response};
use crate::evaluation::store::Kept;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tesseral_datasets::files::sha256_file;
use tesseral_datasets::jsonl::Lines;

/// Answers what its file holds, whichever model gave the answer, and nothing else.
#[derive(Debug)]
pub struct Table {
    answers: HashMap<String, Response>,
    identity: String,
    path: PathBuf,
}

impl Table {
    /// Reads JSON lines with a `request` and its `response`. Of two answers to one request the first holds.
    ///
    /// # Errors
    /// A file that is missing or has other lines.
    pub fn open(path: &Path) -> Result<Self> {
        let mut answers = HashMap::new();
        for line in Lines::<Kept>::open(path)? {
            let line = line?;
            answers.entry(line.request.key("")).or_insert(line.response);
        }
        let identity = format!("table:{}", sha256_file(path)?);
        Ok(Table { answers, identity, path: path.into() })
    }
}

impl Backend for Table {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
        for (place, request) in requests.iter().enumerate() {
            let Some(response) = self.answers.get(&request.key("")) else {
                let text = serde_json::to_string(request).unwrap_or_default();
                let cut: String = text.chars().take(200).collect();
                return Err(Error::format(&self.path, format!("expected an answer to {cut}, found none")));
            };
            tell(place, response.clone())?;
        }
        Ok(())
    }
}
