//! Language models through the command: rows from documents, training, text, and what bad input says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/command.rs"]
mod outside;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use assert_cmd::Command;
use outside::{failure, json};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tiny_model::{tesseral, tokenizer, workplace};

fn pack(folder: &Path, from: &str, rows: &str, more: &[&str]) -> Command {
    let mut command = tesseral();
    command.args(["pack", "--json", "--row", "64", "--tokenizer"]).arg(folder.join("model"));
    command.arg("--out").arg(folder.join(rows)).arg(folder.join(from)).args(more);
    command
}

/// Trains the model of the workplace on the rows in `rows`.
fn train(folder: &Path, run: &str, more: &[&str]) -> Command {
    let config = "[model]\npath = \"model\"\n[data.rows]\nfolder = \".\"\nsources = [\"rows\"]\n[train]\nsteps = 6\nbatch = 2\n\
        checkpoint_every = 3\nvalidate_every = 3\n[train.optimizer]\nlearning_rate = 1e-2\n[train.schedule]\nkind = \"constant\"\n\
        [data.validation_text]\npaths = [\"text.jsonl\"]\nrow = 64\nrows = 4\n";
    fs::write(folder.join("train.toml"), config).unwrap();
    let mut command = tesseral();
    command.args(["train", "--json", "--out"]).arg(folder.join(run)).arg(folder.join("train.toml")).args(more);
    command
}

fn weights(folder: &Path, run: &str) -> Vec<u8> {
    fs::read(folder.join(run).join("model/model.safetensors")).unwrap()
}

#[test]
fn documents_become_rows_a_model_and_text() {
    let place = workplace();
    let folder = place.path();
    let packed = json(&mut pack(folder, "text.jsonl", "rows", &["--eos", "<end>", "--zstd"]));
    assert_eq!(packed["documents"], 40);
    assert_eq!(packed["tokens_packed"], 64 * packed["rows"].as_u64().unwrap());

    let report = json(&mut train(folder, "whole", &[]));
    assert_eq!(report["steps"], 6);
    let losses: Vec<f64> = fs::read_to_string(folder.join("whole/metrics.jsonl"))
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["validation"].as_f64())
        .collect();
    assert!(losses.len() >= 2 && losses[losses.len() - 1] < losses[0], "{losses:?}");

    // Stopped half-way and continued: the same bytes. Two shards of each sequence, or layers made again: nearly the same.
    json(&mut train(folder, "halves", &["--set", "train.steps=3"]));
    json(&mut train(folder, "halves", &["--resume"]));
    assert_eq!(weights(folder, "whole"), weights(folder, "halves"));
    // A start that is refused leaves the run that is there as it is.
    let other = ["--set", "train.steps=3", "--set", "seed=7"];
    assert!(failure(&mut train(folder, "whole", &other), 2).contains("expected no checkpoint after step 0"));
    assert!(!fs::read_to_string(folder.join("whole/config.toml")).unwrap().contains("seed = 7"));
    // A stage that keeps the moments of the one before and stops moving some of its weights.
    let groups = "train.optimizer.groups=[{pattern=\"model.embed_tokens\",frozen=true}]";
    json(&mut train(folder, "frozen", &["--set", "model={init_from=\"whole\"}", "--set", groups]));
    for (run, set) in [("shards", "sequence_shards=2"), ("again", "recompute=feed-forward")] {
        let other = json(&mut train(folder, run, &["--set", set]));
        let [a, b] = [&report, &other].map(|r| r["best_validation"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-4, "{run}: {a} {b}");
    }

    let model = folder.join("whole/model");
    let generate = |more: &[&str]| {
        let mut command = tesseral();
        command.args(["generate", "--json", "--prompt", "Document 7", "--max-tokens", "5", "--model"]).arg(&model);
        json(command.args(more))
    };
    let text = generate(&[]);
    assert_eq!(text["tokens"].as_array().unwrap().len(), 5);
    assert_eq!(text["tokens"], generate(&[])["tokens"]);
    assert!(generate(&["--chat"])["prompt_tokens"].as_u64() > text["prompt_tokens"].as_u64());

    let lengths = ["--lengths", "20,80", "--window", "10"];
    let found = json(
        tesseral().args(["perplexity", "--json", "--model"]).arg(&model).args(lengths).arg(folder.join("text.jsonl")),
    );
    assert!(found["perplexity"][1]["perplexity"].as_f64().unwrap() > 1.0);
    let out = folder.join("recall");
    let asked = ["--lengths", "150,400", "--questions", "2", "--texts", "1", "--json", "--out"];
    let found = json(tesseral().arg("recall").arg("--model").arg(&model).args(asked).arg(&out));
    assert_eq!(found["recall"][1]["questions"], 2);
    assert!(fs::read_to_string(out.join("recall.svg")).unwrap().contains("400"));
}

#[test]
fn conversations_are_packed_with_masks_and_trained_on() {
    let place = workplace();
    let folder = place.path();
    let packed = json(&mut pack(folder, "chat.jsonl", "rows", &["--chat", "--by", "best-fit"]));
    let [read, packed_tokens, trained] =
        ["tokens_read", "tokens_packed", "tokens_trained"].map(|key| packed[key].as_u64().unwrap());
    assert_eq!(read, packed_tokens);
    // "A number, k.<end>" of "<user>What is k?<end><assistant>A number, k.<end>".
    assert_eq!(trained, (0..40_usize).map(|k| 12 + k.to_string().len() as u64).sum::<u64>());
    let report = json(&mut train(folder, "tuned", &["--set", "data.rows.instruct_masks=true"]));
    assert!(report["last_loss"].as_f64().unwrap() > 0.0);
}

