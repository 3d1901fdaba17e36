//! A value by its key in a JSON object.

use crate::Result;
use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::example::{Example, Thin, Unit};
use crate::evaluation::helmet::sampling::{Sampling, by_shuffle};
use serde_json::Value;
use std::fmt::Write;

/// Around and between the pairs.
const AROUND: [&str; 3] = ["JSON data:\n{\n", ",\n", "\n}"];

pub(super) fn examples(rows: Vec<Row>, sampling: &Sampling) -> Result<Vec<Example>> {
    let one = |(place, row): (usize, Row)| {
        let key = row.text("question")?;
        let shown = demonstrations(&row, sampling.shots)?;
        let mut demos = String::new();
        for (key, value) in &shown {
            let _ = write!(demos, "Key: {key}\nCorresponding value: {value}\n\n");
        }
        let answer = row.text("answer")?;
        let (units, around) = units(row.text("context")?, key, &shown);
        Ok(Example {
            id: super::id(&row, place),
            question: key.into(),
            fields: vec![("demos", demos)],
            units,
            around,
            thin: Thin::Evenly,
            answers: vec![answer.into()],
            single: true,
            depth: super::depth(&row)?,
            ..Example::default()
        })
    };
    let examples = rows.into_iter().enumerate().map(one).collect::<Result<Vec<_>>>()?;
    Ok(by_shuffle(examples, sampling))
}

/// The first `shots` pairs of `demos`.
fn demonstrations(row: &Row, shots: usize) -> Result<Vec<(String, String)>> {
    if shots == 0 {
        return Ok(Vec::new());
    }
    let wrong = || row.wrong("demos", &format!("at least {shots} pairs of texts"));
    let list = row.get("demos").and_then(Value::as_array).filter(|list| list.len() >= shots).ok_or_else(wrong)?;
    let pair = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([key, value]) => Some((key.as_str()?.into(), value.as_str()?.into())),
        _ => None,
    };
    list.iter().take(shots).map(pair).collect::<Option<_>>().ok_or_else(wrong)
}

/// The pairs of a context, one a line; a context written otherwise is one unit. The pair that is asked for stays, and so
/// do those shown as solved: a demonstration of a pair that is not there would be wrong.
fn units(context: &str, key: &str, shown: &[(String, String)]) -> (Vec<Unit>, [&'static str; 3]) {
    let [before, between, after] = AROUND;
    let Some(pairs) = context.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) else {
        return (super::whole(context.into()), ["", "", ""]);
    };
    let asked = [format!("\"{key}\": ")];
    let stay: Vec<String> = asked.into_iter().chain(shown.iter().map(|(key, _)| format!("\"{key}\": "))).collect();
    let unit = |text: &str| {
        let keep = stay.iter().any(|start| text.trim_start().starts_with(start));
        Unit { text: text.into(), keep, judged: None }
    };
    (pairs.split(between).map(unit).collect(), AROUND)
}
