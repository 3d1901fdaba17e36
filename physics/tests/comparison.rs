//! What errors of a Hamiltonian and of its spectrum must not notice, and what they must count.
#![allow(clippy::unwrap_used)] // The helpers are test code too.

#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use std::path::{Path, PathBuf};

use approx::{assert_abs_diff_eq, assert_relative_eq};
use faer::Mat;
use num_complex::Complex64;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_datasets::deeph::{ReadOptions, Record, read, unified};
use tesseral_datasets::poscar::Poscar;
use tesseral_nn::train::observer::Silent;
use tesseral_physics::comparison::{self, Case, Counting, Options, Sampling, SpectrumOptions, Tally};
use tesseral_physics::electronic::spectral_error::{self, Filling};
use tesseral_physics::electronic::{Bloch, Mesh, dense};
use tesseral_physics::hamiltonian::{Basis, gauge, symmetry};
use tesseral_physics::structure::Crystal;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A folder of the shared data, or `None` with a line said.
fn data(name: &str) -> Option<PathBuf> {
    let folder = root().join("../shared/data").join(name);
    let found = folder.is_dir();
    if !found {
        println!("skipped: {} is not here", folder.display());
    }
    found.then_some(folder)
}

fn sample() -> Record {
    read(&root().join("datasets/sample/dft/0001"), &ReadOptions::default()).unwrap()
}

/// H with a smooth hermitian error of this size: each element times 1 + size sin(its value), and `size` times S.
fn predicted(record: &Record, size: f64) -> BlockMatrix {
    let mut matrix = record.hamiltonian.clone().unwrap();
    if let Entries::Real(values) = &mut matrix.entries {
        values.iter_mut().for_each(|h| *h *= 1.0 + size * (7.0 * *h).sin());
    }
    gauge::shifted(&matrix, record.overlap.as_ref().unwrap(), size).unwrap()
}

fn case(record: Record, prediction: BlockMatrix) -> Case {
    Case { record, prediction, source: "prediction.h5".into(), density: None }
}

fn options(divisions: [usize; 3]) -> Options {
    let spectral = spectral_error::Options::default();
    let spectrum = SpectrumOptions { sampling: Sampling::Divisions(divisions), spectral, electrons: None };
    Options { counting: Counting { overlap_mask: false, parity: 100 }, spectrum: Some(spectrum) }
}

#[test]
fn a_multiple_of_the_overlap_is_no_error() {
    let record = sample();
    let prediction =
        gauge::shifted(record.hamiltonian.as_ref().unwrap(), record.overlap.as_ref().unwrap(), 3.5).unwrap();
    let found = comparison::compare_structure(&case(record, prediction), &options([3, 3, 1])).unwrap();
    let errors = found.tally.errors();
    assert!(errors.figures.mae_mev > 10.0);
    assert!(errors.figures.max_gauge_fixed_mev.unwrap() < 1e-9);
    assert_abs_diff_eq!(errors.by_structure[0].mu_mev.unwrap(), 3500.0, epsilon = 1e-9);
    let spectrum = found.spectrum.unwrap().errors;
    assert!(spectrum.band_max_mev.unwrap() < 1e-6 && spectrum.fermi_error_mev.abs() < 1e-6);
    assert!(spectrum.gap_error_mev.abs() < 1e-6 && spectrum.states > 0);
    assert_eq!((spectrum.ghost_states, spectrum.ghosts_below), (0, 0));
    assert_abs_diff_eq!(spectrum.shift_ev, -3.5, epsilon = 1e-9);
    assert_abs_diff_eq!(spectrum.similarity_worst, 1.0, epsilon = 1e-10);
}

#[test]
fn the_order_of_the_atoms_does_not_matter() {
    let record = sample();
    let prediction = predicted(&record, 1e-3);
    let order: Vec<usize> = (0..record.poscar.symbols.len()).rev().collect();
    let move_matrix = |matrix: &BlockMatrix| symmetry::permuted(matrix, &order).unwrap();
    let poscar = Poscar {
        symbols: order.iter().map(|&n| record.poscar.symbols[n].clone()).collect(),
        positions: order.iter().map(|&n| record.poscar.positions[n]).collect(),
        ..record.poscar.clone()
    };
    let moved = Record {
        poscar,
        overlap: record.overlap.as_ref().map(move_matrix),
        hamiltonian: record.hamiltonian.as_ref().map(move_matrix),
        ..record.clone()
    };
    let moved = comparison::compare_structure(&case(moved, move_matrix(&prediction)), &options([2, 2, 1])).unwrap();
    let plain = comparison::compare_structure(&case(record, prediction), &options([2, 2, 1])).unwrap();
    let (a, b) = (plain.tally.errors(), moved.tally.errors());
    assert_relative_eq!(a.figures.mae_mev, b.figures.mae_mev, max_relative = 1e-12);
    let fixed = |e: &comparison::MatrixErrors| e.figures.mae_gauge_fixed_mev.unwrap();
    assert_relative_eq!(fixed(&a), fixed(&b), max_relative = 1e-10);
    assert_relative_eq!(a.orbital_average_mev, b.orbital_average_mev, max_relative = 1e-10);
    for (a, b) in a.by_distance.iter().zip(&b.by_distance) {
        assert_eq!((a.from, a.figures.elements), (b.from, b.figures.elements));
        assert_relative_eq!(a.figures.rmse_mev, b.figures.rmse_mev, max_relative = 1e-10);
    }
    let (a, b) = (plain.spectrum.unwrap().errors, moved.spectrum.unwrap().errors);
    assert!(a.band_mae_mev.unwrap() > 1e-3);
    assert_relative_eq!(a.band_mae_mev.unwrap(), b.band_mae_mev.unwrap(), max_relative = 1e-6);
    assert_abs_diff_eq!(a.similarity_worst, b.similarity_worst, epsilon = 1e-10);
}

