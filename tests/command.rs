//! The command from outside: its JSON contract, its errors and exit codes, and the demo from end to end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/command.rs"]
mod outside;

use assert_cmd::Command;
use outside::failure;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tesseral::datasets::deeph::{self, ReadOptions, unified};
use tesseral::physics::hamiltonian::symmetry::hermiticity_residual;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample")
}

fn structure() -> PathBuf {
    sample().join("dft/0001")
}

fn tesseral() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tesseral"))
}

/// A small network that trains in a second or two.
const SMALL: &str = "[covariant]\nblocks = 1\nirreps_embed = \"8x0e\"\nirreps_mid = \"8x0e+4x1o+4x2e\"\nlmax_harmonics = 2\n\
    radial_basis = 16\n[refine]\nwidth = 16\nblocks = 1\nheads = 2\nhidden = 16\n[training.covariant]\nepochs = 1\n\
    [training.refine]\nepochs = 1\n";

/// The configuration of [`SMALL`] on two structures of the sample, in `folder`.
fn small_config(folder: &Path) -> PathBuf {
    let split = r#"{"train": ["0002", "0004"], "validate": ["0005"], "test": []}"#;
    std::fs::write(folder.join("split.json"), split).unwrap();
    let data = format!("[data]\nroots = [{:?}]\nsplit = \"split.json\"\n", sample());
    let file = folder.join("small.toml");
    std::fs::write(&file, format!("{data}{SMALL}")).unwrap();
    file
}

fn train_small(folder: &Path) -> PathBuf {
    let run = folder.join("run");
    let config = small_config(folder);
    tesseral().args(["-q", "physics", "train"]).arg(config).arg("--out").arg(&run).assert().success();
    run
}

/// Standard output as JSON, and the exit code.
fn json(command: &mut Command) -> (Value, i32) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.code().unwrap())
}

/// A copy of a structure of the sample that may be broken.
fn copied(folder: &Path) -> PathBuf {
    let copy = folder.join("broken");
    std::fs::create_dir_all(&copy).unwrap();
    for file in ["POSCAR", "info.json", "overlap.h5", "hamiltonian.h5"] {
        std::fs::write(copy.join(file), std::fs::read(structure().join(file)).unwrap()).unwrap();
    }
    copy
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn help_and_usage() {
    tesseral().arg("--help").assert().success();
    for verb in ["train", "evaluate", "predict", "bands", "eigenvalues", "fermi", "bench"] {
        tesseral().args(["physics", verb, "--help"]).assert().success();
    }
    failure(tesseral().arg("nonsense"), 2);
    failure(tesseral().args(["physics", "bands"]), 2);
    failure(tesseral().args(["physics", "eigenvalues", ".", "--k", "0,0"]), 2);
    failure(tesseral().args(["physics", "bench", ".", "--frobnicate"]), 2);
    let message = failure(tesseral().args(["data", "check", ".", "--set", "seed=1"]), 2);
    assert!(message.contains("--set"), "{message}");
}

#[test]
fn a_good_set_passes_and_a_broken_one_is_told() {
    let (found, code) = json(tesseral().args(["data", "check", "--json"]).arg(sample()));
    assert_eq!((code, &found["ok"], &found["structures"]), (0, &Value::Bool(true), &Value::from(34)));
    assert_eq!(found["problems"], Value::Array(vec![]));

    let folder = tempfile::tempdir().unwrap();
    let copy = copied(folder.path());
    let whole = std::fs::read(copy.join("hamiltonian.h5")).unwrap();
    std::fs::write(copy.join("hamiltonian.h5"), &whole[..whole.len() / 2]).unwrap();
    let (found, code) = json(tesseral().args(["data", "check", "--json"]).arg(&copy));
    assert_eq!((code, &found["ok"]), (1, &Value::Bool(false)));
    let problem = &found["problems"][0];
    assert_eq!(problem["structure"], "broken");
    assert!(
        problem["rule"].is_string() && problem["message"].as_str().unwrap().contains("hamiltonian.h5"),
        "{problem}"
    );
}

#[test]
fn inspects_splits_and_converts() {
    let (found, _) = json(tesseral().args(["data", "inspect", "--json"]).arg(structure()));
    assert_eq!((&found["structures"], &found["atoms"]), (&Value::from(1), &serde_json::json!([8, 8])));
    let folder = tempfile::tempdir().unwrap();
    let (legacy, back) = (folder.path().join("legacy"), folder.path().join("back"));
    tesseral().args(["data", "convert", "--to", "legacy"]).arg(structure()).arg(&legacy).assert().success();
    tesseral().args(["data", "convert"]).arg(&legacy).arg(&back).assert().success();
    let read = |path: &Path| deeph::read(path, &ReadOptions::default()).unwrap();
    assert_eq!(read(&back).hamiltonian, read(&structure()).hamiltonian);
    failure(tesseral().args(["data", "convert"]).arg(&legacy).arg(&back), 1);
    let split = folder.path().join("split.json");
    let (found, _) = json(tesseral().args(["data", "split", "--json"]).arg(sample()).arg("--out").arg(&split));
    assert_eq!((&found["train"], &found["validate"], &found["test"]), (&27.into(), &4.into(), &3.into()));
    failure(tesseral().args(["data", "split"]).arg(sample()), 1);
}

#[test]
fn eigenvalues_and_fermi_level_are_those_of_the_dft_code() {
    let text = std::fs::read_to_string(structure().join("reference.json")).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let points = ["--k", "0,0,0", "--k", "0.137,0.291,0"];
    let (found, _) = json(tesseral().args(["physics", "eigenvalues", "--json"]).args(points).arg(structure()));
    assert_eq!(found["k"], serde_json::json!([[0.0, 0.0, 0.0], [0.137, 0.291, 0.0]]));
    for (n, entry) in reference["eigenvalues"].as_array().unwrap().iter().enumerate() {
        let (ours, theirs) = (numbers(&found["eigenvalues_ev"][n]), numbers(&entry["eigenvalues_eV"]));
        assert_eq!(ours.len(), 104);
        // Occupied and eight more; the highest ones feel the pair radius (datasets/sample/README.md).
        let worst = ours.iter().zip(&theirs).take(24).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-3, "k point {n}: {worst} eV");
    }
    assert!(numbers(&found["min_overlap_eigenvalue"]).iter().all(|s| *s > 1e-4 && *s < 1.0));

    let (found, _) = json(tesseral().args(["physics", "fermi", "--json"]).arg(structure()));
    let fermi = found["fermi_ev"].as_f64().unwrap();
    // A denser mesh than the DFT's 3 x 3 and no smearing.
    assert!((fermi - reference["fermi_energy_eV"].as_f64().unwrap()).abs() < 0.1, "{fermi}");
    assert_eq!(found["electrons"].as_f64(), Some(32.0));
    assert!(found["gap_ev"].as_f64().unwrap() >= 0.0 && found["method"] == "counting");
}

