//! Questions about whole stories (NarrativeQA).

use crate::Result;
use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::example::Example;
use crate::evaluation::helmet::sampling::{Sampling, pick, shuffled};
use serde_json::Value;

pub(super) fn examples(rows: Vec<Row>, demos: &[Row], sampling: &Sampling) -> Result<Vec<Example>> {
    // The original draws them anew, unseeded, for each example.
    let shown = solved(demos, sampling)?;
    let count = sampling.samples.unwrap_or(rows.len());
    let order = shuffled(rows.len(), sampling.seed);
    let one = |(place, row): (usize, Row)| {
        let context = match nested(&row, "document") {
            Some(text) => text,
            None => row.text("context")?,
        };
        Ok(Example {
            id: super::id(&row, place),
            question: question(&row)?.into(),
            fields: vec![("demos", shown.clone())],
            units: super::whole(context.into()),
            answers: answers(&row)?,
            ..Example::default()
        })
    };
    pick(rows, order.into_iter().take(count)).into_iter().enumerate().map(one).collect()
}

fn solved(demos: &[Row], sampling: &Sampling) -> Result<String> {
    if sampling.shots == 0 {
        return Ok(String::new());
    }
    let mut texts = Vec::new();
    for place in super::super::sampling::first_shuffled(demos.len(), sampling)? {
        if let Some(row) = demos.get(place) {
            let answers = answers(row)?;
            texts.push(format!("Question: {}\nAnswer: {}", question(row)?, answers.first().map_or("", String::as_str)));
        }
    }
    let texts = texts.join("\n\n");
    Ok(format!("For example:\n\n{texts}\n\nNow, use the following story to answer the question:\n\n"))
}

/// `text` of an object in a field.
fn nested<'a>(row: &'a Row, field: &str) -> Option<&'a str> {
    row.get(field).and_then(|value| value.get("text")).and_then(Value::as_str)
}

fn question(row: &Row) -> Result<&str> {
    nested(row, "question").map_or_else(|| row.text("question"), Ok)
}

fn answers(row: &Row) -> Result<Vec<String>> {
    let objects = row.get("answers").and_then(Value::as_array).filter(|list| list.iter().any(Value::is_object));
    match objects {
        Some(_) => row.rows("answers")?.iter().map(|answer| Ok(answer.text("text")?.into())).collect(),
        None => row.texts("answers"),
    }
}