#[test]
fn tallies_of_parts_are_the_tally_of_the_whole() {
    let record = sample();
    let prediction = predicted(&record, 1e-3);
    let other = read(&root().join("datasets/sample/dft/0002"), &ReadOptions::default()).unwrap();
    let wrong = predicted(&other, 3e-3);
    let counting = Counting { parity: 50, ..Counting::default() };
    let mut whole = Tally::default();
    whole.add(&record, &prediction, counting).unwrap();
    whole.add(&other, &wrong, counting).unwrap();
    let records = [(record, prediction), (other, wrong)];
    let load = |n: usize| Ok(case(records[n].0.clone(), records[n].1.clone()));
    let options = Options { counting, spectrum: None };
    let merged = comparison::compare(2, load, &options, &mut Silent).unwrap();
    let (whole, parts) = (whole.errors(), merged.errors);
    assert_relative_eq!(whole.figures.mae_mev, parts.figures.mae_mev, max_relative = 1e-13);
    assert_eq!(whole.largest, parts.largest);
    assert_eq!(whole.parity, parts.parity);
    assert_eq!(parts.by_structure[0].structure, "0002");
    let elements: usize = parts.by_orbital_pair.iter().map(|pair| pair.figures.elements).sum();
    assert_eq!(elements, parts.figures.elements);
    // A prediction of another structure is told, with its file.
    let load = |n: usize| {
        let mut prediction = records[n].1.clone();
        prediction.pairs[0] = [99, 0, 0, 0, 0];
        Ok(case(records[n].0.clone(), prediction))
    };
    let message = comparison::compare(2, load, &options, &mut Silent).unwrap_err().to_string();
    assert!(message.contains("0001") && message.contains("prediction.h5") && message.contains("block"), "{message}");
}

/// One atom with `n` s orbitals in a large box: H and S as given, at Gamma.
struct Atom {
    basis: Basis,
}

impl Atom {
    fn new(n: usize) -> Self {
        Self { basis: Basis::new(vec![(1, vec![0; n])], false).unwrap() }
    }

    fn bloch(&self, matrix: &Mat<f64>) -> Bloch {
        let n = matrix.nrows();
        let entries = (0..n * n).map(|k| matrix[(k / n, k % n)]).collect();
        let matrix = BlockMatrix {
            pairs: vec![[0; 5]],
            shapes: vec![[n, n]],
            boundaries: vec![0, n * n],
            entries: Entries::Real(entries),
        };
        Bloch::new(&matrix, &self.basis, &[1]).unwrap()
    }
}

fn unit(n: usize) -> Mat<f64> {
    Mat::identity(n, n)
}

fn diagonal(values: &[f64]) -> Mat<f64> {
    Mat::from_fn(values.len(), values.len(), |i, j| if i == j { values[i] } else { 0.0 })
}

/// Q A Q^T with Q a turn by `angle` between orbitals `i` and `j`.
fn turned(a: &Mat<f64>, i: usize, j: usize, angle: f64) -> Mat<f64> {
    let mut q = unit(a.nrows());
    let (sin, cos) = angle.sin_cos();
    (q[(i, i)], q[(j, j)], q[(i, j)], q[(j, i)]) = (cos, cos, -sin, sin);
    &q * a * q.transpose()
}

fn compare(atom: &Atom, h: &Mat<f64>, p: &Mat<f64>, electrons: f64) -> spectral_error::SpectralErrors {
    let (h, p, s) = (atom.bloch(h), atom.bloch(p), atom.bloch(&unit(h.nrows())));
    let mesh = Mesh::new([1; 3], true).unwrap();
    let filling = (Filling::Electrons(electrons), false);
    spectral_error::compare(&h, &p, &s, &mesh, filling, 0.0, spectral_error::Options::default()).unwrap()
}