#[test]
fn bands_are_drawn_with_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("bands");
    let mut command = tesseral();
    command.args(["physics", "bands", "--json", "--points", "20"]).arg(structure()).arg("--out").arg(&out);
    let (found, _) = json(command.arg("--hamiltonian").arg(structure().join("hamiltonian.h5")));
    assert_eq!(found["names"], serde_json::json!(["DFT", "hamiltonian"]));
    assert!(found["comparisons"][0]["band_mae_mev"].as_f64().unwrap() < 1e-6);
    assert_eq!(found["bands"][0]["ticks"][2][1], "K");
    let picture = std::fs::read_to_string(out.join("bands.svg")).unwrap();
    assert!(picture.contains("Γ") && out.join("bands.json").exists() && out.join("bands-DFT.csv").exists());
}

#[test]
fn a_configuration_is_checked_with_all_its_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, "sed = 1\n[covariant]\nblock = 2\n").unwrap();
    let message = failure(tesseral().args(["config", "check"]).arg(&file), 2);
    assert!(message.contains("sed") && message.contains("seed"), "{message}");
    assert!(message.contains("covariant.block") && message.contains("blocks"), "{message}");
    let (found, code) = json(tesseral().args(["config", "check", "--json"]).arg(&file));
    assert_eq!((code, &found["ok"], found["problems"].as_array().unwrap().len()), (2, &false.into(), 2));
    failure(tesseral().args(["physics", "train"]).arg(&file).arg("--out").arg(folder.path().join("run")), 2);
    assert!(!folder.path().join("run").exists());
    let template = tesseral().args(["config", "init", "physics"]).output().unwrap().stdout;
    let file = folder.path().join("template.toml");
    std::fs::write(&file, template).unwrap();
    tesseral().args(["config", "check"]).arg(&file).assert().success();
}

