//! Rows of ALCE's files, and of files of results, which are the same with outputs.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Which of the three sets of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    /// Ambiguous questions with long answers.
    Asqa,
    /// Questions whose answer is a list.
    Qampari,
    /// Questions of how and why, with claims that an answer should make.
    Eli5,
}

impl Dataset {
    /// By the name of the file, as the original does.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that has none of the three.
    pub fn of(file: &Path) -> Result<Self> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let known = [("qampari", Dataset::Qampari), ("asqa", Dataset::Asqa), ("eli5", Dataset::Eli5)];
        let found = known.into_iter().find(|(part, _)| name.contains(part)).map(|(_, dataset)| dataset);
        found.ok_or_else(|| {
            Error::config("dataset", format!("expected asqa, qampari or eli5 in the name of the file, found {name}"))
        })
    }
}

/// A passage that can be cited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Title; may be empty.
    #[serde(default)]
    pub title: String,
    /// The passage.
    pub text: String,
    /// Stands for the passage in the metrics, where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// A summary of the passage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What matters of the passage, word for word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extraction: Option<String>,
    /// Fields that nothing here reads.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Document {
    /// As a premise.
    pub fn premise(&self) -> String {
        format!("Title: {}\n{}", self.title, self.sent.as_ref().unwrap_or(&self.text))
    }
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// One of the questions that an ambiguous question may mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionPair {
    /// The question.
    pub question: String,
    /// Right answers to it, each as good as the others.
    pub short_answers: Vec<String>,
    /// Fields that nothing here reads.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A long answer that somebody wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// The answer.
    pub long_answer: String,
    /// Fields that nothing here reads.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A question with what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Names it.
    #[serde(default, alias = "sample_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// The question.
    pub question: String,
    /// A long answer, or the lines of one with actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Texts>,
    /// ASQA: what it may mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qa_pairs: Option<Vec<QuestionPair>>,
    /// ASQA: long answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Vec<Annotation>>,
    /// QAMPARI: names of each thing on the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<Vec<String>>>,
    /// ELI5: what an answer should claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Vec<String>>,
    /// Passages, the best first.
    #[serde(default)]
    pub docs: Vec<Document>,
    /// A model's answer, or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Texts>,
    /// Fields that nothing here reads.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Row {
    /// Names the row: its id, else its place.
    pub fn name(&self, place: usize) -> String {
        match &self.id {
            Some(Value::String(id)) => id.clone(),
            Some(id) => id.to_string(),
            None => place.to_string(),
        }
    }

    /// What the metrics of a set need and the row has not; `None` if all is there.
    fn missing(&self, dataset: Dataset) -> Option<&'static str> {
        let lacks = |what: bool, name| (!what).then_some(name);
        match dataset {
            Dataset::Asqa => {
                let pairs = self.qa_pairs.iter().flatten();
                lacks(
                    self.qa_pairs.as_ref().is_some_and(|p| !p.is_empty()),
                    "qa_pairs: expected at least one, found none",
                )
                .or(lacks(
                    pairs.clone().all(|p| !p.short_answers.is_empty()),
                    "short_answers: expected at least one for each question, found none",
                ))
            }
            Dataset::Qampari => lacks(
                self.answers.as_ref().is_some_and(|a| !a.is_empty()),
                "answers: expected at least one list of names, found none",
            ),
            Dataset::Eli5 => {
                lacks(self.claims.as_ref().is_some_and(|c| !c.is_empty()), "claims: expected at least one, found none")
            }
        }
    }
}

/// Rows of a file: a JSON list, or an object with the list under `data` as files of results have it.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`], naming row and field, for rows that are not what `dataset` has.
pub fn read(file: &Path, dataset: Dataset) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(file).map_err(Error::io(file))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| Error::format(file, e.to_string()))?;
    let list = match value {
        Value::Array(list) => Some(list),
        Value::Object(mut fields) => match fields.remove("data") {
            Some(Value::Array(list)) => Some(list),
            _ => None,
        },
        _ => None,
    };
    let list =
        list.ok_or_else(|| Error::format(file, "expected a list, or an object with a list `data`, found neither"))?;
    if list.is_empty() {
        return Err(Error::format(file, "expected at least one row, found none"));
    }
    let row = |(place, value): (usize, Value)| {
        let row: Row =
            serde_json::from_value(value).map_err(|e| Error::format(file, format!("row {}: {e}", place + 1)))?;
        match row.missing(dataset) {
            Some(what) => Err(Error::format(file, format!("row {}: {what}", place + 1))),
            None => Ok(row),
        }
    };
    list.into_iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_checked_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("asqa-results.json");
        assert_eq!(Dataset::of(&file).unwrap(), Dataset::Asqa);
        assert!(Dataset::of(Path::new("nq.json")).unwrap_err().to_string().contains("found nq.json"));
        let good = r#"{"data": [{"sample_id": 7, "question": "q", "qa_pairs": [{"question": "a", "short_answers": ["x"]}],
                       "docs": [{"title": "t", "text": "x", "score": 1.5}], "output": ["a", "b"]}]}"#;
        std::fs::write(&file, good).unwrap();
        let rows = read(&file, Dataset::Asqa).unwrap();
        assert_eq!(rows[0].name(3), "7");
        assert_eq!(rows[0].docs[0].premise(), "Title: t\nx");
        for (text, dataset, expected) in [
            (good, Dataset::Qampari, "row 1: answers: expected at least one list"),
            (r#"[{"question": "q", "claims": []}]"#, Dataset::Eli5, "row 1: claims"),
            (r#"[{"question": 3}]"#, Dataset::Eli5, "row 1: invalid type"),
            (
                r#"[{"question": "q", "qa_pairs": [{"question": "a", "short_answers": []}]}]"#,
                Dataset::Asqa,
                "short_answers",
            ),
            ("{}", Dataset::Asqa, "expected a list"),
            ("[]", Dataset::Asqa, "found none"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = read(&file, dataset).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
