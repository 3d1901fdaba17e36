//! Samples made by a thread of their own, one ahead of the one that is trained on.

use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;

/// What [`super::Task::prepare`] begins and [`super::Task::loss`] takes: values that follow from their keys alone, so that a
/// run is the same with and without.
pub struct Ahead<K, T> {
    ask: Sender<K>,
    made: Receiver<T>,
    /// Keys of what was begun and not taken, in order.
    begun: VecDeque<K>,
}

impl<K: Clone + PartialEq + Send, T: Send> Ahead<K, T> {
    /// Starts the thread, which ends when this value is dropped.
    pub fn spawn<'scope>(scope: &'scope Scope<'scope, '_>, make: impl Fn(K) -> T + Send + 'scope) -> Self
    where
        K: 'scope,
        T: 'scope,
    {
        let (ask, keys) = channel();
        let (give, made) = channel();
        scope.spawn(move || keys.into_iter().map(make).try_for_each(|value| give.send(value)));
        Ahead { ask, made, begun: VecDeque::new() }
    }

    /// Begins on the value of `key`, once those that were begun before are made; a key that was begun is not begun again.
    pub fn begin(&mut self, key: K) {
        if !self.begun.contains(&key) && self.ask.send(key.clone()).is_ok() {
            self.begun.push_back(key);
        }
    }

    /// The value of `key`; waits for it. Those that were begun before it are thrown away.
    ///
    /// # Errors
    /// [`Error::Io`] when the thread has panicked.
    pub fn take(&mut self, key: &K) -> Result<T> {
        self.begin(key.clone());
        while let Some(begun) = self.begun.pop_front() {
            let Ok(value) = self.made.recv() else { break };
            if begun == *key {
                return Ok(value);
            }
        }
        let source = std::io::Error::other("it ended before its work");
        Err(Error::Io { path: "thread that prepares samples".into(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn values_are_those_of_their_keys_whatever_was_begun() {
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let mut ahead = Ahead::spawn(scope, |key: u32| {
                made.fetch_add(1, Ordering::Relaxed);
                key * key
            });
            assert_eq!(ahead.take(&3).unwrap(), 9);
            ahead.begin(4);
            ahead.begin(5);
            ahead.begin(4);
            assert_eq!(ahead.take(&4).unwrap(), 16);
            assert_eq!(ahead.take(&7).unwrap(), 49);
            assert_eq!(ahead.take(&5).unwrap(), 25);
        });
        assert_eq!(made.load(Ordering::Relaxed), 5, "3, 4, 5, 7, and 5 again");
    }

    #[test]
    fn a_thread_that_panics_is_an_error() {
        let told = std::sync::Mutex::new(String::new());
        let outcome = std::panic::catch_unwind(|| {
            std::thread::scope(|scope| {
                let mut ahead = Ahead::spawn(scope, |key: u32| assert_eq!(key, 0, "expected"));
                ahead.take(&0).unwrap();
                *told.lock().unwrap() = ahead.take(&1).unwrap_err().to_string();
            });
        });
        assert_eq!(*told.lock().unwrap(), "thread that prepares samples: it ended before its work");
        assert!(outcome.is_err(), "the panic goes on when the scope ends");
    }
}
