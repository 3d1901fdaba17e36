//! Random and damaged input: an error or a value, never a panic. `TESSERAL_FUZZ_CASES` raises the number of cases.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy spares only the functions marked #[test]

mod common;

use std::path::Path;

use proptest::prelude::*;
use tesseral_datasets::deeph::{self, ReadOptions, info::Info};
use tesseral_datasets::poscar::Poscar;
use tesseral_datasets::split::Split;

const POSCAR: &str = "water\n1.0\n 10 0 0\n 0 10 0\n 0 0 10\nO H\n1 2\nSelective dynamics\nDirect\n 0.1 0.2 0.3 T T F\n \
                      1 2 3 H\n 4e-1 5 6\n";
const INFO: &str = r#"{"atoms_quantity": 3, "orbits_quantity": 23, "orthogonal_basis": false, "spinful": false,
    "fermi_energy_eV": -1.5, "elements_orbital_map": {"O": [0, 0, 1, 1, 2], "H": [0, 0, 1]}, "occupation": 8}"#;
const SPLIT: &str = r#"{"train": ["a", "b"], "validate": ["c"], "test": []}"#;

fn cases() -> ProptestConfig {
    let cases = std::env::var("TESSERAL_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What reads must be in order and write back to itself.
fn parse_all(text: &str) {
    let here = Path::new("x");
    if let Ok(poscar) = Poscar::parse(text, here) {
        assert_eq!(poscar.symbols.len(), poscar.positions.len());
        assert!(poscar.positions.iter().flatten().all(|x| x.is_finite()));
        let again = Poscar::parse(&poscar.to_string(), here).unwrap();
        assert_eq!((again.symbols, again.positions), (poscar.symbols, poscar.positions));
    }
    if let Ok(info) = Info::parse(text, here) {
        assert_eq!(Info::parse(&info.to_json().to_string(), here).unwrap(), info);
    }
    let _ = Split::parse(text, here);
}

/// Replaces, inserts or removes pieces of a valid file.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("-1".to_string()),
        Just("1e999".into()),
        Just("nan".into()),
        Just("99999999999999999999".into()),
        Just("\n".into()),
        Just("".into()),
        Just("{[\"".into()),
        Just("null".into()),
        "\\PC{0,8}",
        "[0-9eE.+-]{1,12}",
    ];
    proptest::collection::vec((0..text.len(), 0..6_usize, piece), 1..4).prop_map(move |edits| {
        let mut text = text.to_string();
        for (at, length, piece) in edits {
            let boundary = |text: &str, mut k: usize| {
                k = k.min(text.len());
                while !text.is_char_boundary(k) {
                    k -= 1;
                }
                k
            };
            let (a, b) = (boundary(&text, at), boundary(&text, at + length));
            text.replace_range(a..b, &piece);
        }
        text
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_all(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn damaged_poscar(text in mutated(POSCAR)) {
        parse_all(&text);
    }

    #[test]
    fn damaged_info(text in mutated(INFO)) {
        parse_all(&text);
    }

    #[test]
    fn damaged_split(text in mutated(SPLIT)) {
        parse_all(&text);
    }
}

/// A whole folder whose Hamiltonian has bytes changed, in both layouts.
fn damaged_matrix(name: &str, legacy: bool, edits: &[(usize, u8)]) {
    thread_local! {
        static FOLDERS: [(tempfile::TempDir, std::path::PathBuf); 2] = {
            let (parent, path) = common::folder(true);
            let old = tempfile::tempdir().unwrap();
            let folder = old.path().join("old");
            deeph::legacy::write(&common::record(true), &folder).unwrap();
            [(parent, path), (old, folder)]
        };
    }
    FOLDERS.with(|folders| {
        let file = folders[usize::from(legacy)].1.join(name);
        let good = std::fs::read(&file).unwrap();
        let mut bytes = good.clone();
        for (at, byte) in edits {
            let at = at % bytes.len();
            bytes[at] = *byte;
        }
        std::fs::write(&file, &bytes).unwrap();
        let _ = deeph::read(file.parent().unwrap(), &ReadOptions::default());
        std::fs::write(&file, &good).unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases().cases / 4, ..cases() })]

    #[test]
    fn damaged_unified(edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        damaged_matrix("hamiltonian.h5", false, &edits);
    }

    #[test]
    fn damaged_unified_header(edits in proptest::collection::vec((0..3000_usize, any::<u8>()), 1..4)) {
        damaged_matrix("hamiltonian.h5", false, &edits);
    }

    #[test]
    fn damaged_legacy(edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        damaged_matrix("hamiltonians.h5", true, &edits);
    }

    #[test]
    fn hdf5_of_random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let mut file = b"\x89HDF\r\n\x1a\n".to_vec();
        file.extend(bytes);
        std::fs::write(&path, file).unwrap();
        prop_assert!(deeph::unified::read_matrix(&path).is_err());
    }
}
