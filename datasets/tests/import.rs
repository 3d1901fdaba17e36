//! Folders of other codes: a made structure, written as each code writes it, reads back; broken files are refused with
//! file, field, expected and found; the real folders of `../shared/data` read.

#![allow(clippy::unwrap_used, clippy::panic)] // clippy spares only the functions marked #[test]

#[path = "common/codes.rs"]
mod codes;
mod common;

use std::path::{Path, PathBuf};

use common::record;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_datasets::deeph::validate::Limits;
use tesseral_datasets::deeph::{self, ReadOptions, Record};
use tesseral_datasets::import::{self, Imported, Source};

fn import(folder: &Path) -> tesseral_datasets::Result<Imported> {
    let source = import::source(folder).unwrap();
    import::read(folder, source, 0, &Limits::default())
}

fn elements(matrix: &Option<BlockMatrix>) -> Vec<f64> {
    match &matrix.as_ref().unwrap().entries {
        Entries::Real(v) => v.clone(),
        Entries::Complex(v) => v.iter().flat_map(|z| [z.re, z.im]).collect(),
    }
}

fn largest(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Everything of the made structure but names, within `tolerance`.
fn same(found: &Record, made: &Record, tolerance: f64) {
    assert_eq!(found.poscar.symbols, made.poscar.symbols);
    assert!(largest(&found.poscar.lattice.concat(), &made.poscar.lattice.concat()) < tolerance.max(1e-12));
    assert!(largest(&found.poscar.positions.concat(), &made.poscar.positions.concat()) < tolerance.max(1e-12));
    assert_eq!(found.info.elements_orbital_map, made.info.elements_orbital_map);
    assert_eq!(found.info.spinful, made.info.spinful);
    for (found, made) in [(&found.overlap, &made.overlap), (&found.hamiltonian, &made.hamiltonian)] {
        let (a, b) = (found.as_ref().unwrap(), made.as_ref().unwrap());
        assert_eq!((&a.pairs, &a.shapes), (&b.pairs, &b.shapes));
        let difference = largest(&elements(found), &elements(made));
        assert!(difference <= tolerance, "{difference:e}");
    }
}

/// The spinful structure without what a collinear calculation has not: imaginary parts and blocks between spins.
fn collinear() -> Record {
    let mut made = record(true);
    let matrix = made.hamiltonian.as_mut().unwrap();
    for k in 0..matrix.pairs.len() {
        let mut block = matrix.complex_block_mut(k).unwrap();
        let (rows, columns) = (block.nrows() / 2, block.ncols() / 2);
        block.indexed_iter_mut().for_each(|((r, c), z)| {
            z.im = 0.0;
            if (r < rows) != (c < columns) {
                z.re = 0.0;
            }
        });
    }
    made
}

#[test]
fn deeptb_reads_both_countings_and_one_direction() {
    let made = record(false);
    for first in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        // Of the two directions between C and H only one is stored.
        codes::write_deeptb(&made, folder.path(), first, |pair| pair[3] <= pair[4]);
        assert_eq!(import::source(folder.path()), Some(Source::DeePtb));
        assert_eq!(import::frames(folder.path(), Source::DeePtb, &Limits::default()).unwrap(), [0, 1]);
        let second = import::read(folder.path(), Source::DeePtb, 1, &Limits::default()).unwrap();
        let found = import(folder.path()).unwrap();
        assert!(found == second);
        same(&found.record, &made, 1e-12);
        assert_eq!((found.padded_pairs, found.record.info.fermi_energy_ev), (0, None));
    }
    let folder = tempfile::tempdir().unwrap();
    codes::write_deeptb(&made, folder.path(), 0, |_| true);
    std::fs::remove_file(folder.path().join("overlaps.h5")).unwrap();
    let found = import(folder.path()).unwrap();
    assert!(found.record.info.orthogonal_basis && found.record.overlap.is_none());
}

#[test]
fn abacus_reads_every_spin() {
    for (nspin, made) in [(1, record(false)), (2, collinear()), (4, record(true))] {
        let folder = tempfile::tempdir().unwrap();
        codes::write_abacus(&made, folder.path(), nspin);
        for path in [folder.path().to_path_buf(), folder.path().join("OUT.X")] {
            let found = import(&path).unwrap();
            same(&found.record, &made, 1e-12);
            assert_eq!((found.record.info.fermi_energy_ev, found.record.info.occupation), (Some(-1.25), Some(5.0)));
        }
    }
}

