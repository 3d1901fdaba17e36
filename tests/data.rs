//! `data check | stats | inspect | split` from outside: numbers, rules, equivariance, tables and pictures.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "support/tolerances.rs"]
mod tolerances;

use approx::assert_relative_eq;
use assert_cmd::Command;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tesseral::datasets::deeph::matrix::Entries;
use tesseral::datasets::deeph::{self, ReadOptions, Record, unified};

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample")
}

/// A folder of real data, or `None` with the reason printed.
fn shared(place: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(place);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

fn tesseral() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tesseral"))
}

/// Standard output as JSON, and the exit code.
fn json(command: &mut Command) -> (Value, i32) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.code().unwrap())
}

fn check(path: &Path, more: &[&str]) -> (Value, i32) {
    json(tesseral().args(["data", "check", "--json"]).args(more).arg(path))
}

fn text(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn record() -> Record {
    deeph::read(&sample().join("dft/0001"), &ReadOptions::default()).unwrap()
}

fn reals(entries: &mut Entries) -> &mut Vec<f64> {
    let Entries::Real(values) = entries else { panic!("the sample is real") };
    values
}

/// The rules of the problems, each once.
fn rules(found: &Value) -> Vec<String> {
    found["rules"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_sample_is_sound_and_its_numbers_are_there() {
    let (found, code) = check(&sample(), &[]);
    assert_eq!((code, &found["ok"], &found["problems"]), (0, &true.into(), &Value::Array(vec![])));
    let reports = found["reports"].as_array().unwrap();
    assert_eq!(reports.len(), 34);
    for report in reports {
        assert_eq!((report["atoms"].as_u64(), report["orbitals"].as_u64()), (Some(8), Some(104)), "{report}");
        assert_eq!(report["pairs_outside_overlap"], 0);
        assert_eq!(
            (&report["hamiltonian"]["without_reverse"], &report["hamiltonian"]["hermiticity"]),
            (&0.into(), &0.0.into())
        );
        let smallest = &report["smallest_overlap"];
        let eigenvalue = smallest["eigenvalue"].as_f64().unwrap();
        assert!(eigenvalue > 1e-4 && eigenvalue < 0.1, "{smallest}");
        assert_eq!(smallest["mesh"][2], 1);
        let distance = report["shortest_distance"].as_f64().unwrap();
        assert!(distance > 1.2 && distance < 1.43, "{distance}");
    }
    let (coarse, _) = check(&sample().join("dft/0001"), &["--mesh", "1,1,1"]);
    assert_eq!(coarse["reports"][0]["smallest_overlap"]["k"], serde_json::json!([0.0, 0.0, 0.0]));
    let screen = text(tesseral().args(["data", "check"]).arg(sample()));
    assert!(screen.starts_with("34 structures: ok\n") && screen.contains("eigenvalue of S(k)"), "{screen}");
    assert!(screen.lines().count() < 24, "{screen}");
    tesseral().args(["data", "check", "--mesh", "0,1,1"]).arg(sample()).assert().code(2);
    tesseral().args(["data", "check", "--spacing", "0"]).arg(sample()).assert().code(1);
}

#[test]
fn unsound_physics_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let broken = |name: &str, change: &dyn Fn(&mut Record)| {
        let mut record = record();
        change(&mut record);
        let path = folder.path().join(name);
        unified::write(&record, &path).unwrap();
        check(&path, &[])
    };
    let (found, code) = broken("indefinite", &|record| {
        let overlap = record.overlap.as_mut().unwrap();
        let diagonal = overlap.pairs.iter().position(|pair| *pair == [0; 5]).unwrap();
        let place = overlap.boundaries[diagonal];
        reals(&mut overlap.entries)[place] = 0.01;
    });
    assert_eq!((code, rules(&found)), (1, vec!["positive-definite".to_string()]));
    assert!(found["reports"][0]["smallest_overlap"]["eigenvalue"].as_f64().unwrap() < 0.0);
    assert!(found["problems"][0]["message"].as_str().unwrap().contains("at k = ("), "{found}");

    let move_by = |distance: f64| {
        move |record: &mut Record| {
            let first = record.poscar.positions[0];
            record.poscar.positions[1] = [first[0] + distance, first[1], first[2]];
        }
    };
    let (found, code) = broken("collided", &move_by(0.1));
    assert_eq!((code, rules(&found)), (1, vec!["distance".to_string()]));
    assert_relative_eq!(found["reports"][0]["shortest_distance"].as_f64().unwrap(), 0.1, epsilon = 1e-9);
    let (found, code) = broken("close", &move_by(0.6));
    assert_eq!((code, &found["rules"]["distance"]["warnings"]), (0, &1.into()), "{}", found["problems"]);

    let (found, code) = broken("crooked", &|record| {
        let h = record.hamiltonian.as_mut().unwrap();
        let place = h.boundaries[h.pairs.iter().position(|pair| pair[3] != pair[4]).unwrap()];
        reals(&mut h.entries)[place] += 0.25;
    });
    assert_eq!((code, rules(&found)), (1, vec!["hermiticity".to_string()]));
    let h = &found["reports"][0]["hamiltonian"];
    assert_relative_eq!(h["hermiticity"].as_f64().unwrap(), 0.25, epsilon = 1e-12);
    let screen = text(tesseral().args(["data", "check"]).arg(folder.path()));
    assert!(screen.contains("NOT ok") && screen.contains("crooked") && screen.contains("hermiticity"), "{screen}");
}

#[test]
fn a_set_without_copies_says_so_and_a_wrong_copy_is_an_error() {
    let (found, code) = check(&sample().join("dft/0001"), &["--equivariance"]);
    assert_eq!((code, rules(&found)), (0, vec!["equivariance".to_string()]));
    assert_eq!(found["equivariance"], Value::Array(vec![]));
    // A copy that is moved along, and one whose H is another.
    let folder = tempfile::tempdir().unwrap();
    let mut copy = record();
    copy.poscar.positions.iter_mut().for_each(|r| r[2] += 0.5);
    unified::write(&record(), &folder.path().join("a")).unwrap();
    unified::write(&copy, &folder.path().join("b")).unwrap();
    let (found, code) = check(folder.path(), &["--equivariance"]);
    assert_eq!((code, &found["equivariance"][0]["structures"]), (0, &serde_json::json!(["a", "b"])));
    assert!(found["equivariance"][0]["rmse_ev"].as_f64().unwrap() < 1e-14);
    reals(&mut copy.hamiltonian.as_mut().unwrap().entries).iter_mut().for_each(|x| *x *= 1.1);
    unified::write(&copy, &folder.path().join("b")).unwrap();
    let (found, code) = check(folder.path(), &["--equivariance"]);
    assert_eq!((code, rules(&found)), (1, vec!["equivariance".to_string()]));
    let (_, code) = check(folder.path(), &["--equivariance=10"]);
    assert_eq!(code, 0);
}

#[test]
fn golden_equivariance_of_water() {
    let Some(set) = shared("deeph/analyze/dft_equiv/dft_calc.bak") else { return };
    let (found, code) = check(&set, &["--equivariance"]);
    assert_eq!(code, 0, "{}", found["problems"]);
    let copies = &found["equivariance"][0];
    assert_eq!(copies["structures"], serde_json::json!(["0", "1", "2", "3"]));
    let number = |key: &str| copies[key].as_f64().unwrap();
    let tolerance = tolerances::EQUIVARIANCE;
    assert_relative_eq!(number("mean_h_ev"), 4.624965817517407, max_relative = tolerance);
    assert_relative_eq!(number("rmse_ev"), 2.512059908130085e-5, max_relative = tolerance);
    assert!(number("rmse_gauge_fixed_ev") < number("rmse_ev"));
}

#[test]
fn rotated_crystals_are_found_by_their_geometry() {
    let (Some(graphene), Some(mos2), Some(turned)) =
        (shared("dft/graphene-rotated"), shared("dft/mos2/dft/0000"), shared("dft/mos2-rotated"))
    else {
        return;
    };
    let mut command = tesseral();
    command.args(["data", "check", "--json", "--equivariance"]).args([graphene, mos2, turned]);
    let (found, code) = json(&mut command);
    assert_eq!(code, 0, "{}", found["problems"]);
    let sets = found["equivariance"].as_array().unwrap();
    assert_eq!(sets.iter().map(|set| set["structures"].as_array().unwrap().len()).collect::<Vec<_>>(), [3, 3, 3, 2]);
    // Turned about z by 0.7 in every first copy.
    assert_relative_eq!(sets[0]["angles"][1].as_f64().unwrap(), 0.7, epsilon = 1e-4);
    for set in sets {
        assert!(set["rmse_ev"].as_f64().unwrap() < 2e-6 && set["max_overlap"].as_f64().unwrap() < 1e-8, "{set}");
        assert_eq!(set["pairs_not_common"], 0);
    }
}

#[test]
fn statistics_are_those_of_the_elements() {
    let out = tempfile::tempdir().unwrap();
    let structure = sample().join("dft/0001");
    let mut command = tesseral();
    command.args(["data", "stats", "--json", "--plot", "svg,png"]).arg(&structure).arg("--out").arg(out.path());
    let (found, code) = json(&mut command);
    assert_eq!((code, &found["structures"], &found["atoms"]["most"]), (0, &1.into(), &8.into()));
    // By hand: |H| of the pairs between atoms.
    let record = record();
    let h = record.hamiltonian.as_ref().unwrap();
    let between = |k: &usize| h.pairs[*k][..3] != [0, 0, 0] || h.pairs[*k][3] != h.pairs[*k][4];
    let blocks = || (0..h.pairs.len()).filter(between).map(|k| h.real_block(k).unwrap());
    let (count, sum) =
        blocks().fold((0, 0.0), |(n, sum), b| (n + b.len(), sum + b.iter().map(|x| x.abs()).sum::<f64>()));
    let pair = &found["by_element_pair"][0];
    assert_eq!((&pair["element_pair"], &pair["hamiltonian"]["elements"]), (&"C-C".into(), &count.into()));
    assert_relative_eq!(pair["hamiltonian"]["mean_abs"].as_f64().unwrap(), sum / count as f64, max_relative = 1e-12);
    let total = |list: &str, key: &str| -> u64 {
        found[list].as_array().unwrap().iter().map(|group| group[key].as_u64().unwrap()).sum()
    };
    assert_eq!(total("by_distance", "pairs"), blocks().count() as u64);
    let elements = |list: &str| -> u64 {
        found[list].as_array().unwrap().iter().map(|g| g["hamiltonian"]["elements"].as_u64().unwrap()).sum()
    };
    assert_eq!((elements("by_distance"), elements("by_orbital_pair")), (count as u64, count as u64));
    // The first shell's energy is the mean of its diagonal elements.
    let on_site = |k: &usize| !between(k);
    let diagonal: Vec<f64> = (0..h.pairs.len()).filter(on_site).map(|k| h.real_block(k).unwrap()[[0, 0]]).collect();
    let mean = diagonal.iter().sum::<f64>() / diagonal.len() as f64;
    let shell = &found["on_site"][0];
    assert_eq!((&shell["element"], &shell["shells"]), (&"C".into(), &"s1-s1".into()));
    assert_relative_eq!(shell["diagonal"]["mean"].as_f64().unwrap(), mean, max_relative = 1e-12);
    for file in ["stats.json", "by_distance.csv", "by_orbital_pair.csv", "on_site.csv", "histogram.csv"] {
        assert!(std::fs::read_to_string(out.path().join(file)).unwrap().lines().count() > 1, "{file}");
    }
    for stem in ["decay", "histogram", "pairs"] {
        assert!(std::fs::read_to_string(out.path().join(stem).with_extension("svg")).unwrap().contains("<svg"));
        assert!(std::fs::read(out.path().join(stem).with_extension("png")).unwrap().starts_with(b"\x89PNG"));
    }
    let screen = text(tesseral().args(["data", "stats"]).arg(sample()));
    assert!(screen.starts_with("34 structures") && screen.contains("C-C") && screen.lines().count() < 60, "{screen}");
}

#[test]
fn inspect_prints_a_table_and_split_takes_folders_apart() {
    let screen = text(tesseral().args(["data", "inspect"]).arg(sample()));
    assert!(
        screen.starts_with("34 structures, 34 unified") && screen.contains("C8") && !screen.contains('{'),
        "{screen}"
    );
    assert!(screen.contains("... and 14 more"), "{screen}");
    let (found, _) = json(tesseral().args(["data", "inspect", "--json"]).arg(sample().join("dft/0001")));
    assert_eq!((&found["list"][0]["formula"], &found["list"][0]["matrices"]), (&"C8".into(), &"H S".into()));

    let folder = tempfile::tempdir().unwrap();
    for (tier, count) in [("easy", 8), ("hard", 4)] {
        for n in 0..count {
            let path = folder.path().join(format!("dft/{tier}/{tier}{n}"));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::copy(sample().join("dft/0001/POSCAR"), path.join("POSCAR")).unwrap();
        }
    }
    let mut command = tesseral();
    command.args(["data", "split", "--json", "--by-folder", "--fractions", "0.5,0.25,0.25"]).arg(folder.path());
    let (found, _) = json(&mut command);
    assert_eq!((&found["train"], &found["validate"], &found["test"]), (&6.into(), &3.into(), &3.into()));
    let split: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("dataset_split.json")).unwrap()).unwrap();
    let hard = |part: &str| {
        split[part].as_array().unwrap().iter().filter(|id| id.as_str().unwrap().starts_with("hard")).count()
    };
    assert_eq!(["train", "validate", "test"].map(hard), [2, 1, 1]);
}
