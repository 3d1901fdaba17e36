//! Both models against transformers (vectors made by `benches/peers/entailment.py`).

use super::T5;
use crate::evaluation::entailment::Entailment;
use crate::evaluation::entailment::deberta::Deberta;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Case {
    premise: String,
    hypothesis: String,
    logits: Vec<f32>,
    #[serde(default)]
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/entailment")
}

fn cases(model: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(root().join("logits.json")).unwrap();
    let mut golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(golden[model].take()).unwrap()
}

fn pairs(cases: &[Case]) -> Vec<(&str, &str)> {
    cases.iter().map(|case| (case.premise.as_str(), case.hypothesis.as_str())).collect()
}

fn assert_close(found: &[Vec<f32>], cases: &[Case]) {
    assert_eq!(found.len(), cases.len());
    for (row, case) in found.iter().zip(cases) {
        assert_eq!(row.len(), case.logits.len());
        for (a, b) in row.iter().zip(&case.logits) {
            assert!((a - b).abs() < 1e-4, "{a} {b} for {}", case.hypothesis);
        }
    }
}

#[test]
fn t5_has_the_logits_and_answers_of_transformers() {
    let (model, cases) = (T5::open(&root().join("t5"), None).unwrap(), cases("t5"));
    assert_close(&model.logits(&pairs(&cases)).unwrap(), &cases);
    let expected: Vec<bool> = cases.iter().map(|case| case.text == "1").collect();
    assert!(expected.contains(&true) && expected.contains(&false));
    assert_eq!(model.entails(&pairs(&cases)).unwrap(), expected);
    let probable: Vec<bool> = model.probabilities(&pairs(&cases)).unwrap().iter().map(|p| *p >= 0.5).collect();
    assert_eq!(probable, expected);
}

#[test]
fn t5_cuts_the_premise_and_keeps_the_hypothesis() {
    let model = T5::open(&root().join("t5"), Some(40)).unwrap();
    let long = "the town is in the rain ".repeat(20);
    let (short, cut) = (model.ids(("moose", "deer")).unwrap(), model.ids((&long, "deer")).unwrap());
    assert_eq!(cut.len(), 40);
    assert_eq!(cut[38..], short[short.len() - 2..]);
    assert_eq!(cut[0], short[0]);
}

#[test]
fn deberta_has_the_logits_of_transformers_alone_and_in_a_batch() {
    let (model, cases) = (Deberta::open(&root().join("deberta"), None).unwrap(), cases("deberta"));
    let together = model.logits(&pairs(&cases)).unwrap();
    assert_close(&together, &cases);
    for (pair, row) in pairs(&cases).into_iter().zip(&together) {
        let alone = model.logits(&[pair]).unwrap();
        assert!(alone[0].iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    let expected: Vec<bool> = cases.iter().map(|c| c.logits[0] > c.logits[1] && c.logits[0] > c.logits[2]).collect();
    assert_eq!(model.entails(&pairs(&cases)).unwrap(), expected);
    let probabilities = model.probabilities(&pairs(&cases)).unwrap();
    for (probability, case) in probabilities.iter().zip(&cases) {
        let all: f64 = case.logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        assert!((probability - f64::from(case.logits[0]).exp() / all).abs() < 1e-4);
    }
}

/// A copy of the DeBERTa folder with other labels.
fn relabelled(changes: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tokenizer.json", "model.safetensors"] {
        std::fs::copy(root().join("deberta").join(name), folder.path().join(name)).unwrap();
    }
    let mut config = std::fs::read_to_string(root().join("deberta/config.json")).unwrap();
    for (from, to) in changes {
        assert!(config.contains(from));
        config = config.replace(from, to);
    }
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    folder
}

#[test]
fn the_name_of_a_label_decides_which_class_is_entailment() {
    let folder = relabelled(&[
        ("\"0\": \"entailment\"", "\"0\": \"not_entailment\""),
        ("\"1\": \"neutral\"", "\"1\": \"ENTAILMENT\""),
    ]);
    let (model, cases) = (Deberta::open(folder.path(), None).unwrap(), cases("deberta"));
    let expected: Vec<bool> = cases.iter().map(|c| c.logits[1] > c.logits[0] && c.logits[1] > c.logits[2]).collect();
    assert!(expected.contains(&true));
    assert_eq!(model.entails(&pairs(&cases)).unwrap(), expected);
}

#[test]
fn weights_may_be_in_parts_and_in_files_of_pytorch() {
    let golden = cases("deberta");
    for (file, part) in [("model.safetensors", "part.safetensors"), ("pytorch_model.bin", "part.bin")] {
        let folder = relabelled(&[]);
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        let missing = Deberta::open(folder.path(), None).err().unwrap().to_string();
        assert!(missing.contains("expected model.safetensors or pytorch_model.bin or an index"), "{missing}");
        std::fs::copy(root().join("deberta").join(file), folder.path().join(part)).unwrap();
        let index = folder.path().join(format!("{file}.index.json"));
        std::fs::write(&index, format!("{{\"weight_map\": {{\"a\": {part:?}, \"b\": {part:?}}}}}")).unwrap();
        let model = Deberta::open(folder.path(), None).unwrap();
        assert_close(&model.logits(&pairs(&golden)).unwrap(), &golden);
        std::fs::write(&index, r#"{"weight_map": {"a": "../elsewhere"}}"#).unwrap();
        let outside = Deberta::open(folder.path(), None).err().unwrap().to_string();
        assert!(outside.contains("expected names of files in this folder"), "{outside}");
    }
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let error = |e: Option<crate::Error>| e.unwrap().to_string();
    let wrong = error(T5::open(&root().join("deberta"), None).err());
    assert!(wrong.contains("model_type: expected t5 or mt5, found deberta-v2"), "{wrong}");
    let missing = error(Deberta::open(&root().join("nowhere"), None).err());
    assert!(missing.contains("config.json"), "{missing}");
    let long = error(Deberta::open(&root().join("deberta"), Some(65)).err());
    assert!(long.contains("expected 1 to 64"), "{long}");
    let folder = relabelled(&[("\"entailment\"", "\"LABEL_0\"")]);
    let unnamed = error(Deberta::open(folder.path(), None).err());
    assert!(
        unnamed.contains("expected a label named entailment, found [LABEL_0, contradiction, neutral]"),
        "{unnamed}"
    );
}
