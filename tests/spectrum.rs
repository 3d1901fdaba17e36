//! `physics bands | dos | fermi | eigenvalues | merge` from outside: JSON, tables, DeepH's files, pictures, shards.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/command.rs"]
mod outside;

use assert_cmd::Command;
use outside::failure;
use resvg::tiny_skia::Pixmap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tesseral::datasets::deeph::matrix::Entries;
use tesseral::datasets::hdf5;

/// A structure of the sample: graphene with an uneven layer, 104 orbitals, 32 electrons.
fn structure(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample/dft").join(name)
}

/// A folder of public data; `None`, with a word, where it is not at hand.
fn shared(path: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
    }
    folder.is_dir().then_some(folder)
}

fn physics(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    command.args(["-q", "physics"]).args(arguments);
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// A PNG that decodes and has dark and coloured pixels on white.
fn check_picture(path: &Path) {
    let picture = Pixmap::decode_png(&std::fs::read(path).unwrap()).unwrap();
    let drawn = picture.pixels().iter().filter(|p| p.red() < 200 || p.blue() < 200).count();
    let share = drawn as f64 / picture.pixels().len() as f64;
    assert!(picture.width() > 1000 && share > 0.003 && share < 0.5, "{}: {share}", path.display());
}

/// Every file below a folder but the parts, by its path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "parts" {
                pending.push(path);
            } else if path.is_file() {
                found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn bands_of_a_prediction_are_measured_from_their_own_level() {
    let folder = tempfile::tempdir().unwrap();
    // A folder of a prediction: no hamiltonian.h5.
    let predicted = folder.path().join("predicted/0001");
    std::fs::create_dir_all(&predicted).unwrap();
    for file in ["POSCAR", "info.json", "overlap.h5"] {
        std::fs::copy(structure("0001").join(file), predicted.join(file)).unwrap();
    }
    std::fs::copy(structure("0001").join("hamiltonian.h5"), predicted.join("hamiltonian_pred.h5")).unwrap();
    let out = folder.path().join("out");
    let mut command = physics(&["bands", "--points", "12", "--spacing", "0.6", "--plot", "svg,png"]);
    command.arg(structure("0001")).arg("--hamiltonian").arg(folder.path().join("predicted"));
    let found = json(command.arg("--out").arg(&out));
    assert_eq!(found["names"], serde_json::json!(["DFT", "hamiltonian_pred"]));
    let comparison = &found["comparisons"][0];
    assert!(number(&comparison["band_mae_mev"]) < 1e-6 && number(&comparison["fermi_aligned_mae_mev"]) < 1e-6);
    assert!((number(&found["mesh_fermi_ev"][0]) - number(&found["bands"][1]["fermi_ev"])).abs() < 1e-9);
    check_picture(&out.join("bands.png"));
    assert!(std::fs::read_to_string(out.join("bands.svg")).unwrap().contains("hamiltonian_pred"));
    let table = std::fs::read_to_string(out.join("bands-hamiltonian_pred.csv")).unwrap();
    let points = found["bands"][0]["k"].as_array().unwrap().len();
    assert_eq!((table.lines().count(), table.lines().next().unwrap().split(',').count()), (points + 1, 4 + 104));
    let written = hdf5::File::open(&out.join("band.h5"), hdf5::MAX_BYTES).unwrap();
    let keys = "band_data band_gap band_quantity fermi_energy_before_shift_eV fermi_energy_eV hsk_distance_list \
                hsk_symbol_list hsk_vector_list is_metal k_path_density_list k_path_quantity kpoints_distance_list \
                kpoints_frac_list kpoints_quantity rlv spinful";
    assert_eq!(written.names().unwrap(), keys.split_whitespace().collect::<Vec<_>>());
    assert_eq!(written.header("band_data").unwrap().0, [104, points]);
    assert!(out.join("band-hamiltonian_pred.h5").is_file());

    // The folder itself: its prediction is what it has.
    let found = json(physics(&["fermi", "--spacing", "0.6"]).arg(&predicted));
    assert_eq!((&found["hamiltonian"], &found["electrons"]), (&"hamiltonian_pred".into(), &32.0.into()));
}

#[test]
fn shards_and_their_merge_write_what_one_run_writes() {
    let folder = tempfile::tempdir().unwrap();
    let one: &[&str] = &["0001"];
    let two: &[&str] = &["0001", "0002"];
    let cases: [(&[&str], &[&str]); 5] = [
        (&["bands", "--points", "8", "--plot", "svg,png"], one),
        (&["dos", "--spacing", "0.6", "--window", "-5,5", "--points", "101"], one),
        (&["fermi", "--spacing", "0.6", "--method", "smearing"], one),
        (&["eigenvalues", "--k", "0,0,0", "--k", "0.1,0.2,0"], one),
        (&["fermi", "--spacing", "0.6"], two),
    ];
    for (n, (arguments, names)) in cases.iter().enumerate() {
        let out = |kind: &str| folder.path().join(format!("{n}-{kind}"));
        let command = |kind: &str| {
            let mut command = physics(arguments);
            command.args(names.iter().map(|name| structure(name))).arg("--out").arg(out(kind));
            command
        };
        let whole = json(&mut command("whole"));
        let report = json(command("parts").args(["--shard", "1/2"]));
        assert!(number(&report["missing"]) > 0.0 && number(&report["computed"]) > 0.0, "{report}");
        let message = failure(physics(&["merge"]).arg(out("parts")), 1);
        assert!(message.contains("missing: ") && message.contains(if names.len() > 1 { "0001" } else { "k-00" }));
        // Done parts stay; another number of shards takes up what is left.
        let report = json(command("parts").args(["--shard", "0/1"]));
        assert!(number(&report["missing"]) == 0.0 && number(&report["kept"]) > 0.0, "{report}");
        let merged = json(physics(&["merge"]).arg(out("parts")));
        assert_eq!(whole, merged);
        assert!(files(&out("whole")) == files(&out("parts")), "{arguments:?}: other files");
        assert!(!files(&out("whole")).is_empty());
    }
    // Parts of other options in the same folder.
    let mut command = physics(&["fermi", "--spacing", "0.7", "--shard", "0/1"]);
    command.arg(structure("0001")).arg("--out").arg(folder.path().join("2-parts")).assert().success();
    let message = failure(physics(&["merge"]).arg(folder.path().join("2-parts")), 1);
    assert!(message.contains("spacing: 0.") && message.contains("method"), "{message}");
    assert!(failure(physics(&["merge"]).arg(folder.path()), 1).contains("--shard"));
    failure(physics(&["fermi", "--shard", "2/2", "--out", "x"]).arg(structure("0001")), 2);
    failure(physics(&["fermi", "--shard", "0/2"]).arg(structure("0001")), 2);
}

#[test]
fn several_structures_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = physics(&["fermi", "--spacing", "0.6", "--valence", "C=4"]);
    let found = json(command.args([structure("0001"), structure("0002")]).arg("--out").arg(folder.path()));
    let list = found["structures"].as_array().unwrap();
    assert_eq!((list.len(), &list[1]["structure"], number(&list[1]["electrons"])), (2, &"0002".into(), 32.0));
    let table = std::fs::read_to_string(folder.path().join("fermi.csv")).unwrap();
    assert!(table.lines().count() == 3 && table.lines().nth(2).unwrap().starts_with("0002,DFT,"));
    assert!(folder.path().join("0002/fermi.json").is_file());
}

