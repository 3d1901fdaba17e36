//! Times sentences and ROUGE on the texts of a JSON file, one thread: our side of `benches/peers/metrics.py`.
//!
//!     cargo run --release -p tesseral-lm --example metrics_speed -- FILE.json JOB [ROUNDS]
//!
//! JOB is sentences, rouge, rouge_lsum or matches; or winners, with a folder of LLMBar in place of the file: winners of its
//! completions and their statistics, as `benches/peers/llmbar.py` times them. One line of JSON: the sum of what the job
//! gives, and seconds of the fastest round.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tesseral_lm::evaluation::compat::Compat;
use tesseral_lm::evaluation::llmbar::config::ModuleConfig;
use tesseral_lm::evaluation::llmbar::outcome::rated;
use tesseral_lm::evaluation::llmbar::parse::{Parser, Parsers};
use tesseral_lm::evaluation::llmbar::statistics::{Judged, Statistics};
use tesseral_lm::evaluation::llmbar::stored::{Judgement, Outcome, Tree};
use tesseral_lm::evaluation::llmbar::winner::{Order, Winner};
use tesseral_lm::evaluation::metrics::{answer, rouge, sentences};

type Failure = Box<dyn std::error::Error>;

/// Every text of more than 80 letters, each once, in order.
fn collect(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.chars().count() > 80 => _ = texts.insert(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, texts)),
        _ => {}
    }
}

/// A result of LLMBar that was read: its examples, and what reads their completions, module by module.
type Read<'a> = (Vec<Judgement<'a>>, Vec<Arc<Parser>>);

/// How many completions have a winner, and how many verdicts agree with their labels.
fn winners(results: &[Read<'_>]) -> f64 {
    let mut sum = 0;
    for (examples, parsers) in results {
        let mut judged = Vec::new();
        for example in examples {
            let (mut last, mut parsers) = ([None; 2], parsers.iter());
            for outcome in &example.results {
                last = match outcome {
                    Outcome::Auxiliary => continue,
                    Outcome::Rating { ratings: [first, second], .. } => rated(first, second, Compat::Original),
                    Outcome::Comparison { completions: [as_given, swapped], .. } => {
                        let Some(parser) = parsers.next() else { continue };
                        let winner = |order: Order, text| parser.winner(text).map(|place| order.turn(place));
                        [winner(Order::AsGiven, as_given), winner(Order::Swapped, swapped)]
                    }
                };
                sum += last.iter().flatten().count();
            }
            judged.extend(Winner::from_label(example.label).map(|label| Judged { winners: last, label }));
        }
        sum += Statistics::of(&judged).original().len();
    }
    sum as f64
}

fn llmbar(folder: &Path, rounds: usize) -> Result<(f64, f64), Failure> {
    let tree = Tree::walk(folder)?;
    let (evaluators, mut parsers) = (tree.evaluators()?, Parsers::default());
    let files = tree.results.iter().map(|result| std::fs::read(result.path.join("result.json")));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let mut results = Vec::new();
    for (result, file) in tree.results.iter().zip(&files) {
        let path = evaluators.join("config").join(&result.llm).join(format!("{}.json", result.strategy));
        let mut own = Vec::new();
        for module in ModuleConfig::read(&path)? {
            own.extend(module.parser(&path, &mut parsers)?);
        }
        results.push((serde_json::from_slice(file)?, own));
    }
    fastest(rounds, || Ok(winners(&results)))
}

/// What a job gives, and the seconds of its fastest round.
fn fastest(rounds: usize, job: impl Fn() -> Result<f64, String>) -> Result<(f64, f64), Failure> {
    let (mut seconds, mut sum) = (f64::INFINITY, 0.0);
    for _ in 0..rounds {
        let start = Instant::now();
        sum = job()?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok((sum, seconds))
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a JSON file, found no argument")?;
    let job = arguments.next().ok_or("expected a job, found one argument")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let (sum, seconds) = match job.as_str() {
        "winners" => llmbar(Path::new(&path), rounds)?,
        _ => of_texts(&path, &job, rounds)?,
    };
    let result = json!({ "sum": sum, "seconds": seconds });
    println!("{result}");
    Ok(())
}

fn of_texts(path: &str, job: &str, rounds: usize) -> Result<(f64, f64), Failure> {
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
        Ok(match job {
            "sentences" => texts.iter().map(|text| sentences::split(text).len() as f64).sum(),
            "rouge" => pairs(&lines, all),
            "rouge_lsum" => pairs(&lines, lsum),
            "matches" => pairs(&texts, match_of),
            other => return Err(format!("expected sentences, rouge, rouge_lsum, matches or winners, found {other}")),
        })
    };
    fastest(rounds, run)
}
