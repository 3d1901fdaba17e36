//! Against the original's own functions (golden `icl`).

use super::dataset::{Example, Schema};
use super::demonstrations::Pool;
use super::labels::Mode;
use super::prompt::question;
use super::score::{average, generated};
use super::template::{Content, Template, with_period};
use crate::evaluation::compat::Compat;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tesseral_nn::rng::Streams;

/// A golden file; none, with a printed reason, where it is not at hand.
fn golden(name: &str) -> Option<Value> {
    let folder = std::env::var_os("TESSERAL_GOLDEN").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden"));
    let path = folder.join("icl").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(e) => {
            println!("skipped: {}: {e}", path.display());
            None
        }
    }
}

/// Cases of a file that is a list, or has one.
fn cases(file: &Value) -> &[Value] {
    let cases = file.as_array().or_else(|| file["cases"].as_array()).unwrap();
    assert!(!cases.is_empty());
    cases
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn content(item: &Value) -> Content {
    match item["text"].as_str() {
        Some(text) => Content::One(text.into()),
        None => Content::Pair(text(&item["sentence1"]).into(), text(&item["sentence2"]).into()),
    }
}

#[test]
fn golden_templates() {
    let Some(file) = golden("templates.json") else { return };
    let pair = Content::Pair("A man plays guitar.".into(), "A person makes music".into());
    for case in cases(&file) {
        let template = Template::named(text(&case["name"])).unwrap();
        assert_eq!(template.true_false, case["convert_to_true_false"].as_bool().unwrap(), "{}", template.name);
        for (key, one) in [("sent_noperiod", "the film is a delight"), ("sent_punct", "what a waste of time !")] {
            let told = template.render(&Content::One(one.into()), Compat::Original);
            let told = told.or_else(|_| template.render(&pair, Compat::Original)).unwrap();
            assert_eq!(told, text(&case[key]), "{}", template.name);
        }
    }
}

#[test]
fn golden_prompts() {
    let Some(file) = golden("prompts.json") else { return };
    for case in cases(&file) {
        let name = format!("{} {} {}", case["dataset"], case["mode"], case["template"]);
        let schema = Schema::named(text(&case["dataset"])).unwrap();
        let is_abstract = text(&case["mode"]).starts_with("ABSTRACT");
        let family = match (is_abstract, schema.pair) {
            (false, _) => schema.family.as_str(),
            (true, false) => "minimal",
            (true, true) => "nli_minimal",
        };
        let template = Template::named(&format!("{family}{}", text(&case["template"]))).unwrap();
        assert_eq!(template.name, text(&case["input_format"]), "{name}");
        let shown = case["label_names"].as_object().unwrap();
        let labels: Vec<String> = (0..shown.len()).map(|k| text(&shown[&k.to_string()]).to_string()).collect();
        if !is_abstract {
            let words: Vec<&str> = schema.labels.iter().map(|word| template.word(word)).collect();
            assert_eq!(words, labels, "{name}");
        }
        let told: Vec<Content> = case["demos"].as_array().unwrap().iter().map(content).collect();
        let words = case["demos"].as_array().unwrap().iter().map(|demo| text(&demo["label_name_shown"]));
        let demonstrations: Vec<(&Content, &str)> = told.iter().zip(words).collect();
        let asked = content(&case["test"]);
        let found = question(template, &demonstrations, &asked, &labels, Compat::Original).unwrap();
        assert_eq!(found.prompt, text(&case["prompt"]), "{name}");
        let expected: Vec<&str> = case["constrained_labels"].as_array().unwrap().iter().map(text).collect();
        assert_eq!(found.continuations, expected, "{name}");
        let right = case["test"]["label_id"].as_u64().unwrap() as usize;
        assert_eq!(labels[right], text(&case["expected_output"]), "{name}");
    }
}

#[test]
fn golden_sampling() {
    let Some(file) = golden("sampling_invariants.json") else { return };
    let mut random = Streams::new(7).stream("golden", &[]);
    for case in file["demo_balance"].as_array().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let (classes, count) = (number("n_labels"), number("n_demos"));
        let example =
            |k: usize| Example { id: k.to_string(), content: Content::One(k.to_string()), class: k % classes };
        let examples: Vec<Example> = (0..20 * classes).map(example).collect();
        let pool = Pool::new(&examples, classes).unwrap();
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..number("draws") {
            let drawn = pool.draw(count, &examples[0], &mut random).unwrap();
            let mut counts: Vec<usize> = (0..classes).map(|c| drawn.iter().filter(|e| e.class == c).count()).collect();
            counts.sort_unstable();
            let text: Vec<String> = counts.iter().map(usize::to_string).collect();
            *found.entry(format!("({})", text.join(", "))).or_default() += 1;
        }
        let expected: BTreeMap<String, u64> =
            serde_json::from_value(case["sorted_label_count_multisets"].clone()).unwrap();
        assert_eq!(found, expected, "{case}");
    }
    for case in file["label_spaces"].as_array().unwrap() {
        let classes = case["n_labels"].as_u64().unwrap() as usize;
        let mode = match text(&case["label_space"]) {
            "number" => Mode::Number,
            "letter" => Mode::Letter,
            _ => Mode::Symbol,
        };
        let words = vec![String::new(); classes];
        for compat in [Compat::Original, Compat::Mended] {
            let (mut seen, mut twice) = (BTreeSet::new(), 0.0);
            for _ in 0..500 {
                let labels = mode.labels(&words, &mut random, compat).unwrap();
                let distinct: BTreeSet<String> = labels.into_iter().collect();
                twice += f64::from(u8::from(distinct.len() < classes));
                seen.extend(distinct);
            }
            let expected: Vec<&str> = case["labels_seen_in_500"].as_array().unwrap().iter().map(text).collect();
            assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{case}");
            let theirs = case["draws_with_duplicate_label"].as_f64().unwrap();
            // Both are counts of 500 draws: five standard deviations of their difference.
            let far = 5.0 * (2.0 * theirs * (1.0 - theirs / 500.0)).sqrt();
            match compat {
                Compat::Original => assert!((twice - theirs).abs() <= far, "{case}: {twice}"),
                Compat::Mended => assert_eq!(twice, 0.0),
            }
        }
    }
}

