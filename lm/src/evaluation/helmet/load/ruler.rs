//! Tasks of RULER.

use crate::Result;
use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::dataset::Ruler;
use crate::evaluation::helmet::example::Example;
use crate::evaluation::helmet::sampling::{Sampling, by_shuffle};
use serde_json::Value;

pub(super) fn examples(task: Ruler, rows: Vec<Row>, sampling: &Sampling) -> Result<Vec<Example>> {
    let wanted: &[&'static str] = match task {
        Ruler::Needle | Ruler::Needles => &["type_needle_v", "query"],
        Ruler::Variables => &["query", "num_v"],
        Ruler::CommonWords | Ruler::FrequentWords => &[],
        Ruler::Questions => &["question"],
    };
    let one = |(place, row): (usize, Row)| {
        let mut fields = Vec::new();
        for field in wanted {
            fields.push((*field, row.key(field)?));
        }
        let example = row.get("example").and_then(Value::as_str).filter(|text| !text.is_empty());
        fields.push(("example", example.map_or(String::new(), |text| format!("{text}\n\n"))));
        let answer = if row.get("answer").is_some() { "answer" } else { "outputs" };
        let question = row.key("query").or_else(|_| row.key("question")).unwrap_or_default();
        Ok(Example {
            id: row.key("index").unwrap_or_else(|_| super::id(&row, place)),
            question,
            fields,
            units: super::whole(row.text("context")?.into()),
            answers: row.texts(answer)?,
            single: row.get(answer).is_some_and(Value::is_string),
            depth: super::depth(&row)?,
            ..Example::default()
        })
    };
    let examples = rows.into_iter().enumerate().map(one).collect::<Result<Vec<_>>>()?;
    Ok(by_shuffle(examples, sampling))
}
