//! Scores of an output, by the kind of the data set.

use super::dataset::{Book, Kind, Ruler};
use super::output::{Known, parse_known};
use crate::evaluation::metrics::answer;
use crate::evaluation::metrics::ranking;
use crate::evaluation::task::Scores;
use foldhash::fast::FixedState;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Ranks up to which rankings are scored, where there are as many passages.
pub const RANKS: [usize; 9] = [1, 5, 10, 20, 50, 100, 200, 500, 1000];

/// An output that was scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The scores, 0 to 1 (`num_preds` apart).
    pub scores: Scores,
    /// The answer found in the output: a text, or the scores of ranked ids.
    pub parsed: Value,
}

/// Scores an output. `output` begins with what the prompt ended with, where the prompt ended so.
///
/// `judged`: ids and relevance of the passages that were shown, for rankings.
pub fn score(kind: &Kind, output: &str, answers: &[String], judged: &[(String, i64)], ranks: &[usize]) -> Scored {
    match kind {
        Kind::KeyValue => best_of_both(output, answers, Known::Value),
        Kind::Cases => best_of_both(output, answers, Known::Summary),
        Kind::Labels(_) => {
            let parsed = parse_known(output, Known::Label);
            Scored { scores: metrics(&parsed, answers), parsed: parsed.into() }
        }
        Kind::Book(Book::Choice) => choice(output, answers),
        Kind::Ruler(Ruler::Questions) | Kind::Passages { .. } | Kind::Story | Kind::Book(_) | Kind::Citation { .. } => {
            best_of_both(output, answers, Known::Answer)
        }
        Kind::Ruler(_) => {
            let mut scores = Scores::new();
            if let Some(recall) = recall(output, answers) {
                scores.insert("ruler_recall".into(), recall);
            }
            Scored { scores, parsed: output.into() }
        }
        Kind::Ranking => rank(output, judged, ranks),
    }
}

/// The metrics of texts, the best over the answers.
fn metrics(prediction: &str, answers: &[String]) -> Scores {
    answer::scores(prediction, answers)
}

/// The better score of the whole output and of the answer in it.
fn best_of_both(output: &str, answers: &[String], prefix: Known) -> Scored {
    let parsed = parse_known(output, prefix);
    let mut scores = metrics(output, answers);
    if parsed != output {
        for (name, score) in metrics(&parsed, answers) {
            let best = scores.entry(name).or_insert(score);
            *best = best.max(score);
        }
    }
    Scored { scores, parsed: parsed.into() }
}

/// As [`best_of_both`], and right wherever the output holds the second answer (`A. option`), whatever the case.
fn choice(output: &str, answers: &[String]) -> Scored {
    let mut scored = best_of_both(output, answers, Known::Answer);
    let output = output.to_lowercase();
    let within = answers.get(1).is_some_and(|answer| output.contains(&answer.to_lowercase()));
    scored.scores.insert("substring_exact_match".into(), f64::from(u8::from(within)));
    if within {
        scored.scores.insert("exact_match".into(), 1.0);
    }
    scored
}

/// Share of the answers that occur in the output, whatever the case; `None` without answers.
fn recall(output: &str, answers: &[String]) -> Option<f64> {
    let output = output.to_lowercase();
    let found = answers.iter().filter(|answer| output.contains(&answer.to_lowercase())).count();
    (!answers.is_empty()).then(|| found as f64 / answers.len() as f64)
}

fn rank(output: &str, judged: &[(String, i64)], ranks: &[usize]) -> Scored {
    let ranking = ranking::parse_rankings(output);
    let relevance: HashMap<&str, i64, FixedState> = judged.iter().map(|(id, gain)| (id.as_str(), *gain)).collect();
    let mut scores = ranking::measures(&ranking, &relevance, ranks);
    scores.insert("num_preds".into(), ranking.len() as f64);
    let parsed = ranking.iter().map(|(id, score)| (id.clone(), json!(score))).collect();
    Scored { scores, parsed: Value::Object(parsed) }
}