#[test]
fn the_occupied_subspace_is_what_is_compared() {
    let atom = Atom::new(4);
    let h = diagonal(&[-4.0, -3.0, 1.0, 2.0]);
    // Mixing occupied states among themselves and changing their energies leaves the subspace.
    let mixed = turned(&diagonal(&[-3.5, -2.0, 1.0, 2.0]), 0, 1, 0.7);
    let found = compare(&atom, &h, &mixed, 4.0);
    assert_abs_diff_eq!(found.similarity_worst, 1.0, epsilon = 1e-12);
    assert!(found.band_mae_mev.unwrap() > 1.0);
    // Mixing an occupied with an empty one by an angle takes sin^2 out of one of two states.
    let found = compare(&atom, &h, &turned(&h, 1, 2, 0.3), 4.0);
    assert_abs_diff_eq!(found.similarity_worst, 1.0 - 0.3_f64.sin().powi(2) / 2.0, epsilon = 1e-12);
    assert!(found.band_max_mev.unwrap() < 1e-9);
    assert_abs_diff_eq!(found.gap_ev, 4.0, epsilon = 1e-12);
}

#[test]
fn ghosts_are_counted() {
    let atom = Atom::new(4);
    let h = diagonal(&[-4.0, -3.0, 1.0, 9.0]);
    // One level falls far below all others: the three below the window's top are displaced, by 36, 1 and 4 eV; a common
    // shift explains one of them.
    let found = compare(&atom, &h, &diagonal(&[-4.0, -3.0, 1.0, -40.0]), 4.0);
    assert_eq!((found.ghosts_below, found.ghost_states), (1, 2));
    // 0.4 eV is an error, no ghost.
    let found = compare(&atom, &h, &diagonal(&[-4.4, -3.0, 1.0, 9.0]), 4.0);
    assert_eq!((found.ghosts_below, found.ghost_states), (0, 0));
    // A shift of all is none either.
    let found = compare(&atom, &h, &diagonal(&[2.0, 3.0, 7.0, 15.0]), 4.0);
    assert_eq!((found.ghosts_below, found.ghost_states), (0, 0));
    assert!(found.band_max_mev.unwrap() < 1e-9);
    // Above the window nobody looks.
    let found = compare(&atom, &h, &diagonal(&[-4.0, -3.0, 1.0, 12.0]), 4.0);
    assert_eq!((found.ghost_states, found.states), (0, 3));
}

#[test]
fn a_threshold_for_the_overlap_lays_ghosts() {
    let record = sample();
    let prediction = predicted(&record, 0.03);
    let with = |threshold| {
        let mut options = options([1; 3]);
        options.spectrum.as_mut().unwrap().spectral.overlap_threshold = threshold;
        let case = case(record.clone(), prediction.clone());
        comparison::compare_structure(&case, &options).unwrap().spectrum.unwrap().errors
    };
    let (without, with) = (with(None), with(Some(0.005)));
    assert!(without.ghosts_below >= 4 && without.ghost_states >= 4 && without.similarity_mean < 0.95);
    assert_eq!((with.ghosts_below, without.dropped, with.dropped), (0, 0, 12));
    assert!(with.band_mae_mev.unwrap() < 0.2 * without.band_mae_mev.unwrap());
    assert!(with.similarity_mean > 0.99);
}

#[test]
fn a_fermi_level_tells_the_filling_too() {
    let atom = Atom::new(4);
    let (h, s) = (atom.bloch(&diagonal(&[-4.0, -3.0, 1.0, 2.0])), atom.bloch(&unit(4)));
    let mesh = Mesh::new([3, 1, 1], true).unwrap();
    let options = spectral_error::Options::default();
    let with = |filling| spectral_error::compare(&h, &h, &s, &mesh, (filling, false), 0.0, options).unwrap();
    let (level, count) = (with(Filling::FermiLevel(0.3)), with(Filling::Electrons(4.0)));
    assert_abs_diff_eq!(level.electrons, 4.0, epsilon = 1e-5);
    assert_eq!((level.fermi_ev, level.gap_ev, level.metal), (count.fermi_ev, 4.0, false));
    let none = spectral_error::compare(&h, &h, &s, &mesh, (Filling::Electrons(9.0), false), 0.0, options);
    assert!(none.unwrap_err().to_string().contains("electrons"));
}

