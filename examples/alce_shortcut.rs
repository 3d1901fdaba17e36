//! What ALCE's scores make of answers that no model wrote (after table 12 of arXiv 2305.14627): copied passages, few or too
//! many citations, random ones, none. With the stand-in that counts words for the entailment model: not ALCE-grade.
//!
//! `cargo run --release --example alce_shortcut -- PASSAGES QUESTIONS [LIMIT]` with the files `narrativeqa_passages.jsonl`
//! and `narrativeqa_questions.jsonl`; seconds.

use serde::Deserialize;
use serde_json::json;
use std::error::Error;
use std::path::Path;
use std::time::Instant;
use tesseral::lm::evaluation::alce::correctness::string_match;
use tesseral::lm::evaluation::alce::data::{Dataset, Document, Row, Texts};
use tesseral::lm::evaluation::alce::rerank::{self, Candidates, Mode};
use tesseral::lm::evaluation::alce::score::{Options, evaluate};
use tesseral::lm::evaluation::alce::search::{Collection, cut};
use tesseral::lm::evaluation::compat::Compat;
use tesseral::lm::evaluation::entailment::cached::Cached;
use tesseral::lm::evaluation::entailment::lexical::Lexical;
use tesseral::lm::evaluation::metrics::sentences;
use tesseral::lm::python::numpy::RandomState;

#[derive(Deserialize)]
struct Question {
    question: String,
    answers: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [passages, questions, rest @ ..] = arguments.as_slice() else {
        return Err("expected PASSAGES QUESTIONS [LIMIT]".into());
    };
    let limit = rest.first().map_or(Ok(usize::MAX), |limit| limit.parse())?;
    let texts: Vec<Document> = lines(passages.as_ref())?;
    let collection = Collection::new(texts.iter().flat_map(|text| cut(text, 100)).collect());
    let mut rows = Vec::new();
    for asked in lines::<Question>(questions.as_ref())?.into_iter().take(limit) {
        let pair = json!({"question": asked.question, "short_answers": asked.answers});
        let row: Row = serde_json::from_value(json!({"question": asked.question, "qa_pairs": [pair]}))?;
        let docs = collection.find(&asked.question, 20);
        rows.push(Row { docs, ..row });
    }
    rows.retain(|row| row.docs.len() >= 5);
    println!("{} questions with at least 5 passages of 100 words", rows.len());
    recall(&rows);

    println!("{:34} {:>6} {:>8} {:>8} {:>6}", "answer", "str_em", "cit. rec", "cit. pre", "words");
    let best = |row: &Row| row.docs.first().map(|document| document.text.clone()).unwrap_or_default();
    let cited = |text: &str, mark: &str, most: usize| -> String {
        sentences::spans(text)
            .into_iter()
            .take(most)
            .map(|sentence| mark_before_end(sentence, mark))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut random = RandomState::new(42);
    let mut any = |row: &Row| -> Result<String, Box<dyn Error>> {
        let text = best(row);
        let mut marked = Vec::new();
        for sentence in sentences::spans(&text) {
            marked.push(mark_before_end(sentence, &format!("[{}]", random.randint(1..6)?)));
        }
        Ok(marked.join(" "))
    };
    let all = |answer: &dyn Fn(&Row) -> String| rows.iter().map(answer).collect::<Vec<String>>();
    report("best passage, each sentence [1]", &rows, all(&|row| cited(&best(row), "[1]", usize::MAX)))?;
    report("its first two sentences, [1]", &rows, all(&|row| cited(&best(row), "[1]", 2)))?;
    report("best passage, [1][2][3]", &rows, all(&|row| cited(&best(row), "[1][2][3]", usize::MAX)))?;
    let four: Vec<Vec<String>> = rows.iter().map(|row| (0..4).map(|_| any(row)).collect()).collect::<Result<_, _>>()?;
    report("best passage, one of [1] to [5]", &rows, four.iter().map(|outputs| outputs[0].clone()).collect())?;
    let candidates: Vec<Candidates<'_>> = rows
        .iter()
        .zip(&four)
        .map(|(row, outputs)| Candidates { question: &row.question, outputs, documents: &row.docs })
        .collect();
    let rules =
        rerank::Rules { dataset: Dataset::Asqa, mode: Mode::Discrete, at_most: Some(3), compat: Compat::Mended };
    report("the best of four such, reranked", &rows, rerank::best(&candidates, rules, &Lexical::default())?)?;
    report("best passage, no citation", &rows, all(&best))
}

fn report(name: &str, rows: &[Row], outputs: Vec<String>) -> Result<(), Box<dyn Error>> {
    let rows: Vec<Row> =
        rows.iter().zip(outputs).map(|(row, output)| Row { output: Some(Texts::One(output)), ..row.clone() }).collect();
    let options = Options { claims: false, rouge: false, ..Options::default() };
    let (model, start) = (Cached::new(Lexical::default()), Instant::now());
    let found = evaluate(&rows, Dataset::Asqa, &options, Compat::Mended, &model)?;
    let score = |name: &str| found.scores.get(name).copied().unwrap_or(f64::NAN);
    let counts = model.counts();
    println!(
        "{name:34} {:6.1} {:8.1} {:8.1} {:6.1}   {} pairs judged of {} asked, {:.2} s",
        score("str_em"),
        score("citation_rec"),
        score("citation_prec"),
        score("length"),
        counts.judged,
        counts.pairs,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Share of the questions with an answer in the first passages.
fn recall(rows: &[Row]) {
    let shares = [1, 3, 5, 20].map(|count| {
        let found = rows.iter().filter(|row| {
            let text = row.docs.iter().take(count).map(|d| d.text.as_str()).collect::<Vec<_>>().join("\n");
            row.qa_pairs.as_ref().and_then(|pairs| string_match(&text, pairs)).is_some_and(|(_, all)| all)
        });
        format!("{:.1}", 100.0 * found.count() as f64 / rows.len() as f64)
    });
    println!("BM25: an answer stands in the first 1/3/5/20 passages of {} % of the questions", shares.join("/"));
}

/// `A is b.` with `[1]` is `A is b [1].`
fn mark_before_end(sentence: &str, mark: &str) -> String {
    let text = sentence.trim_end_matches(['.', '!', '?']);
    format!("{text} {mark}{}", &sentence[text.len()..])
}

fn lines<T: serde::de::DeserializeOwned>(file: &Path) -> Result<Vec<T>, Box<dyn Error>> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
