//! Questions with passages (KILT, PopQA).

use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::example::{Example, Thin, Unit};
use crate::evaluation::helmet::sampling::{Sampling, by_key, demonstrations, seed_of};
use crate::{Error, Result};

pub(super) fn examples(
    popularity: Option<f64>,
    mut rows: Vec<Row>,
    mut demos: Vec<Row>,
    sampling: &Sampling,
) -> Result<Vec<Example>> {
    if let Some(bound) = popularity {
        rows = less_known(rows, bound)?;
        demos = less_known(demos, bound)?;
    }
    let key = if rows.iter().any(|row| row.get("id").is_some()) { "id" } else { "question" };
    let rows = by_key(rows, key, sampling)?;
    let demo_keys: Vec<String> = match popularity {
        Some(_) if sampling.shots > 0 => demos.iter().map(|demo| demo.key(key)).collect::<Result<_>>()?,
        _ => Vec::new(),
    };
    let one = |row: &Row| {
        let id = row.key(key)?;
        let shown = if sampling.shots == 0 {
            Vec::new()
        } else {
            // PopQA has one split, so its demonstrations must not be the question itself.
            let others: Vec<&Row> = match popularity {
                Some(_) => demos.iter().zip(&demo_keys).filter(|(_, k)| **k != id).map(|(demo, _)| demo).collect(),
                None => demos.iter().collect(),
            };
            demonstrations(&others, key, sampling.shots, seed_of(&id, 0).into())?
        };
        let mut text = String::new();
        for demo in shown {
            text.push_str(&demonstration(demo)?);
            text.push_str("\n\n");
        }
        Ok(Example {
            id,
            question: row.text("question")?.into(),
            fields: vec![("demos", text)],
            units: units(row)?,
            around: ["", "\n\n", ""],
            thin: Thin::Evenly,
            answers: row.texts("answers")?,
            single: row.get("answers").is_some_and(serde_json::Value::is_string),
            depth: super::depth(row)?,
            ..Example::default()
        })
    };
    rows.iter().map(one).collect()
}

/// Rows about things whose popularity is below 10^`bound`.
fn less_known(rows: Vec<Row>, bound: f64) -> Result<Vec<Row>> {
    let mut kept = Vec::new();
    for row in rows {
        if row.number("s_pop")?.log10() < bound {
            kept.push(row);
        }
    }
    if kept.is_empty() {
        return Err(Error::config("dataset", format!("expected rows with log10 of s_pop below {bound}, found none")));
    }
    Ok(kept)
}

fn demonstration(row: &Row) -> Result<String> {
    let documents: Vec<String> = units(row)?.into_iter().map(|unit| unit.text).collect();
    let answers = row.texts("answers")?;
    let answer = answers.first().map_or("", String::as_str);
    Ok(format!("{}\n\nQuestion: {}\nAnswer: {answer}", documents.join("\n\n"), row.text("question")?))
}

fn units(row: &Row) -> Result<Vec<Unit>> {
    let passages = row.rows("ctxs")?;
    let marked = |passage: &Row, mark: &str| passage.get(mark).and_then(serde_json::Value::as_bool) == Some(true);
    let gold = passages.iter().any(|passage| marked(passage, "gold"));
    let first = passages.iter().position(|passage| marked(passage, "has_answer"));
    let unit = |(place, passage): (usize, &Row)| {
        let text = format!("Document (Title: {}): {}", passage.text("title")?, passage.text("text")?);
        let keep = if gold { marked(passage, "gold") } else { first == Some(place) };
        Ok(Unit { text, keep, judged: None })
    };
    passages.iter().enumerate().map(unit).collect()
}
