//! `physics compare` from outside: its JSON, tables and pictures, how it pairs folders, and its errors.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/tolerances.rs"]
mod tolerances;

#[path = "support/command.rs"]
mod outside;

use assert_cmd::Command;
use outside::{failure, json};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tesseral::datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral::datasets::deeph::unified::Precision;
use tesseral::datasets::deeph::{self, ReadOptions, legacy, unified};
use tesseral::physics::hamiltonian::gauge;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample")
}

fn compare(reference: &Path, prediction: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    command.args(["-q", "physics", "compare", "--json", "--reference"]).arg(reference);
    command.arg("--prediction").arg(prediction);
    command
}

/// H of a structure of the sample with `error` (eV) on the diagonal of the first block and 2 S added.
fn prediction(id: &str, error: f64) -> BlockMatrix {
    let record = deeph::read(&sample().join("dft").join(id), &ReadOptions::default()).unwrap();
    let mut matrix = gauge::shifted(&record.hamiltonian.unwrap(), &record.overlap.unwrap(), 2.0).unwrap();
    let place = matrix.pairs.iter().position(|pair| *pair == [0; 5]).unwrap();
    let mut block = matrix.real_block_mut(place).unwrap();
    block.diag_mut().iter_mut().for_each(|h| *h += error);
    matrix
}

/// A set of predictions as DeepH writes them: single precision, nothing but the matrix.
fn predictions(folder: &Path, ids: &[&str], error: f64) -> PathBuf {
    for id in ids {
        let target = folder.join("dft").join(id);
        std::fs::create_dir_all(&target).unwrap();
        let file = target.join("hamiltonian_pred.h5");
        unified::write_matrix(&file, &prediction(id, error), Precision::F32).unwrap();
    }
    folder.to_path_buf()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

#[test]
fn compares_a_set_and_writes_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let predicted = predictions(&folder.path().join("predicted"), &["0001", "0002"], 0.05);
    let out = folder.path().join("out");
    let mut command = compare(&sample(), &predicted);
    let found = json(command.args(["--mesh", "2,2,1", "--plot", "svg,png", "--out"]).arg(&out));
    assert_eq!(found["structures"], 2);
    assert_eq!(found["without_prediction"].as_array().unwrap().len(), 32);
    assert_eq!(found["without_reference"], Value::Array(vec![]));
    for key in ["elements", "mae_mev", "rmse_mev", "relative", "mae_gauge_fixed_mev", "relative_gauge_fixed"] {
        assert!(number(&found[key]) > 0.0, "{key}");
    }
    // 13 of all elements are off by 50 meV, less what the gauge takes of it.
    assert!(number(&found["mae_mev"]) > 10.0 * number(&found["mae_gauge_fixed_mev"]));
    let largest = &found["largest_gauge_fixed"];
    assert_eq!((&largest["pair"], &largest["element_pair"]), (&serde_json::json!([0, 0, 0, 0, 0]), &"C-C".into()));
    assert!((40.0..50.1).contains(&number(&largest["error_mev"])), "{largest}");
    for list in ["by_element_pair", "by_orbital_pair", "by_distance", "by_structure"] {
        let entries = found[list].as_array().unwrap();
        assert!(!entries.is_empty() && entries.iter().all(|e| e["mae_gauge_fixed_mev"].is_number()), "{list}");
        let elements: f64 = entries.iter().map(|entry| number(&entry["elements"])).sum();
        assert_eq!(elements, number(&found["elements"]), "{list}");
    }
    assert_eq!(found["by_distance"][0]["to"], 0.0);
    let spectrum = &found["spectrum"];
    assert_eq!((&spectrum["structures"], &spectrum["ghost_states"]), (&2.into(), &0.into()));
    assert!(number(&spectrum["band_mae_mev"]) > 0.1 && number(&spectrum["similarity_mean"]) > 0.99);
    assert_eq!(spectrum["by_structure"][0]["electrons_from"], "occupation");
    assert_eq!(spectrum["by_structure"][0]["mesh"], serde_json::json!([2, 2, 1]));

    let written: Value = serde_json::from_str(&std::fs::read_to_string(out.join("comparison.json")).unwrap()).unwrap();
    assert_eq!(written, found);
    for (name, lines) in [("by_element_pair", 2), ("by_structure", 3), ("spectrum", 3)] {
        let text = std::fs::read_to_string(out.join(format!("{name}.csv"))).unwrap();
        assert_eq!(text.lines().count(), lines, "{name}");
        let columns = |line: &str| line.split(',').count();
        assert!(text.lines().all(|line| columns(line) == columns(text.lines().next().unwrap())), "{name}");
    }
    for name in ["by_orbital_pair.csv", "by_distance.csv", "orbitals.csv", "parity.csv"] {
        assert!(out.join(name).exists(), "{name}");
    }
    for name in ["parity", "distance", "orbitals-C-C"] {
        assert!(std::fs::read_to_string(out.join(format!("{name}.svg"))).unwrap().contains("<svg"), "{name}");
        assert!(std::fs::read(out.join(format!("{name}.png"))).unwrap().starts_with(b"\x89PNG"), "{name}");
    }
    // For a person: one screen.
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    command.args(["-q", "physics", "compare", "--no-spectrum", "--reference"]).arg(sample());
    let output = command.arg("--prediction").arg(&predicted).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("gauge fixed") && text.contains("32 without prediction"), "{text}");
    assert!(text.lines().count() < 50 && !text.contains("spectrum"), "{text}");
}

