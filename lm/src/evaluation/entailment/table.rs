//! Pairs with a number each, in the order they came; in files `[[premise, hypothesis, number], ..]`, or such a list as the
//! `verdicts` of an object that names their `judge`.

use super::Pair;
use crate::{Error, Result};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::io::Write;
use std::path::Path;
use tesseral_datasets::files::write_atomic;

/// Numbers of pairs.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<(String, String, f64)>,
    /// Where a pair is in `rows`, by its hash; one whose hash another pair has is under the next free number.
    places: HashMap<u64, usize, FixedState>,
}

impl Table {
    /// The number of a pair.
    pub fn get(&self, pair: Pair<'_>) -> Option<f64> {
        self.find(pair).ok().map(|row| row.2)
    }

    /// The row of a pair, or the key that it would have.
    fn find(&self, (premise, hypothesis): Pair<'_>) -> Result<&(String, String, f64), u64> {
        let mut key = FixedState::default().hash_one((premise, hypothesis));
        while let Some(row) = self.places.get(&key).and_then(|place| self.rows.get(*place)) {
            if row.0 == premise && row.1 == hypothesis {
                return Ok(row);
            }
            key = key.wrapping_add(1);
        }
        Err(key)
    }

    /// Adds a pair that is not there yet; one that is there keeps its number.
    pub fn insert(&mut self, (premise, hypothesis): Pair<'_>, number: f64) {
        if let Err(key) = self.find((premise, hypothesis)) {
            self.push(key, (premise.to_string(), hypothesis.to_string(), number));
        }
    }

    fn push(&mut self, key: u64, row: (String, String, f64)) {
        self.places.insert(key, self.rows.len());
        self.rows.push(row);
    }

    /// How many pairs.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The pairs with their numbers, in the order they came.
    pub fn rows(&self) -> &[(String, String, f64)] {
        &self.rows
    }

    /// From rows; `name` stands in the message.
    ///
    /// # Errors
    /// [`Error::Format`] for a number outside 0 to 1, and for a pair with two different numbers.
    pub fn from_rows(rows: Vec<(String, String, f64)>, name: &Path) -> Result<Self> {
        let mut table = Table::default();
        for (place, (premise, hypothesis, number)) in rows.into_iter().enumerate() {
            if !(0.0..=1.0).contains(&number) {
                return Err(Error::format(
                    name,
                    format!("pair {place}: expected a number from 0 to 1, found {number}"),
                ));
            }
            match table.find((&premise, &hypothesis)) {
                Ok((_, _, before)) if *before != number => {
                    let what = format!("pair {place}: expected {before} as for the same pair before, found {number}");
                    return Err(Error::format(name, what));
                }
                Ok(_) => {}
                Err(key) => table.push(key, (premise, hypothesis, number)),
            }
        }
        Ok(table)
    }

    /// From a file, with the judge that it names.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn read(file: &Path) -> Result<(Self, Option<String>)> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Judged {
            judge: String,
            verdicts: Vec<(String, String, f64)>,
        }
        let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
        let fail = |e: serde_json::Error| {
            Error::format(file, format!("expected a list of [premise, hypothesis, 0 or 1], found otherwise: {e}"))
        };
        if text.trim_start().starts_with('{') {
            let Judged { judge, verdicts } = serde_json::from_str(&text).map_err(fail)?;
            return Ok((Self::from_rows(verdicts, file)?, Some(judge)));
        }
        Ok((Self::from_rows(serde_json::from_str(&text).map_err(fail)?, file)?, None))
    }

    /// To a file that names the judge, one pair a line; verdicts as the whole numbers 0 and 1.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, file: &Path, judge: &str) -> Result<()> {
        let line = |(premise, hypothesis, number): &(String, String, f64)| {
            let number = match *number {
                n if n == 0.0 || n == 1.0 => serde_json::json!(n as u8),
                n => serde_json::json!(n),
            };
            serde_json::json!([premise, hypothesis, number]).to_string()
        };
        let lines: Vec<String> = self.rows.iter().map(line).collect();
        let judge = serde_json::json!(judge);
        Ok(write_atomic(file, |out| {
            writeln!(out, "{{\"judge\": {judge}, \"verdicts\": [\n{}\n]}}", lines.join(",\n"))
        })?)
    }
}
