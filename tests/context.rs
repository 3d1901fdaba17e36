//! Parallel contexts through the command: stages of training, perplexity by contexts, text, and what bad input says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/command.rs"]
mod outside;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use assert_cmd::Command;
use outside::{failure, json};
use std::fs;
use std::path::Path;
use tiny_model::{tesseral, workplace};

const CONFIG: &str =
    "[data]\npaths = [\"text.jsonl\"]\ncontexts = 2\ncontext_tokens = 16\ndecoder_tokens = 32\n[train]\nsteps = 3\n";
const SHAPE: &str =
    "model.encoder_shape={hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2}";

fn train(folder: &Path, run: &str, set: &[&str]) -> Command {
    fs::write(folder.join("context.toml"), CONFIG).unwrap();
    let mut command = tesseral();
    command.args(["context", "train", "--json", "--out"]).arg(folder.join(run)).arg(folder.join("context.toml"));
    for set in set {
        command.args(["--set", set]);
    }
    command
}

#[test]
fn stages_perplexity_and_text() {
    let place = workplace();
    let folder = place.path();
    json(&mut train(folder, "masked", &["stage=masked", "model.decoder=model", SHAPE]));
    let warm = json(&mut train(folder, "warm-up", &["stage=warm-up", "model.decoder=model", "model.encoder=masked"]));
    let main = json(&mut train(folder, "main", &["stage=contexts", "model.init_from=warm-up"]));
    assert_eq!((&main["stage"], &main["steps"]), (&"contexts".into(), &3.into()));
    assert_eq!(warm["decoder_sha256"], main["decoder_sha256"]);
    let model = folder.join("main/model");

    let (out, kinds) = (folder.join("perplexity"), "previous,shuffled,dummy,retrieved,in-window,replug");
    let mut command = tesseral();
    command.args(["context", "perplexity", "--json", "--contexts", "0,2", "--kinds", kinds, "--context-tokens", "16"]);
    command
        .args(["--decoder-tokens", "32", "--window", "8", "--windows", "3", "--out"])
        .arg(&out)
        .arg("--model")
        .arg(&model);
    let found = json(command.arg(folder.join("text.jsonl")));
    let points = found["perplexity"].as_array().unwrap();
    assert_eq!(points.len(), 12);
    let first = &points[0]["loss"];
    assert!(points.iter().filter(|p| p["contexts"] == 0).all(|p| &p["loss"] == first));
    assert!(fs::read_to_string(out.join("perplexity.svg")).unwrap().contains("shuffled"));

    fs::write(folder.join("long.txt"), "Document 7 is about the number 49. ".repeat(9)).unwrap();
    let generate = |more: &[&str]| {
        let mut command = tesseral();
        command
            .args(["context", "generate", "--json", "--prompt", "Document", "--max-tokens", "5", "--model"])
            .arg(&model);
        json(command.arg("--context").arg(folder.join("long.txt")).args(["--context-tokens", "64"]).args(more))
    };
    let [states, others] = [generate(&[]), generate(&["--keep", "keys-values", "--block", "64"])];
    assert_eq!(states["tokens"], others["tokens"]);
    assert_eq!((states["contexts"].as_u64(), states["context_tokens"].as_u64()), (Some(5), Some(315)));
    // States of width 8; keys and values of width 16 in two layers.
    assert_eq!(states["context_bytes"], 4 * 8 * 315);
    assert_eq!(others["context_bytes"], 4 * 2 * 2 * 16 * 315);
}

#[test]
fn mistakes_are_named_and_nothing_is_written() {
    let place = workplace();
    let folder = place.path();
    for (set, code, part) in [
        (&["stage=masked", "model.decoder=model"][..], 2, "encoder_shape"),
        (&["stage=sideways"], 2, "sideways"),
        (&["stage=contexts", "model.init_from=nowhere"], 1, "nowhere"),
        (&["stage=contexts", "model.init_from=model"], 1, "encoder_config"),
        (&["stage=warm-up", "model.decoder=model", SHAPE, "data.texts=1000"], 2, "1000 windows"),
        (&["stage=warm-up", "model.decoder=model", SHAPE, "data.mask=1"], 2, "nearest"),
    ] {
        let message = failure(&mut train(folder, "none", set), code);
        assert!(message.contains(part), "{message}");
        assert!(!folder.join("none").exists(), "{part}");
    }
    let mut command = tesseral();
    command.args(["context", "generate", "--prompt", "a", "--model"]).arg(folder.join("model"));
    assert!(failure(&mut command, 1).contains("encoder_config"));
}