#[test]
fn golden_evaluate() {
    let Some(file) = golden("evaluate.json") else { return };
    let labels: Vec<&str> = Schema::named("sst2").unwrap().labels.iter().map(String::as_str).collect();
    for case in cases(&file) {
        let [right, answer, response] = ["gt_output", "output_sentence", "full_response"].map(|key| text(&case[key]));
        let found = generated(right, answer, response, &labels, Compat::Original);
        let expected = |key: &str| case["result"][key].as_f64().unwrap();
        assert_eq!(found.accuracy, expected("accuracy"), "{case}");
        assert_eq!(found.accuracy, expected("original_accuracy"), "{case}");
        assert_eq!(found.valid_output, expected("valid_output"), "{case}");
    }
}

#[test]
fn golden_average_episodes() {
    let Some(file) = golden("average_episodes.json") else { return };
    for case in cases(&file) {
        let episodes: Vec<BTreeMap<String, f64>> = serde_json::from_value(case["in"].clone()).unwrap();
        assert_eq!(episodes.len() as u64, case["out"]["num_episodes"].as_u64().unwrap());
        let found = average(&episodes);
        for (name, expected) in case["out"].as_object().unwrap().iter().filter(|(name, _)| *name != "num_episodes") {
            let (mean, deviation): (f64, f64) = serde_json::from_value(expected.clone()).unwrap();
            assert!((found[name].0 - mean).abs() < 1e-12 && (found[name].1 - deviation).abs() < 1e-12, "{case}");
        }
    }
}

#[test]
fn golden_periods() {
    let Some(file) = golden("add_period.json") else { return };
    for case in cases(&file) {
        assert_eq!(with_period(text(&case["in"])), text(&case["out"]), "{case}");
    }
}

#[test]
fn golden_schemas() {
    let Some(file) = golden("dataset_schema.json") else { return };
    let all = file.as_array().map(Vec::as_slice).unwrap_or_else(|| cases(&file));
    for case in all {
        let schema = Schema::named(text(&case["name"])).unwrap();
        assert_eq!(schema.family, text(&case["task"]), "{case}");
        assert_eq!(schema.default_template(), text(&case["default_input_format"]), "{case}");
        assert_eq!(schema.pair, case["pair"].as_bool().unwrap(), "{case}");
        let labels: Vec<&str> = case["labels"].as_object().unwrap().values().map(text).collect();
        assert_eq!(schema.labels, labels, "{case}");
    }
}
