//! Train, validation and test parts of a set: DeepH's `dataset_split.json`, and plain lists of structures.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use rand::seq::SliceRandom;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, Rule};
use crate::{files, sampler};

/// The largest split or list that is read: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// The ids of the structures of each part; ids are names of folders below `dft/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Trained on.
    pub train: Vec<String>,
    /// For early stopping and schedules.
    pub validate: Vec<String>,
    /// Never seen in training.
    pub test: Vec<String>,
}

impl Split {
    /// Reads a `dataset_split.json`; an absent part is empty.
    ///
    /// Errors: [`Error::Invalid`] for unknown keys, values that are not lists of strings, and repeated ids.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&files::read_text(path, "a dataset_split.json file", MAX_BYTES)?, path)
    }

    /// Parses a text; `path` is for the messages only.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let map: Map<String, Value> = serde_json::from_str(text).map_err(|e| {
            let field = format!("line {} column {}", e.line(), e.column());
            Error::invalid(Rule::Format, path, field, "a JSON object of three lists", e.to_string())
        })?;
        let mut split = Split::default();
        for (key, value) in &map {
            let part = match key.as_str() {
                "train" => &mut split.train,
                "validate" => &mut split.validate,
                "test" => &mut split.test,
                _ => {
                    let key: String = key.chars().take(60).collect();
                    return Err(Error::invalid(Rule::Format, path, key, "train, validate or test", "another key"));
                }
            };
            let ids = value.as_array().and_then(|a| a.iter().map(|v| v.as_str().map(String::from)).collect());
            *part = ids.ok_or_else(|| {
                Error::invalid(
                    Rule::Format,
                    path,
                    key,
                    "a list of strings",
                    value.to_string().chars().take(60).collect::<String>(),
                )
            })?;
        }
        split.check(path)?;
        Ok(split)
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let value = json!({"train": self.train, "validate": self.validate, "test": self.test});
        files::write_atomic(path, |w| writeln!(w, "{value:#}"))
    }

    /// The three parts with their names.
    pub fn parts(&self) -> [(&'static str, &[String]); 3] {
        [("train", &self.train), ("validate", &self.validate), ("test", &self.test)]
    }

    /// No id twice, in one part or in two. Errors: [`Error::Invalid`] with the id.
    pub fn check(&self, path: &Path) -> Result<()> {
        let mut seen = BTreeMap::new();
        for (part, ids) in self.parts() {
            for id in ids {
                if let Some(first) = seen.insert(id, part) {
                    let found = format!("{id:?} in {first} and in {part}");
                    return Err(Error::invalid(Rule::Split, path, part, "every id once", found));
                }
            }
        }
        Ok(())
    }

    /// Every id among the known ones. Errors: [`Error::Invalid`] with the first that is not.
    pub fn check_known(&self, known: &[String], path: &Path) -> Result<()> {
        let known: BTreeSet<&String> = known.iter().collect();
        for (part, ids) in self.parts() {
            if let Some(id) = ids.iter().find(|id| !known.contains(id)) {
                let expected = format!("ids of the {} structures at hand", known.len());
                return Err(Error::invalid(Rule::Split, path, part, expected, format!("{id:?}")));
            }
        }
        Ok(())
    }

    /// Draws a split: `fractions` of train, validate and test, of sum at most 1 (what is left is in no part).
    ///
    /// Depends on the set of ids, the fractions and the seed only; each part is sorted.
    /// Errors: [`Error::Invalid`] for fractions out of range and for repeated ids.
    pub fn random(ids: &[String], fractions: [f64; 3], seed: u64) -> Result<Self> {
        let here = Path::new("split");
        if fractions.iter().any(|f| !(0.0..=1.0).contains(f)) || fractions.iter().sum::<f64>() > 1.0 + 1e-9 {
            let expected = "three fractions from 0 to 1, of sum at most 1";
            return Err(Error::invalid(Rule::Split, here, "fractions", expected, format!("{fractions:?}")));
        }
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        Split { train: ids.clone(), ..Split::default() }.check(here)?;
        ids.shuffle(&mut sampler::stream(seed, "split", &[]));
        // Rounded running sums, so that fractions of sum 1 leave nobody out.
        let end = |k: usize| ((fractions[..k].iter().sum::<f64>() * ids.len() as f64).round() as usize).min(ids.len());
        let part = |k: usize| {
            let mut part = ids[end(k)..end(k + 1)].to_vec();
            part.sort_unstable();
            part
        };
        Ok(Split { train: part(0), validate: part(1), test: part(2) })
    }
}

