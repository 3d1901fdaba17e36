//! Short answers: a text after the prompt, beside right answers.

use super::rows::{Row, Template, read};
use crate::evaluation::ask::Asker;
use crate::evaluation::metrics::answer;
use crate::evaluation::request::{Decoding, Request};
use crate::evaluation::task::{Sample, Task};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use tesseral_datasets::files::sha256_file;

/// A task of short answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationOptions {
    /// Name in results.
    pub name: String,
    /// Rows.
    pub file: PathBuf,
    /// Template of the prompt.
    pub prompt: String,
    /// Name of a field that holds the right answer or a list of them.
    pub targets: String,
    /// Whether the prompt is the turn of a user in a conversation.
    #[serde(default)]
    pub chat: bool,
    /// How the answer is generated.
    #[serde(default)]
    pub decoding: Decoding,
}

/// The task with its data.
pub struct Generation {
    options: GenerationOptions,
    rows: Vec<Row>,
    questions: Vec<(String, Vec<String>)>,
    description: Value,
}

impl Generation {
    /// Reads the file of a task.
    ///
    /// # Errors
    /// Those of the file; a row without a field, or without a right answer.
    pub fn open(options: GenerationOptions) -> Result<Self> {
        options.decoding.check()?;
        let source = options.file.clone();
        let rows = read(&source)?;
        let template = Template::new("prompt", &options.prompt, &source);
        let mut questions = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), Into::into);
            let targets: Vec<String> = match row.get(&options.targets) {
                Some(Value::Array(list)) if !list.is_empty() => list.iter().map(text).collect(),
                Some(value @ (Value::String(_) | Value::Number(_))) => vec![text(value)],
                found => {
                    let what = format!("row {}: {}: expected answers, found {found:?}", number + 1, options.targets);
                    return Err(Error::format(&source, what));
                }
            };
            questions.push((template.render(row, number)?, targets));
        }
        let description = json!({"family": "generation", "options": options, "sha256": sha256_file(&source)?});
        Ok(Generation { options, rows, questions, description })
    }
}

impl Task for Generation {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn describe(&self) -> Value {
        self.description.clone()
    }

    fn run(&self, asker: &mut Asker<'_>, limit: Option<usize>) -> Result<Vec<Sample>> {
        let questions = &self.questions[..limit.unwrap_or(usize::MAX).min(self.questions.len())];
        let request = |(prompt, _): &(String, Vec<String>)| match self.options.chat {
            true => {
                Request::generate(vec![crate::model::chat::Message::new("user", prompt)], self.options.decoding.clone())
            }
            false => Request::generate(prompt.as_str(), self.options.decoding.clone()),
        };
        let requests: Vec<Request> = questions.iter().map(request).collect();
        let answers = asker.ask(&requests)?;
        let samples = requests.into_iter().zip(answers).zip(questions).zip(&self.rows).enumerate();
        let samples = samples.map(|(number, (((request, response), (_, targets)), row))| {
            let text = response.text().trim().to_string();
            Sample {
                id: number.to_string(),
                document: json!(row),
                requests: vec![request],
                // Nothing said is nothing answered.
                parsed: if text.is_empty() { Value::Null } else { json!(text) },
                target: json!(targets),
                scores: answer::scores(&text, targets),
                responses: vec![response],
            }
        });
        Ok(samples.collect())
    }
}
