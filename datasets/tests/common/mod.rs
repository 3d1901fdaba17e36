//! A small structure made by the tests: two unlike atoms, every shell up to d, four ordered pairs with R = 0 and two
//! with R = (1, 0, 0). Numbers are a formula, not physics; H and S are hermitian.

#![allow(dead_code, clippy::unwrap_used, clippy::panic)] // each test file uses a part of it

use std::path::{Path, PathBuf};

use num_complex::Complex64;
use tesseral_datasets::deeph::info::Info;
use tesseral_datasets::deeph::matrix::{AtomPair, BlockMatrix, Entries, reverse};
use tesseral_datasets::deeph::{Record, unified};
use tesseral_datasets::hdf5::{self, Column, MAX_BYTES, Values};
use tesseral_datasets::poscar::Poscar;

/// C with s, p, d and H with s, s, p, in this order.
pub(crate) fn record(spinful: bool) -> Record {
    let poscar = Poscar {
        comment: "made by a test".into(),
        lattice: [[3.0, 0.1, 0.0], [0.0, 4.0, 0.2], [0.0, 0.0, 10.0]],
        symbols: vec!["C".into(), "H".into()],
        positions: vec![[0.1, 0.2, 0.3], [1.1, 0.4, -0.5]],
    };
    let info = Info {
        atoms_quantity: 2,
        orbits_quantity: 14,
        orthogonal_basis: false,
        spinful,
        fermi_energy_ev: Some(-1.25),
        elements_orbital_map: vec![("C".into(), vec![0, 1, 2]), ("H".into(), vec![0, 0, 1])],
        occupation: Some(5.0),
        other: Default::default(),
    };
    let overlap = matrix(&info, &poscar, false, 0.3);
    let hamiltonian = matrix(&info, &poscar, spinful, -7.7);
    Record {
        id: "made".into(),
        path: PathBuf::from("made"),
        poscar,
        info,
        overlap: Some(overlap),
        hamiltonian: Some(hamiltonian),
    }
}

fn matrix(info: &Info, poscar: &Poscar, spinful: bool, seed: f64) -> BlockMatrix {
    let mut pairs: Vec<AtomPair> = vec![[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]];
    pairs.extend([[1, 0, 0, 0, 1], [-1, 0, 0, 1, 0]]);
    pairs.sort_unstable();
    let spins = if spinful { 2 } else { 1 };
    let n = |atom: i64| spins * info.orbitals(&poscar.symbols[atom as usize]).unwrap();
    let shapes: Vec<[usize; 2]> = pairs.iter().map(|p| [n(p[3]), n(p[4])]).collect();
    let raw = |p: &AtomPair, a: usize, b: usize| {
        let phase = seed + p.iter().enumerate().map(|(k, x)| (k as f64 + 1.7) * *x as f64).sum::<f64>();
        Complex64::new(
            (phase + 13.0 * a as f64 + 0.7 * b as f64).sin(),
            (phase * 1.3 + a as f64 - 3.1 * b as f64).cos(),
        )
    };
    let hermitian = |p: &AtomPair, a: usize, b: usize| (raw(p, a, b) + raw(&reverse(p), b, a).conj()) / 2.0;
    let all: Vec<Complex64> = pairs
        .iter()
        .zip(&shapes)
        .flat_map(|(p, [r, c])| (0..*r).flat_map(move |a| (0..*c).map(move |b| hermitian(p, a, b))))
        .collect();
    let entries = if spinful { Entries::Complex(all) } else { Entries::Real(all.iter().map(|z| z.re).collect()) };
    BlockMatrix { boundaries: BlockMatrix::boundaries_of(&shapes), pairs, shapes, entries }
}

/// Writes [`record`] into a fresh folder `made`.
pub(crate) fn folder(spinful: bool) -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("made");
    unified::write(&record(spinful), &path).unwrap();
    (parent, path)
}

/// The datasets of a file, to be changed and written again.
pub(crate) fn columns(path: &Path) -> Vec<Column> {
    let file = hdf5::File::open(path, MAX_BYTES).unwrap();
    let column = |name: String| {
        let (shape, values) = match file.integers(&name) {
            Ok((shape, values)) => (shape, Values::Integer(values)),
            Err(_) => match file.elements(&name).unwrap() {
                (shape, Entries::Real(values)) => (shape, Values::Real(values)),
                (shape, Entries::Complex(values)) => (shape, Values::Complex(values)),
            },
        };
        Column { name, shape, values }
    };
    file.names().unwrap().into_iter().map(column).collect()
}

/// Rewrites one dataset of a file.
pub(crate) fn change(path: &Path, name: &str, edit: impl FnOnce(&mut Column)) {
    let mut columns = columns(path);
    edit(columns.iter_mut().find(|c| c.name == name).unwrap());
    hdf5::write(path, &columns).unwrap();
}

/// The integers of a dataset, to be changed.
pub(crate) fn integers(column: &mut Column) -> &mut Vec<i64> {
    match &mut column.values {
        Values::Integer(values) => values,
        _ => panic!("{} is not of integers", column.name),
    }
}

/// The real elements of a dataset, to be changed.
pub(crate) fn reals(column: &mut Column) -> &mut Vec<f64> {
    match &mut column.values {
        Values::Real(values) => values,
        _ => panic!("{} is not real", column.name),
    }
}
