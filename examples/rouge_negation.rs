//! What ROUGE sees in a summary, by controls that no reader would take for one: facts negated, words repeated, words
//! shuffled, the summary of another story.
//!
//! `cargo run --release --example rouge_negation -- TEXTS [MODEL PROMPTS COUNT KEPT [likeliest]]` prints the table; TEXTS is a file of rows with
//! `text`, each a summary of a story (`../shared/data/qa/narrativeqa_passages.jsonl`). A second. The reference is a text; every
//! candidate is made of it, or of another text, by rule. With a model (a folder or GGUF file) and a file of HELMET's judge
//! prompts, it also judges the candidates of the first COUNT texts (mean and standard error); key points are the first
//! sentences of a text. Verdicts are kept in the file KEPT; with `likeliest`, the likeliest of those that there can be is taken.

use std::error::Error;
use std::path::Path;
use tesseral::lm::evaluation::ask::Asker;
use tesseral::lm::evaluation::backend::local::Local;
use tesseral::lm::evaluation::compat::Compat;
use tesseral::lm::evaluation::helmet::data;
use tesseral::lm::evaluation::helmet::judge::{Judge, Prompts, Summary, SummaryVerdict, Verdicts, judge_summaries};
use tesseral::lm::evaluation::metrics::answer::scores;
use tesseral::lm::evaluation::metrics::sentences::split;
use tesseral::lm::evaluation::store::Store;
use tesseral::lm::model::weights::Storage;
use tesseral::lm::python::mersenne::Random;

/// Words of the candidates that are the beginning of a text.
const LEAD: usize = 100;
/// Key points of a text, and most tokens of a judge's answer.
const KEYPOINTS: usize = 5;
const ANSWER: usize = 192;

/// What negates a fact.
const NEGATIONS: [(&str, &str); 8] = [
    ("is", "is not"),
    ("was", "was not"),
    ("are", "are not"),
    ("were", "were not"),
    ("has", "has never"),
    ("had", "had never"),
    ("can", "cannot"),
    ("to", "not to"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("expected a file of texts")?;
    let rows = data::read(Path::new(path))?;
    let texts: Vec<&str> = rows.iter().map(|row| row.text("text")).collect::<Result<_, _>>()?;
    let mut random = Random::new(42);
    let all: Vec<_> =
        (0..texts.len()).map(|k| candidates(texts[k], texts[(k + 1) % texts.len()], &mut random)).collect();
    println!("{:<26} {:>8} {:>11} {:>9}   ({} texts)", "candidate", "ROUGE-L", "ROUGE-Lsum", "token F1", texts.len());
    for (place, (name, _)) in all.first().into_iter().flatten().enumerate() {
        let found: Vec<_> = texts.iter().zip(&all).map(|(text, mine)| scores(&mine[place].1, &[text])).collect();
        let mean = |metric: &str| {
            let sum: f64 = found.iter().map(|scores| scores.get(metric).copied().unwrap_or(0.0)).sum();
            100.0 * sum / texts.len() as f64
        };
        println!("{name:<26} {:>8.1} {:>11.1} {:>9.1}", mean("rougeL_f1"), mean("rougeLsum_f1"), mean("f1"));
    }
    if let [_, model, prompts, count, kept, how @ ..] = arguments.as_slice() {
        let mut judging = Judge::writing(Prompts::read(Path::new(prompts))?, Compat::Mended);
        match (how, &mut judging.verdicts) {
            ([], Verdicts::Written(decoding)) => decoding.max_tokens = ANSWER,
            ([one], verdicts) if one == "likeliest" => *verdicts = Verdicts::Likeliest,
            _ => return Err(format!("expected nothing or \"likeliest\", found {how:?}").into()),
        }
        let count = count.parse::<usize>()?.min(texts.len());
        judge(Path::new(model), &judging, &texts[..count], &all, Path::new(kept))?;
    }
    Ok(())
}

/// What is compared with a text, by name.
type Candidates = Vec<(&'static str, String)>;

fn candidates(text: &str, other: &str, random: &mut Random) -> Candidates {
    let words: Vec<&str> = text.split_whitespace().collect();
    let lead = &words[..words.len().min(LEAD)];
    let mut shuffled = words.clone();
    random.shuffle(&mut shuffled);
    let wrong: Vec<&str> = other.split_whitespace().take(words.len()).collect();
    vec![
        ("first 100 words", lead.join(" ")),
        ("the same, facts negated", negated(lead)),
        ("40 words, three times", [&words[..words.len().min(40)]; 3].concat().join(" ")),
        ("another story, as long", wrong.join(" ")),
        ("all words, shuffled", shuffled.join(" ")),
    ]
}

/// Verdicts on the candidates, as on HELMET's summaries of law cases.
fn judge(model: &Path, judging: &Judge, texts: &[&str], all: &[Candidates], kept: &Path) -> Result<(), Box<dyn Error>> {
    let judge = Local::open(model, Storage::F32)?;
    let mut store = Store::open(kept)?;
    let mut asker = Asker::new(&judge, &mut store);
    println!(
        "\n{:<26} {:>13} {:>13} {:>13} {:>13} {:>10}",
        "judged", "fluency", "recall", "precision", "F1", "unparsable"
    );
    for (place, (name, _)) in all.first().into_iter().flatten().enumerate() {
        let summary = |(text, mine): (&&str, &Candidates)| Summary {
            output: mine[place].1.clone(),
            keypoints: split(text).into_iter().take(KEYPOINTS).collect(),
            expert: (*text).into(),
            book: false,
        };
        let summaries: Vec<Summary> = texts.iter().zip(all).map(summary).collect();
        let found = judge_summaries(&mut asker, judging, &summaries)?;
        let verdicts: Vec<&SummaryVerdict> = found.verdicts.iter().flatten().collect();
        let mean =
            |of: fn(&SummaryVerdict) -> f64| mean(&verdicts.iter().map(|verdict| of(verdict)).collect::<Vec<_>>());
        let (recall, precision) = (mean(SummaryVerdict::recall), mean(SummaryVerdict::precision));
        let (fluency, f1) = (mean(|verdict| verdict.fluency), mean(SummaryVerdict::f1));
        println!("{name:<26} {fluency:>13} {recall:>13} {precision:>13} {f1:>13} {:>10.2}", found.unparsable);
    }
    Ok(())
}

/// Mean and standard error, in hundredths.
fn mean(values: &[f64]) -> String {
    if values.is_empty() {
        return "-".into();
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    format!("{:.1} +- {:.1}", 100.0 * mean, 100.0 * (squares / (count - 1.0).max(1.0) / count).sqrt())
}

/// Every word of a short list turned into its opposite.
fn negated(words: &[&str]) -> String {
    words.iter().map(|word| opposite(word)).collect::<Vec<_>>().join(" ")
}

fn opposite(word: &str) -> &str {
    NEGATIONS.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to)
}
