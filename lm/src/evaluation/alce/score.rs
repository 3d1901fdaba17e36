//! Scores of answers: what the original's `eval.py` prints, of each answer and of all.

use super::citations::{self, Citations, Counts, Item};
use super::correctness;
use super::data::{Dataset, Row, Texts};
use super::text::{self, Answer};
use crate::evaluation::compat::Compat;
use crate::evaluation::entailment::Entailment;
use crate::evaluation::entailment::cached::Cached;
use crate::evaluation::task::Scores;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Whose rules hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// ALCE: the first line of an output is the answer.
    #[default]
    Alce,
    /// HELMET's copy of it: the whole output is the answer, sentences of less than 5 characters are no statements, and
    /// where nothing can be cited the scores are 0.
    Helmet,
}

/// What is scored, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whose rules hold.
    pub style: Style,
    /// Citation recall and precision.
    pub citations: bool,
    /// Claims that the answer entails (ELI5).
    pub claims: bool,
    /// ROUGE-Lsum (no list has it).
    pub rouge: bool,
    /// The list of an output stands after its first colon (QAMPARI).
    pub after_colon: bool,
    /// Most citations of a statement that count; 0: all.
    pub at_most_citations: usize,
    /// Marks after a period are moved before it first; see [`text::reattach`].
    pub reattach: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            style: Style::Alce,
            citations: true,
            claims: true,
            rouge: true,
            after_colon: false,
            at_most_citations: 3,
            reattach: false,
        }
    }
}

impl Options {
    /// [`Options::at_most_citations`]; `None`: all.
    pub fn at_most(&self) -> Option<usize> {
        (self.at_most_citations > 0).then_some(self.at_most_citations)
    }
}

/// Scores of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// The answer that was scored.
    pub answer: String,
    /// By name; percent, but for `length` (words) and `num_preds` (entries). What cannot be computed is absent.
    pub scores: Scores,
    /// How it cites; `None` where that was not asked for, or the answer has no statement.
    pub citations: Option<Citations>,
}

/// Scores of all answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Each answer.
    pub answers: Vec<Scored>,
    /// Means, each over the answers that have the score.
    pub scores: Scores,
    /// How the answers cite together.
    pub counts: Counts,
}

/// Scores the outputs of rows (the first of several outputs).
///
/// # Errors
/// [`Error::Config`] for a row without an output; those of the model.
pub fn evaluate<E: Entailment>(
    rows: &[Row],
    dataset: Dataset,
    options: &Options,
    compat: Compat,
    model: &Cached<E>,
) -> Result<Evaluation> {
    let outputs = rows.iter().enumerate().map(|(place, row)| output(row, place)).collect::<Result<Vec<_>>>()?;
    let prepare = |output: &&str| {
        let answer = match options.style {
            Style::Alce => Answer::FirstLine,
            Style::Helmet => Answer::Everything,
        };
        let answer = answer.of(output);
        if options.reattach { text::reattach(&answer) } else { answer }
    };
    let cited: Vec<String> = outputs.par_iter().map(prepare).collect();
    let plain: Vec<String> = cited.par_iter().map(|answer| text::remove_citations(answer)).collect();
    let of_texts = |(row, plain): (&Row, &String)| texts(row, plain, dataset, options, compat);
    let mut scores: Vec<Scores> = rows.par_iter().zip(&plain).map(of_texts).collect();

    let mut found = vec![None; rows.len()];
    if options.citations {
        let items: Vec<Item<'_>> = rows
            .iter()
            .zip(&cited)
            .map(|(row, output)| Item { question: &row.question, output, documents: &row.docs })
            .collect();
        let shortest = if options.style == Style::Helmet { 5 } else { 0 };
        let rules = citations::Rules { dataset, at_most: options.at_most(), shortest, compat };
        found = citations::score(&items, rules, model)?;
        for (scores, citations) in scores.iter_mut().zip(&found) {
            let numbers = citations.as_ref().map(|citations| (citations.recall, citations.precision));
            if let Some((recall, precision)) = numbers {
                scores.insert("citation_rec".into(), 100.0 * recall);
                scores.insert("citation_prec".into(), 100.0 * precision);
            }
        }
    }
    if options.claims && rows.iter().any(|row| row.claims.is_some()) {
        let answers: Vec<(&str, &[String])> = plain
            .iter()
            .zip(rows)
            .map(|(plain, row)| (plain.as_str(), row.claims.as_deref().unwrap_or_default()))
            .collect();
        for (scores, share) in scores.iter_mut().zip(correctness::claims(&answers, model)?) {
            scores.extend(share.map(|share| ("claims_nli".to_string(), 100.0 * share)));
        }
    }
    let mut all = means(&scores);
    if options.citations && options.style == Style::Helmet {
        for name in ["citation_rec", "citation_prec"] {
            all.entry(name.into()).or_insert(0.0);
        }
    }
    let mut counts = Counts::default();
    found.iter().flatten().for_each(|citations| counts.add(&citations.counts));
    let answers = cited.into_iter().zip(scores).zip(found);
    let answers = answers.map(|((answer, scores), citations)| Scored { answer, scores, citations }).collect();
    Ok(Evaluation { answers, scores: all, counts })
}

