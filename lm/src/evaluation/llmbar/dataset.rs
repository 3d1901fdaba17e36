//! Pairs of outputs with the better one known: `dataset.json`.

use super::winner::{Order, Winner};
use crate::{Error, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tesseral_datasets::files::sha256;

/// An instruction, two outputs, and which is better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The instruction, with what it is to be applied to.
    pub input: String,
    /// Two outputs.
    pub outputs: [String; 2],
    /// The better one.
    pub label: Winner,
}

impl Example {
    /// One of the outputs.
    pub fn output(&self, which: Winner) -> &str {
        let [first, second] = &self.outputs;
        match which {
            Winner::First => first,
            Winner::Second => second,
        }
    }

    /// The output shown at a place in an order.
    pub fn shown(&self, order: Order, place: Winner) -> &str {
        self.output(order.turn(place))
    }
}

/// The examples of one file.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The file.
    pub path: PathBuf,
    /// Of its bytes, in hexadecimal.
    pub sha256: String,
    /// At least one.
    pub examples: Vec<Example>,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    input: String,
    output_1: String,
    output_2: String,
    label: u64,
}

impl Dataset {
    /// Of a file, or of `dataset.json` in a folder: an array of `{"input", "output_1", "output_2", "label": 1 or 2}`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] with the line of JSON that is wrong, or the example whose label is.
    pub fn read(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { path.join("dataset.json") } else { path.to_path_buf() };
        let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
        let records: Vec<Record> = serde_json::from_slice(&bytes).map_err(|e| Error::format(&path, e.to_string()))?;
        if records.is_empty() {
            return Err(Error::format(&path, "expected at least one example, found none"));
        }
        let examples = records.into_iter().enumerate().map(|(index, record)| {
            let label = Winner::from_label(record.label).ok_or_else(|| {
                Error::format(&path, format!("example {index}: label: expected 1 or 2, found {}", record.label))
            })?;
            Ok(Example { input: record.input, outputs: [record.output_1, record.output_2], label })
        });
        Ok(Dataset { examples: examples.collect::<Result<_>>()?, sha256: sha256(&bytes), path })
    }

    /// What the benchmark calls it: the folder, below `Dataset/LLMBar` or `Dataset` where it lies there, without
    /// `Adversarial`.
    pub fn name(&self) -> String {
        subset(self.path.parent().unwrap_or(&self.path))
    }
}

/// Name of a subset by its folder: `…/Dataset/LLMBar/Adversarial/Manual` is Manual, `…/Dataset/CaseStudy/Base_9` is
/// CaseStudy/Base_9; elsewhere the folder's own name.
pub fn subset(folder: &Path) -> String {
    let parts: Vec<String> = folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let below = match parts.iter().rposition(|part| part == "Dataset") {
        Some(place) => parts.get(place + 1..).unwrap_or_default(),
        None => parts.get(parts.len().saturating_sub(1)..).unwrap_or_default(),
    };
    let parts = below.iter().filter(|part| *part != "LLMBar" && *part != "Adversarial");
    parts.map(String::as_str).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("dataset.json"), text).unwrap();
        Dataset::read(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn bad_files_are_named_with_what_is_wrong_in_them() {
        let label = r#"[{"input": "i", "output_1": "a", "output_2": "b", "label": 3}]"#;
        assert!(message(label).ends_with("dataset.json: example 0: label: expected 1 or 2, found 3"));
        assert!(message(r#"[{"input": "i", "output_1": "a", "label": 1}]"#).contains("missing field `output_2`"));
        assert!(message("[]").contains("expected at least one example, found none"));
        assert!(Dataset::read(Path::new("/nowhere")).unwrap_err().to_string().starts_with("/nowhere: "));
    }

    #[test]
    fn subsets_are_named_by_their_folders() {
        let names =
            ["x/Dataset/LLMBar/Natural", "Dataset/LLMBar/Adversarial/Manual", "Dataset/CaseStudy/Base_9", "y/z"];
        assert_eq!(names.map(|path| subset(Path::new(path))), ["Natural", "Manual", "CaseStudy/Base_9", "z"]);
    }
}