#[test]
fn files_folders_and_other_orders_pair_up() {
    let folder = tempfile::tempdir().unwrap();
    let reference = sample().join("dft/0001");
    // One reference and one file, whatever their names.
    let file = folder.path().join("mine.h5");
    unified::write_matrix(&file, &prediction("0001", 0.0), Precision::F64).unwrap();
    let found = json(compare(&reference, &file).arg("--no-spectrum"));
    assert!((number(&found["mae_gauge_fixed_mev"])).abs() < 1e-9 && found["spectrum"].is_null());
    assert_eq!(found["by_structure"][0]["structure"], "0001");
    assert!((number(&found["by_structure"][0]["mu_mev"]) - 2000.0).abs() < 1e-9);
    // A folder's own H is a prediction too: a set against itself; legacy against unified.
    let found = json(compare(&reference, &reference).args(["--spacing", "1.0"]));
    assert_eq!((number(&found["mae_mev"]), number(&found["relative"])), (0.0, 0.0));
    assert_eq!((number(&found["spectrum"]["band_mae_mev"]), number(&found["spectrum"]["gap_mae_mev"])), (0.0, 0.0));
    assert!((number(&found["spectrum"]["similarity_worst"]) - 1.0).abs() < 1e-9);
    let record = deeph::read(&reference, &ReadOptions::default()).unwrap();
    legacy::write(&record, &folder.path().join("0001")).unwrap();
    let found = json(compare(&folder.path().join("0001"), &reference).arg("--no-spectrum"));
    assert_eq!(number(&found["max_mev"]), 0.0);
    // With an overlap threshold bands of the prediction lose what S hardly carries.
    let found = json(compare(&reference, &file).args(["--mesh", "1,1,1", "--overlap-threshold", "0.01"]));
    assert_eq!(found["spectrum"]["overlap_threshold"], 0.01);
    assert!(number(&found["spectrum"]["by_structure"][0]["dropped"]) >= 0.0);
}

