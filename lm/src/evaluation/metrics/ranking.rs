//! Rankings of documents: read out of generated text, and measured as trec_eval does.

use crate::evaluation::task::Scores;
use foldhash::fast::FixedState;
use regex::Regex;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// Ids with scores that fall with the place, out of a text such as `[ID: 3] > [ID: 1]`, as HELMET reads it: the longest
/// run of numbers with `>` between them. An id named twice keeps its first place. A text without a number is its own
/// only id, so that it matches no document.
pub fn parse_rankings(output: &str) -> Vec<(String, f64)> {
    // \s of Python has the four separators too.
    static RUN: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\d+(?:[\s\x1c-\x1f]*>[\s\x1c-\x1f]*\d+)*").ok());
    let plain = output.replace(['[', ']', ':'], "").to_lowercase().replace("id", "");
    let runs = RUN.iter().flat_map(|run| run.find_iter(&plain)).map(|run| run.as_str());
    let mut longest = "";
    let mut length = 0;
    for run in runs {
        let letters = run.chars().count();
        if letters > length {
            (longest, length) = (run, letters);
        }
    }
    let ids: Vec<&str> =
        if longest.is_empty() { vec![&plain] } else { longest.split('>').map(crate::python::text::strip).collect() };
    let mut seen: HashSet<&str, FixedState> = HashSet::default();
    let places = (0..ids.len()).map(|place| (ids.len() - place) as f64);
    ids.iter().zip(places).filter(|(id, _)| seen.insert(**id)).map(|(id, score)| ((*id).to_owned(), score)).collect()
}

/// Measures of one ranking, rounded to five decimals: `NDCG@k` (gain is the relevance, discount log2), `MAP@k`,
/// `Recall@k` and `P@k` for every k, and `MRR`.
///
/// `results` gives each document's score, the best the highest; equal scores go by id, the last first. `relevance` gives
/// the relevance of the judged documents, above 0 if relevant; others are not.
pub fn measures<S: BuildHasher>(
    results: &[(String, f64)],
    relevance: &HashMap<&str, i64, S>,
    k_values: &[usize],
) -> Scores {
    let mut order: Vec<&(String, f64)> = results.iter().collect();
    order.sort_by(|(a, score_a), (b, score_b)| score_b.total_cmp(score_a).then_with(|| b.cmp(a)));
    let gain = |(id, _): &&(String, f64)| relevance.get(id.as_str()).copied().unwrap_or(0).max(0);
    let gains: Vec<i64> = order.iter().map(gain).collect();
    let mut ideal: Vec<i64> = relevance.values().copied().filter(|&gain| gain > 0).collect();
    let relevant = ideal.len() as f64;
    // The largest alone are looked at.
    let most = k_values.iter().copied().max().unwrap_or(0);
    if most < ideal.len() {
        ideal.select_nth_unstable_by(most, |a, b| b.cmp(a));
        ideal.truncate(most);
    }
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let mut scores = Scores::new();
    for &k in k_values {
        let top = &gains[..k.min(gains.len())];
        let found = top.iter().filter(|&&gain| gain > 0).count() as f64;
        let best = discounted(&ideal[..k.min(ideal.len())]);
        scores.insert(format!("NDCG@{k}"), ratio(discounted(top), best));
        scores.insert(format!("MAP@{k}"), ratio(precisions(top), relevant));
        scores.insert(format!("Recall@{k}"), ratio(found, relevant));
        scores.insert(format!("P@{k}"), ratio(found, k as f64));
    }
    let first = gains.iter().position(|&gain| gain > 0);
    scores.insert("MRR".into(), first.map_or(0.0, |place| ratio(1.0, place as f64 + 1.0)));
    scores
}

/// Sum of gains over log2(place + 1), places from 1.
fn discounted(gains: &[i64]) -> f64 {
    (2u32..).zip(gains).map(|(place, &gain)| gain as f64 / f64::from(place).log2()).sum()
}

/// Sum, over relevant documents, of the precision at their place.
fn precisions(gains: &[i64]) -> f64 {
    let places = (1u32..).zip(gains).filter(|(_, gain)| **gain > 0).map(|(place, _)| f64::from(place));
    (1u32..).zip(places).map(|(found, place)| f64::from(found) / place).sum()
}

/// Rounded to five decimals; 0 of nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 {
        return 0.0;
    }
    // Decimal rounding of the exact value, as Python's round: a product with 10^5 would itself be rounded.
    format!("{:.5}", part / whole).parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;
    use serde_json::Value;

    fn scores(value: &Value) -> Vec<(String, f64)> {
        value.as_object().unwrap().iter().map(|(id, score)| (id.clone(), score.as_f64().unwrap())).collect()
    }

    #[test]
    fn golden_rankings() {
        for case in golden::cases("helmet/parse_rankings.json") {
            let mut found = parse_rankings(case["output"].as_str().unwrap());
            let mut expected = scores(&case["parsed"]);
            found.sort_by(|a, b| a.0.cmp(&b.0));
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn golden_measures() {
        for case in golden::cases("helmet/retrieval_metrics.json") {
            let relevance = case["qrels"].as_object().unwrap();
            let relevance: HashMap<&str, i64> =
                relevance.iter().map(|(id, gain)| (id.as_str(), gain.as_i64().unwrap())).collect();
            let k_values: Vec<usize> = serde_json::from_value(case["k_values"].clone()).unwrap();
            let found = measures(&scores(&case["results"]), &relevance, &k_values);
            let expected = case["metrics"].as_object().unwrap();
            assert_eq!(found.len(), expected.len());
            for (name, expected) in expected {
                assert_eq!(found[name], expected.as_f64().unwrap(), "{name} {case}");
            }
        }
    }

    #[test]
    fn equal_scores_go_by_id_and_nothing_relevant_is_nothing() {
        let results = [("a".to_owned(), 1.0), ("b".to_owned(), 1.0)];
        let found = measures(&results, &HashMap::from([("a", 2)]), &[1, 3]);
        assert_eq!((found["P@1"], found["MRR"], found["NDCG@3"]), (0.0, 0.5, 0.63093));
        let found = measures(&results, &HashMap::from([("a", 0)]), &[1]);
        assert!(found.values().all(|&score| score == 0.0));
    }
}
