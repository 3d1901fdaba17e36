//! Times sentences and ROUGE on the texts of a JSON file, one thread: our side of `benches/peers/metrics.py`.
//!
//!     cargo run --release -p tesseral-lm --example metrics_speed -- FILE.json JOB [ROUNDS]
//!
//! JOB is sentences, rouge, rouge_lsum or matches. One line of JSON: the sum of what the job gives, and seconds of the
//! fastest round.

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

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a JSON file, found no argument")?;
    let job = arguments.next().ok_or("expected a job, found one argument")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
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
    let run = || -> Result<f64, String> {
        Ok(match job.as_str() {
            "sentences" => texts.iter().map(|text| sentences::split(text).len() as f64).sum(),
            "rouge" => pairs(&lines, all),
            "rouge_lsum" => pairs(&lines, lsum),
            "matches" => pairs(&texts, match_of),
            other => return Err(format!("expected sentences, rouge, rouge_lsum or matches, found {other}")),
        })
    };
    let (mut seconds, mut sum) = (f64::INFINITY, 0.0);
    for _ in 0..rounds {
        let start = Instant::now();
        sum = run()?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let result = json!({ "sum": sum, "seconds": seconds });
    println!("{result}");
    Ok(())
}
