//! Tuning through the command: a run that is stopped and gone on with, its replay, every method, and bad input.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/command.rs"]
mod outside;
#[path = "support/tiny_model.rs"]
mod tiny_model;

use assert_cmd::Command;
use outside::{failure, json};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tiny_model::{tesseral, workplace, write_lines};

const TASK: &str = r#"
name = "parity"
prompt = "{{ number }} is"
candidates = ["even", "odd"]
option = " {{ candidate }}"
target = "{{ parity }}"
bare = "This is"
"#;

const ANSWER: &str = r#"
name = "next"
prompt = "After {{ number }} comes"
answers = "next"
option = " {{ candidate }}"
max_tokens = 4
"#;

const CONFIG: &str = r#"
model = "model"
task = "parity.toml"
steps = 12
batch = 4
evaluate_every = 4
[data]
file = "numbers.jsonl"
train = 20
dev = 8
test = 12
[zeroth_order]
learning_rate = 1e-3
"#;

fn place() -> TempDir {
    let folder = workplace();
    let row = |n: usize| {
        let parity = ["even", "odd"][n % 2];
        json!({"number": n, "parity": parity, "next": [(n + 1).to_string()]})
    };
    write_lines(&folder.path().join("numbers.jsonl"), (0..40).map(row));
    for (name, text) in [("parity.toml", TASK), ("next.toml", ANSWER), ("tune.toml", CONFIG)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn tune(folder: &Path, out: &str, set: &[&str]) -> Command {
    let mut command = tesseral();
    command.current_dir(folder).args(["tune", "tune.toml", "--json", "--out", out]);
    for set in set {
        command.args(["--set", set]);
    }
    command
}

fn bytes(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn a_stopped_run_goes_on_and_a_replay_needs_its_scalars_alone() {
    let folder = place();
    let at = folder.path();
    for (name, set) in [
        ("full", &["keep=last"][..]),
        ("low", &["scope.kind=low-rank", "keep=last", "zeroth_order.samples=2"]),
        ("best", &["keep=best", "zeroth_order.rule={kind=\"momentum\",momentum=0.5}"]),
    ] {
        let report = json(&mut tune(at, name, set));
        assert_eq!(report["steps"], 12);
        assert_eq!(report["curve"].as_array().unwrap().len(), 4, "{report}");
        assert!(report["test"]["score"].is_number() && report["test"]["examples"] == 12);
        // Stopped in the middle of a number.
        let whole = bytes(at, &format!("{name}/trajectory.zo"));
        let again = format!("{name}-again");
        fs::create_dir(at.join(&again)).unwrap();
        fs::write(at.join(&again).join("trajectory.zo"), &whole[..whole.len() - 18]).unwrap();
        let lines = String::from_utf8(bytes(at, &format!("{name}/metrics.jsonl"))).unwrap();
        fs::write(at.join(&again).join("metrics.jsonl"), lines).unwrap();
        json(tune(at, &again, set).arg("--resume"));
        for file in ["trajectory.zo", "metrics.jsonl", "model/model.safetensors"] {
            assert!(bytes(at, &format!("{name}/{file}")) == bytes(at, &format!("{again}/{file}")), "{name}: {file}");
        }
        // From the trajectory and the first weights.
        let tested = report["tested_step"].to_string();
        let mut replay = tesseral();
        replay.current_dir(at).args([
            "replay",
            name,
            "--json",
            "--steps",
            &tested,
            "--out",
            &format!("{name}-replayed"),
        ]);
        json(&mut replay);
        let [saved, replayed] = [format!("{name}/model"), format!("{name}-replayed")];
        let file = |folder: &str| bytes(at, &format!("{folder}/model.safetensors"));
        assert!(file(&saved) == file(&replayed), "{name}");
        assert!(file(&saved) != bytes(at, "model/model.safetensors") || tested == "0");
    }
    // A start that is refused leaves the run that is there as it is.
    let before = ["config.toml", "trajectory.zo", "run.json"].map(|file| bytes(at, &format!("full/{file}")));
    let error = failure(&mut tune(at, "full", &["keep=last", "seed=9"]), 2);
    assert!(error.contains("full: expected no trajectory.zo, found one: resume it"), "{error}");
    assert!(before == ["config.toml", "trajectory.zo", "run.json"].map(|file| bytes(at, &format!("full/{file}"))));
    let adapter: Value = serde_json::from_slice(&bytes(at, "low/adapter/adapter_config.json")).unwrap();
    assert_eq!((&adapter["peft_type"], &adapter["r"]), (&json!("LORA"), &json!(8)));
}

#[test]
fn every_method_and_scope_gives_a_test() {
    let folder = place();
    for (name, set) in [
        ("zero-shot", &["method=zero-shot"][..]),
        ("calibrated", &["method=zero-shot", "calibrated=true"]),
        ("in-context", &["method=in-context", "demonstrations=2", "data.longest=60"]),
        ("fresh", &["method=in-context", "demonstrations=2", "fresh_demonstrations=true"]),
        ("probe", &["method=linear-probe"]),
        ("adam", &["method=adam", "steps=4", "adam.learning_rate=1e-2"]),
        ("adam-low", &["method=adam", "steps=2", "scope.kind=low-rank"]),
        ("adam-prefix", &["method=adam", "steps=2", "scope.kind=prefix"]),
        ("prefix", &["scope.kind=prefix", "zeroth_order.epsilon=0.1", "zeroth_order.learning_rate=1e-2"]),
        ("accuracy", &["objective=accuracy", "zeroth_order.epsilon=0.01"]),
        ("teacher", &["objective=teacher-forcing", "steps=2"]),
        ("f1", &["task=next.toml", "objective=f1", "steps=2", "batch=2", "scope.kind=prefix"]),
        ("answers", &["task=next.toml", "objective=teacher-forcing", "steps=2", "batch=2"]),
    ] {
        let report = json(&mut tune(folder.path(), name, set));
        let score = report["test"]["score"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&score), "{name}: {report}");
        assert_eq!(
            report["saved"].is_string(),
            !["zero-shot", "calibrated", "in-context", "fresh", "probe"].contains(&name)
        );
    }
    assert!(folder.path().join("prefix/prefix/prefix.safetensors").is_file());
}

#[test]
fn two_ranks_do_what_one_does() {
    let folder = place();
    let one = json(&mut tune(folder.path(), "one", &["steps=3", "keep=last"]));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rank = |k: usize| {
        let address = format!("ranks.address=\"{free}\"");
        let number = format!("ranks.rank={k}");
        let path = folder.path().to_path_buf();
        std::thread::spawn(move || {
            json(&mut tune(&path, &format!("rank{k}"), &["steps=3", "keep=last", "ranks.count=2", &number, &address]))
        })
    };
    let ranks: Vec<_> = (0..2).map(rank).collect();
    let reports: Vec<Value> = ranks.into_iter().map(|r| r.join().unwrap()).collect();
    let model = |name: &str| bytes(folder.path(), &format!("{name}/model/model.safetensors"));
    assert!(model("rank0") == model("rank1"));
    // The mean of two halves is the whole, to rounding.
    assert_eq!(reports[0]["test"], one["test"]);
}

#[test]
fn bad_input_is_told_before_anything_is_done() {
    let folder = place();
    let fails = |set: &[&str], code: i32| failure(&mut tune(folder.path(), "bad", set), code);
    for (set, code, part) in [
        ("batch=21", 2, "batch: expected 1 to the 20"),
        ("method=guess", 2, "method"),
        ("zeroth_order.eps=1", 2, "nearest: epsilon"),
        ("data.train=35", 1, "expected at least 44 rows"),
        ("task=missing.toml", 1, "missing.toml"),
        ("model=missing", 1, "missing"),
        ("objective=f1", 2, "expected a task whose answers are generated"),
        ("scope={kind=\"low-rank\",matrices=[\"x\"]}", 2, "expected ends of the names of matrices"),
    ] {
        let message = fails(&[set], code);
        assert!(message.contains(part), "{set}: {message}");
    }
    assert!(!folder.path().join("bad/model").exists());
    // Another seed is another run.
    json(&mut tune(folder.path(), "run", &["steps=2"]));
    let message = failure(tune(folder.path(), "run", &["steps=2", "seed=1"]).arg("--resume"), 2);
    assert!(message.contains("another directions (the seed)"), "{message}");
}
