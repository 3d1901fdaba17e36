//! Screenshot models through the command: a text drawn, a run, its evaluation, and what bad input says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/command.rs"]
mod outside;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use outside::{failure, json};
use serde_json::json;
use std::fs;
use std::path::Path;
use tiny_model::{tesseral, tokenizer, write_lines};

const CONFIG: &str = "seed = 1\n[render]\nwidth = 320\n[writing]\nprefix = \"\"\nmask_token = \"extra0\"\ndrawn_mask = \"_\"\n\
    [data]\npaths = [\"text.jsonl\"]\nvalidation_paths = [\"text.jsonl\"]\ntokenizer = \"tokenizer.json\"\ntokens = 12\npages = 4\n\
    [model.shape.vision_config]\nhidden_size = 16\nnum_hidden_layers = 1\nnum_attention_heads = 2\nintermediate_size = 16\n\
    decoder_hidden_size = 8\ndecoder_num_hidden_layers = 1\ndecoder_num_attention_heads = 1\ndecoder_intermediate_size = 8\n\
    [model.shape.text_config]\nvocab_size = 258\nhidden_size = 16\nd_kv = 8\nd_ff = 16\nnum_layers = 1\nnum_heads = 2\n\
    max_positions = 16\n[train]\nsteps = 4\ncheckpoint_every = 2\nvalidate_every = 2\n";

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("tokenizer.json"), tokenizer(1).to_string()).unwrap();
    write_lines(&at("text.jsonl"), (0..12).map(|k| json!({"text": format!("number {k}"), "label": k % 3})));
    fs::write(at("masked.toml"), CONFIG).unwrap();
    folder
}

fn screenshot(folder: &Path, verb: &str, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = tesseral();
    command.current_dir(folder).args(["screenshot", verb]).args(arguments);
    command
}

#[test]
fn a_text_is_drawn_and_a_model_learns_to_read() {
    let place = workplace();
    let folder = place.path();
    let drawn = json(&mut screenshot(folder, "render", &["some words", "--out", "a.png", "--width", "160", "--json"]));
    assert_eq!((&drawn["drawn_bytes"], &drawn["height"]), (&json!(10), &json!(16)));
    assert!(fs::read(folder.join("a.png")).unwrap().starts_with(b"\x89PNG"));

    let train = |out: &str, more: &[&str]| {
        json(screenshot(folder, "train", &["masked.toml", "--json", "--out", out]).args(more))
    };
    let report = train("whole", &[]);
    assert_eq!((&report["steps"], &report["texts"]), (&json!(4), &json!(12)));
    train("halves", &["--set", "train.steps=2", "--set", "train.schedule.kind=constant"]);
    train("straight", &["--set", "train.schedule.kind=constant"]);
    train("halves", &["--resume", "--set", "train.schedule.kind=constant"]);
    let weights = |run: &str| fs::read(folder.join(run).join("model/model.safetensors")).unwrap();
    assert_eq!(weights("halves"), weights("straight"));
    let found = json(&mut screenshot(folder, "evaluate", &["whole", "--json"]));
    assert_eq!((&found["objective"], &found["texts"]), (&json!("masked"), &json!(12)));
    assert!(found["visible_wrong_image"]["loss"].as_f64().unwrap() > 0.0);

    let tune = ["--set", "objective=classification", "--set", "model.path=whole/model", "--set", "train.steps=2"];
    let without: String = CONFIG.lines().filter(|l| !l.starts_with("[model")).collect::<Vec<_>>().join("\n");
    let without = without.split("hidden_size").next().unwrap().to_string() + "\n[train]\n";
    fs::write(folder.join("classes.toml"), without).unwrap();
    json(screenshot(folder, "train", &["classes.toml", "--json", "--out", "classes"]).args(tune));
    let found = json(&mut screenshot(folder, "evaluate", &["classes", "text.jsonl", "--json"]));
    assert_eq!(found["objective"], "classification");
    assert!((found["majority"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9);
}

#[test]
fn bad_input_is_told_and_nothing_is_written() {
    let place = workplace();
    let folder = place.path();
    let render = |more: &[&str], code| failure(screenshot(folder, "render", &["a", "--out", "b.png"]).args(more), code);
    assert!(render(&["--width", "100"], 2).contains("multiples of 16"));
    assert!(render(&["--width", "0"], 2).contains("width: expected 1 to"));
    assert!(render(&["--font", "text.jsonl"], 1).contains("text.jsonl: expected a font"));
    assert!(render(&["--font", "nowhere.ttf"], 1).contains("nowhere.ttf"));
    assert!(render(&["--set", "a=1"], 2).contains("no configuration"));
    assert!(!folder.join("b.png").exists());
    let train = |set: &str, code| {
        failure(&mut screenshot(folder, "train", &["masked.toml", "--out", "none", "--set", set]), code)
    };
    assert!(train("data.text_masks=0.5", 2).contains("data.text_masks: unknown key; nearest: text_mask"));
    assert!(train("data.text_mask=1.5", 2).contains("data.text_mask: expected a number in [0, 1)"));
    assert!(train("model.shape.text_config.vocab_size=20", 2).contains("vocabulary of 20"));
    assert!(train("writing.mask_token=nothing", 2).contains("mask_token: expected a token of"));
    assert!(failure(&mut screenshot(folder, "evaluate", &["nowhere"]), 1).contains("nowhere/config.toml"));
}