#[test]
fn density_of_states_counts_the_electrons() {
    let folder = tempfile::tempdir().unwrap();
    for method in ["gaussian", "tetrahedra"] {
        let out = folder.path().join(method);
        let mut command = physics(&["dos", "--method", method, "--spacing", "0.4", "--sigma", "0.02"]);
        command.args(["--window", "-30,0", "--points", "3001", "--plot", "png"]).arg(structure("0001"));
        let found = json(command.arg("--out").arg(&out));
        let curve = &found["curves"][0];
        let below = number(curve["states_below"].as_array().unwrap().last().unwrap());
        assert!((below - 32.0).abs() < 0.3, "{method}: {below}");
        check_picture(&out.join("dos.png"));
        assert_eq!(std::fs::read_to_string(out.join("dos-DFT.csv")).unwrap().lines().count(), 3002);
        let written = hdf5::File::open(&out.join("dos.h5"), hdf5::MAX_BYTES).unwrap();
        let Entries::Real(energies) = written.elements("energy").unwrap().1 else { panic!("complex energies") };
        assert!((energies[0] + 30.0).abs() < 1e-9 && energies[3000].abs() < 1e-9, "from the Fermi level");
    }
}

#[test]
fn wrong_requests_are_told() {
    let one = structure("0001");
    let message = failure(physics(&["fermi", "--valence", "Mo=14", "--spacing", "0.6"]).arg(&one), 1);
    assert!(message.contains("--valence") && message.contains('C'), "{message}");
    failure(physics(&["fermi", "--valence", "Xx=4"]).arg(&one), 2);
    failure(physics(&["fermi", "--method", "magic"]).arg(&one), 2);
    failure(physics(&["bands", "--fermi", "magic"]).arg(&one), 2);
    failure(physics(&["bands", "--plot", "gif"]).arg(&one), 2);
    for wrong in [&["--solver", "sparse", "--overlap-threshold", "0.1"][..], &["--solver", "sparse", "--bands", "0"]] {
        failure(physics(&["bands", "--points", "4"]).args(wrong).arg(&one), 1);
    }
    failure(physics(&["dos", "--mesh", "3,0,1"]).arg(&one), 2);
    assert!(failure(physics(&["dos", "--sigma", "0", "--spacing", "0.6"]).arg(&one), 1).contains("positive"));
    let file = one.join("hamiltonian.h5");
    let message = failure(physics(&["bands"]).args([&one, &structure("0002")]).arg("--hamiltonian").arg(file), 1);
    assert!(message.contains("hamiltonian_pred.h5"), "{message}");
}