#[test]
fn bench_keeps_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let config = small_config(folder.path());
    let mut command = tesseral();
    command.args(["physics", "bench", "--json", "--repeats", "2", "--config"]).arg(config).arg(structure());
    let (found, _) = json(&mut command);
    for key in ["edges", "forward_edges_per_s", "train_edges_per_s", "peak_rss_mb", "gemm_share"] {
        assert!(found[key].as_f64().unwrap() > 0.0, "{key}: {found}");
    }
}

#[test]
fn predictions_are_hermitian_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let run = train_small(folder.path());
    for file in [
        "config.toml",
        "run.json",
        "stage1/metrics.jsonl",
        "stage1/metrics.csv",
        "stage2/checkpoints",
        "plots/loss.svg",
    ] {
        assert!(run.join(file).exists(), "{file}");
    }
    let about: Value = serde_json::from_str(&std::fs::read_to_string(run.join("run.json")).unwrap()).unwrap();
    let time = |key: &str| about[key].as_str().unwrap_or_else(|| panic!("{key}: {about}")).to_owned();
    assert!(time("start") <= time("end") && time("start").ends_with('Z'), "{about}");
    // A run is not overwritten.
    failure(tesseral().args(["physics", "train"]).arg(small_config(folder.path())).arg("--out").arg(&run), 1);

    let out = folder.path().join("predicted");
    tesseral().args(["physics", "predict"]).arg(&run).arg(structure()).arg("--out").arg(&out).assert().success();
    let predicted = unified::read_matrix(&out.join("0001/hamiltonian_pred.h5")).unwrap();
    let known = deeph::read(&structure(), &ReadOptions::default()).unwrap();
    assert_eq!(predicted.pairs, known.hamiltonian.as_ref().unwrap().pairs);
    assert!(hermiticity_residual(&predicted).unwrap() < 1e-12);
    let copy = deeph::read(&out.join("0001"), &ReadOptions { hamiltonian: false, ..ReadOptions::default() }).unwrap();
    assert_eq!((copy.overlap, copy.poscar.symbols), (known.overlap, known.poscar.symbols));

    let report = folder.path().join("report");
    let mut command = tesseral();
    command.args(["physics", "evaluate", "--json"]).arg(&run).arg(structure()).arg("--out").arg(&report);
    let (found, _) = json(&mut command);
    assert_eq!(found["structures"], 1);
    for (stage, name) in found["stages"].as_array().unwrap().iter().zip(["stage1", "stage2"]) {
        assert_eq!(stage["stage"], name);
        for key in ["mae_mev", "mae_gauge_fixed_mev", "rmse_mev", "equivariance_error_mev"] {
            assert!(stage[key].as_f64().unwrap() >= 0.0, "{key}");
        }
        assert!(!stage["by_orbital_pair"].as_array().unwrap().is_empty());
    }
    assert!(report.join("parity.svg").exists() && report.join("parity.csv").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_is_saved_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let (config, run) = (small_config(folder.path()), folder.path().join("run"));
    let mut train = std::process::Command::new(env!("CARGO_BIN_EXE_tesseral"))
        .args(["-q", "physics", "train", "--set", "training.covariant.epochs=1000000"])
        .arg(&config)
        .arg("--out")
        .arg(&run)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = || std::fs::metadata(run.join("stage1/metrics.jsonl")).is_ok_and(|file| file.len() > 0);
    let start = std::time::Instant::now();
    while !begun() {
        assert!(train.try_wait().unwrap().is_none() && start.elapsed().as_secs() < 60, "no step was made");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::process::Command::new("kill").arg("-INT").arg(train.id().to_string()).status().unwrap();
    assert_eq!(train.wait().unwrap().code(), Some(130));
    assert!(std::fs::read_dir(run.join("stage1/checkpoints")).unwrap().count() > 0);
    assert!(!run.join("stage1/model.safetensors").exists());
    let mut resume = tesseral();
    resume.args(["-q", "physics", "train", "--resume"]).arg(&config).arg("--out").arg(&run).assert().success();
    assert!(run.join("stage2/model.safetensors").exists());
}

#[test]
fn bad_input_is_one_clear_error_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = train_small(folder.path());
    let out = folder.path().join("out");
    let predict = |structure: &Path| {
        let message =
            failure(tesseral().args(["physics", "predict"]).arg(&run).arg(structure).arg("--out").arg(&out), 1);
        assert!(!out.exists(), "{message}");
        message
    };
    assert!(predict(Path::new("/nowhere/at/all")).contains("/nowhere/at/all"));

    let copy = copied(folder.path());
    std::fs::remove_file(copy.join("overlap.h5")).unwrap();
    assert!(predict(&copy).contains("overlap.h5"));

    let copy = copied(folder.path());
    let whole = std::fs::read(copy.join("overlap.h5")).unwrap();
    std::fs::write(copy.join("overlap.h5"), &whole[..whole.len() / 2]).unwrap();
    assert!(predict(&copy).contains("overlap.h5"));

    let copy = copied(folder.path());
    let write = |file: &str, element: &str, shells: &str| {
        let text = std::fs::read_to_string(structure().join(file)).unwrap();
        let line = |line: &str| if line.trim() == "C" { element.to_owned() } else { line.to_owned() };
        let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
        let text = text.replace("\"C\": [0, 0, 1, 1, 2]", &format!("{element:?}: {shells}"));
        std::fs::write(copy.join(file), text).unwrap();
    };
    write("POSCAR", "Xx", "");
    assert!(predict(&copy).contains("Xx"));
    // Known to info.json but not to the model.
    write("POSCAR", "Si", "");
    write("info.json", "Si", "[0, 0, 1, 1, 2]");
    let message = predict(&copy);
    assert!(message.contains("14") || message.contains("Si"), "{message}");
    // The same element with other shells: a checkpoint of another basis.
    write("POSCAR", "C", "");
    write("info.json", "C", "[1, 0, 0, 1, 2]");
    assert!(predict(&copy).contains("basis"), "another basis");

    let copy = copied(folder.path());
    let mut overlap = unified::read_matrix(&structure().join("overlap.h5")).unwrap();
    (overlap.pairs, overlap.shapes, overlap.boundaries) = (vec![], vec![], vec![0]);
    overlap.entries = deeph::matrix::Entries::Real(vec![]);
    unified::write_matrix(&copy.join("overlap.h5"), &overlap, unified::Precision::F64).unwrap();
    let message = predict(&copy);
    assert!(message.contains("pair"), "{message}");

    let fresh = folder.path().join("fresh");
    let config = small_config(folder.path());
    let mut command = tesseral();
    command.args(["physics", "train", "--set", "data.roots=[\"/nowhere\"]"]).arg(config).arg("--out").arg(&fresh);
    assert!(failure(&mut command, 1).contains("/nowhere"));
    assert!(!fresh.exists());
    let missing = failure(tesseral().args(["physics", "evaluate", "/nowhere/run"]).arg(structure()), 1);
    assert!(missing.contains("/nowhere/run"), "{missing}");
    let missing = failure(tesseral().args(["physics", "train", "/nowhere.toml", "--out"]).arg(&fresh), 2);
    assert!(missing.contains("/nowhere.toml"), "{missing}");
}

