//! Summaries of law cases (Multi-LexSum).

use crate::Result;
use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::example::Example;
use crate::evaluation::helmet::sampling::{Sampling, by_shuffle, first_shuffled};

pub(super) fn examples(rows: Vec<Row>, demos: &[Row], sampling: &Sampling) -> Result<Vec<Example>> {
    let shown = solved(demos, sampling)?;
    let summarized = rows.into_iter().filter(|row| row.get("summary/short").is_some());
    let one = |row: Row| {
        let mut details = serde_json::Map::new();
        details.insert("summary/long".into(), row.text("summary/long")?.into());
        Ok(Example {
            id: row.key("id")?,
            fields: vec![("demos", shown.clone())],
            units: super::whole(row.texts("sources")?.join("\n\n")),
            answers: vec![row.text("summary/short")?.into()],
            single: true,
            details,
            ..Example::default()
        })
    };
    let examples = summarized.map(one).collect::<Result<Vec<_>>>()?;
    let few = sampling.samples.is_some_and(|samples| examples.len() <= samples);
    Ok(if few { examples } else { by_shuffle(examples, sampling) })
}

/// Other cases' summaries. (The original draws them anew, unseeded, for each example.)
fn solved(demos: &[Row], sampling: &Sampling) -> Result<String> {
    if sampling.shots == 0 {
        return Ok(String::new());
    }
    let mut texts = Vec::new();
    for row in first_shuffled(demos.len(), sampling)?.into_iter().filter_map(|place| demos.get(place)) {
        texts.push(format!("Summary: {}", row.text("summary/short")?));
    }
    let texts = texts.join("\n\n");
    Ok(format!("Example summaries:\n\n{texts}\n\nNow, write a summary of the following legal documents.\n"))
}
