//! Examples of the rows of data files, one folder file for each kind of data set.
//!
//! Rows, by kind (fields not named are allowed):
//! - passages: `question`, `answers`, `ctxs` of `title`, `text`; `id`, `depth`, and `s_pop` for PopQA. To make a context
//!   shorter, passages with `gold: true` stay, or without such a mark the first one with `has_answer: true`.
//! - key-value: `context`, `question` (the key), `answer`, `demos` (pairs), `num_kvs`; `depth`.
//! - ranking: `qid`, `query`, `ctxs` of `id`, `text`, `label`, and `title` where the first has one.
//! - RULER: `context`, `answer` or `outputs`, and what the task's question names (`query`, `type_needle_v`, `num_v`,
//!   `question`, `example`); `depth`.
//! - labels: `text` and the label's number under the data set's own name (`coarse_label`, `fine_label`, `intent`) or
//!   `label`; `label_name` for labels by their names.
//! - story: `context`, `question`, `answers`; or the nested objects of NarrativeQA (`document`, `question`, `answers`).
//! - book: `id`, `context`, `input`, `answer`, and `options` for a choice.
//! - law cases: `id`, `sources`, `summary/short`, `summary/long`.
//! - citation: `question`, `docs` of `title`, `text`; the demonstrations' file is ALCE's own prompt file.

mod book;
mod case;
mod citation;
mod key_value;
mod labels;
mod passages;
mod ranking;
mod ruler;
mod story;

use super::data::Row;
use super::dataset::{Dataset, Kind};
use super::example::Example;
use super::sampling::Sampling;
use crate::Result;
use crate::evaluation::compat::Compat;

/// The examples of a data set, drawn and with their demonstrations, in the order of the original.
///
/// `demos`: rows that demonstrations are drawn from; training rows of labels; the prompt file of citations.
///
/// # Errors
/// [`crate::Error::Format`] with file, row and field; [`crate::Error::Config`] where demonstrations are too few.
pub fn examples(
    dataset: &Dataset,
    rows: Vec<Row>,
    demos: Vec<Row>,
    sampling: &Sampling,
    compat: Compat,
) -> Result<Vec<Example>> {
    match &dataset.kind {
        Kind::Passages { popularity } => passages::examples(*popularity, rows, demos, sampling),
        Kind::KeyValue => key_value::examples(rows, sampling),
        Kind::Ranking => ranking::examples(rows, demos, sampling),
        Kind::Ruler(task) => ruler::examples(*task, rows, sampling),
        Kind::Labels(labels) => labels::examples(labels, &dataset.name, rows, demos, sampling),
        Kind::Story => story::examples(rows, &demos, sampling),
        Kind::Book(task) => book::examples(*task, rows, sampling),
        Kind::Cases => case::examples(rows, &demos, sampling),
        Kind::Citation { documents } => citation::examples(*documents, rows, &demos, sampling, compat),
    }
}

/// The depth of a row, where it says one.
fn depth(row: &Row) -> Result<Option<f64>> {
    row.get("depth").map(|_| row.number("depth")).transpose()
}

/// A context that is one text.
fn whole(text: String) -> Vec<super::example::Unit> {
    vec![super::example::Unit { text, keep: true, judged: None }]
}

