//! Benchmarks through the command: tasks, answers kept and gone on with, results, and what bad input says.
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

const CHOICE: &str = r#"
family = "choice"
name = "parity"
file = "numbers.jsonl"
prompt = "{{ number }} is"
choices = ["even", "odd"]
target = "{{ parity }}"
shots = 1
"#;

const GENERATION: &str = r#"
family = "generation"
name = "next"
file = "numbers.jsonl"
prompt = "After {{ number }} comes"
targets = "next"
[decoding]
max_tokens = 5
stop = ["."]
"#;

/// The tiny model, a table of numbers, and two tasks on it.
fn place() -> TempDir {
    let folder = workplace();
    let row = |n: usize| {
        let parity = ["even", "odd"][n % 2];
        json!({"number": n, "parity": parity, "next": [(n + 1).to_string(), "more"]})
    };
    write_lines(&folder.path().join("numbers.jsonl"), (0..6).map(row));
    fs::create_dir(folder.path().join("tasks")).unwrap();
    fs::write(folder.path().join("tasks/parity.toml"), CHOICE).unwrap();
    fs::write(folder.path().join("tasks/next.toml"), GENERATION).unwrap();
    folder
}

fn run(folder: &Path, model: &str, out: &str) -> Command {
    let mut command = tesseral();
    command.current_dir(folder).args(["eval", "run", "--json", "--tasks", "tasks", "--model", model, "--out", out]);
    command
}

/// The results without their date.
fn results(folder: &Path) -> Value {
    let mut value: Value = serde_json::from_slice(&fs::read(folder.join("results.json")).unwrap()).unwrap();
    assert!(value["date"].as_str().unwrap().starts_with("20"));
    value["date"] = Value::Null;
    value
}

#[test]
fn a_run_that_was_stopped_finishes_with_the_same_bytes() {
    let folder = place();
    let at = |name: &str| folder.path().join(name);
    let printed = json(&mut run(folder.path(), "model", "whole"));
    assert_eq!(printed["n-samples"], json!({"next": 6, "parity": 6}));
    let accuracy = printed["results"]["parity"]["acc,none"].as_f64().unwrap();
    assert!((accuracy * 6.0).fract() == 0.0 && printed["results"]["next"]["parse_failure,none"].is_number());
    // Stopped after some answers, in the middle of a line.
    let answers = fs::read(at("whole/answers.jsonl")).unwrap();
    fs::create_dir(at("stopped")).unwrap();
    fs::write(at("stopped/answers.jsonl"), &answers[..answers.len() * 2 / 3]).unwrap();
    json(&mut run(folder.path(), "model", "stopped"));
    for file in ["answers.jsonl", "samples_parity.jsonl", "samples_next.jsonl", "results.md"] {
        assert!(fs::read(at("whole").join(file)).unwrap() == fs::read(at("stopped").join(file)).unwrap(), "{file}");
    }
    assert_eq!(results(&at("whole")), results(&at("stopped")));
    // Fewer samples, asked alone: the same scores of each.
    json(run(folder.path(), "model", "few").args(["--limit", "2"]));
    let lines = |out: &str| -> Vec<String> {
        fs::read_to_string(at(out).join("samples_parity.jsonl")).unwrap().lines().map(String::from).collect()
    };
    assert_eq!(lines("few"), lines("whole")[..2]);
    assert_eq!(results(&at("few"))["config"]["limit_note"], "for testing only");
    // Kept answers stand for the model.
    json(&mut run(folder.path(), "table:whole/answers.jsonl", "again"));
    assert_eq!(results(&at("again"))["results"], results(&at("whole"))["results"]);
}

