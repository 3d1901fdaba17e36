//! Packing, mixing, collation and sequence-parallel parts against ProLong's own code (golden `prolong`).
#![allow(clippy::unwrap_used, clippy::panic)] // clippy spares only the functions marked #[test]

#[path = "../../tests/support/prolong.rs"]
mod golden;

use serde_json::Value;
use tesseral_lm::data::collate::{Batch, Collator, RunningTokens, ranks};
use tesseral_lm::data::mixing::{Share, quotas};
use tesseral_lm::data::packing::{Document, Method, Packing, pack};
use tesseral_lm::data::rows::Row;
use tesseral_nn::optim::{Schedule, ScheduleConfig, ScheduleKind};

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{e}: {value}"))
}

fn row(value: &Value) -> Row {
    Row {
        input_ids: read(&value["input_ids"]),
        documents: read::<Option<_>>(&value["indices"]).unwrap_or_default(),
        mask: read(&value["mask"]),
        domain: read::<Option<_>>(&value["domain"]).unwrap_or_default(),
    }
}

#[test]
fn golden_packing() {
    let Some(golden) = golden::json("prolong", "packing.json") else { return };
    let documents: Vec<Vec<u32>> = read(&golden["docs"]);
    for (name, case) in golden["cases"].as_object().unwrap() {
        let options = &case["opts"];
        let number = |key: &str| options[key].as_u64().map(|n| n as usize);
        let token = |key: &str| options[key].as_u64().map(|n| n as u32);
        let method = match options.get("split_by_lengths") {
            Some(lengths) => Method::Lengths(read(lengths)),
            None => Method::Single {
                min_length: number("min_length").unwrap_or(1),
                intact: options["intact"].as_bool().unwrap_or(false),
                overlap: number("overlap").unwrap_or(0),
                continuation: options["use_for_mos"].as_str().and_then(|name| token(&format!("{name}_id"))),
            },
        };
        let packing = Packing {
            bos: token("bos_id"),
            eos: token("eos_id"),
            method,
            ..Packing::new(number("pack_length").unwrap())
        };
        let rows = pack(&packing, documents.iter().cloned().map(Document::from)).unwrap();
        let mut expected: Vec<Row> = case["out"].as_array().unwrap().iter().map(row).collect();
        // The vectors list one folder of rows after the other.
        let mut sorted = rows.clone();
        sorted.sort_by(|a, b| a.domain.cmp(&b.domain));
        expected.sort_by(|a, b| a.domain.cmp(&b.domain));
        assert_eq!(sorted, expected, "{name}");
    }
}

#[test]
fn golden_mixing_counts() {
    let Some(golden) = golden::json("prolong", "mixing.json") else { return };
    let cases = golden.as_object().unwrap().iter().filter(|(_, case)| case.get("normalised").is_some());
    let mut seen = 0;
    for (name, case) in cases {
        let shares = case["normalised"].as_object().unwrap();
        let sources: Vec<(usize, Share)> =
            shares.values().map(|p| (1, Share::Proportion(p.as_f64().unwrap()))).collect();
        let epoch: usize = read(&case["epoch_size_sequences"]);
        // The original's shuffle seed: that of training, 42.
        let ours = quotas(&sources, Some(epoch), 42).unwrap();
        let theirs: Vec<usize> = case["choose"].as_object().unwrap().values().map(read).collect();
        assert_eq!(ours, theirs, "{name}");
        seen += 1;
    }
    assert!(seen > 0);
}