/// Reads a list of structures: one path or id per line; empty lines and what follows `#` are skipped.
///
/// Errors: [`Error::Missing`]; [`Error::Invalid`] for a line that repeats an earlier one, or a file without any.
pub fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = files::read_text(path, "a list of structures", MAX_BYTES)?;
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (k, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        if !seen.insert(entry) {
            let expected = "every structure once";
            return Err(Error::invalid(
                Rule::Split,
                path,
                format!("line {}", k + 1),
                expected,
                format!("{entry:?} again"),
            ));
        }
        list.push(entry.to_string());
    }
    if list.is_empty() {
        return Err(Error::invalid(Rule::Split, path, "file", "at least one structure", "none"));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{i:04}")).collect()
    }

    #[test]
    fn random_is_a_function_of_the_set_and_the_seed() {
        let split = Split::random(&ids(104), [0.8, 0.1, 0.1], 7).unwrap();
        let mut shuffled = ids(104);
        shuffled.reverse();
        assert_eq!(Split::random(&shuffled, [0.8, 0.1, 0.1], 7).unwrap(), split);
        assert_ne!(Split::random(&ids(104), [0.8, 0.1, 0.1], 8).unwrap(), split);
        assert_eq!((split.train.len(), split.validate.len(), split.test.len()), (83, 11, 10));
        let mut all: Vec<String> = split.parts().iter().flat_map(|(_, ids)| ids.to_vec()).collect();
        all.sort_unstable();
        assert_eq!(all, ids(104));
        split.check_known(&ids(104), Path::new("x")).unwrap();
        assert!(Split::random(&ids(3), [0.8, 0.3, 0.0], 1).is_err());
        assert!(Split::random(&ids(3), [f64::NAN, 0.3, 0.0], 1).is_err());
        assert!(Split::random(&["a".into(), "a".into()], [1.0, 0.0, 0.0], 1).is_err());
        assert_eq!(Split::random(&[], [1.0, 0.0, 0.0], 1).unwrap(), Split::default());
    }

    #[test]
    fn files_and_their_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dataset_split.json");
        let split = Split::random(&ids(10), [0.5, 0.2, 0.3], 1).unwrap();
        split.write(&path).unwrap();
        assert_eq!(Split::read(&path).unwrap(), split);
        let cases = [
            (
                r#"{"train": ["a"], "test": ["a"]}"#,
                "split.json: test: expected every id once, found \"a\" in train and in test",
            ),
            (r#"{"train": ["a", "a"]}"#, "train: expected every id once, found \"a\" in train and in train"),
            (r#"{"val": []}"#, "val: expected train, validate or test, found another key"),
            (r#"{"train": [1]}"#, "train: expected a list of strings, found [1]"),
            ("[]", "line 1 column 0: expected a JSON object of three lists"),
        ];
        for (text, message) in cases {
            let error = Split::parse(text, &path).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let error = split.check_known(&ids(9), &path).unwrap_err().to_string();
        assert!(error.contains("expected ids of the 9 structures at hand, found \"0009\""), "{error}");
    }

    #[test]
    fn lists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        std::fs::write(&path, "# head\na/b\n\n c  # remark\n").unwrap();
        assert_eq!(read_list(&path).unwrap(), ["a/b", "c"]);
        std::fs::write(&path, "a\na\n").unwrap();
        assert!(
            read_list(&path)
                .unwrap_err()
                .to_string()
                .contains("line 2: expected every structure once, found \"a\" again")
        );
        std::fs::write(&path, "#\n").unwrap();
        assert!(read_list(&path).unwrap_err().to_string().contains("expected at least one structure, found none"));
    }
}