/// Scores that need nothing but texts.
fn texts(row: &Row, plain: &str, dataset: Dataset, options: &Options, compat: Compat) -> Scores {
    let mut scores = Scores::new();
    let mut add = |name: &str, score: f64| {
        scores.insert(name.into(), score);
    };
    add("length", correctness::words(plain) as f64);
    match &row.qa_pairs {
        Some(pairs) => {
            if let Some((share, all)) = correctness::string_match(plain, pairs) {
                add("str_em", 100.0 * share);
                add("str_hit", 100.0 * f64::from(all));
            }
        }
        // Where there is nothing to match, the original says 0.
        None if compat.is_original() => ["str_em", "str_hit"].into_iter().for_each(|name| add(name, 0.0)),
        None => {}
    }
    if dataset == Dataset::Qampari {
        let answers = row.answers.as_deref().unwrap_or_default();
        let found = correctness::list_match(plain, answers, options.after_colon);
        add("num_preds", found.predictions as f64);
        add("qampari_prec", 100.0 * found.precision);
        add("qampari_rec", 100.0 * found.recall);
        add("qampari_rec_top5", 100.0 * found.recall_5);
        add("qampari_f1", 100.0 * found.f1);
        add("qampari_f1_top5", 100.0 * found.f1_5);
    } else if options.rouge {
        let answer = match &row.answer {
            Some(Texts::One(answer)) => Some(answer.as_str()),
            _ => None,
        };
        let references = correctness::references(row.annotations.as_deref(), answer);
        if !references.is_empty() {
            add("rougeLsum", 100.0 * correctness::rouge_lsum(plain, &references));
        }
    }
    scores
}

/// The mean of each score over those that have it.
fn means(scores: &[Scores]) -> Scores {
    let mut sums: std::collections::BTreeMap<&str, (f64, usize)> = std::collections::BTreeMap::new();
    for (name, score) in scores.iter().flatten() {
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + score, sum.1 + 1);
    }
    sums.into_iter().map(|(name, (sum, count))| (name.to_string(), sum / count as f64)).collect()
}

