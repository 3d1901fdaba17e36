//! The files of the parts: written by shards, collected by the merge.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Batch, Description, JOB, Shard, ShardReport, unreadable};
use crate::datasets::files;
use crate::nn::train::Observer;
use crate::physics::{Error, Result};

/// Folder of the parts in an output folder.
const PARTS: &str = "parts";
/// The largest file of this kind that is read: 4 GiB.
const MAX_BYTES: u64 = 4 << 30;

/// The parts of one piece of work in an output folder.
#[derive(Clone, Debug)]
pub struct Parts {
    folder: PathBuf,
    /// What they belong to.
    pub description: Description,
}

impl Parts {
    /// Those of `description` under `out`, begun here or by another shard.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn create(out: &Path, description: Description) -> Result<Self> {
        let folder = out.join(PARTS).join(description.hash()?);
        std::fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        let job = folder.join(JOB);
        if !job.is_file() {
            write(&job, &description)?;
        }
        Ok(Parts { folder, description })
    }

    /// Those under `out`, which must be of one piece of work.
    ///
    /// # Errors
    /// None, or those of several: what differs is named.
    pub fn open(out: &Path) -> Result<Self> {
        let folder = out.join(PARTS);
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut folders: Vec<PathBuf> = entries.filter(|path| path.join(JOB).is_file()).collect();
        folders.sort();
        let mut found = folders.into_iter().map(|folder| {
            let description = read::<Description>(&folder.join(JOB))?;
            Ok::<Parts, Error>(Parts { folder, description })
        });
        let Some(first) = found.next().transpose()? else {
            let expected = "parts written with --shard".into();
            return Err(Error::Mismatch { what: folder.display().to_string(), expected, found: "none".into() });
        };
        if let Some(other) = found.next().transpose()? {
            let text = |d: &Description| serde_json::to_value(d).unwrap_or_default();
            let mut differences = Vec::new();
            differ("", &text(&first.description), &text(&other.description), &mut differences);
            differences.truncate(5);
            return Err(Error::Mismatch {
                what: folder.display().to_string(),
                expected: "parts of one verb with the same options and inputs (remove the folder of the others)".into(),
                found: format!(
                    "{} and {}, which differ in {}",
                    first.folder.display(),
                    other.folder.display(),
                    differences.join("; ")
                ),
            });
        }
        Ok(first)
    }

    fn file(&self, unit: &str) -> PathBuf {
        self.folder.join(format!("part-{unit}.json"))
    }

    fn missing(&self) -> Vec<&String> {
        self.description.units.iter().filter(|unit| !self.file(unit).is_file()).collect()
    }

    /// Computes the units of a shard that have no part yet; one that fails does not keep the others from being done.
    ///
    /// # Errors
    /// That of the first unit that failed, a folder that cannot be written; parts that are done stay.
    pub fn run<B: Batch>(&self, batch: &mut B, shard: Shard, observer: &mut dyn Observer) -> Result<ShardReport> {
        let own: Vec<usize> = (shard.index..batch.units().len()).step_by(shard.count).collect();
        let (mut computed, mut kept, mut failures) = (0, 0, Vec::new());
        for &unit in &own {
            let file = self.file(&batch.units()[unit]);
            if file.is_file() {
                kept += 1;
            } else {
                match batch.work(unit, observer) {
                    Ok(part) => {
                        write(&file, &part)?;
                        computed += 1;
                    }
                    Err(error) => failures.push(error),
                }
            }
            observer.on_progress(computed + kept + failures.len(), own.len(), &format!("shard {shard}"));
        }
        if failures.len() > 1 {
            observer.on_message(&format!("{} of {} units failed; the first:", failures.len(), own.len()));
        }
        if let Some(first) = failures.into_iter().next() {
            return Err(first);
        }
        let (units, missing) = (batch.units().len(), self.missing().len());
        Ok(ShardReport { shard: shard.to_string(), units, computed, kept, missing })
    }

    /// All parts, in the order of the units.
    ///
    /// # Errors
    /// Units without part, which are named; a part that does not read.
    pub fn collect<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let missing = self.missing();
        if !missing.is_empty() {
            let some: Vec<&str> = missing.iter().take(10).map(|unit| unit.as_str()).collect();
            let more = if missing.len() > some.len() { ", .." } else { "" };
            return Err(Error::Mismatch {
                what: self.folder.display().to_string(),
                expected: format!("parts of all {} units", self.description.units.len()),
                found: format!("{} missing: {}{more}", missing.len(), some.join(", ")),
            });
        }
        self.description.units.iter().map(|unit| read(&self.file(unit))).collect()
    }

    /// The options that the parts were computed with.
    ///
    /// # Errors
    /// Options of another version.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T> {
        let job = self.folder.join(JOB);
        serde_json::from_value(self.description.options.clone()).map_err(|e| unreadable(&job, &e.to_string()))
    }

    /// Refuses parts whose inputs have changed since.
    ///
    /// # Errors
    /// What differs is named.
    pub fn check(&self, now: &Description) -> Result<()> {
        if *now == self.description {
            return Ok(());
        }
        let text = |d: &Description| serde_json::to_value(d).unwrap_or_default();
        let mut differences = Vec::new();
        differ("", &text(&self.description), &text(now), &mut differences);
        differences.truncate(5);
        Err(Error::Mismatch {
            what: self.folder.display().to_string(),
            expected: "inputs as they were when the parts were computed".into(),
            found: differences.join("; "),
        })
    }
}

