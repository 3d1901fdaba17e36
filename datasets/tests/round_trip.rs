//! What is written reads back to the bit: real, complex and spinful structures, both layouts, both precisions, atoms
//! out of element order; and other tools read it too, where they are at hand.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy spares only the functions marked #[test]

mod common;

use std::path::Path;
use std::process::Command;

use common::record;
use tesseral_datasets::deeph::matrix::Entries;
use tesseral_datasets::deeph::unified::{Precision, read_matrix, regrouped, write_matrix};
use tesseral_datasets::deeph::{self, ReadOptions, Record, find_structures, legacy, unified};

fn same(a: &Record, b: &Record) {
    assert_eq!(a.poscar.symbols, b.poscar.symbols);
    assert_eq!((a.poscar.lattice, &a.poscar.positions), (b.poscar.lattice, &b.poscar.positions));
    assert_eq!((&a.overlap, &a.hamiltonian), (&b.overlap, &b.hamiltonian));
}

#[test]
fn unified_and_legacy_in_both_spins() {
    for spinful in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("made"), folder.path().join("old"));
        let record = record(spinful);
        unified::write(&record, &path).unwrap();
        let read = deeph::read(&path, &ReadOptions::default()).unwrap();
        same(&read, &record);
        assert_eq!((&read.info, read.id.as_str()), (&record.info, "made"));
        legacy::write(&record, &old).unwrap();
        same(&deeph::read(&old, &ReadOptions::default()).unwrap(), &record);
        // Into a folder that exists.
        unified::write(&record, &path).unwrap();
        same(&deeph::read(&path, &ReadOptions::default()).unwrap(), &record);
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 4);
    }
}

#[test]
fn legacy_components_are_in_openmx_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old");
    let record = record(false);
    legacy::write(&record, &path).unwrap();
    let file = tesseral_datasets::hdf5::File::open(&path.join("overlaps.h5"), 1 << 20).unwrap();
    let Entries::Real(stored) = file.elements("[0, 0, 0, 1, 2]").unwrap().1 else { panic!() };
    let s = record.overlap.unwrap();
    let ours = s.real_block(s.pairs.iter().position(|p| *p == [0, 0, 0, 0, 1]).unwrap()).unwrap();
    // C: s, p_y p_z p_x, d_xy d_yz d_z2 d_xz d_x2-y2 here; s, p_x p_y p_z, d_z2 d_x2-y2 d_xy d_xz d_yz there.
    let rows = [0, 3, 1, 2, 6, 8, 4, 7, 5];
    // H: s, s, p.
    let columns = [0, 1, 4, 2, 3];
    for (r, row) in rows.iter().enumerate() {
        for (c, column) in columns.iter().enumerate() {
            assert_eq!(stored[r * 5 + c], ours[[*row, *column]]);
        }
    }
}

#[test]
fn atoms_are_regrouped_and_pairs_follow() {
    let plain = record(false);
    // The same crystal with H first; then a second C far away, so that C H C becomes C C H.
    let mut mixed = plain.clone();
    mixed.poscar.symbols = vec!["C".into(), "H".into(), "C".into()];
    mixed.poscar.positions.push([0.0, 0.0, 5.0]);
    mixed.info.atoms_quantity = 3;
    mixed.info.orbits_quantity = 23;
    for matrix in [&mut mixed.overlap, &mut mixed.hamiltonian] {
        let matrix = matrix.as_mut().unwrap();
        matrix.pairs.push([0, 0, 0, 2, 2]);
        matrix.shapes.push([9, 9]);
        let Entries::Real(values) = &mut matrix.entries else { panic!() };
        values.extend((0..81).map(|k| if k % 10 == 0 { 1.0 } else { 0.0 }));
        matrix.boundaries.push(values.len());
    }
    let grouped = regrouped(&mixed);
    assert_eq!(grouped.poscar.symbols, ["C", "C", "H"]);
    assert_eq!(grouped.poscar.positions, [[0.1, 0.2, 0.3], [0.0, 0.0, 5.0], [1.1, 0.4, -0.5]]);
    let folder = tempfile::tempdir().unwrap();
    unified::write(&mixed, &folder.path().join("x")).unwrap();
    let read = deeph::read(&folder.path().join("x"), &ReadOptions::default()).unwrap();
    same(&read, &grouped);
    let h = read.hamiltonian.unwrap();
    assert!(h.pairs.is_sorted());
    let (old, new) = (plain.hamiltonian.unwrap(), |pair: [i64; 5]| h.pairs.iter().position(|p| *p == pair).unwrap());
    let before = old.pairs.iter().position(|p| *p == [1, 0, 0, 0, 1]).unwrap();
    assert_eq!(h.real_block(new([1, 0, 0, 0, 2])).unwrap(), old.real_block(before).unwrap());
    // Legacy keeps the order of the atoms.
    legacy::write(&mixed, &folder.path().join("y")).unwrap();
    let read = deeph::read(&folder.path().join("y"), &ReadOptions::default()).unwrap();
    assert_eq!(read.poscar.symbols, ["C", "H", "C"]);
    same(&regrouped(&read), &grouped);
}

