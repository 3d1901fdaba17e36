//! Times the metrics of ALCE and HELMET on results of a file, one thread: our side of `benches/peers/originals.py`, which
//! makes the file and calls this.
//!
//!     cargo run --release -p tesseral-lm --example originals_speed -- FILE.json JOB [ROUNDS]
//!
//! JOB is citations, string_match, list_match, generated or rankings. One line of JSON: what the job gives, and seconds
//! of the fastest round.

use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;
use tesseral_lm::evaluation::alce::citations::{self, Item, Rules};
use tesseral_lm::evaluation::alce::correctness::{list_match, string_match};
use tesseral_lm::evaluation::alce::data::{Dataset, Document, QuestionPair};
use tesseral_lm::evaluation::alce::text::remove_citations;
use tesseral_lm::evaluation::compat::Compat;
use tesseral_lm::evaluation::entailment::cached::Cached;
use tesseral_lm::evaluation::entailment::recorded::Recorded;
use tesseral_lm::evaluation::entailment::table::Table;
use tesseral_lm::evaluation::helmet::dataset::Kind;
use tesseral_lm::evaluation::helmet::scoring;

type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Row {
    question: String,
    output: String,
    docs: Vec<Document>,
    qa_pairs: Vec<QuestionPair>,
    list: String,
    answers: Vec<Vec<String>>,
    generated: String,
    short: Vec<String>,
    ranking: String,
    relevance: HashMap<String, i64>,
}

#[derive(Deserialize)]
struct File {
    data: Vec<Row>,
    verdicts: Vec<(String, String, f64)>,
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

fn citations<'a>(rows: &'a [Row], recorded: &Recorded) -> Result<f64, Failure> {
    let item = |row: &'a Row| Item { question: &row.question, output: &row.output, documents: &row.docs };
    let items: Vec<Item<'a>> = rows.iter().map(item).collect();
    let rules = Rules { dataset: Dataset::Asqa, at_most: Some(3), shortest: 0, compat: Compat::Original };
    let found: Vec<_> = citations::score(&items, rules, &Cached::new(recorded))?.into_iter().flatten().collect();
    Ok(100.0 * mean(found.iter().map(|c| c.recall)) + 100.0 * mean(found.iter().map(|c| c.precision)))
}

fn strings(rows: &[Row], plain: &[String]) -> f64 {
    let each = rows.iter().zip(plain).map(|(row, plain)| string_match(plain, &row.qa_pairs).unwrap_or_default());
    let found: Vec<(f64, bool)> = each.collect();
    100.0 * mean(found.iter().map(|f| f.0)) + 100.0 * mean(found.iter().map(|f| f64::from(u8::from(f.1))))
}

fn lists(rows: &[Row]) -> f64 {
    let found: Vec<_> = rows.iter().map(|row| list_match(&row.list, &row.answers, false)).collect();
    100.0 * mean(found.iter().map(|m| m.f1)) + 100.0 * mean(found.iter().map(|m| m.f1_5))
}

fn generated(rows: &[Row]) -> f64 {
    let score = |row: &Row| scoring::score(&Kind::Story, &row.generated, &row.short, &[], &[]).scores;
    rows.iter().map(|row| score(row).values().sum::<f64>()).sum()
}

fn rankings(rows: &[Row], judged: &[Vec<(String, i64)>]) -> f64 {
    let score = |(row, judged): (&Row, &Vec<_>)| {
        let scores = scoring::score(&Kind::Ranking, &row.ranking, &[], judged, &[10]).scores;
        scores.get("NDCG@10").unwrap_or(&f64::NAN) + scores.get("MRR").unwrap_or(&f64::NAN)
    };
    rows.iter().zip(judged).map(score).sum()
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a JSON file, found no argument")?;
    let job = arguments.next().ok_or("expected a job, found one argument")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let File { data, verdicts } = serde_json::from_slice(&std::fs::read(&path)?)?;
    let recorded = Recorded::new(Table::from_rows(verdicts, Path::new(&path))?, "recorded");
    let plain: Vec<String> = data.iter().map(|row| remove_citations(&row.output)).collect();
    let judged: Vec<Vec<_>> = data.iter().map(|row| row.relevance.clone().into_iter().collect()).collect();
    let (mut seconds, mut sum) = (f64::INFINITY, 0.0);
    for _ in 0..rounds {
        let start = Instant::now();
        sum = match job.as_str() {
            "citations" => citations(&data, &recorded)?,
            "string_match" => strings(&data, &plain),
            "list_match" => lists(&data),
            "generated" => generated(&data),
            "rankings" => rankings(&data, &judged),
            other => {
                let jobs = "citations, string_match, list_match, generated or rankings";
                return Err(format!("expected {jobs}, found {other}").into());
            }
        };
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let result = json!({ "sum": sum, "seconds": seconds });
    println!("{result}");
    Ok(())
}