#[test]
fn golden_collator() {
    let Some(golden) = golden::json("prolong", "collator.json") else { return };
    let rows: Vec<Row> = golden["features"].as_array().unwrap().iter().map(row).collect();
    for (name, expected) in golden["outputs"].as_object().unwrap() {
        if name == "negative_item_cost" {
            // A row without boundaries is one document.
            let whole = |r: &Row| Row { documents: vec![(0, r.input_ids.len() as u32)], ..r.clone() };
            let ours = rows.iter().map(|r| if r.documents.is_empty() { whole(r).cost() } else { r.cost() });
            assert_eq!(ours.map(|cost| -(cost as i64)).collect::<Vec<_>>(), read::<Vec<i64>>(expected));
            continue;
        }
        let limit: String = name.chars().filter(char::is_ascii_digit).collect();
        let collator = Collator {
            instruct_masks: name.contains("instruct"),
            single_sequence: name == "single_seq",
            max_tokens: limit.parse().ok(),
        };
        let batch = collator.batch(&rows).unwrap();
        assert_eq!(batch.input_ids, read::<Vec<u32>>(&expected["input_ids"]), "{name}");
        assert_eq!(batch.labels, read::<Vec<i64>>(&expected["labels"]), "{name}");
        assert_eq!(batch.segments, read::<Vec<usize>>(&expected["seq_lengths"]), "{name}");
    }
}

#[test]
fn golden_sequence_parallel() {
    let Some(golden) = golden::json("prolong", "sequence_parallel.json") else { return };
    for (name, case) in golden.as_object().unwrap().iter().filter(|(_, case)| case.is_object()) {
        let segments: Vec<usize> = read(&case["seq_lengths"]);
        let positions = segments.iter().flat_map(|&n| 0..n as u32).collect();
        let batch = Batch {
            input_ids: read(&case["input_ids"]),
            labels: read(&case["labels"]),
            segments: segments.clone(),
            positions,
        };
        let parts = ranks::split(&batch, read(&case["world"])).unwrap();
        let theirs = case["ranks"].as_array().unwrap();
        assert_eq!(parts.len(), theirs.len());
        for (part, rank) in parts.iter().zip(theirs) {
            assert_eq!(part.input_ids, read::<Vec<u32>>(&rank["input_ids"]), "{name}");
            assert_eq!(part.shifted_labels, read::<Vec<i64>>(&rank["shifted_labels"]), "{name}");
            assert_eq!([part.offset], read::<[usize; 1]>(&rank["position_ids"]), "{name}");
            let lengths: Vec<usize> = read(&rank["seq_lengths"]);
            if name.contains("issue17") {
                // The original forgets what lies on other ranks; here every rank knows whole documents.
                assert_ne!(part.segments, lengths, "{name}");
                assert_eq!(part.segments, segments, "{name}");
            } else {
                assert_eq!(part.segments, lengths, "{name}");
            }
        }
    }
}

#[test]
fn golden_running_tokens() {
    let Some(golden) = golden::json("prolong", "token_scaled_loss.json") else { return };
    let mut running = RunningTokens::default();
    let valid: Vec<f64> = read(&golden["example"]["valid_per_microstep_devmean"]);
    let ours: Vec<f64> = valid.into_iter().map(|n| running.update(n)).collect();
    assert_eq!(ours, read::<Vec<f64>>(&golden["example"]["A_t"]));
}

#[test]
fn golden_schedules() {
    let Some(golden) = golden::json("prolong", "lr_schedule.json") else { return };
    let cases: Vec<_> = golden.as_object().unwrap().values().filter(|case| case["lr_at"].is_object()).collect();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let rate = case["base_lr"].as_f64().unwrap();
        let config = ScheduleConfig {
            kind: ScheduleKind::Cosine,
            warmup_steps: read(&case["warmup_steps"]),
            minimum_rate: rate * case["min_lr_ratio"].as_f64().unwrap(),
            ..ScheduleConfig::default()
        };
        let schedule = Schedule::new(config, rate, read(&case["steps"])).unwrap();
        for (step, expected) in case["lr_at"].as_object().unwrap() {
            let found = schedule.learning_rate(step.parse().unwrap());
            assert!((found - expected.as_f64().unwrap()).abs() < 1e-12 * rate, "{step}: {found} {expected}");
        }
    }
}
