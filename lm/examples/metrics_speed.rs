//! Times sentences and ROUGE on the texts of a JSON file, one thread: our side of `benches/peers/metrics.py`.
//!
//!     cargo run --release -p tesseral-lm --example metrics_speed -- FILE.json [ROUNDS]
//!
//! One line of JSON: for each job the fastest round in seconds and a checksum of its results.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;
use tesseral_lm::evaluation::metrics::{answer, rouge, sentences};

/// Every text of more than 80 letters, each once, in order.
fn collect(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.chars().count() > 80 => _ = texts.insert(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, texts)),
        _ => {}
    }
}

/// The fastest of some rounds, and the sum of what it gives.
fn time(rounds: usize, job: impl Fn() -> f64) -> Value {
    let mut seconds = f64::INFINITY;
    let mut sum = 0.0;
    for _ in 0..rounds.max(1) {
        let start = Instant::now();
        sum = job();
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    json!({ "seconds": seconds, "sum": sum })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a JSON file, found no argument")?;
    let rounds = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let mut texts = BTreeSet::new();
    collect(&serde_json::from_slice(&std::fs::read(path)?)?, &mut texts);
    let texts: Vec<String> = texts.into_iter().collect();
    let lines: Vec<String> = texts.iter().map(|text| rouge::sentences_as_lines(text)).collect();
    let pairs = |texts: &[String], score: fn(&str, &str) -> f64| {
        texts.iter().zip(texts.iter().cycle().skip(1)).map(|(target, text)| score(target, text)).sum()
    };
    let all = |target: &str, text: &str| {
        let scores = rouge::score(target, text);
        [scores.rouge1, scores.rouge2, scores.rouge_l, scores.rouge_lsum].iter().map(|score| score.f1).sum()
    };
    let lsum = |target: &str, text: &str| rouge::score_lsum(target, text).f1;
    let match_of = |target: &str, text: &str| answer::matches(text, &[target]).values().sum();
    let result = json!({
        "texts": texts.len(),
        "sentences": time(rounds, || texts.iter().map(|text| sentences::split(text).len() as f64).sum()),
        "rouge": time(rounds, || pairs(&lines, all)),
        "rouge_lsum": time(rounds, || pairs(&lines, lsum)),
        "matches": time(rounds, || pairs(&texts, match_of)),
    });
    println!("{result}");
    Ok(())
}