#[test]
fn siesta_reads_every_version() {
    for (version, tolerance) in [(0, 2e-6), (1, 1e-12), (2, 1e-12)] {
        for (spins, made) in [(1, record(false)), (2, collinear())] {
            let folder = tempfile::tempdir().unwrap();
            codes::write_siesta(&made, folder.path(), version, spins);
            let found = import(folder.path()).unwrap();
            same(&found.record, &made, tolerance);
            let (fermi, electrons) = (found.record.info.fermi_energy_ev.unwrap(), found.record.info.occupation);
            assert!((fermi + 1.25).abs() < 1e-12 && electrons == Some(5.0), "{fermi} {electrons:?}");
            if version > 0 {
                // Without a structure file the labels of the species name the elements.
                std::fs::remove_file(folder.path().join("made.XV")).unwrap();
                same(&import(folder.path()).unwrap().record, &made, tolerance);
            }
        }
    }
}

/// Replaces bytes of a file at an offset.
fn patch(path: &Path, offset: usize, bytes: &[u8]) {
    let mut all = std::fs::read(path).unwrap();
    all[offset..offset + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, all).unwrap();
}

/// The message of reading a folder that `break_it` has broken.
fn broken(write: impl Fn(&Path), break_it: impl Fn(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    break_it(folder.path());
    import(folder.path()).unwrap_err().to_string()
}

#[test]
fn broken_siesta_files_are_refused() {
    let write = |folder: &Path| codes::write_siesta(&record(false), folder, 1, 1);
    // Records: version at 0, is_dp at 12, sizes at 24 (values from 28), ucell at 60, isc_off at 164.
    let hsx = |folder: &Path| folder.join("made.HSX");
    let cases: [(usize, &[u8], &str); 9] = [
        (0, &7_i32.to_le_bytes(), "version: expected a first record of 4 bytes (SIESTA 5) or 16 (SIESTA 4)"),
        (4, &9_i32.to_le_bytes(), "version: expected 1 or 2, found 9"),
        (28, &(-2_i32).to_le_bytes(), "na_u, no_u, nspin, nspecies, nsc: expected positive numbers, found [-2, 14,"),
        (28, &i32::MAX.to_le_bytes(), "isc_off, xa, isa, lasto: expected a record of 68719476740 bytes"),
        (32, &i32::MAX.to_le_bytes(), "numh: expected a record of 8589934588 bytes"),
        (36, &8_i32.to_le_bytes(), "nspin: expected 1 or 2: non-collinear spin (4) and spin-orbit coupling (8)"),
        (64, &f64::NAN.to_le_bytes(), "ucell, Ef, qtot, temp: expected finite numbers, found NaN at place 1"),
        (168 + 36 + 48, &3_i32.to_le_bytes(), "isa: expected species from 1 to 2, found another"),
        (168 + 36, &f64::INFINITY.to_le_bytes(), "xa: expected finite positions"),
    ];
    for (offset, bytes, message) in cases {
        let text = broken(write, |folder| patch(&hsx(folder), offset, bytes));
        assert!(text.contains(&format!("made.HSX: {message}")), "{text}");
    }
    // A column beyond all cells, and NaN among the elements: found from the end of the file, S of the last row.
    let whole = {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        std::fs::read(hsx(folder.path())).unwrap()
    };
    let text = broken(write, |folder| patch(&hsx(folder), whole.len() - 12, &f64::NAN.to_le_bytes()));
    assert!(text.contains("made.HSX: S of row 14: expected finite numbers, found NaN"), "{text}");
    for cut in [1, 4, 100, whole.len() / 2, whole.len() - 10, whole.len() - 1] {
        let text = broken(write, |folder| std::fs::write(hsx(folder), &whole[..cut]).unwrap());
        assert!(text.contains("made.HSX: ") && text.contains("expected"), "{cut}: {text}");
    }
    let text = broken(write, |folder| std::fs::write(hsx(folder), [&whole[..], b"more"].concat()).unwrap());
    assert!(text.contains("made.HSX: file: expected its end after the overlap, found 4 bytes more"), "{text}");
    let text = broken(write, |folder| std::fs::write(folder.join("made.XV"), "1 2 3\n").unwrap());
    assert!(text.contains("made.XV: file: expected 3 lattice vectors"), "{text}");
    let text = broken(write, |folder| {
        let xv = std::fs::read_to_string(folder.join("made.XV")).unwrap();
        std::fs::write(folder.join("made.XV"), xv.replace("\n2 1 ", "\n2 999 ")).unwrap();
    });
    assert!(text.contains("made.XV: atom 2: expected the atomic number of an element, found 999"), "{text}");
    let first = |folder: &Path| codes::write_siesta(&record(false), folder, 0, 1);
    let text = broken(first, |folder| std::fs::remove_file(folder.join("made.XV")).unwrap());
    assert!(text.contains("made.XV: expected a .XV file"), "{text}");
    let text = broken(first, |folder| {
        let xv = std::fs::read_to_string(folder.join("made.XV")).unwrap();
        let moved = xv.replacen("\n2\n1 6 ", "\n2\n1 6 9", 1);
        std::fs::write(folder.join("made.XV"), moved).unwrap();
    });
    assert!(text.contains("made.HSX: xij: expected vectors between the atoms of the .XV file"), "{text}");
}

#[test]
fn broken_abacus_files_are_refused() {
    let write = |folder: &Path| codes::write_abacus(&record(true), folder, 4);
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            assert!(text.contains(from), "{file}: {text}");
            std::fs::write(folder.join(file), text.replacen(from, to, 1)).unwrap();
        }
    };
    let h = "OUT.X/data-HR-sparse_SPIN0.csr";
    let s = "OUT.X/data-SR-sparse_SPIN0.csr";
    for (file, from, to, message) in [
        ("INPUT", "nspin 4", "nspin 3", "INPUT: nspin: expected 1, 2 or 4, found \"3\""),
        ("INPUT", "nelec 5", "calculation relax", "INPUT: calculation: expected scf or nscf"),
        ("INPUT", "nspin 4", "nspin 1", "line 2: expected \"Matrix Dimension of ..: 14\""),
        ("OUT.X/running_scf.log", "zeta = 2", "zeta = 3", "line 2: expected \"Matrix Dimension of ..: 30\""),
        ("OUT.X/running_scf.log", "label = H", "label = O", "READING ATOM TYPE: expected the number of zeta of H"),
        ("STRU", "H 1 H.upf", "He 1 H.upf", "STRU: line 16: expected a species of ATOMIC_SPECIES"),
        (h, "9 9 9 0", "9 9 x 0", "line 4: expected \"R1 R2 R3 count\""),
    ] {
        let text = broken(write, edit(file, from, to));
        assert!(text.contains(message), "{text}");
    }
    let text = broken(write, |folder| std::fs::remove_file(folder.join(s)).unwrap());
    assert!(text.contains("data-SR-sparse_SPIN0.csr: expected a sparse matrix of ABACUS"), "{text}");
    // An overlap that differs between the spins is none: spin is not where the format has it.
    let text = broken(write, |folder| {
        let path = folder.join(s);
        let all = std::fs::read_to_string(&path).unwrap();
        let at = all.find(" (").unwrap();
        let end = at + all[at..].find(')').unwrap() + 1;
        std::fs::write(&path, format!("{} (9,0){}", &all[..at], &all[end..])).unwrap();
    });
    assert!(text.contains("spin blocks: expected an overlap that is real, equal for both spins"), "{text}");
    let text = broken(write, |folder| {
        std::fs::create_dir(folder.join("OUT.Y"))
            .and_then(|()| std::fs::copy(folder.join(s), folder.join("OUT.Y/data-SR-sparse_SPIN0.csr")).map(drop))
            .unwrap()
    });
    assert!(text.contains("OUT.*: expected one folder OUT.* with matrices"), "{text}");
}