#[test]
fn bad_documents_write_nothing() {
    let place = workplace();
    let folder = place.path();
    fs::write(folder.join("empty.jsonl"), "").unwrap();
    fs::write(folder.join("binary.jsonl"), [0xff_u8, 0xfe, 0, 1, 2]).unwrap();
    fs::write(folder.join("other.jsonl"), "{\"text\": \"a\"}\n{\"body\": \"b\"}\n").unwrap();
    for (file, more, parts) in [
        ("missing.jsonl", &[][..], &["missing.jsonl"][..]),
        ("empty.jsonl", &[], &["empty.jsonl"]),
        ("binary.jsonl", &[], &["binary.jsonl"]),
        ("other.jsonl", &[], &["other.jsonl", "line 2", "text: expected a text"]),
        ("chat.jsonl", &["--chat=turns"], &["chat.jsonl", "line 1", "turns: expected a list of turns"]),
        ("text.jsonl", &["--refuse-longer"], &["text.jsonl", "document 1", "expected at most 64 tokens"]),
        ("text.jsonl", &["--by", "best-fit"], &["text.jsonl", "document 1", "expected at most 64 tokens"]),
    ] {
        let message = failure(&mut pack(folder, file, "none", more), 1);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!folder.join("none").exists(), "{file}");
    }
    for (more, part) in
        [(&["--by", "lengths"][..], "packing.lengths"), (&["--eos", "<eos>"], "--eos: expected a token")]
    {
        assert!(failure(&mut pack(folder, "text.jsonl", "none", more), 2).contains(part));
    }
}

#[test]
fn bad_models_and_rows_write_nothing() {
    let place = workplace();
    let folder = place.path();
    json(&mut pack(folder, "text.jsonl", "rows", &["--eos", "<end>"]));
    let config = fs::read_to_string(folder.join("model/config.json")).unwrap();
    let parsed: Value = serde_json::from_str(&config).unwrap();
    let changed = |key: &str, value: Value| {
        let mut config = parsed.clone();
        config[key] = value;
        config.to_string()
    };
    let file = |name: &str| folder.join("model").join(name);
    let tensors = fs::read(file("model.safetensors")).unwrap();
    let mut broken = tensors.clone();
    let end = broken.len();
    broken[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let shard = folder.join("rows/shard.00000.mds");
    let mut damaged = fs::read(&shard).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    let breaks: [(PathBuf, Vec<u8>, &[&str]); 7] = [
        (
            file("config.json"),
            changed("hidden_size", json!(32)).into(),
            &["model: ", "lm_head.weight", "expected shape [257, 32], found [257, 16]"],
        ),
        (
            file("config.json"),
            changed("architectures", json!(["GPT2LMHeadModel"])).into(),
            &["config.json", "GPT2LMHeadModel"],
        ),
        (file("model.safetensors"), broken, &["model.safetensors", "NaN"]),
        (file("model.safetensors"), tensors[..tensors.len() / 2].to_vec(), &["model.safetensors"]),
        (file("tokenizer.json"), tokenizer(9).to_string().into(), &["tokenizer.json", "vocabulary", "257", "266"]),
        (shard.clone(), Vec::new(), &["shard.00000.mds"]),
        (shard, damaged, &["shard.00000.mds", "SHA-1"]),
    ];
    for (path, bytes, parts) in breaks {
        let good = fs::read(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let message = failure(&mut train(folder, "none", &[]), 1);
        assert!(parts.iter().all(|part| message.contains(part)), "{}: {message}", path.display());
        assert!(!folder.join("none").exists(), "{}", path.display());
        fs::write(&path, good).unwrap();
    }
    // Not the first row, but the third one.
    let ids: Vec<u8> = (0..192_u16).flat_map(|k| if k == 150 { 999 } else { k % 64 }.to_le_bytes()).collect();
    fs::write(folder.join("ids.bin"), ids).unwrap();
    json(&mut pack(folder, "ids.bin", "others", &["--eos", "0"]));
    let groups = "train.optimizer.groups=[{pattern=\"nosuch\",frozen=true}]";
    for (set, code, parts) in [
        ("data.rows.sources=[\"others\"]", 1, &["others: row 2: input_ids: expected ids below", "257", "999"][..]),
        ("data.rows.instruct_masks=true", 1, &["rows: row 0: mask: expected one", "instruct_masks"]),
        ("sequence_shards=3", 2, &["sequence_shards: expected a divisor of the", "key heads, found 3"]),
        (groups, 2, &["nosuch"]),
        ("data.validation_text.rows=0", 2, &["data.validation_text.rows: expected at least 1, found 0"]),
        (
            "data.validation_recall.far={keys=300,values=300,facts=4,questions=2,batches=2}",
            2,
            &["data.validation_recall.far: expected keys and values for a vocabulary of 257 tokens, found 601"],
        ),
        ("data.validation_text.skip=100000", 1, &["text.jsonl", "expected text for 100001 rows of 64 tokens, found"]),
    ] {
        let message = failure(&mut train(folder, "none", &["--set", set]), code);
        assert!(parts.iter().all(|part| message.contains(part)), "{set}: {message}");
        assert!(!folder.join("none").exists(), "{set}");
    }
    fs::remove_file(folder.join("rows/shard.00000.mds")).unwrap();
    assert!(failure(&mut train(folder, "none", &[]), 1).contains("shard.00000.mds"));
    assert!(failure(&mut train(folder, "none", &["--set", "trian.steps=1"]), 2).contains("trian"));
    assert!(!folder.join("none").exists());
}
