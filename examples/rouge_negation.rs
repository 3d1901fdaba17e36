//! What ROUGE sees in a summary, by controls that no reader would take for one: facts negated, words repeated, words
//! shuffled, the summary of another story.
//!
//! `cargo run --release --example rouge_negation -- TEXTS` prints the table; TEXTS is a file of rows with `text`, each a
//! summary of a story (`../shared/data/qa/narrativeqa_passages.jsonl`). A second. The reference is a text; every candidate
//! is made of it, or of another text, by rule.

use std::error::Error;
use std::path::Path;
use tesseral::lm::evaluation::helmet::data;
use tesseral::lm::evaluation::metrics::answer::scores;
use tesseral::lm::evaluation::python::mersenne::Random;

/// Words of the candidates that are the beginning of a text.
const LEAD: usize = 100;

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
    let path = std::env::args().nth(1).ok_or("expected a file of texts")?;
    let rows = data::read(Path::new(&path))?;
    let texts: Vec<&str> = rows.iter().map(|row| row.text("text")).collect::<Result<_, _>>()?;
    let others: Vec<&str> = texts.iter().copied().cycle().skip(1).take(texts.len()).collect();
    let mut random = Random::new(42);
    let mut table: Vec<(&str, Vec<[f64; 3]>)> = Vec::new();
    for (text, other) in texts.iter().zip(others) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let lead = &words[..words.len().min(LEAD)];
        let mut shuffled = words.clone();
        random.shuffle(&mut shuffled);
        let wrong: Vec<&str> = other.split_whitespace().take(words.len()).collect();
        let candidates = [
            ("first 100 words", lead.join(" ")),
            ("the same, facts negated", negated(lead)),
            ("40 words, three times", [&words[..words.len().min(40)]; 3].concat().join(" ")),
            ("another story, as long", wrong.join(" ")),
            ("all words, shuffled", shuffled.join(" ")),
        ];
        for (name, candidate) in candidates {
            let found = scores(&candidate, &[text]);
            let row =
                ["rougeL_f1", "rougeLsum_f1", "f1"].map(|metric| 100.0 * found.get(metric).copied().unwrap_or(0.0));
            match table.iter_mut().find(|(known, _)| *known == name) {
                Some((_, rows)) => rows.push(row),
                None => table.push((name, vec![row])),
            }
        }
    }
    println!("{:<26} {:>8} {:>11} {:>9}   ({} texts)", "candidate", "ROUGE-L", "ROUGE-Lsum", "token F1", texts.len());
    for (name, rows) in table {
        let mean = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len() as f64;
        println!("{name:<26} {:>8.1} {:>11.1} {:>9.1}", mean(0), mean(1), mean(2));
    }
    Ok(())
}

/// Every verb of a short list turned into its opposite.
fn negated(words: &[&str]) -> String {
    let negate = |word: &&str| NEGATIONS.iter().find(|(from, _)| from == word).map_or(*word, |(_, to)| *to);
    words.iter().map(negate).collect::<Vec<_>>().join(" ")
}
