//! Passages to be ordered by relevance (MS MARCO).

use crate::Result;
use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::example::{Example, Thin, Unit};
use crate::evaluation::helmet::sampling::{Sampling, by_key, demonstrations, seed_of};
use std::collections::HashSet;

pub(super) fn examples(rows: Vec<Row>, demos: Vec<Row>, sampling: &Sampling) -> Result<Vec<Example>> {
    let key = if rows.iter().any(|row| row.get("qid").is_some()) { "qid" } else { "query" };
    let rows = by_key(rows, key, sampling)?;
    let demo_ids: Vec<String> = match sampling.shots {
        0 => Vec::new(),
        _ => demos.iter().map(|demo| demo.key("qid")).collect::<Result<_>>()?,
    };
    let ids: HashSet<String> = rows.iter().map(|row| row.key("qid")).collect::<Result<_>>()?;
    // No demonstration is the question itself: where there are plenty of them, none is any question of the test. (Which
    // rows are there decides which are drawn.)
    let plenty = demos.len() > 2 * rows.len();
    let others = |id: &str| -> Vec<&Row> {
        let pairs = demos.iter().zip(&demo_ids);
        let kept = pairs.filter(|(_, demo)| if plenty { !ids.contains(*demo) } else { *demo != id });
        kept.map(|(demo, _)| demo).collect()
    };
    let one = |row: &Row| {
        let id = row.key("qid")?;
        let passages = row.rows("ctxs")?;
        let titled = passages.first().is_some_and(|passage| passage.get("title").is_some());
        let units = units(&passages, titled)?;
        let mut text = String::new();
        if sampling.shots > 0 {
            for demo in demonstrations(&others(&id), "qid", sampling.shots, seed_of(&id, 0).into())? {
                let units = self::units(&demo.rows("ctxs")?, titled)?;
                let shown: Vec<&str> = units.iter().map(|unit| unit.text.as_str()).collect();
                let query = demo.text("query")?;
                text.push_str(&format!("{}\n\nQuery: {query}\nRanking: {}\n\n", shown.join("\n\n"), ranking(&units)));
            }
        }
        Ok(Example {
            id,
            question: row.text("query")?.into(),
            fields: vec![("demos", text)],
            answers: vec![ranking(&units)],
            units,
            around: ["", "\n\n", ""],
            thin: Thin::Evenly,
            single: true,
            depth: super::depth(row)?,
            ..Example::default()
        })
    };
    rows.iter().map(one).collect()
}

fn units(passages: &[Row], titled: bool) -> Result<Vec<Unit>> {
    let unit = |passage: &Row| {
        let (id, text, label) = (passage.key("id")?, passage.text("text")?, passage.integer("label")?);
        let text = match titled {
            true => format!("[ID: {id}] Document (Title: {}): {text}", passage.text("title")?),
            false => format!("[ID: {id}] Document: {text}"),
        };
        Ok(Unit { text, keep: label > 0, judged: Some((id, label)) })
    };
    passages.iter().map(unit).collect()
}

/// Ids from the most relevant to the least; equal ones in their order.
fn ranking(units: &[Unit]) -> String {
    let mut judged: Vec<&(String, i64)> = units.iter().filter_map(|unit| unit.judged.as_ref()).collect();
    judged.sort_by_key(|(_, label)| std::cmp::Reverse(*label));
    judged.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(" > ")
}
