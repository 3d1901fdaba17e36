//! Pruning through the command: a smaller model that is an ordinary one, the same run in pieces, and what bad input says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/command.rs"]
mod outside;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use assert_cmd::Command;
use outside::{failure, json};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tesseral::lm::configuration::Configuration;
use tesseral::lm::pruning::{PruneConfig, prune};
use tesseral::nn::train::observer::Step;
use tesseral::nn::train::{Observer, Silent};
use tiny_model::{tesseral, workplace, write_lines};

const TARGET: &str = "layers=1,heads=1,hidden=12,intermediate=16";

const SETTINGS: &str = "[loading.update]\nrule = \"doremi\"\n[data]\nrow = 32\nheld_out = 2\n[train]\nsteps = 12\nbatch = 2\nvalidate_every = 4\ncheckpoint_every = 5\n\
    [train.optimizer]\nlearning_rate = 1e-3\nbetas = [0.9, 0.95]\nclip = { norm = 1.0 }\n[train.schedule]\nkind = \"cosine\"\n\
    warmup_steps = 2\n[continued]\nsteps = 4\nbatch = 2\nvalidate_every = 2\n[continued.optimizer]\nlearning_rate = 1e-3\n";

/// Two domains beside the model of the workplace.
fn domains(folder: &Path) {
    for (name, text) in [("letters", "alphabet and other words "), ("numbers", "12 345 6789 0 ")] {
        fs::create_dir_all(folder.join("data").join(name)).unwrap();
        let line = |k: usize| serde_json::json!({"text": format!("{text}{k} ").repeat(4)});
        write_lines(&folder.join("data").join(name).join("text.jsonl"), (0..30).map(line));
    }
    fs::write(folder.join("prune.toml"), SETTINGS).unwrap();
}

fn command(folder: &Path, run: &str, target: &str) -> Command {
    let mut command = tesseral();
    command.arg("prune").arg(folder.join("prune.toml")).args(["--json", "--target", target, "--model"]);
    command.arg(folder.join("model")).arg("--data").arg(folder.join("data")).arg("--out").arg(folder.join(run));
    command
}

#[test]
fn a_smaller_model_is_an_ordinary_one() {
    let place = workplace();
    let folder = place.path();
    domains(folder);
    let report = json(&mut command(folder, "run", TARGET));
    assert_eq!(report["target"]["hidden"], 12);
    assert_eq!(report["kept"]["hidden"].as_array().unwrap().len(), 12);
    assert!(report["agreement"]["difference"].as_f64().unwrap() < 1e-4);
    let weights = report["domains"].as_array().unwrap().iter().map(|d| d["weight"][1].as_f64().unwrap());
    assert!((weights.sum::<f64>() - 1.0).abs() < 1e-9);
    let table = fs::read_to_string(folder.join("run/report.txt")).unwrap();
    assert!(table.contains("removed") && table.contains("16 of 24"), "{table}");
    assert!(fs::read_to_string(folder.join("run/pruning.svg")).unwrap().contains("weight of the domain"));
    // config.json, tensors and tokenizer; a head is as wide as before.
    let config: Value = serde_json::from_slice(&fs::read(folder.join("run/model/config.json")).unwrap()).unwrap();
    assert_eq!((&config["head_dim"], &config["num_attention_heads"]), (&8.into(), &1.into()));
    for model in ["run/model", "run/continued/model"] {
        let mut generate = tesseral();
        generate.args(["generate", "--json", "--prompt", "12 3", "--max-tokens", "3", "--model"]);
        assert_eq!(json(generate.arg(folder.join(model)))["tokens"].as_array().unwrap().len(), 3);
    }
    // A start that is refused leaves the run that is there as it is.
    let before = ["config.toml", "run.json"].map(|file| fs::read(folder.join("run").join(file)).unwrap());
    let error = failure(command(folder, "run", TARGET).args(["--set", "seed=9"]), 2);
    assert!(error.contains("expected no checkpoint after step 0"), "{error}");
    assert!(before == ["config.toml", "run.json"].map(|file| fs::read(folder.join("run").join(file)).unwrap()));
    // And it trains on.
    let train =
        "[model]\npath = \"run/model\"\n[data.text]\npaths = [\"data/numbers\"]\nrow = 32\n[train]\nsteps = 2\n";
    fs::write(folder.join("on.toml"), train).unwrap();
    let mut more = tesseral();
    more.args(["train", "--json", "--out"]).arg(folder.join("on")).arg(folder.join("on.toml"));
    assert_eq!(json(&mut more)["steps"], 2);
}

