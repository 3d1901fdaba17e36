//! Citations against the original's, the order of its questions included.

use super::*;
use crate::evaluation::alce::recorded::{number, recorded, rows};
use crate::evaluation::metrics::golden;
use serde_json::Value;
use std::collections::HashSet;

/// What the original asked, in its order.
fn asked(case: &Value) -> Vec<(String, String)> {
    rows(&case["nli_calls"]).into_iter().map(|(premise, hypothesis, _)| (premise, hypothesis)).collect()
}

#[test]
fn golden_citations() {
    for name in ["alce/citation_autoais.json", "alce/citation_autoais_qampari.json"] {
        let Some(file) = golden::file(name) else { continue };
        let documents: Vec<Document> = serde_json::from_value(file["_meta"]["docs"].clone()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap();
            let item = Item { question: text("question"), output: text("output"), documents: &documents };
            let list = case["qampari"].as_bool().unwrap_or(false);
            let dataset = if list { Dataset::Qampari } else { Dataset::Asqa };
            let at_most = case["at_most_citations"].as_u64().map(|n| n as usize);
            let rules = Rules { at_most, ..Rules::alce(dataset, Compat::Original) };
            let model = recorded(&case["nli_calls"]);
            let mut calls = Vec::new();
            let mut ask = |pair: Pair<'_>| {
                calls.push((pair.0.to_string(), pair.1.to_string()));
                Ok(model.entails(&[pair])?[0])
            };
            let found = in_order(&item, rules, &mut ask).unwrap();
            assert_eq!(calls, asked(case), "{}", text("output"));
            let expected = [number(&case["citation_rec"]), number(&case["citation_prec"])];
            let scores = found.as_ref().map_or([f64::NAN; 2], |c| [100.0 * c.recall, 100.0 * c.precision]);
            for (score, expected) in scores.into_iter().zip(expected) {
                assert!((score - expected).abs() < 1e-9 || score.is_nan() && expected.is_nan(), "{}", text("output"));
            }
            // In waves: the same scores, each pair once, no pair that the original does not ask.
            let cached = Cached::new(recorded(&case["nli_calls"]));
            assert_eq!(score(&[item], rules, &cached).unwrap(), [found]);
            let different: HashSet<_> = calls.into_iter().collect();
            assert_eq!(cached.verdicts().len(), different.len());
            assert!(cached.counts().batches <= 3);
        }
    }
}

#[test]
fn golden_citations_of_several_answers() {
    let Some(file) = golden::file("alce/citation_multi_item.json") else { return };
    let documents: Vec<Document> = serde_json::from_value(file["docs"].clone()).unwrap();
    let outputs: Vec<String> = serde_json::from_value(file["outputs"].clone()).unwrap();
    let items: Vec<Item<'_>> =
        outputs.iter().map(|output| Item { question: "", output, documents: &documents }).collect();
    // The verdicts are not in the file: its sentences are those of the other one.
    let Some(single) = golden::file("alce/citation_autoais.json") else { return };
    let calls: Vec<Value> = single["cases"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|case| case["nli_calls"].as_array().unwrap().clone())
        .collect();
    let cached = Cached::new(recorded(&Value::Array(calls)));
    let found = match score(&items, Rules::alce(Dataset::Asqa, Compat::Original), &cached) {
        Ok(found) => found,
        Err(error) => {
            println!("skipped: a verdict of another file is missing: {error}");
            return;
        }
    };
    let judged: Vec<&Citations> = found.iter().flatten().collect();
    let mean =
        |value: fn(&Citations) -> f64| 100.0 * judged.iter().map(|c| value(c)).sum::<f64>() / judged.len() as f64;
    assert!((mean(|c| c.recall) - number(&file["result"]["citation_rec"])).abs() < 1e-9);
    assert!((mean(|c| c.precision) - number(&file["result"]["citation_prec"])).abs() < 1e-9);
    let mut counts = Counts::default();
    judged.iter().for_each(|citations| counts.add(&citations.counts));
    let printed = file["stdout"].as_str().unwrap();
    assert_eq!(counts.line().map(|line| line + "\n").unwrap_or_default(), printed);
}

#[test]
fn document_zero_is_out_of_range_once_mended() {
    let documents = [Document { title: "t".into(), text: "moose".into(), ..Document::default() }];
    let item = Item { question: "q", output: "Moose [0].", documents: &documents };
    let mut ask = |_: Pair<'_>| Ok(true);
    let recall =
        |compat, ask: &mut Ask<'_>| in_order(&item, Rules::alce(Dataset::Asqa, compat), ask).unwrap().unwrap().recall;
    assert_eq!(recall(Compat::Original, &mut ask), 1.0);
    assert_eq!(recall(Compat::Mended, &mut ask), 0.0);
}

#[test]
fn a_citation_that_cannot_stand_alone_is_needed_only_if_the_rest_does_not_suffice() {
    let documents = ["a", "b", "c"].map(|t| Document { title: t.into(), text: t.into(), ..Document::default() });
    let item = Item { question: "", output: "S [1][2][3].", documents: &documents };
    // Together, and without the third, they entail: so the third is needless, and only that.
    let mut ask = |(premise, _): Pair<'_>| Ok(premise.contains("Title: a") && premise.contains("Title: b"));
    let found = in_order(&item, Rules::alce(Dataset::Asqa, Compat::Mended), &mut ask).unwrap().unwrap();
    assert_eq!((found.recall, found.precision), (1.0, 2.0 / 3.0));
    assert_eq!((found.counts.supported, found.counts.needless), (1, 1));
}
