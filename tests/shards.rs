//! `--shard` and `physics merge` for what a trained model does, and for `data check`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use assert_cmd::Command;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample")
}

fn tesseral(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    command.arg("-q").args(arguments);
    command
}

fn json(command: &mut Command) -> (Value, i32) {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text);
    let value = value.unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.code().unwrap())
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Both shards of two, then the merge.
fn in_shards(command: impl Fn() -> Command, out: &Path) -> (Value, i32) {
    for shard in ["1/2", "0/2"] {
        let (report, code) = json(command().args(["--shard", shard]).arg("--out").arg(out));
        assert!(code == 0 && report["computed"].as_u64().unwrap() > 0, "{report}");
        let (report, _) = json(command().args(["--shard", shard]).arg("--out").arg(out));
        assert_eq!(report["computed"], 0, "done parts are not done again");
    }
    json(tesseral(&["physics", "merge"]).arg(out))
}

#[test]
fn predictions_and_evaluations_merge_to_those_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let (config, run) = (folder.path().join("small.toml"), folder.path().join("run"));
    let split = r#"{"train": ["0002", "0004"], "validate": ["0005"], "test": []}"#;
    std::fs::write(folder.path().join("split.json"), split).unwrap();
    let text = format!(
        "[data]\nroots = [{:?}]\nsplit = \"split.json\"\n[covariant]\nblocks = 1\nirreps_embed = \"8x0e\"\n\
         irreps_mid = \"8x0e+4x1o+4x2e\"\nlmax_harmonics = 2\nradial_basis = 16\n[refine]\nwidth = 16\nblocks = 1\n\
         heads = 2\nhidden = 16\n[training.covariant]\nepochs = 1\n[training.refine]\nepochs = 1\n",
        sample()
    );
    std::fs::write(&config, text).unwrap();
    let mut train = tesseral(&["physics", "train", "--plot", "svg,png"]);
    train.arg(&config).arg("--out").arg(&run).assert().success();
    assert!(run.join("plots/loss.png").is_file());

    let structures = ["0001", "0002", "0003"].map(|name| sample().join("dft").join(name));
    let command = |verb: &str| {
        let mut command = tesseral(&["physics", verb]);
        command.arg(&run).args(&structures);
        command
    };
    let out = |name: &str| folder.path().join(name);
    let (whole, _) = json(command("predict").arg("--out").arg(out("whole")));
    let (merged, code) = in_shards(|| command("predict"), &out("parts"));
    assert_eq!((code, &merged["structures"], &whole["structures"]), (0, &3.into(), &3.into()));
    for name in ["0001", "0002", "0003"] {
        let file = |kind: &str| read(&out(kind).join(name).join("hamiltonian_pred.h5"));
        assert!(file("whole") == file("parts"), "{name}");
    }
    // A prediction that was removed is missed.
    std::fs::remove_file(out("parts/0002/hamiltonian_pred.h5")).unwrap();
    tesseral(&["physics", "merge"]).arg(out("parts")).assert().code(1);

    let (whole, _) = json(command("evaluate").arg("--out").arg(out("report")));
    let (merged, code) = in_shards(|| command("evaluate"), &out("report-parts"));
    assert_eq!((code, &merged), (0, &whole));
    for file in ["evaluation.json", "parity.csv", "parity.svg"] {
        assert!(read(&out("report").join(file)) == read(&out("report-parts").join(file)), "{file}");
    }
}

#[test]
fn checks_merge_to_that_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set/dft");
    for name in ["0001", "0002", "0003"] {
        std::fs::create_dir_all(set.join(name)).unwrap();
        for file in ["POSCAR", "info.json", "overlap.h5", "hamiltonian.h5"] {
            std::fs::copy(sample().join("dft").join(name).join(file), set.join(name).join(file)).unwrap();
        }
    }
    let command = || {
        let mut command = tesseral(&["data", "check"]);
        command.arg(folder.path().join("set"));
        command
    };
    let out = |name: &str| folder.path().join(name);
    let (whole, code) = json(command().arg("--out").arg(out("whole")));
    assert_eq!((code, &whole["ok"]), (0, &true.into()));
    let (merged, code) = in_shards(command, &out("parts"));
    assert_eq!((code, &merged), (0, &whole));
    assert!(read(&out("whole/check.json")) == read(&out("parts/check.json")));

    // A structure that changes afterwards spoils its parts; a broken one is an answer, not a failure of the merge.
    let file = set.join("0002/hamiltonian.h5");
    std::fs::write(&file, &read(&file)[..1000]).unwrap();
    let output = tesseral(&["physics", "merge"]).arg(out("parts")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hamiltonian.h5"));
    let (whole, code) = json(&mut command());
    let (merged, again) = in_shards(command, &out("broken"));
    assert_eq!((code, again, &whole), (1, 1, &merged));
}