#[test]
fn the_demo_runs_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let mut command = tesseral();
    // Narrow, so that a debug or busy machine is through in time; the widths change no step of it.
    let set = ["covariant.irreps_mid=\"8x0e+4x1o+4x2e+4x3o+4x4e\"", "covariant.blocks=1", "refine.width=16"];
    command.args(["demo", "-q", "--json", "--minutes", "0.1", "--out"]).arg(&out);
    for set in set {
        command.args(["--set", set]);
    }
    let (printed, code) = json(&mut command);
    assert_eq!(code, 0);
    let text = std::fs::read_to_string(out.join("metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metrics, printed);
    for path in [
        "/stage1/test_mae_mev",
        "/stage1/continued_test_mae_mev",
        "/stage2/test_mae_mev",
        "/equivariance_error_mev/stage1",
        "/equivariance_error_mev/stage2",
        "/band_mae_mev",
        "/train_edges_per_s",
        "/seconds",
    ] {
        let value = metrics.pointer(path).and_then(Value::as_f64);
        assert!(value.is_some_and(|v| v.is_finite() && v >= 0.0), "{path}: {value:?}");
    }
    for file in [
        "bands/bands.svg",
        "bands/bands.json",
        "plots/loss.svg",
        "plots/parity.svg",
        "prediction/0001/hamiltonian_pred.h5",
    ] {
        assert!(out.join(file).exists(), "{file}");
    }
    // Again at the same place: an earlier demo is replaced.
    command.assert().success();
    let message = failure(tesseral().args(["demo", "--minutes=-1", "--out"]).arg(folder.path().join("no")), 2);
    assert!(message.contains("minutes") && !folder.path().join("no").exists(), "{message}");
}
