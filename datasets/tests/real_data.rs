//! Real DFT data, where it is at hand (`../shared/data`): every folder reads and validates, and the legacy twins
//! become the unified ones bit for bit. Without the data each test says so and passes.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy spares only the functions marked #[test]

use std::path::{Path, PathBuf};

use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_datasets::deeph::{self, ReadOptions, find_structures, legacy, unified, validate};
use tesseral_datasets::split::Split;

fn data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(path);
    if !path.exists() {
        println!("skipped: {} is not at hand", path.display());
        return None;
    }
    Some(path)
}

fn bits(matrix: &BlockMatrix) -> Vec<u64> {
    match &matrix.entries {
        Entries::Real(v) => v.iter().map(|x| x.to_bits()).collect(),
        Entries::Complex(v) => v.iter().flat_map(|z| [z.re.to_bits(), z.im.to_bits()]).collect(),
    }
}

fn same(a: &Option<BlockMatrix>, b: &Option<BlockMatrix>) {
    match (a, b) {
        (Some(a), Some(b)) => {
            let b = unified::sorted(b);
            assert_eq!((&a.pairs, &a.shapes, &a.boundaries), (&b.pairs, &b.shapes, &b.boundaries));
            assert!(bits(a) == bits(&b), "entries differ");
        }
        (None, None) => {}
        _ => panic!("one has the matrix, the other has not"),
    }
}

#[test]
fn legacy_twins_are_bit_exact() {
    let mut twins = Vec::new();
    if let Some(root) = data("deeph/convert/deeph") {
        for name in ["MoTe2", "Bi2Se3_SOC"] {
            twins.push((root.join("deeph_legacy_data").join(name), root.join("deeph_updated_data").join(name)));
        }
    }
    if let Some(root) = data("dft/legacy") {
        for set in ["graphene", "mos2", "bilayer-graphene"] {
            twins.push((root.join(format!("{set}_0000")), root.join(format!("../{set}/dft/0000"))));
        }
    }
    for (old, new) in twins {
        let new = deeph::read(&new, &ReadOptions::present(&new)).unwrap();
        let read = deeph::read(&old, &ReadOptions::present(&old)).unwrap();
        let old = unified::regrouped(&read);
        assert_eq!(old.poscar.symbols, new.poscar.symbols);
        let close = |a: &[[f64; 3]], b: &[[f64; 3]]| {
            a.iter().flatten().zip(b.iter().flatten()).all(|(x, y)| (x - y).abs() < 1e-14)
        };
        assert!(close(&old.poscar.lattice, &new.poscar.lattice) && close(&old.poscar.positions, &new.poscar.positions));
        assert_eq!(old.info.elements_orbital_map, new.info.elements_orbital_map);
        assert_eq!(old.info.spinful, new.info.spinful);
        assert!((old.info.fermi_energy_ev.unwrap() - new.info.fermi_energy_ev.unwrap()).abs() < 1e-14);
        same(&old.overlap, &new.overlap);
        same(&old.hamiltonian, &new.hamiltonian);

        // And back through our own files, in both layouts.
        let folder = tempfile::tempdir().unwrap();
        let (as_unified, as_legacy) = (folder.path().join("u"), folder.path().join("l"));
        unified::write(&read, &as_unified).unwrap();
        legacy::write(&read, &as_legacy).unwrap();
        let options = ReadOptions::present(&as_unified);
        for path in [as_unified, as_legacy] {
            let again = unified::regrouped(&deeph::read(&path, &options).unwrap());
            same(&again.overlap, &new.overlap);
            same(&again.hamiltonian, &new.hamiltonian);
            assert_eq!(again.poscar.positions, old.poscar.positions);
        }
    }
}

#[test]
fn every_set_reads_and_validates() {
    let sets = [
        ("dft", 104 + 50 + 30 + 2 + 3 + 9 + 1 + 3 + 3),
        ("deeph/convert", 2 + 2 + 4 + 1),
        ("deeph/analyze/dataset/inputs.clean", 13),
        ("deeph/analyze/dft_equiv", 4),
        ("deeph/compute", 2),
    ];
    for (set, count) in sets {
        let Some(root) = data(set) else { continue };
        let found = find_structures(&[root]).unwrap();
        assert_eq!(found.len(), count, "{set}");
        for path in found {
            let options = ReadOptions::present(&path);
            let (record, problems) = validate::check(&path, &options, &validate::Limits::default());
            assert!(record.is_some(), "{problems:?}");
            let errors: Vec<_> = problems.iter().filter(|p| p.severity == validate::Severity::Error).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
        }
    }
}

#[test]
fn splits_name_structures_that_exist() {
    let Some(root) = data("dft") else { return };
    for set in ["graphene", "mos2", "bilayer-graphene", "bilayer-graphene-twisted", "graphene-3x3", "pristine"] {
        let path = root.join(set).join("dataset_split.json");
        let split = Split::read(&path).unwrap();
        let found = find_structures(&[root.join(set)]).unwrap();
        let ids: Vec<String> = found.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect();
        split.check_known(&ids, &path).unwrap();
        if set == "graphene" {
            assert_eq!((split.train.len(), split.validate.len(), split.test.len()), (80, 12, 12));
        }
    }
}

#[test]
fn predictions_in_single_precision_read() {
    let Some(root) = data("deeph/analyze/error/infer.clean/dft") else { return };
    for id in ["138", "282", "1009"] {
        let path = root.join(id).join("hamiltonian_pred.h5");
        let matrix = unified::read_matrix(&path).unwrap();
        assert_eq!((matrix.pairs.len(), matrix.entries.len()), (9, 23 * 23));
        let Entries::Real(values) = &matrix.entries else { panic!("complex") };
        assert!(values.iter().all(|x| f64::from(*x as f32) == *x));
    }
}