/// Whether an output holds no answer of the kind that is asked for: a label that is among `shown` (texts of the context), a
/// ranking with one of the passages. `None` for kinds that any text answers.
pub fn unparsable(kind: &Kind, parsed: &Value, judged: &[(String, i64)], shown: &[&str]) -> Option<bool> {
    match kind {
        Kind::Labels(_) => {
            let label = parsed.as_str()?;
            Some(!shown.iter().any(|text| text.rsplit_once("\nlabel: ").is_some_and(|(_, known)| known == label)))
        }
        Kind::Ranking => {
            let ranked = parsed.as_object()?;
            Some(!judged.iter().any(|(id, _)| ranked.contains_key(id)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dataset::Dataset;
    use super::super::golden;
    use super::*;

    #[test]
    fn outputs_are_scored_as_by_the_original() {
        for case in golden::cases("post_process.json") {
            let name = match case["kind"].as_str().unwrap() {
                "default" => "kilt_nq",
                "icl" => "icl_trec_coarse_12shot_balance",
                "infbench_choice" => "infbench_choice_eng_130862",
                name => name,
            };
            let kind = Dataset::named(name).unwrap().kind;
            let answers: Vec<String> = match &case["answer"] {
                Value::String(answer) => vec![answer.clone()],
                Value::Array(answers) => answers.iter().map(|answer| answer.as_str().unwrap().into()).collect(),
                _ => Vec::new(),
            };
            let list = |name: &str| case[name].as_array().cloned().unwrap_or_default();
            let judged: Vec<(String, i64)> = list("qrel")
                .iter()
                .map(|pair| (pair[0].as_str().unwrap().into(), pair[1].as_str().unwrap().parse().unwrap()))
                .collect();
            let ranks: Vec<usize> = list("k_values").iter().map(|rank| rank.as_u64().unwrap() as usize).collect();
            let scored = score(&kind, case["output"].as_str().unwrap(), &answers, &judged, &ranks);
            let expected = case["metrics"].as_object().unwrap();
            let names = |names: Vec<&String>| names.into_iter().cloned().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(names(scored.scores.keys().collect()), names(expected.keys().collect()), "{case}");
            for (name, value) in expected {
                assert!(golden::close(scored.scores[name], value), "{name} {} {case}", scored.scores[name]);
            }
            let parsed = &scored.parsed;
            match case["parsed_output"].as_object() {
                Some(expected) => {
                    assert_eq!(parsed.as_object().unwrap().len(), expected.len());
                    for (id, score) in expected {
                        assert_eq!(parsed[id].as_f64(), score.as_f64(), "{case}");
                    }
                }
                None => assert_eq!(*parsed, case["parsed_output"], "{case}"),
            }
        }
    }

    #[test]
    fn outputs_without_an_answer_are_found() {
        let labels = Dataset::named("icl_x_2shot").unwrap().kind;
        let shown = ["t\nlabel: 3", "u\nlabel: x y"];
        assert!(!unparsable(&labels, &json!("x y"), &[], &shown).unwrap());
        assert!(unparsable(&labels, &json!("t"), &[], &shown).unwrap());
        let judged = [("7".to_string(), 1)];
        assert!(!unparsable(&Kind::Ranking, &json!({"7": 1.0}), &judged, &[]).unwrap());
        assert!(unparsable(&Kind::Ranking, &json!({"none": 1.0}), &judged, &[]).unwrap());
        assert_eq!(unparsable(&Kind::Story, &json!(""), &[], &[]), None);
    }

    #[test]
    fn no_answers_no_recall() {
        let kind = Kind::Ruler(Ruler::Needle);
        assert!(score(&kind, "x", &[], &[], &[]).scores.is_empty());
        assert_eq!(score(&kind, "The X", &["x".into(), "y".into()], &[], &[]).scores["ruler_recall"], 0.5);
    }
}
