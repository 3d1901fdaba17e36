//! Answers that cite their documents (ALCE), with the benchmark's own prompt file.

use crate::evaluation::compat::Compat;
use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::example::{Example, Unit};
use crate::evaluation::helmet::sampling::{Sampling, by_shuffle, seed_of};
use crate::evaluation::helmet::template::fill;
use crate::python::mersenne::Random;
use crate::{Error, Result};
use serde_json::Value;

pub(super) fn examples(
    documents: usize,
    rows: Vec<Row>,
    prompts: &[Row],
    sampling: &Sampling,
    compat: Compat,
) -> Result<Vec<Example>> {
    let [prompts] = prompts else {
        let what = format!("expected ALCE's prompt file, one JSON object, found {} rows", prompts.len());
        return Err(Error::config("demos", what));
    };
    let instruction = prompts.text("instruction")?;
    let (demo_template, document_template) = (prompts.text("demo_prompt")?, prompts.text("doc_prompt")?);
    let solved = prompts.rows("demos")?;
    if solved.len() < sampling.shots {
        return Err(prompts.wrong("demos", &format!("at least {} solved examples", sampling.shots)));
    }
    // The original draws from one stream for all rows, so that a question's demonstrations depend on those before it.
    let mut stream = Random::new(sampling.seed);
    let mut examples = Vec::new();
    for (place, row) in rows.into_iter().enumerate() {
        let question = row.text("question")?;
        let mut own = Random::new(seed_of(question, sampling.seed).into());
        let random = if compat.is_original() { &mut stream } else { &mut own };
        let mut demos = String::new();
        for place in random.sample_positions(solved.len(), sampling.shots)? {
            let Some(demo) = solved.get(place) else { continue };
            let context = texts(&demo.rows("docs")?, document_template)?.join("\n\n");
            let (question, answer) = (demo.text("question")?, demo.text("answer")?);
            let value = |name: &str| match name {
                "instruction" => Some(instruction),
                "question" => Some(question),
                "context" => Some(context.as_str()),
                "answer" => Some(answer),
                _ => None,
            };
            demos.push_str(&fill(demo_template, value)?);
            demos.push_str("\n\n\n");
        }
        let docs = row.rows("docs")?;
        let shown = docs.get(..documents).unwrap_or(&docs);
        let unit = |text| Unit { text, keep: false, judged: None };
        let mut details = serde_json::Map::new();
        for field in ["qa_pairs", "answers", "annotations", "claims"] {
            if let Some(value) = row.get(field) {
                details.insert(field.into(), value.clone());
            }
        }
        let document = |row: &Row| Value::Object(row.value().clone());
        details.insert("docs".into(), shown.iter().map(document).collect());
        let answer = if row.get("answer").is_some() { "answer" } else { "answers" };
        examples.push(Example {
            id: row.key("sample_id").unwrap_or_else(|_| super::id(&row, place)),
            question: question.into(),
            fields: vec![("demos", demos), ("instruction", instruction.into())],
            units: texts(shown, document_template)?.into_iter().map(unit).collect(),
            around: ["", "\n\n", ""],
            answers: answers(&row, answer),
            single: row.get(answer).is_some_and(Value::is_string),
            details,
            ..Example::default()
        });
    }
    Ok(by_shuffle(examples, sampling))
}

/// Answers of any nesting, flat: QAMPARI lists the names of each.
fn answers(row: &Row, field: &str) -> Vec<String> {
    fn flatten(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::String(text) => into.push(text.clone()),
            Value::Array(list) => list.iter().for_each(|value| flatten(value, into)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Some(value) = row.get(field) {
        flatten(value, &mut found);
    }
    found
}

/// Documents, numbered from 1.
fn texts(documents: &[Row], template: &str) -> Result<Vec<String>> {
    let text = |(number, document): (usize, &Row)| {
        let number = number.to_string();
        let (title, text) = (document.text("title")?, document.text("text")?);
        fill(template, |name| match name {
            "ID" => Some(number.as_str()),
            "title" => Some(title),
            "text" => Some(text),
            _ => None,
        })
    };
    documents.iter().enumerate().map(|(place, document)| text((place + 1, document))).collect()
}
