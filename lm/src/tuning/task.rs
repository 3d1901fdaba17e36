//! Tasks as data: a prompt, what may follow it, and which of that is right.
//!
//! The forms of MeZO's tasks (its appendix on prompts): a choice among candidates, scored by log-probability, or a short
//! answer that is generated. Everything is a Jinja template over the fields of a row.

use crate::evaluation::tasks::choice::Choices;
use crate::evaluation::tasks::rows::{Row, Template, read};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// A task file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// Name in results.
    pub name: String,
    /// Template of the prompt.
    pub prompt: String,
    /// What may follow it: templates, or the name of a field that lists it (a list within the list: other
    /// names of the same, of which the first is written). Absent: an answer is generated.
    #[serde(default)]
    pub candidates: Option<Choices>,
    /// Template of what is written after the prompt for a `candidate` (or, where answers are generated, for an answer).
    #[serde(default = "itself")]
    pub option: String,
    /// Template of the right candidate, or of its place from 0; several right ones on lines of their own.
    #[serde(default)]
    pub target: Option<String>,
    /// Name of the field with the right answer or a list of them, where answers are generated.
    #[serde(default)]
    pub answers: Option<String>,
    /// Template of a prompt without content, for calibration.
    #[serde(default)]
    pub bare: Option<String>,
    /// Stands between demonstrations.
    #[serde(default = "separator")]
    pub separator: String,
    /// A generated answer ends before this.
    #[serde(default = "line")]
    pub stop: String,
    /// Most tokens of a generated answer.
    #[serde(default = "fifty")]
    pub max_tokens: usize,
}

fn itself() -> String {
    "{{ candidate }}".into()
}
fn separator() -> String {
    "\n\n".into()
}
fn line() -> String {
    "\n".into()
}
fn fifty() -> usize {
    50
}

/// A row made into texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// Before the options.
    pub prompt: String,
    /// What follows the prompt, option by option; of a generated answer, the first right one.
    pub options: Vec<String>,
    /// Places of the right options.
    pub right: Vec<usize>,
    /// A prompt without content.
    pub bare: Option<String>,
    /// Right answers, where they are generated.
    pub answers: Vec<String>,
}

impl TaskConfig {
    /// Reads a task file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] with the key that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let task: Self = toml::from_str(&text).map_err(|e| Error::format(path, e.to_string().trim().to_string()))?;
        match (&task.candidates, &task.target, &task.answers) {
            (Some(_), Some(_), None) | (None, None, Some(_)) => Ok(task),
            _ => Err(Error::format(path, "expected candidates with target, or answers alone")),
        }
    }

    /// Whether answers are generated.
    pub fn generates(&self) -> bool {
        self.candidates.is_none()
    }

    /// The rows of a file as questions.
    ///
    /// # Errors
    /// Those of the file; a row without a field, or whose target is no candidate.
    pub fn questions(&self, file: &Path) -> Result<Vec<Question>> {
        read(file)?.iter().enumerate().map(|(number, row)| self.question(row, number, file)).collect()
    }

    /// The text before the options of a row; `source` and its number are for messages.
    ///
    /// # Errors
    /// A field that is not there.
    pub fn write_prompt(&self, row: &Row, number: usize, source: &Path) -> Result<String> {
        Template::new("prompt", &self.prompt, source).render(row, number)
    }

    /// The prompt without content.
    ///
    /// # Errors
    /// As [`Self::write_prompt`].
    pub fn write_bare(&self, row: &Row, number: usize, source: &Path) -> Result<Option<String>> {
        let bare = self.bare.as_ref().map(|bare| Template::new("bare", bare, source).render(row, number));
        bare.transpose()
    }

    /// What is written after a prompt for a candidate (or an answer).
    ///
    /// # Errors
    /// As [`Self::write_prompt`].
    pub fn write_option(&self, row: &Row, candidate: &str, number: usize, source: &Path) -> Result<String> {
        let mut row = row.clone();
        row.insert("candidate".into(), candidate.into());
        Template::new("option", &self.option, source).render(&row, number)
    }

    /// The candidates of a row, or its right answers.
    ///
    /// # Errors
    /// A field that is not there or lists nothing.
    pub fn candidates_of(&self, row: &Row, number: usize, source: &Path) -> Result<Vec<String>> {
        match (&self.candidates, &self.answers) {
            (Some(Choices::Fixed(texts)), _) => {
                texts.iter().map(|text| Template::new("candidates", text, source).render(row, number)).collect()
            }
            (Some(Choices::Field(field)), _) | (None, Some(field)) => listed(row, field).ok_or_else(|| {
                let what = format!("{field}: expected a text or a list that is not empty, found {:?}", row.get(field));
                Error::format(source, format!("row {}: {what}", number + 1))
            }),
            (None, None) => Err(Error::config("candidates", "expected candidates or answers, found neither")),
        }
    }

    /// A row made into texts.
    ///
    /// # Errors
    /// As [`Self::questions`].
    pub fn question(&self, row: &Row, number: usize, source: &Path) -> Result<Question> {
        let prompt = self.write_prompt(row, number, source)?;
        let bare = self.write_bare(row, number, source)?;
        let candidates = self.candidates_of(row, number, source)?;
        let written = |candidate: &String| self.write_option(row, candidate, number, source);
        if self.generates() {
            let options = candidates.first().map(written).into_iter().collect::<Result<_>>()?;
            return Ok(Question { prompt, options, right: vec![0], bare, answers: candidates });
        }
        let template = self.target.as_deref().unwrap_or_default();
        let target = Template::new("target", template, source).render(row, number)?;
        let place = |target: &str| {
            let by_name = candidates.iter().position(|candidate| candidate.trim() == target);
            let place = by_name.or_else(|| target.parse().ok().filter(|place| *place < candidates.len()));
            let what =
                format!("row {}: target: expected one of {candidates:?} or its place, found {target:?}", number + 1);
            place.ok_or_else(|| Error::format(source, what))
        };
        let right = match target.trim() {
            "" => vec![place("")?],
            targets => targets.lines().map(|target| place(target.trim())).collect::<Result<_>>()?,
        };
        let options = candidates.iter().map(written).collect::<Result<_>>()?;
        Ok(Question { prompt, options, right, bare, answers: Vec::new() })
    }
}