/// `a.b: 1 and 2` for each place where two values differ.
fn differ(place: &str, a: &Value, b: &Value, differences: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let keys = x.keys().chain(y.keys().filter(|key| !x.contains_key(*key)));
            for key in keys {
                let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                differ(&inner, &a[key], &b[key], differences);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().for_each(|(n, (x, y))| differ(&format!("{place}[{n}]"), x, y, differences));
        }
        _ if a == b => {}
        _ => {
            let short = |value: &Value| value.to_string().chars().take(60).collect::<String>();
            differences.push(format!("{place}: {} and {}", short(a), short(b)));
        }
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|e| unreadable(path, &e.to_string()))?;
    Ok(files::write_atomic(path, |w| w.write_all(&text))?)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = files::read_text(path, "a part", MAX_BYTES)?;
    serde_json::from_str(&text).map_err(|e| unreadable(path, &e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::train::Silent;
    use serde_json::json;

    struct Squares(Vec<String>, usize);

    impl Batch for Squares {
        type Part = usize;
        fn units(&self) -> &[String] {
            &self.0
        }
        fn work(&mut self, unit: usize, _: &mut dyn Observer) -> Result<usize> {
            self.1 += 1;
            if unit == 3 && self.1 == 2 { Err(unreadable(Path::new("u3"), "a bad day")) } else { Ok(unit * unit) }
        }
    }

    #[test]
    fn shards_share_the_work_and_do_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let units: Vec<String> = (0..7).map(|n| format!("u{n}")).collect();
        let describe = |x: i32| Description::new("squares", &json!({"x": x}), &[], &units).unwrap();
        let mut batch = Squares(units.clone(), 0);
        let parts = Parts::create(folder.path(), describe(1)).unwrap();
        let run = |batch: &mut Squares, i, n| parts.run(batch, Shard { index: i, count: n }, &mut Silent).unwrap();
        // The third unit fails at first; the next is done all the same.
        let error = parts.run(&mut batch, Shard { index: 1, count: 2 }, &mut Silent).unwrap_err();
        assert!(error.to_string().contains("a bad day"), "{error}");
        let report = run(&mut batch, 1, 2);
        assert_eq!((report.computed, report.kept, report.missing), (1, 2, 4));
        let error = Parts::open(folder.path()).unwrap().collect::<usize>().unwrap_err().to_string();
        assert!(error.contains("4 missing: u0, u2, u4, u6"), "{error}");
        // Another number of shards goes on with what is there.
        let report = run(&mut batch, 0, 1);
        assert_eq!((report.computed, report.kept, report.missing, batch.1), (4, 3, 0, 8));
        assert_eq!(parts.collect::<usize>().unwrap(), [0, 1, 4, 9, 16, 25, 36]);
        Parts::create(folder.path(), describe(2)).unwrap();
        let error = Parts::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("options.x: "), "{error}");
        assert!(parts.check(&describe(2)).is_err() && parts.check(&describe(1)).is_ok());
    }
}