#[test]
fn rules_score_as_they_must() {
    let folder = place();
    let found = json(&mut run(folder.path(), "rule:constant:odd", "odd"));
    assert_eq!(found["results"]["parity"]["acc,none"], 0.5);
    let found = json(&mut run(folder.path(), "rule:constant: more", "more"));
    assert_eq!(found["results"]["next"]["exact_match,none"], 1.0);
    let found = json(&mut run(folder.path(), "rule:empty", "empty"));
    assert_eq!(found["results"]["next"]["parse_failure,none"], 1.0);
    // A table for people.
    let mut command = tesseral();
    command.current_dir(folder.path()).args(["eval", "run", "--tasks", "tasks", "--out", "odd"]);
    let output = command.args(["--model", "rule:constant:odd"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("| parity | 1 | 6 | acc | 0.5000 | 0.2236 | 0.000 |"), "{text}");
}

#[test]
fn tasks_are_listed_and_checked_without_a_model() {
    let folder = place();
    let listed = json(tesseral().current_dir(folder.path()).args(["eval", "ls", "--json", "tasks"]));
    assert_eq!(listed[1], json!({"name": "parity", "family": "choice", "file": "tasks/parity.toml"}));
    let checked = json(tesseral().current_dir(folder.path()).args(["eval", "validate", "--json", "tasks"]));
    let prompt = checked[1]["first_request"]["prompt"].as_str().unwrap();
    assert!(prompt.ends_with("\n\n0 is") && prompt.lines().count() == 3, "{prompt}");
}

#[test]
fn bad_tasks_data_and_models_are_told_and_nothing_is_written() {
    let folder = place();
    let at = |name: &str| folder.path().join(name);
    let cases: [(&str, String, &str, i32, &[&str]); 8] = [
        ("tasks/parity.toml", CHOICE.replace("choices", "options"), "rule:empty", 2, &["parity.toml", "options"]),
        ("tasks/parity.toml", CHOICE.replace("\"choice\"", "\"chess\""), "rule:empty", 2, &["parity.toml", "chess"]),
        (
            "tasks/parity.toml",
            CHOICE.replace("{{ number }}", "{{ size }}"),
            "rule:empty",
            1,
            &["row 1", "prompt", "size"],
        ),
        ("tasks/parity.toml", CHOICE.replace("\"odd\"", "\"strange\""), "rule:empty", 1, &["row 2", "target", "odd"]),
        ("tasks/parity.toml", CHOICE.replace("shots = 1", "shots = 6"), "rule:empty", 2, &["shots", "5", "6"]),
        ("tasks/parity.toml", CHOICE.replace("parity\"\nfile", "next\"\nfile"), "rule:empty", 2, &["next", "twice"]),
        ("numbers.jsonl", "{\"number\": 1}\n".into(), "rule:empty", 1, &["numbers.jsonl", "row 1"]),
        ("tasks/none.txt", String::new(), "rule:loud", 2, &["expected empty, echo or constant:TEXT", "loud"]),
    ];
    for (file, text, model, code, expected) in cases {
        let before = fs::read(at(file)).ok();
        fs::write(at(file), text).unwrap();
        let message = failure(&mut run(folder.path(), model, "out"), code);
        for part in expected {
            assert!(message.contains(part), "{file} {model}: expected {part:?} in {message}");
        }
        assert!(!at("out").exists(), "{file}");
        if let Some(bytes) = before {
            fs::write(at(file), bytes).unwrap();
        }
    }
}

#[test]
fn stories_of_a_finished_run_are_judged_by_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let story = |k: usize| json!({"id": k.to_string(), "context": "c", "question": "q?", "answers": ["a"]});
    write_lines(&at("stories.jsonl"), (0..3).map(story));
    fs::create_dir(at("tasks")).unwrap();
    let task = "family = \"helmet\"\ndataset = \"narrativeqa\"\nfile = \"stories.jsonl\"\nshots = 0\n";
    fs::write(at("tasks/story.toml"), task).unwrap();
    json(&mut run(folder.path(), "rule:constant: a", "asked"));
    let judge = |model: &str, prompt: &str, out: &str| {
        fs::write(at("judge.toml"), prompt).unwrap();
        let mut command = tesseral();
        command.current_dir(folder.path()).args(["eval", "helmet", "judge", "asked", "--json", "--out", out]);
        command.args(["--prompts", "judge.toml", "--model", model]);
        command
    };
    let prompt = "judge_prompt = \"{question} {correct_answers} {parsed_output}\"";
    let found = json(&mut judge("rule:constant:{\"fluency\": 1, \"correctness\": 2}", prompt, "judged"));
    let scores = found["results"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&scores["gpt-4-score,none"], &scores["judge_unparsable,none"]), (&json!(2.0), &json!(0.0)));
    assert_eq!(scores["f1,none"], 0.0, "the first scores stay");
    let kept = fs::read_to_string(at("judged/answers.jsonl")).unwrap();
    assert!(kept.contains("correctness"), "{kept}");
    fs::remove_dir_all(at("judged")).unwrap();
    let message = failure(&mut judge("rule:empty", "judge = \"x\"", "judged"), 1);
    assert!(message.contains("judge.toml: judge: expected one of judge_prompt"), "{message}");
    let message = failure(&mut judge("rule:empty", "fluency_prompt = \"{text}\"", "judged"), 1);
    assert!(message.contains("judge_prompt: expected a prompt, found none"), "{message}");
    let message = failure(judge("rule:empty", prompt, "judged").arg("asked"), 2);
    assert!(message.contains("runs: expected each task once"), "{message}");
    let message = failure(&mut judge("rule:empty", prompt, "asked"), 2);
    assert!(message.contains("--out"), "{message}");
    let samples = at("asked/samples_helmet_narrativeqa.jsonl");
    let text = fs::read_to_string(&samples).unwrap();
    fs::write(&samples, text.lines().take(2).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let message = failure(&mut judge("rule:empty", prompt, "judged"), 1);
    assert!(message.contains("expected 3 samples as in results.json, found 2"), "{message}");
}

#[test]
fn accuracy_is_told_by_number_of_demonstrations() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let row = |k: usize| format!("a text of number {k},{}\n", ["bad", "good"][k % 2]);
    fs::write(at("rows.csv"), "text,label\n".to_string() + &(0..40).map(row).collect::<String>()).unwrap();
    fs::create_dir(at("tasks")).unwrap();
    let task = "family = \"in-context\"\nname = \"mood\"\nmodes = [\"gold\", \"letter\"]\ndemonstrations = [2, 4]\n\
        templates = [2]\nexamples = 6\n[data]\npath = \"rows.csv\"\nfamily = \"sentiment\"\n\
        labels = [{ value = \"bad\", word = \"negative\" }, { value = \"good\", word = \"positive\" }]\n";
    fs::write(at("tasks/mood.toml"), task).unwrap();
    json(&mut run(folder.path(), "rule:constant: positive", "positive"));
    json(&mut run(folder.path(), "rule:empty", "nothing"));
    let mut command = tesseral();
    command.current_dir(folder.path()).args(["eval", "in-context", "report", "positive", "nothing", "--json"]);
    let found = json(command.args(["--out", "report"]));
    assert_eq!(found[0]["model"], "positive");
    let row = &found[0]["rows"][1];
    assert_eq!((&row["mode"], &row["demonstrations"], &row["accuracy"]), (&json!("gold"), &json!(4), &json!(0.5)));
    let picture = fs::read_to_string(at("report/by_demonstrations.svg")).unwrap();
    assert!(["positive: mood", "nothing: mood", "letter"].iter().all(|part| picture.contains(part)));
    let mut command = tesseral();
    command.current_dir(folder.path()).args(["eval", "in-context", "report", "tasks"]);
    assert!(failure(&mut command, 1).contains("results.json"));
}
