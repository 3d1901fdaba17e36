//! The floors of the workspace: which crate may use which, how long a file may be, and that every file says what it
//! is for.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest source file, lines.
const LONGEST: usize = 800;

/// Each crate with the crates of the workspace that it may use.
const FLOORS: [(&str, &[&str]); 5] = [
    ("tesseral-datasets", &[]),
    ("tesseral-nn", &["tesseral-datasets"]),
    ("tesseral-physics", &["tesseral-datasets", "tesseral-nn"]),
    ("tesseral-lm", &["tesseral-datasets", "tesseral-nn"]),
    ("tesseral", &["tesseral-datasets", "tesseral-nn", "tesseral-physics", "tesseral-lm"]),
];

/// Foreign crates (by prefix) that a floor must not know.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    ("tesseral-datasets", &["candle", "e3nn"]),
    ("tesseral-nn", &["rust-hdf5", "hdf5"]),
    ("tesseral-physics", &["rust-hdf5", "hdf5", "clap", "plotters", "indicatif"]),
    ("tesseral-lm", &["rust-hdf5", "hdf5", "clap", "plotters", "indicatif"]),
];

/// What `cargo metadata` says: the names of each crate's dependencies (not those of tests), and its folder.
fn packages() -> BTreeMap<String, (Vec<String>, PathBuf)> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
        let names = dependencies.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
        let manifest = Path::new(package["manifest_path"].as_str().unwrap()).to_path_buf();
        (package["name"].as_str().unwrap().to_owned(), (names, manifest.parent().unwrap().to_path_buf()))
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// All sources of a crate: library, tests, examples, benches.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    ["src", "tests", "examples", "benches"].iter().for_each(|part| rust_files(&folder.join(part), &mut found));
    found
}

#[test]
fn dependencies_run_downward() {
    let packages = packages();
    assert_eq!(packages.len(), FLOORS.len(), "a crate is missing in FLOORS: {:?}", packages.keys());
    for (name, allowed) in FLOORS {
        for dependency in packages[name].0.iter().filter(|d| d.starts_with("tesseral")) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not depend on {dependency}");
        }
    }
    for (name, forbidden) in FORBIDDEN {
        for dependency in &packages[name].0 {
            assert!(!forbidden.iter().any(|f| dependency.starts_with(f)), "{name} must not depend on {dependency}");
        }
    }
}

#[test]
fn paths_in_sources_run_downward() {
    let packages = packages();
    for (name, allowed) in FLOORS {
        let mut files = Vec::new();
        rust_files(&packages[name].1.join("src"), &mut files);
        assert!(!files.is_empty());
        let own = name.replace('-', "_");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for (other, _) in FLOORS.iter().filter(|(other, _)| *other != "tesseral") {
                    let path = other.replace('-', "_");
                    let used = code.contains(&format!("{path}::")) || code.contains(&format!("use {path}"));
                    let fine = path == own || allowed.contains(other);
                    assert!(!used || fine, "{}:{}: {name} must not use {other}", file.display(), number + 1);
                }
            }
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut lengths = Vec::new();
    for (folder, file) in
        packages().values().flat_map(|(_, folder)| sources(folder).into_iter().map(move |f| (folder, f)))
    {
        let text = std::fs::read_to_string(&file).unwrap();
        let (lines, name) = (text.lines().count(), file.strip_prefix(folder).unwrap_or(&file).display().to_string());
        assert!(lines <= LONGEST, "{}: {lines} lines, at most {LONGEST}", file.display());
        assert!(text.starts_with("//! "), "{name}: begin with a `//!` line that says what the file is for");
        lengths.push(lines);
    }
    lengths.sort_unstable();
    println!(
        "{} files, median {} lines, longest {}",
        lengths.len(),
        lengths[lengths.len() / 2],
        lengths[lengths.len() - 1]
    );
}