/// The demo of DeepH-dock: six water molecules, their true and predicted Hamiltonians.
fn water() -> Option<Vec<Case>> {
    let truth = data("deeph/analyze/error/benchmark.bak/dft")?;
    let inferred = data("deeph/analyze/error/infer.clean/dft")?;
    let mut folders: Vec<PathBuf> = truth.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let case = |folder: &PathBuf| {
        let source = inferred.join(folder.file_name().unwrap()).join("hamiltonian_pred.h5");
        let density = Some(unified::read_matrix(&folder.join("density_matrix.h5")).unwrap());
        let record = read(folder, &ReadOptions::default()).unwrap();
        Case { record, prediction: unified::read_matrix(&source).unwrap(), source, density }
    };
    Some(folders.iter().map(case).collect())
}

#[test]
fn golden_errors_of_the_documented_prediction() {
    let Some(cases) = water() else { return };
    let mut options = options([1; 3]);
    let load = |n: usize| Ok(cases[n].clone());
    let found = comparison::compare(cases.len(), load, &options, &mut Silent).unwrap();
    let figures = found.errors.figures;
    assert_eq!((found.structures, figures.elements), (6, 3174));
    assert_abs_diff_eq!(figures.mae_gauge_fixed_mev.unwrap(), 0.113670, epsilon = tolerances::DEMO_MAE_MEV);
    assert_abs_diff_eq!(figures.mae_mev, 1045.9, epsilon = tolerances::DEMO_RAW_MEV);
    assert_abs_diff_eq!(figures.relative_gauge_fixed.unwrap(), 2.50294e-4, epsilon = tolerances::DEMO_RELATIVE);
    assert_abs_diff_eq!(found.errors.orbital_average_mev, 0.09821, epsilon = tolerances::DEMO_MAE_MEV);
    assert_abs_diff_eq!(found.errors.element_pair_average_mev, 0.1203, epsilon = tolerances::DEMO_PAIR_MEV);
    let spectrum = found.spectrum.unwrap();
    assert_eq!((spectrum.structures, spectrum.ghost_states, spectrum.ghosts_below), (6, 0, 0));
    assert!(spectrum.by_structure.iter().all(|s| s.errors.electrons == 8.0 && s.errors.gap_ev > 5.0));
    assert!(spectrum.similarity_worst > 1.0 - 2e-8 && spectrum.similarity_worst < 1.0);
    // All blocks overlap here, so the mask changes nothing.
    options.counting.overlap_mask = true;
    options.spectrum = None;
    let masked = comparison::compare(cases.len(), load, &options, &mut Silent).unwrap();
    assert_eq!(masked.errors.figures, figures);
}

#[test]
fn density_matrix_of_the_occupied_states_is_the_stored_one() {
    let Some(cases) = water() else { return };
    for case in &cases {
        let (record, stored) = (&case.record, case.density.as_ref().unwrap());
        let overlap = record.overlap.as_ref().unwrap();
        assert_abs_diff_eq!(gauge::electrons(stored, overlap).unwrap(), 8.0, epsilon = 1e-10);
        let crystal = Crystal::from_poscar(&record.poscar).unwrap();
        let basis = Basis::from_info(&record.info).unwrap();
        let bloch = |matrix: &BlockMatrix| Bloch::new(matrix, &basis, &crystal.species).unwrap();
        let (s, rho) = (bloch(overlap), bloch(stored).at([0.0; 3]));
        let vectors = dense::Options { vectors: true, ..dense::Options::default() };
        let solve = |h: &BlockMatrix| dense::solve(&[&bloch(h)], &s, &[[0.0; 3]], vectors).unwrap().remove(0).remove(0);
        // rho = 2 sum c c^dagger over four levels, both spins in one.
        let projector = |h: &BlockMatrix| {
            let c = solve(h).vectors.unwrap();
            let c = c.subcols(0, 4).to_owned();
            &c * c.adjoint()
        };
        let (own, predicted) = (projector(record.hamiltonian.as_ref().unwrap()), projector(&case.prediction));
        let largest = |a: &Mat<Complex64>| a.col_iter().flat_map(|c| c.iter()).map(|x| x.norm()).fold(0.0, f64::max);
        let twice = Mat::from_fn(own.nrows(), own.ncols(), |i, j| own[(i, j)] * 2.0 - rho[(i, j)]);
        assert!(largest(&twice) < 1e-10);
        // The predicted one is idempotent, P S P = P, with four states, and close to the true one.
        let s = s.at([0.0; 3]);
        assert!(largest(&(&predicted * &s * &predicted - &predicted)) < 1e-12);
        let product = &predicted * &s;
        let trace: f64 = (0..product.nrows()).map(|n| product[(n, n)].re).sum();
        assert_abs_diff_eq!(trace, 4.0, epsilon = 1e-12);
        let common = &product * &own * &s;
        let similarity = (0..common.nrows()).map(|n| common[(n, n)].re).sum::<f64>() / 4.0;
        let found = comparison::compare_structure(case, &options([1; 3])).unwrap().spectrum.unwrap().errors;
        assert_abs_diff_eq!(found.similarity_mean, similarity, epsilon = 1e-12);
    }
}
