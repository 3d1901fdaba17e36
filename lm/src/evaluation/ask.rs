//! Requests answered: each different one once, from the store if it is there.

use super::backend::Backend;
use super::request::{Request, Response};
use super::store::Store;
use crate::{Error, Result};
use std::collections::HashMap;

/// Answers requests from a store, and from a back-end what the store has not.
pub struct Asker<'a> {
    backend: &'a dyn Backend,
    store: &'a mut Store,
}

impl<'a> Asker<'a> {
    /// Of a back-end and the answers that are kept.
    pub fn new(backend: &'a dyn Backend, store: &'a mut Store) -> Self {
        Asker { backend, store }
    }

    /// Who answers.
    pub fn backend(&self) -> &dyn Backend {
        self.backend
    }

    /// The answers, in the order of the requests. Equal requests are asked once; each new answer is kept at once.
    ///
    /// # Errors
    /// Those of the back-end and the store.
    pub fn ask(&mut self, requests: &[Request]) -> Result<Vec<Response>> {
        let identity = self.backend.identity().to_string();
        let keys: Vec<String> = requests.iter().map(|request| request.key(&identity)).collect();
        let mut missing: Vec<usize> = Vec::new();
        let mut seen: HashMap<&str, ()> = HashMap::new();
        for (place, key) in keys.iter().enumerate() {
            if self.store.get(key).is_none() && seen.insert(key, ()).is_none() {
                missing.push(place);
            }
        }
        let asked: Vec<Request> = missing.iter().map(|place| requests[*place].clone()).collect();
        if !asked.is_empty() {
            let store = &mut *self.store;
            let mut tell = |place: usize, response: Response| match missing.get(place) {
                Some(place) => store.keep(&keys[*place], &requests[*place], response),
                None => {
                    Err(Error::config("backend", format!("expected an answer below {}, found {place}", missing.len())))
                }
            };
            self.backend.answer(&asked, &mut tell)?;
        }
        let found = keys.iter().map(|key| self.store.get(key).cloned());
        found.collect::<Option<Vec<_>>>().ok_or_else(|| Error::config("backend", "expected an answer to each request"))
    }
}
