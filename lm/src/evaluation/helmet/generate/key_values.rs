//! A JSON object of UUIDs, of which one value is asked for.

use super::{Generator, place, stream, uuid};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Key-value pairs; a unit is a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyValues {
    /// Of the pairs.
    pub seed: u64,
    /// Pairs of the object that are shown as solved.
    pub shots: usize,
}

impl Generator for KeyValues {
    fn dataset(&self) -> &str {
        "json_kv"
    }

    fn units(&self) -> (usize, usize) {
        (self.shots + 1, usize::MAX / 2)
    }

    fn row(&self, number: usize, units: usize, depth: f64) -> Result<Value> {
        if units <= self.shots {
            return Err(Error::config("units", format!("expected more than {} pairs, found {units}", self.shots)));
        }
        let mut random = stream("json_kv", self.seed, number);
        let mut pairs: Vec<[String; 2]> = (0..units).map(|_| [uuid(&mut random), uuid(&mut random)]).collect();
        // The first pairs drawn are asked for and shown as solved, so that they are the same in a longer object.
        let asked = pairs.remove(0);
        let demos: Vec<[String; 2]> = pairs.iter().take(self.shots).cloned().collect();
        // Where there are others, those shown stand among them.
        for demo in 0..self.shots.min(pairs.len()) {
            let other = random_place(number, demo, pairs.len());
            pairs.swap(demo, other);
        }
        pairs.insert(place(depth, units), asked.clone());
        let lines: Vec<String> = pairs.iter().map(|[key, value]| format!(" \"{key}\": \"{value}\"")).collect();
        let [question, answer] = asked;
        Ok(json!({
            "id": number,
            "context": format!("JSON data:\n{{\n{}\n}}", lines.join(",\n")),
            "question": question,
            "answer": answer,
            "demos": demos,
            "num_kvs": units,
            "depth": depth,
            "k": units,
        }))
    }
}

/// A place among `count`, for a solved pair.
fn random_place(number: usize, demo: usize, count: usize) -> usize {
    stream("place", demo as u64, number).randbelow(count)
}