#[test]
fn single_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hamiltonian_pred.h5");
    for spinful in [false, true] {
        let matrix = record(spinful).hamiltonian.unwrap();
        write_matrix(&path, &matrix, Precision::F32).unwrap();
        let read = read_matrix(&path).unwrap();
        assert_eq!((&read.pairs, &read.shapes, &read.boundaries), (&matrix.pairs, &matrix.shapes, &matrix.boundaries));
        let round = |x: f64| f64::from(x as f32);
        match (&read.entries, &matrix.entries) {
            (Entries::Real(a), Entries::Real(b)) => assert!(a.iter().zip(b).all(|(a, b)| *a == round(*b))),
            (Entries::Complex(a), Entries::Complex(b)) => {
                assert!(a.iter().zip(b).all(|(a, b)| a.re == round(b.re) && a.im == round(b.im)));
            }
            _ => panic!("another type came back"),
        }
    }
}

#[test]
fn contradictions_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    for breakage in [
        (|r| r.info.atoms_quantity = 3) as fn(&mut Record),
        |r| r.info.spinful = true,
        |r| r.poscar.symbols[0] = "O".into(),
        |r| r.overlap.as_mut().unwrap().pairs[0][3] = 7,
        |r| r.overlap.as_mut().unwrap().boundaries[1] = 1,
        |r| r.hamiltonian.as_mut().unwrap().shapes.truncate(2),
        |r| r.hamiltonian.as_mut().unwrap().entries = Entries::Real(vec![]),
    ] {
        let mut record = record(false);
        breakage(&mut record);
        unified::write(&record, &folder.path().join("x")).unwrap_err();
        legacy::write(&record, &folder.path().join("y")).unwrap_err();
        assert!(!deeph::validate::validate(&record).is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn threads_read_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let made = record(true);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let path = folder.path().join(thread.to_string());
            unified::write(&made, &path).unwrap();
            let made = &made;
            scope
                .spawn(move || (0..50).for_each(|_| same(&deeph::read(&path, &ReadOptions::default()).unwrap(), made)));
        }
    });
}

#[test]
fn only_what_is_asked_for_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut record = record(false);
    record.hamiltonian = None;
    unified::write(&record, &path).unwrap();
    let options = ReadOptions { hamiltonian: false, ..Default::default() };
    assert_eq!(ReadOptions::present(&path), options);
    assert!(deeph::read(&path, &options).unwrap().hamiltonian.is_none());
    assert!(deeph::read(&path, &ReadOptions::default()).is_err());
    // An orthogonal basis needs no overlap.
    record.info.orthogonal_basis = true;
    record.overlap = None;
    record.hamiltonian = common::record(false).hamiltonian;
    let path = folder.path().join("y");
    unified::write(&record, &path).unwrap();
    assert!(deeph::read(&path, &ReadOptions::default()).unwrap().overlap.is_none());
}

#[test]
fn structures_are_found_in_sets_and_tiers() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for path in ["set/dft/0001", "set/dft/0000", "tiers/t0/a", "tiers/t1/b"] {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        unified::write(&record(false), &root.join(path)).unwrap();
    }
    std::fs::create_dir_all(root.join("set/elsewhere")).unwrap();
    std::fs::write(root.join("set/elsewhere/POSCAR"), "").unwrap();
    let found = |roots: &[&str]| find_structures(&roots.iter().map(|r| root.join(r)).collect::<Vec<_>>());
    let expect = |paths: &[&str]| paths.iter().map(|p| root.join(p)).collect::<Vec<_>>();
    assert_eq!(found(&["set"]).unwrap(), expect(&["set/dft/0000", "set/dft/0001"]));
    assert_eq!(found(&["set/dft/0001", "set/dft"]).unwrap(), expect(&["set/dft/0000", "set/dft/0001"]));
    assert_eq!(found(&["tiers", "set/dft/0000"]).unwrap(), expect(&["set/dft/0000", "tiers/t0/a", "tiers/t1/b"]));
    std::fs::create_dir(root.join("empty")).unwrap();
    assert!(found(&["empty"]).unwrap_err().to_string().contains("empty: expected DeepH structure folders"));
    assert!(found(&["nowhere"]).unwrap_err().to_string().contains("nowhere: expected a folder, found nothing"));
}