/// The output of a row.
fn output(row: &Row, place: usize) -> Result<&str> {
    let output = match &row.output {
        Some(Texts::One(output)) => Some(output.as_str()),
        Some(Texts::Several(outputs)) => outputs.first().map(String::as_str),
        None => None,
    };
    output.ok_or_else(|| Error::config("output", format!("expected an output of row {}, found none", place + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::alce::recorded::{number, recorded, rows as calls};
    use crate::evaluation::entailment::lexical::Lexical;
    use crate::evaluation::metrics::golden;
    use serde_json::{Value, json};
    use std::collections::HashSet;

    fn compare(found: &Scores, expected: &Value) {
        let expected = expected.as_object().unwrap();
        let names: Vec<&String> = expected
            .iter()
            .filter(|(name, score)| *name != "citation_positions" && !number(score).is_nan())
            .map(|(name, _)| name)
            .collect();
        assert_eq!(found.len(), names.len(), "{found:?} {expected:?}");
        for name in names {
            let expected = number(&expected[name]);
            assert!((found[name] - expected).abs() < 1e-9, "{name} {} {expected}", found[name]);
        }
    }

    #[test]
    fn golden_end_to_end() {
        for case in golden::cases("alce/eval_main_end_to_end.json") {
            let name = case["file"].as_str().unwrap();
            let dataset = Dataset::of(std::path::Path::new(name)).unwrap();
            let rows: Vec<Row> = serde_json::from_value(case["data"].clone()).unwrap();
            let flags: Vec<String> = serde_json::from_value(case["flags"].clone()).unwrap();
            let has = |flag: &str| flags.iter().any(|given| given == flag);
            let options = Options {
                citations: has("--citations"),
                claims: has("--claims_nli"),
                rouge: !has("--no_rouge"),
                after_colon: has("--cot"),
                ..Options::default()
            };
            let cached = Cached::new(recorded(&case["nli_calls"]));
            let found = evaluate(&rows, dataset, &options, Compat::Original, &cached).unwrap();
            compare(&found.scores, &case["score"]);
            let expected: HashSet<_> = calls(&case["nli_calls"]).into_iter().map(|(p, h, _)| (p, h)).collect();
            assert_eq!(cached.verdicts().len(), expected.len());
        }
    }

    #[test]
    fn golden_of_helmet() {
        let Some(file) = golden::file("helmet/eval_alce.json") else { return };
        for case in file["cases"].as_array().unwrap() {
            let mut row = file["_meta"].clone();
            row["output"] = case["output"].clone();
            let row: Row = serde_json::from_value(row).unwrap();
            let options = Options { style: Style::Helmet, ..Options::default() };
            let cached = Cached::new(recorded(&case["nli_calls"]));
            let found = evaluate(&[row], Dataset::Asqa, &options, Compat::Original, &cached).unwrap();
            compare(&found.scores, &case["score"]);
            assert_eq!(json!(found.counts.places), case["score"]["citation_positions"], "{}", case["output"]);
        }
    }

    #[test]
    fn what_cannot_be_scored_is_absent_and_lowers_no_mean() {
        let row = |output: &str| -> Row {
            let documents = json!([{"title": "t", "text": "red moose"}]);
            serde_json::from_value(json!({"question": "q", "docs": documents, "claims": ["moose"], "output": output}))
                .unwrap()
        };
        let cached = Cached::new(Lexical::default());
        let rows = [row("Red moose [1]."), row("")];
        let found = evaluate(&rows, Dataset::Eli5, &Options::default(), Compat::Mended, &cached).unwrap();
        let names: Vec<&str> = found.scores.keys().map(String::as_str).collect();
        assert_eq!(names, ["citation_prec", "citation_rec", "claims_nli", "length"]);
        assert_eq!((found.scores["citation_rec"], found.scores["claims_nli"]), (100.0, 50.0));
        assert_eq!(found.answers[1].citations, None);
        let error =
            evaluate(&[Row { output: None, ..row("") }], Dataset::Eli5, &Options::default(), Compat::Mended, &cached);
        assert!(error.unwrap_err().to_string().contains("output: expected an output of row 1"));
    }

    #[test]
    fn marks_after_the_period_count_once_moved() {
        let row: Row = serde_json::from_value(json!({
            "question": "q", "docs": [{"title": "t", "text": "red moose"}, {"title": "u", "text": "small deer"}],
            "claims": ["x"], "output": "Red moose. [1] Small deer. [2]"
        }))
        .unwrap();
        let recall = |reattach| {
            let options = Options { reattach, ..Options::default() };
            let cached = Cached::new(Lexical::default());
            evaluate(std::slice::from_ref(&row), Dataset::Eli5, &options, Compat::Mended, &cached).unwrap().scores["citation_rec"]
        };
        assert!(recall(false) < 100.0);
        assert_eq!(recall(true), 100.0);
    }
}