#[test]
fn broken_deeptb_files_are_refused() {
    let write = |folder: &Path| codes::write_deeptb(&record(false), folder, 0, |_| true);
    let set =
        |file: &'static str, text: &'static str| move |folder: &Path| std::fs::write(folder.join(file), text).unwrap();
    for (file, content, message) in [
        ("basis.dat", "{'C': '1s1p1d'}", "basis.dat: file: expected the basis of H"),
        ("basis.dat", "{'C': '1s1p1d', 'H': ['1s']}", "basis.dat: H: expected a dictionary of elements such as"),
        ("basis.dat", "nonsense", "basis.dat: file: expected a dictionary of elements such as {'Si': '2s2p1d'}"),
        (
            "basis.dat",
            "{'C': '1s1p', 'H': '2s1p'}",
            "0/0_0_0_0_0: expected shape [4, 4], the orbitals of the two atoms",
        ),
        ("atomic_numbers.dat", "6 999", "atomic_numbers.dat: atom 2: expected an atomic number, found 999"),
        ("atomic_numbers.dat", "6", "atomic_numbers.dat: file: expected an atomic number for each of the 2 atoms"),
        ("positions.dat", "0 0 0\n1 nan 1\n", "positions.dat: line 2: expected numbers"),
        ("positions.dat", "0 0 0\n1 1\n", "positions.dat: file: expected 3 numbers for every atom"),
        ("cell.dat", "1 0 0\n0 1 0\n", "cell.dat: file: expected 3 lattice vectors as rows"),
        ("cell.dat", "1 0 0\n0 1 0\n1 1 0\n", "cell.dat: file: expected a lattice with a volume"),
        ("info.json", "{\"pos_type\": \"ase\"}", "info.json: pos_type: expected \"cart\" or \"frac\", found \"ase\""),
    ] {
        let text = broken(write, set(file, content));
        assert!(text.contains(message), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let text = import::read(folder.path(), Source::DeePtb, 7, &Limits::default()).unwrap_err().to_string();
    assert!(text.contains("hamiltonians.h5: frame: expected one of the frames [0, 1], found 7"), "{text}");
    let mut wild = record(false);
    let Entries::Real(values) = &mut wild.hamiltonian.as_mut().unwrap().entries else { panic!("complex") };
    values[3] = f64::NAN;
    let text = broken(|folder| codes::write_deeptb(&wild, folder, 0, |_| true), |_| ());
    assert!(text.contains("NaN or infinity"), "{text}");
}

fn data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(path);
    if !path.exists() {
        println!("skipped: {} is not at hand", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn deeptb_silicon() {
    let Some(path) = data("deeph/deeptb/Si64.0") else { return };
    let found = import(&path).unwrap();
    assert_eq!((found.record.info.atoms_quantity, found.record.info.orbits_quantity), (64, 256));
    assert_eq!(found.record.hamiltonian.as_ref().unwrap().pairs.len(), 9434);
    assert_eq!(found.padded_pairs, 9434 - 5562);
}

#[test]
fn siesta_silicon_is_its_twin() {
    let (Some(path), Some(twin)) =
        (data("deeph/convert/siesta/siesta_data/Si"), data("deeph/convert/hopcp/deeph_data/Si"))
    else {
        return;
    };
    let found = import(&path).unwrap().record;
    let twin = deeph::read(&twin, &ReadOptions::default()).unwrap();
    assert_eq!(found.info.elements_orbital_map, twin.info.elements_orbital_map);
    assert!(largest(&found.poscar.positions.concat(), &twin.poscar.positions.concat()) < 1e-6);
    let (ours, theirs) = (found.overlap.as_ref().unwrap(), deeph::unified::sorted(twin.overlap.as_ref().unwrap()));
    assert_eq!(ours.pairs, theirs.pairs);
    assert_eq!(largest(&elements(&found.overlap), &elements(&Some(theirs))), 0.0);
    let theirs = elements(&Some(deeph::unified::sorted(twin.hamiltonian.as_ref().unwrap())));
    let difference = largest(&elements(&found.hamiltonian), &theirs);
    assert!(difference < 1e-13, "{difference}");
}

#[test]
fn abacus_molybdenum_disulfide() {
    let Some(path) = data("deeph/convert/abacus/abacus_data/MoS2") else { return };
    let found = import(&path).unwrap();
    let info = &found.record.info;
    assert_eq!((info.atoms_quantity, info.orbits_quantity, info.occupation), (3, 53, Some(26.0)));
    assert_eq!(info.fermi_energy_ev, Some(-2.3123356452));
    assert!(found.padded_pairs > 0);
    // Overlaps fade with distance, which fixes the sign of R.
    let (s, poscar) = (found.record.overlap.as_ref().unwrap(), &found.record.poscar);
    for (k, [a, b, c, i, j]) in s.pairs.iter().enumerate() {
        let (from, to) = (poscar.positions[*i as usize], poscar.positions[*j as usize]);
        let r = [*a, *b, *c].map(|x| x as f64);
        let vector = [0, 1, 2].map(|x| to[x] - from[x] + (0..3).map(|n| r[n] * poscar.lattice[n][x]).sum::<f64>());
        let distance = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        let largest = s.real_block(k).unwrap().iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        // Two orbitals of 8 Bohr.
        assert!(distance < 2.0 * 8.0 * 0.53 || largest == 0.0, "{distance} {largest}");
    }
}