#[test]
fn golden_levels_of_public_data() {
    let Some(data) = shared("deeph") else { return };
    let mote2 = data.join("compute/eigen/eigen.clean/MoTe2");
    for method in ["counting", "tetrahedra", "inertia"] {
        let found = json(physics(&["fermi", "--method", method]).arg(&mote2));
        assert!((number(&found["fermi_ev"]) - 8.894_647_969_025).abs() < 1e-8, "{method}: {found}");
        assert!((number(&found["gap_ev"]) - 1.039_98).abs() < 1e-5);
    }
    let folder = tempfile::tempdir().unwrap();
    json(physics(&["bands"]).arg(&mote2).arg("--out").arg(folder.path()));
    let written = hdf5::File::open(&folder.path().join("band.h5"), hdf5::MAX_BYTES).unwrap();
    let one = |key: &str| match written.elements(key).unwrap().1 {
        Entries::Real(values) => values[0],
        Entries::Complex(_) => panic!("{key} is complex"),
    };
    assert!((one("fermi_energy_before_shift_eV") - 8.894_647_969_025).abs() < 1e-8);
    assert!((one("band_gap") - 1.039_98).abs() < 1e-5);
    // The sparse solver finds the same bands next to the level, and knows which they are.
    let all = json(physics(&["bands"]).arg(&mote2));
    let some = json(physics(&["bands", "--solver", "sparse", "--bands", "12"]).arg(&mote2));
    let first = some["first_band"].as_u64().unwrap() as usize;
    assert!(first > 0, "{}", some["first_band"]);
    let k = |found: &Value| found["bands"][0]["energies_ev"].as_array().unwrap().clone();
    for (all, some) in k(&all).iter().zip(k(&some)) {
        for (band, energy) in some.as_array().unwrap().iter().enumerate() {
            assert!((number(energy) - number(&all[first + band])).abs() < 1e-8, "band {}", first + band);
        }
    }
    // Bulk silicon has no K_PATH: its path is that of its symmetry.
    let silicon = json(physics(&["bands", "--points", "40"]).arg(data.join("convert/hopcp/deeph_data/Si")));
    let names: Vec<&str> =
        silicon["bands"][0]["ticks"].as_array().unwrap().iter().filter_map(|t| t[1].as_str()).collect();
    assert!(names.contains(&"L") && names.contains(&"X") && names.contains(&"W"), "{names:?}");
    // Errors of a prediction of water: the gauge alone shifts it by electronvolts.
    let error = data.join("analyze/error");
    let water = error.join("benchmark.bak/dft");
    if let Some(first) = std::fs::read_dir(&water).into_iter().flatten().flatten().map(|e| e.path()).min() {
        let mut command = physics(&["bands", "--points", "4", "--valence", "H=1,O=6", "--spacing", "1"]);
        command.arg(&first).arg("--hamiltonian").arg(error.join("infer.clean"));
        let found = json(&mut command);
        let comparison = &found["comparisons"][0];
        assert!(number(&comparison["fermi_aligned_mae_mev"]) < 10.0, "{comparison}");
        assert!(number(&comparison["band_mae_mev"]) < 10.0, "{comparison}");
    }
}