#[test]
fn shards_and_their_merge_equal_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let predicted = predictions(&folder.path().join("predicted"), &["0001", "0002", "0004"], 0.03);
    let whole = folder.path().join("whole");
    let options = ["--mesh", "2,1,1", "--out"];
    let once = json(compare(&sample(), &predicted).args(options).arg(&whole));
    let parts = folder.path().join("parts");
    for shard in ["0/2", "1/2"] {
        let found = json(compare(&sample(), &predicted).args(options).arg(&parts).args(["--shard", shard]));
        assert_eq!((&found["shard"], &found["units"]), (&shard.into(), &3.into()));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    let merged = json(command.args(["-q", "physics", "merge", "--json"]).arg(&parts));
    assert_eq!(merged, once);
    for name in ["comparison.json", "by_structure.csv", "orbitals.csv", "parity.csv", "spectrum.csv", "distance.svg"] {
        assert_eq!(std::fs::read(parts.join(name)).unwrap(), std::fs::read(whole.join(name)).unwrap(), "{name}");
    }
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let reference = sample().join("dft/0001");
    let message = failure(&mut compare(&sample(), folder.path()), 1);
    assert!(message.contains("hamiltonian_pred.h5"), "{message}");
    failure(&mut compare(&folder.path().join("nowhere"), &sample()), 1);
    failure(compare(&sample(), &sample()).args(["--mesh", "0,1,1"]), 2);
    failure(compare(&sample(), &sample()).args(["--mesh", "1,1,1", "--spacing", "0.1"]), 2);
    failure(compare(&reference, &reference).args(["--overlap-threshold", "0"]), 1);

    // Names that do not meet.
    let predicted = predictions(&folder.path().join("a"), &["0001", "0002"], 0.0);
    std::fs::rename(predicted.join("dft/0001"), predicted.join("dft/x")).unwrap();
    std::fs::rename(predicted.join("dft/0002"), predicted.join("dft/y")).unwrap();
    let message = failure(compare(&sample(), &predicted).arg("--no-spectrum"), 1);
    assert!(message.contains("0000") && message.contains('x'), "{message}");

    // Another structure's matrix, NaN, a truncated file.
    let file = folder.path().join("wrong.h5");
    let mut wrong = prediction("0001", 0.0);
    if let Entries::Real(values) = &mut wrong.entries {
        values[7] = f64::NAN;
    }
    unified::write_matrix(&file, &wrong, Precision::F64).unwrap();
    let message = failure(compare(&reference, &file).arg("--no-spectrum"), 1);
    assert!(message.contains("wrong.h5") && message.contains("entries[7]"), "{message}");
    let mut fewer = prediction("0001", 0.0);
    fewer.pairs[1] = [50, 0, 0, 0, 0];
    unified::write_matrix(&file, &fewer, Precision::F64).unwrap();
    let message = failure(compare(&reference, &file).arg("--no-spectrum"), 1);
    assert!(message.contains("wrong.h5") && message.contains("0001"), "{message}");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert!(failure(compare(&reference, &file).arg("--no-spectrum"), 1).contains("wrong.h5"));
}

#[test]
fn golden_error_demo_through_the_command() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/deeph/analyze/error");
    if !folder.is_dir() {
        println!("skipped: {} is not here", folder.display());
        return;
    }
    let found = json(&mut compare(&folder.join("benchmark.bak"), &folder.join("infer.clean")));
    assert_eq!((&found["structures"], &found["elements"]), (&6.into(), &3174.into()));
    assert!((number(&found["mae_gauge_fixed_mev"]) - 0.11367).abs() < tolerances::DEMO_MAE_MEV);
    assert!((number(&found["mae_mev"]) - 1045.9).abs() < tolerances::DEMO_RAW_MEV);
    assert!((number(&found["relative_gauge_fixed"]) - 2.50294e-4).abs() < tolerances::DEMO_RELATIVE);
    assert!((number(&found["orbital_average_mev"]) - 0.09821).abs() < tolerances::DEMO_MAE_MEV);
    assert!((number(&found["element_pair_average_mev"]) - 0.1203).abs() < tolerances::DEMO_PAIR_MEV);
    assert_eq!(found["spectrum"]["by_structure"][0]["electrons_from"], "density_matrix");
}