/// Asks to stop after a step.
struct StopAt<'a>(u64, &'a AtomicBool);

impl Observer for StopAt<'_> {
    fn on_step(&mut self, step: Step) {
        if step.step == self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_run_in_pieces_is_the_same_run() {
    let place = workplace();
    let folder = place.path();
    domains(folder);
    let mut config = PruneConfig::read(&folder.join("prune.toml"), &[]).unwrap();
    config.source = folder.join("model");
    config.data.folder = folder.join("data");
    config.target = TARGET.parse().unwrap();
    let whole = prune(&config, &folder.join("whole"), false, &mut Silent, &AtomicBool::new(false)).unwrap();
    // Stopped between two validations, so that weights of domains, masks and multipliers are all half-way.
    let pieces = folder.join("pieces");
    for (k, step) in [3, 7].into_iter().enumerate() {
        let stop = AtomicBool::new(false);
        let error = prune(&config, &pieces, k > 0, &mut StopAt(step, &stop), &stop).unwrap_err().to_string();
        assert_eq!(error, format!("interrupted at step {step}"));
    }
    let report = prune(&config, &pieces, true, &mut Silent, &AtomicBool::new(false)).unwrap();
    for file in
        ["metrics.jsonl", "model/model.safetensors", "continued/metrics.jsonl", "continued/model/model.safetensors"]
    {
        assert_eq!(fs::read(folder.join("whole").join(file)).unwrap(), fs::read(pieces.join(file)).unwrap(), "{file}");
    }
    assert_eq!(whole.domains, report.domains);
    assert_eq!(whole.kept, report.kept);
    // Weights of domains did move.
    assert!(whole.domains.iter().any(|d| (d.weight.0 - d.weight.1).abs() > 1e-6));
}

#[test]
fn mistakes_are_told_at_once_and_nothing_is_written() {
    let place = workplace();
    let folder = place.path();
    domains(folder);
    let message = failure(
        command(folder, "run", "layers=5,heads=3,hidden=12").args(["--set", "loading.losses={letters=1.0,other=2.0}"]),
        2,
    );
    let parts =
        ["layers: expected 1 to the model's 2", "heads: expected 1 to the model's 2", "found other", "for numbers"];
    for part in parts {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!folder.join("run").exists());
    let message = failure(&mut command(folder, "run", "width=12"), 2);
    assert!(message.contains("expected layers, heads, hidden or intermediate"), "{message}");
    fs::write(folder.join("bad.toml"), "[target]\nlayer = 1\n").unwrap();
    let check = |file: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
        command.args(["config", "check"]).arg(folder.join(file));
        command
    };
    assert!(failure(&mut check("bad.toml"), 2).contains("target.layer: unknown key; nearest: layers"));
    let message = failure(command(folder, "run", TARGET).args(["--set", "train.batch=0"]), 2);
    assert!(message.contains("train.batch"), "{message}");
    let message = failure(command(folder, "run", TARGET).args(["--set", "data.held_out=5000"]), 2);
    assert!(message.contains("domain letters: expected more rows"), "{message}");
    fs::remove_file(folder.join("model/tokenizer.json")).unwrap();
    let message = failure(&mut command(folder, "run", TARGET), 2);
    assert!(message.contains("tokenizer"), "{message}");
}
