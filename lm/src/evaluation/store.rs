//! Answers kept by the key of their request.

use super::request::{Request, Response};
use crate::Result;
use std::collections::HashMap;

/// Answers by key.
#[derive(Debug, Default)]
pub struct Store {
    answers: HashMap<String, Response>,
}

impl Store {
    /// In memory only.
    pub fn in_memory() -> Self {
        Store::default()
    }

    /// The answer kept under a key.
    pub fn get(&self, key: &str) -> Option<&Response> {
        self.answers.get(key)
    }

    /// Keeps an answer.
    ///
    /// # Errors
    /// Those of the file.
    pub fn keep(&mut self, key: &str, _request: &Request, response: Response) -> Result<()> {
        self.answers.insert(key.into(), response);
        Ok(())
    }
}