/// Runs a script with a file as its argument, on an interpreter that has h5py (the reference reader and writer of these
/// files); TESSERAL_PYTHON chooses it. `None`, with the reason printed, where there is none.
fn h5py(script: &str, path: &Path) -> Option<String> {
    let python = std::env::var("TESSERAL_PYTHON").unwrap_or_else(|_| "python3".into());
    let run = |script: &str| Command::new(&python).args(["-c", script]).arg(path).output();
    if !run("import h5py, numpy").is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} with h5py and numpy is not at hand");
        return None;
    }
    let output = run(script).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn h5py_reads_what_we_write() {
    let script = r#"
import sys, h5py, numpy as np
with h5py.File(sys.argv[1], "r") as f:
    p, s, b, e = (f[k][:] for k in ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries"))
assert p.dtype == s.dtype == b.dtype == np.int64, (p.dtype, s.dtype, b.dtype)
assert p.shape[1] == 5 and s.shape == (len(p), 2) and (np.diff(b) == s.prod(1)).all() and b[-1] == len(e)
e = np.asarray(e, dtype=np.complex128)
print(p[0].tolist(), h5py.File(sys.argv[1])["entries"].dtype, len(e))
print(np.array([e.real, e.imag]).T.tobytes().hex())
"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hamiltonian_pred.h5");
    for (spinful, precision, dtype) in [
        (false, Precision::F64, "float64"),
        (false, Precision::F32, "float32"),
        (true, Precision::F64, "complex128"),
        (true, Precision::F32, "complex64"),
    ] {
        let matrix = record(spinful).hamiltonian.unwrap();
        write_matrix(&path, &matrix, precision).unwrap();
        let Some(text) = h5py(script, &path) else { return };
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap(), format!("[-1, 0, 0, 1, 0] {dtype} {}", matrix.entries.len()));
        let numbers: Vec<f64> = match read_matrix(&path).unwrap().entries {
            Entries::Real(v) => v.iter().flat_map(|x| [*x, 0.0]).collect(),
            Entries::Complex(v) => v.iter().flat_map(|z| [z.re, z.im]).collect(),
        };
        let hex: String = numbers.iter().flat_map(|x| x.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(lines.next().unwrap(), hex);
    }
}

#[test]
fn what_h5py_writes_reads() {
    let script = r#"
import sys, h5py, numpy as np
p = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 1]])
for name, libver, options, integer in [
    ("plain", "earliest", {}, "i8"), ("latest", "latest", {}, "i8"), ("narrow", "earliest", {}, "u1"),
    ("big", "earliest", {}, ">i4"),
    ("gzip", "earliest", dict(chunks=(3,), compression="gzip", compression_opts=9, shuffle=True), "i8"),
    ("checked", "latest", dict(chunks=(4,), compression="gzip", shuffle=True, fletcher32=True), "i8"),
]:
    for dtype in ("f8", "f4", "c16", "c8", ">f8"):
        with h5py.File(f"{sys.argv[1]}/{name}-{dtype.replace('>', 'big')}.h5", "w", libver=libver) as f:
            f["atom_pairs"] = p.astype(integer)
            f["chunk_shapes"] = np.array([[2, 2], [2, 3]], dtype=integer)
            f["chunk_boundaries"] = np.array([0, 4, 10], dtype=integer)
            e = np.arange(10) * 0.5 + (1j * np.arange(10) if "c" in dtype else 0)
            f.create_dataset("entries", data=e.astype(dtype), **options)
"#;
    let folder = tempfile::tempdir().unwrap();
    if h5py(script, folder.path()).is_none() {
        return;
    }
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let matrix = read_matrix(&path).unwrap();
        assert_eq!(matrix.pairs, [[0, 0, 0, 0, 0], [0, 0, 1, 0, 1]], "{}", path.display());
        assert_eq!((matrix.shapes, matrix.boundaries), (vec![[2, 2], [2, 3]], vec![0, 4, 10]));
        match matrix.entries {
            Entries::Real(v) => assert!(v.iter().enumerate().all(|(k, x)| *x == k as f64 * 0.5), "{v:?}"),
            Entries::Complex(v) => {
                assert!(v.iter().enumerate().all(|(k, z)| (z.re, z.im) == (k as f64 * 0.5, k as f64)), "{v:?}");
            }
        }
        files += 1;
    }
    assert_eq!(files, 30);
}
