//! Work in parts, for job arrays: each part is a file under `OUT/parts/<hash>/`, written whole or not at all, so that
//! shards run beside each other, a run that was cut off goes on where it stopped, and a merge finds what is missing.
//!
//! A part belongs to a unit of work (a structure, or a block of k points), not to a shard: shard i of n takes the units
//! i, i + n, i + 2 n, .., and parts stay valid when n changes. The hash is of the verb, its options and its inputs with
//! their sizes and times, so parts of different work never mix.
//!
//! Modules: [`parts`], [`check`] (`data check` in shards).

pub mod check;
pub mod parts;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::UNIX_EPOCH;

pub use parts::Parts;

use crate::datasets::files;
use crate::nn::train::Observer;
use crate::physics::{Error, Result};

/// What the parts belong to.
const JOB: &str = "job.json";

/// Shard `index` of `count`, counted from 0 (as Slurm arrays are by default).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, below `count`.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
        match numbers {
            Some((index, count)) if index < count => Ok(Shard { index, count }),
            _ => Err("expected i/n with 0 <= i < n, such as 0/4 for the first of four".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// Work that falls into units.
pub trait Batch {
    /// What a unit leaves behind.
    type Part: Serialize + DeserializeOwned;

    /// Names of the units, each once.
    fn units(&self) -> &[String];

    /// Computes one unit.
    ///
    /// # Errors
    /// Those of the work.
    fn work(&mut self, unit: usize, observer: &mut dyn Observer) -> Result<Self::Part>;
}

/// `job.json`: what the parts beside it belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Version of this program.
    pub version: String,
    /// The verb.
    pub verb: String,
    /// Its options, structures included.
    pub options: Value,
    /// Sizes and times of the input files, by path.
    pub inputs: Value,
    /// Names of the units.
    pub units: Vec<String>,
}

impl Description {
    /// Of a verb with its options, input files and units.
    ///
    /// # Errors
    /// Options that JSON does not have.
    pub fn new(verb: &str, options: &impl Serialize, inputs: &[PathBuf], units: &[String]) -> Result<Self> {
        let options = serde_json::to_value(options).map_err(|e| unreadable(Path::new(JOB), &e.to_string()))?;
        Ok(Description {
            version: env!("CARGO_PKG_VERSION").into(),
            verb: verb.into(),
            options,
            inputs: fingerprints(inputs),
            units: units.to_vec(),
        })
    }

    fn hash(&self) -> Result<String> {
        let bytes = serde_json::to_vec(self).map_err(|e| unreadable(Path::new(JOB), &e.to_string()))?;
        Ok(files::sha256(&bytes)[..16].to_owned())
    }
}

/// Length and time of change (seconds) of each file that is there: a hash of contents would read gigabytes in every
/// shard.
fn fingerprints(paths: &[PathBuf]) -> Value {
    let of = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let time = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some((path.display().to_string(), json!([data.len(), time.as_secs_f64()])))
    };
    Value::Object(paths.iter().filter_map(of).collect())
}

/// What a shard did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardReport {
    /// `i/n`.
    pub shard: String,
    /// Units of all shards.
    pub units: usize,
    /// Parts that this run computed.
    pub computed: usize,
    /// Parts of this shard that were there already.
    pub kept: usize,
    /// Units of all shards that have no part yet.
    pub missing: usize,
}

impl ShardReport {
    /// A line for people.
    pub fn line(&self) -> String {
        format!(
            "shard {}: {} parts computed, {} there before; {} of {} missing",
            self.shard, self.computed, self.kept, self.missing, self.units
        )
    }
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::Mismatch { what: path.display().to_string(), expected: "the JSON of a part".into(), found: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_zero() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for wrong in ["3/3", "1", "-1/2", "a/b", "0/0", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