/// A field's text, or its list of texts; of lists within it, their first entries.
fn listed(row: &Row, field: &str) -> Option<Vec<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(names) => names.first().and_then(Value::as_str).map(String::from),
        _ => None,
    };
    let found: Vec<String> = match row.get(field)? {
        Value::Array(list) => list.iter().map(text).collect::<Option<_>>()?,
        value => vec![text(value)?],
    };
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_as_questions_and_what_is_wrong_with_others() {
        let task: TaskConfig = toml::from_str(
            "name = \"t\"\nprompt = \"{{ x }} is\"\ncandidates = [\"bad\", \"{{ y }}\"]\noption = \" {{ candidate.upper() }}\"\n\
             target = \"{{ label }}\"",
        )
        .unwrap();
        let row = |text: &str| serde_json::from_str::<Row>(text).unwrap();
        let question = |text: &str| task.question(&row(text), 7, "rows.jsonl".as_ref());
        let found = question(r#"{"x": "A", "y": "fine", "label": 1}"#).unwrap();
        assert_eq!((found.prompt.as_str(), &found.options[1][..], &found.right[..]), ("A is", " FINE", &[1][..]));
        assert_eq!(question(r#"{"x": "A", "y": "fine", "label": "bad\nfine"}"#).unwrap().right, [0, 1]);
        for (text, part) in [
            (r#"{"x": "A", "y": "fine", "label": 2}"#, "row 8: target: expected one of"),
            (r#"{"x": "A", "y": "fine", "label": ""}"#, "found \"\""),
            (r#"{"x": "A", "label": 1}"#, "row 8: candidates"),
        ] {
            let message = question(text).unwrap_err().to_string();
            assert!(message.starts_with("rows.jsonl: ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_task_is_a_choice_or_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        for (text, fits) in [
            ("candidates = [\"a\"]\ntarget = \"0\"", true),
            ("answers = \"answers\"", true),
            ("candidates = [\"a\"]", false),
            ("answers = \"answers\"\ntarget = \"0\"", false),
            ("", false),
            ("answer = \"x\"", false),
        ] {
            std::fs::write(&path, format!("name = \"t\"\nprompt = \"p\"\n{text}")).unwrap();
            assert_eq!(TaskConfig::read(&path).is_ok(), fits, "{text}");
        }
    }
}
