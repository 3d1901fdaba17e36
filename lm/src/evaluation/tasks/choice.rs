//! Multiple choice: the option with the highest log-probability after the prompt.

use super::rows::{Row, Template, read};
use crate::evaluation::ask::Asker;
use crate::evaluation::request::{Request, Response};
use crate::evaluation::task::{Sample, Scores, Task};
use crate::{Error, Result};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use tesseral_datasets::files::sha256_file;
use tesseral_nn::rng::Streams;

/// A multiple-choice task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceOptions {
    /// Name in results.
    pub name: String,
    /// Rows.
    pub file: PathBuf,
    /// Template of what stands before an option.
    pub prompt: String,
    /// The options, the same for each row; or the name of a field that lists them.
    pub choices: Choices,
    /// Template of the right option: its text, or its place from 0.
    pub target: String,
    /// Stands between prompt and option.
    #[serde(default = "blank")]
    pub delimiter: String,
    /// Worked examples before the question.
    #[serde(default)]
    pub shots: usize,
    /// Rows of the worked examples; absent: the other rows of `file`.
    #[serde(default)]
    pub shots_file: Option<PathBuf>,
    /// Stands between examples.
    #[serde(default = "separator")]
    pub separator: String,
    /// Other examples for each question; else the same for all, whose tokens then go through the model once.
    #[serde(default)]
    pub fresh_shots: bool,
    /// Of the draw of examples.
    #[serde(default)]
    pub seed: u64,
}

/// Options of a choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choices {
    /// The same for each row.
    Fixed(Vec<String>),
    /// Name of a field that lists them.
    Field(String),
}

fn blank() -> String {
    " ".into()
}
fn separator() -> String {
    "\n\n".into()
}

/// The task with its data.
pub struct Choice {
    options: ChoiceOptions,
    rows: Vec<Row>,
    shots: Vec<Row>,
    source: PathBuf,
    description: Value,
}

/// A row made into texts.
struct Question {
    prompt: String,
    choices: Vec<String>,
    right: usize,
}

impl Choice {
    /// Reads the files of a task.
    ///
    /// # Errors
    /// Those of the files; a row without a field, or whose target is no option.
    pub fn open(options: ChoiceOptions) -> Result<Self> {
        let source = options.file.clone();
        let rows = read(&source)?;
        let mut description = json!({"family": "choice", "options": options, "sha256": sha256_file(&source)?});
        let mut shots = Vec::new();
        if let Some(file) = &options.shots_file {
            shots = read(file)?;
            description["shots_sha256"] = json!(sha256_file(file)?);
        }
        let others = if options.shots_file.is_some() { shots.len() } else { rows.len() - 1 };
        if options.shots > others {
            let what = format!("expected at most the {others} other rows, found {}", options.shots);
            return Err(Error::config(format!("{}.shots", options.name), what));
        }
        let task = Choice { options, rows, shots, source, description };
        // All rows now, so that nothing is asked of a model before the data is known to be whole.
        for (number, row) in task.rows.iter().enumerate() {
            task.question(row, number)?;
        }
        Ok(task)
    }

    fn question(&self, row: &Row, number: usize) -> Result<Question> {
        let render = |key, text: &str| Template::new(key, text, &self.source).render(row, number);
        let fail = |what: String| Error::format(&self.source, format!("row {}: {what}", number + 1));
        let choices = match &self.options.choices {
            Choices::Fixed(choices) => choices.clone(),
            Choices::Field(field) => match row.get(field) {
                Some(Value::Array(list)) => {
                    list.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), Into::into)).collect()
                }
                found => return Err(fail(format!("{field}: expected a list of options, found {found:?}"))),
            },
        };
        if choices.len() < 2 {
            return Err(fail(format!("choices: expected at least 2 options, found {choices:?}")));
        }
        let target = render("target", &self.options.target)?;
        let target = target.trim();
        let right = choices.iter().position(|choice| choice.trim() == target);
        let right = right.or_else(|| target.parse().ok().filter(|place| *place < choices.len()));
        let right =
            right.ok_or_else(|| fail(format!("target: expected one of {choices:?} or its place, found {target:?}")))?;
        Ok(Question { prompt: render("prompt", &self.options.prompt)?, choices, right })
    }

    /// The worked examples before row `number`.
    fn examples(&self, number: usize) -> Result<String> {
        let own = self.options.shots_file.is_none();
        let from = if own { &self.rows } else { &self.shots };
        let counters: &[u64] = if self.options.fresh_shots { &[number as u64] } else { &[] };
        let mut places: Vec<usize> = (0..from.len()).collect();
        places.shuffle(&mut Streams::new(self.options.seed).stream("shots", counters));
        let others = places.into_iter().filter(|place| !(own && *place == number));
        let mut text = String::new();
        for place in others.take(self.options.shots) {
            let question = self.question(&from[place], place)?;
            let answer = &question.choices[question.right];
            text += &format!("{}{}{answer}{}", question.prompt, self.options.delimiter, self.options.separator);
        }
        Ok(text)
    }
}

impl Task for Choice {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn describe(&self) -> Value {
        self.description.clone()
    }

    fn run(&self, asker: &mut Asker<'_>, limit: Option<usize>) -> Result<Vec<Sample>> {
        let rows = &self.rows[..limit.unwrap_or(usize::MAX).min(self.rows.len())];
        let (mut requests, mut questions) = (Vec::new(), Vec::new());
        for (number, row) in rows.iter().enumerate() {
            let question = self.question(row, number)?;
            let prompt = self.examples(number)? + &question.prompt;
            for choice in &question.choices {
                let continuation = format!("{}{choice}", self.options.delimiter);
                requests.push(Request::log_likelihood(prompt.as_str(), &continuation));
            }
            questions.push(question);
        }
        let answers = asker.ask(&requests)?;
        let (mut requests, mut answers) = (requests.into_iter(), answers.into_iter());
        let samples = questions.into_iter().zip(rows).enumerate().map(|(number, (question, row))| {
            let n = question.choices.len();
            let responses: Vec<Response> = answers.by_ref().take(n).collect();
            let per_byte = |k: usize| responses[k].sum() / question.choices[k].len().max(1) as f64;
            let best =
                |score: &dyn Fn(usize) -> f64| (0..n).fold(0, |best, k| if score(k) > score(best) { k } else { best });
            let (chosen, normalised) = (best(&|k| responses[k].sum()), best(&per_byte));
            let right = |place: usize| f64::from(u8::from(place == question.right));
            Sample {
                id: number.to_string(),
                document: json!(row),
                requests: requests.by_ref().take(n).collect(),
                parsed: json!(chosen),
                target: json!(question.right),
                scores: Scores::from([("acc".into(), right(chosen)), ("acc_norm".into(), right(normalised))]),
                responses,
            }
        });
        Ok(samples.collect())
    }
}