/// Numbers a row that has no id.
fn id(row: &Row, place: usize) -> String {
    row.key("id").unwrap_or_else(|_| place.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::super::template::Template;
    use super::*;
    use serde_json::{Value, json};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    fn rows(values: Vec<Value>) -> Vec<Row> {
        let file = Arc::new(PathBuf::from("prompt_inputs.json"));
        let row = |(n, value)| Row::new(value, &file, format!("row {}", n + 1)).unwrap();
        values.into_iter().enumerate().map(row).collect()
    }

    /// Rows of a table of columns, or as they are.
    fn table(value: &Value) -> Vec<Value> {
        match value {
            Value::Array(rows) => rows.clone(),
            Value::Object(columns) if columns.values().all(Value::is_array) && columns.contains_key("text") => {
                let names = ["ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"];
                let count = columns["text"].as_array().unwrap().len();
                let row = |n: usize| {
                    let mut row: serde_json::Map<_, _> =
                        columns.iter().map(|(k, v)| (k.clone(), v[n].clone())).collect();
                    let name = row["coarse_label"].as_u64().and_then(|label| names.get(label as usize));
                    row.insert("label_name".into(), json!(name));
                    Value::Object(row)
                };
                (0..count).map(row).collect()
            }
            other => vec![other.clone()],
        }
    }

    /// Test rows and rows of demonstrations of a golden case.
    fn inputs(case: &Value, dataset: &Dataset, all: &Value) -> Option<(Vec<Row>, Vec<Row>)> {
        if let Kind::Citation { .. } = dataset.kind {
            let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/helmet-prompts");
            let file = shared.join(Path::new(case["prompt_file"].as_str().unwrap()).file_name().unwrap());
            let prompts = super::super::data::read(&file).ok()?;
            let mut tests = prompts[0].value()["demos"].as_array().unwrap().clone();
            tests.truncate(2);
            tests.iter_mut().for_each(|row| row["answer"] = json!("x"));
            return Some((rows(tests), prompts));
        }
        let question = || case["row_key"]["question"].as_str().unwrap().to_string();
        let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        match dataset.kind {
            Kind::Story => {
                let n = number(&question());
                let answers = json!([format!("because {n}"), "so"]);
                let row = json!({"context": format!("STORY {n}"), "question": question(), "answers": answers});
                return Some((rows(vec![row]), Vec::new()));
            }
            Kind::Cases => {
                let id = case["row_key"]["id"].as_str().unwrap();
                let n = number(id);
                let sources = json!([format!("doc {n}.1"), format!("doc {n}.2")]);
                let short = format!("Short summary {n}.");
                let row = json!({"id": id, "sources": sources, "summary/short": short, "summary/long": "l"});
                return Some((rows(vec![row]), Vec::new()));
            }
            _ => {}
        }
        let mut found = case["inputs"].as_array().unwrap().iter().map(|name| {
            let value = name.as_str().unwrap().split('.').fold(all, |value, part| &value[part]);
            let part = match dataset.kind {
                Kind::Book(super::super::dataset::Book::Questions) => &value["longbook_qa_eng"],
                Kind::Book(super::super::dataset::Book::Choice) => &value["longbook_choice_eng"],
                Kind::Book(super::super::dataset::Book::Summary) => &value["longbook_sum_eng"],
                _ => value,
            };
            rows(table(part))
        });
        let (first, second) = (found.next().unwrap(), found.next().unwrap_or_default());
        // Training rows come first for labels.
        Some(if matches!(dataset.kind, Kind::Labels(_)) { (second, first) } else { (first, second) })
    }

    #[test]
    fn prompts_demonstrations_and_samples_are_those_of_the_original() {
        let Some(all) = golden::file("prompt_inputs.json") else { return };
        for case in golden::cases("prompts.json") {
            let dataset = Dataset::named(case["dataset"].as_str().unwrap()).unwrap();
            let Some((tests, demos)) = inputs(&case, &dataset, &all) else {
                println!("not tried: no prompt file for {}", dataset.name);
                continue;
            };
            let number = |name: &str| case[name].as_u64().map(|n| n as usize);
            let sampling = Sampling {
                shots: number("shots").unwrap_or(0),
                seed: case["seed"].as_u64().unwrap_or(42),
                samples: number("max_test_samples"),
            };
            let examples = examples(&dataset, tests, demos, &sampling, Compat::Original).unwrap();
            if let Some(kept) = case["kept_ids"].as_array() {
                let found: Vec<&str> = examples.iter().map(|example| example.id.as_str()).collect();
                assert_eq!(found, kept.iter().map(|id| id.as_str().unwrap()).collect::<Vec<_>>());
            }
            if let Some(order) = case["test_order_first10"].as_array() {
                let found: Vec<&str> = examples.iter().map(|example| example.question.as_str()).take(10).collect();
                assert_eq!(found, order.iter().map(|id| id.as_str().unwrap()).collect::<Vec<_>>());
            }
            let question = case.get("question").or(case["row_key"].get("question")).unwrap();
            let same = |example: &&Example| {
                let key = case["row_key"].get("id").or(case["row_key"].get("qid"));
                let id = key.is_none_or(|id| id.as_str().map_or(id.to_string(), String::from) == example.id);
                id && example.question == question.as_str().unwrap()
            };
            let example = examples.iter().find(same).unwrap();
            let rendered = example.render(&Template::of(&dataset.kind), &example.full_context()).unwrap();
            assert_eq!(rendered.prefill, case["prefill"].as_str().unwrap(), "{}", dataset.name);
            assert_eq!(rendered.completion, case["prompt_completion"].as_str().unwrap(), "{}", dataset.name);
            if let Some(user) = case["user_chat"].as_str() {
                assert_eq!(rendered.user, user, "{}", dataset.name);
            }
            assert_eq!(example.target(), case["answer"], "{}", dataset.name);
        }
    }

    #[test]
    fn a_missing_field_is_told_with_file_row_and_field() {
        let sampling = Sampling { shots: 0, seed: 42, samples: None };
        for (name, row, field) in [
            ("kilt_nq", json!({"question": "q", "answers": ["a"], "ctxs": [{"title": "t"}]}), "row 1: ctxs[0]: text"),
            ("kilt_nq", json!({"answers": ["a"], "ctxs": []}), "row 1: question"),
            ("json_kv", json!({"context": "c", "question": "k"}), "row 1: answer"),
            (
                "msmarco_rerank_psg",
                json!({"qid": "1", "query": "q", "ctxs": [{"id": "1", "text": ""}]}),
                "ctxs[0]: label",
            ),
            ("ruler_niah_mk_2", json!({"context": "c", "query": "q", "outputs": ["1"]}), "row 1: type_needle_v"),
            ("ruler_fwe", json!({"context": "c"}), "row 1: outputs"),
            ("icl_x_2shot", json!({"text": "t"}), "row 1: label"),
            ("narrativeqa", json!({"context": "c", "question": "q"}), "row 1: answers"),
            (
                "infbench_choice_eng_9",
                json!({"id": 1, "context": "c", "input": "i", "answer": ["a"]}),
                "row 1: options",
            ),
            ("multi_lexsum", json!({"id": "1", "sources": ["s"], "summary/short": "s"}), "row 1: summary/long"),
        ] {
            let dataset = Dataset::named(name).unwrap();
            let error = examples(&dataset, rows(vec![row.clone()]), rows(vec![row]), &sampling, Compat::Mended);
            let message = error.unwrap_err().to_string();
            assert!(message.starts_with("prompt_inputs.json: ") && message.contains(field), "{name}: {message}");
        }
    }
}
