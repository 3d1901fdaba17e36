//! Real Hamiltonians against the figures of the codes that made them; skipped where ../shared/data is absent.
#![allow(clippy::unwrap_used)] // The helpers are test code too.

#[path = "support/rotation.rs"]
mod rotation;

use std::path::{Path, PathBuf};

use approx::assert_abs_diff_eq;
use nalgebra::{Rotation3, Vector3};
use tesseral_datasets::deeph::matrix::Entries;
use tesseral_datasets::deeph::validate::Limits;
use tesseral_datasets::deeph::{ReadOptions, Record, read, unified};
use tesseral_datasets::import::{self, Source};
use tesseral_physics::electronic::dense::{self, Options};
use tesseral_physics::electronic::smearing::Smearing;
use tesseral_physics::electronic::{Bloch, Mesh, bands, fermi, sparse};
use tesseral_physics::hamiltonian::{Basis, gauge, symmetry};
use tesseral_physics::structure::{Crystal, KPath};

/// A folder of the shared data, or `None` with a line said.
fn data(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("../shared/data").join(name);
    let found = folder.is_dir();
    if !found {
        println!("skipped: {} is not here", folder.display());
    }
    found.then_some(folder)
}

struct Case {
    record: Record,
    crystal: Crystal,
    basis: Basis,
    h: Bloch,
    s: Bloch,
}

fn case(folder: &Path) -> Case {
    let record = read(folder, &ReadOptions::default()).unwrap();
    let crystal = Crystal::from_poscar(&record.poscar).unwrap();
    let basis = Basis::from_info(&record.info).unwrap();
    let bloch = |m: &Option<_>| Bloch::new(m.as_ref().unwrap(), &basis, &crystal.species).unwrap();
    let (h, s) = (bloch(&record.hamiltonian), bloch(&record.overlap));
    Case { record, crystal, basis, h, s }
}

#[test]
fn molybdenum_ditelluride_has_the_documented_levels() {
    let Some(folder) = data("deeph/compute/eigen/eigen.clean/MoTe2") else { return };
    let case = case(&folder);
    let third = 1.0 / 3.0;
    let expected: [([f64; 3], usize, &[f64]); 4] = [
        ([0.0; 3], 0, &[-52.24485528]),
        ([0.0; 3], 21, &[7.39333853, 8.01514204, 11.4187866, 11.4280426]),
        ([0.5, 0.0, 0.0], 21, &[7.66557603, 7.92681342, 9.72443349, 10.05331631]),
        ([third, third, 0.0], 21, &[6.65512779, 8.3746584, 9.41463753, 10.31868786]),
    ];
    for (k, first, energies) in expected {
        let options = Options { overlap_spectrum: true, ..Options::default() };
        let solution = dense::solve(&[&case.h], &case.s, &[k], options).unwrap().remove(0).remove(0);
        for (found, expected) in solution.values[first..].iter().zip(energies) {
            // The figures have eight decimals.
            assert_abs_diff_eq!(found, expected, epsilon = 1.6e-8);
        }
        assert!((0.008..0.2).contains(&solution.smallest_overlap.unwrap()));
    }
    let electrons = case.record.info.occupation.unwrap();
    let level = fermi::fermi_level(&case.h, &case.s, &case.crystal.lattice, 0.1, electrons, false).unwrap();
    assert_abs_diff_eq!(level.fermi_ev, 8.894647969025, epsilon = 1e-8);
    assert_abs_diff_eq!(level.valence_top_ev, 8.3746584034028, epsilon = 1e-8);
    assert_abs_diff_eq!(level.conduction_bottom_ev, 9.414637534647621, epsilon = 1e-8);
    assert!(!level.metal);
    let mesh = Mesh::with_spacing(&case.crystal.lattice, 0.1, case.h.dispersive(), true).unwrap();
    let inertia = fermi::by_inertia(&case.h, &case.s, &mesh, electrons, false).unwrap();
    assert_abs_diff_eq!(inertia.fermi_ev, 8.894647969025, epsilon = 1e-8);
    assert_abs_diff_eq!(inertia.gap_ev, level.gap_ev, epsilon = 1e-8);
    let values = dense::eigenvalues(&case.h, &case.s, &mesh.points).unwrap();
    let lattice = &case.crystal.lattice;
    let tetrahedra = fermi::by_tetrahedra(&values, &mesh, lattice, electrons, false).unwrap();
    assert_abs_diff_eq!(tetrahedra.fermi_ev, 8.894647969025, epsilon = 1e-8);
    for smearing in [Smearing::FermiDirac, Smearing::Gaussian, Smearing::Cold] {
        let smeared = fermi::by_smearing(&values, &mesh.weights, electrons, false, smearing, 0.01).unwrap();
        assert!((smeared.fermi_ev - 8.8946).abs() < 0.05, "{smearing:?}: {}", smeared.fermi_ev);
    }

    // The sparse solver finds the same levels, and knows which bands they are.
    let options = sparse::Options { around_ev: 8.9, count: 8, vectors: false, points_in_all: None };
    for (k, first, energies) in expected {
        let window = sparse::solve(&case.h, &case.s, &[k], options).unwrap().remove(0);
        let full = dense::eigenvalues(&case.h, &case.s, &[k]).unwrap().remove(0);
        assert!(window.residual < 1e-8 && window.values.len() >= 8);
        for (n, e) in window.values.iter().enumerate() {
            assert_abs_diff_eq!(*e, full[window.first + n], epsilon = 1e-8);
        }
        assert!(first == 0 || (window.first <= 22 && window.values.iter().any(|e| (e - energies[2]).abs() < 1.6e-8)));
    }

    let path = KPath::read(&folder.join("K_PATH")).unwrap();
    let found = bands::along(&path, &case.crystal.lattice, &[&case.h], &case.s, Options::default()).unwrap().remove(0);
    assert_eq!(found.energies_ev.len(), 140);
    let top = found.energies_ev.iter().map(|e| e[22]).fold(f64::NEG_INFINITY, f64::max);
    assert_abs_diff_eq!(top, 8.3746584034, epsilon = 1e-6);
}

#[test]
fn eigenvalues_agree_with_the_code_that_made_the_data() {
    // Accuracies of the stored matrices: occupied and eight more bands, eV (data/dft/README.md).
    let sets = [
        ("graphene", 7e-4, 3),
        ("mos2", 3e-5, 2),
        ("bilayer-graphene", 8e-4, 2),
        ("graphene-rotated", 7e-4, 3),
        ("mos2-rotated", 5e-6, 1),
        ("pristine", 7e-4, 3),
    ];
    for (set, tolerance, count) in sets {
        let Some(folder) = data(&format!("dft/{set}/dft")) else { return };
        let mut folders: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        for folder in folders.iter().take(count) {
            let case = case(folder);
            let text = std::fs::read_to_string(folder.join("reference.json")).unwrap();
            let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
            let bands = reference["n_occupied"].as_u64().unwrap() as usize + 8;
            for point in reference["eigenvalues"].as_array().unwrap() {
                let k: [f64; 3] = serde_json::from_value(point["k_frac"].clone()).unwrap();
                let expected: Vec<f64> = serde_json::from_value(point["eigenvalues_eV"].clone()).unwrap();
                let found = dense::eigenvalues(&case.h, &case.s, &[k]).unwrap().remove(0);
                assert_eq!(found.len(), expected.len());
                let error = (0..bands).map(|n| (found[n] - expected[n]).abs()).fold(0.0, f64::max);
                assert!(error < tolerance, "{}: k {k:?}: {error:e} eV", folder.display());
            }
            assert_eq!(symmetry::hermiticity_residual(case.record.hamiltonian.as_ref().unwrap()).unwrap(), 0.0);
        }
    }
}

#[test]
fn molecule_has_the_documented_levels_and_mid_gap() {
    let Some(folder) = data("deeph/analyze/dataset/inputs.clean/dft") else { return };
    let water = case(&folder.join("4990"));
    let found = dense::eigenvalues(&water.h, &water.s, &[[0.0; 3]]).unwrap().remove(0);
    let expected = [-22.37535435, -12.67882504, -5.46283987, -5.29677795, -0.5543801, 3.54976627];
    found.iter().zip(&expected).for_each(|(found, expected)| assert_abs_diff_eq!(found, expected, epsilon = 1.6e-8));
    let ethanol = case(&folder.join("25003"));
    let electrons = ethanol.record.info.occupation.unwrap();
    let level = fermi::fermi_level(&ethanol.h, &ethanol.s, &ethanol.crystal.lattice, 0.1, electrons, false).unwrap();
    assert_abs_diff_eq!(level.fermi_ev, -2.64828, epsilon = 3e-4);
    assert!(level.gap_ev > 1.0);
    let mesh = Mesh::new([1, 1, 1], true).unwrap();
    let inertia = fermi::by_inertia(&ethanol.h, &ethanol.s, &mesh, electrons, false).unwrap();
    assert_abs_diff_eq!(inertia.fermi_ev, level.fermi_ev, epsilon = 1e-8);
}

#[test]
fn sixty_four_silicon_atoms_have_the_documented_edges() {
    let Some(folder) = data("deeph/deeptb/Si64.0") else { return };
    let record = import::read(&folder, Source::DeePtb, 0, &Limits::default()).unwrap().record;
    let crystal = Crystal::from_poscar(&record.poscar).unwrap();
    let basis = Basis::from_info(&record.info).unwrap();
    let bloch = |m: &Option<_>| Bloch::new(m.as_ref().unwrap(), &basis, &crystal.species).unwrap();
    let (h, s) = (bloch(&record.hamiltonian), bloch(&record.overlap));
    // Four valence electrons an atom: 128 occupied bands.
    let full = dense::eigenvalues(&h, &s, &[[0.0; 3]]).unwrap().remove(0);
    for (band, expected) in [(0, -6.00819656), (127, 6.52817176), (128, 8.27870949)] {
        assert_abs_diff_eq!(full[band], expected, epsilon = 1.6e-8);
    }
    let options = sparse::Options { around_ev: 7.4, count: 6, vectors: false, points_in_all: None };
    for k in [[0.0; 3], [0.5, 0.5, 0.0], [0.137, 0.291, 0.4]] {
        let full = dense::eigenvalues(&h, &s, &[k]).unwrap().remove(0);
        let window = sparse::solve(&h, &s, &[k], options).unwrap().remove(0);
        assert!((window.first..=window.first + window.values.len()).contains(&128));
        for (n, e) in window.values.iter().enumerate() {
            assert_abs_diff_eq!(*e, full[window.first + n], epsilon = 1e-8);
        }
    }
    let mesh = Mesh::new([1, 1, 1], true).unwrap();
    let level = fermi::by_inertia(&h, &s, &mesh, 256.0, false).unwrap();
    assert_abs_diff_eq!(level.valence_top_ev, 6.52817176, epsilon = 1.6e-8);
    assert_abs_diff_eq!(level.conduction_bottom_ev, 8.27870949, epsilon = 1.6e-8);
}

#[test]
fn gauge_fixed_error_is_the_documented_one() {
    let Some(truth) = data("deeph/analyze/error/benchmark.bak/dft") else { return };
    let Some(inferred) = data("deeph/analyze/error/infer.clean/dft") else { return };
    let (mut raw, mut fixed, mut elements) = (0.0, 0.0, 0.0);
    for folder in truth.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let case = case(&folder);
        let file = inferred.join(folder.file_name().unwrap()).join("hamiltonian_pred.h5");
        let prediction = unified::read_matrix(&file).unwrap();
        let (truth, overlap) = (case.record.hamiltonian.unwrap(), case.record.overlap.unwrap());
        let errors = gauge::compare(&prediction, &truth, &overlap).unwrap();
        let count = errors.elements as f64;
        raw += errors.mae_ev * count;
        fixed += errors.mae_gauge_fixed_ev * count;
        elements += count;
    }
    assert_abs_diff_eq!(fixed / elements, 1.13670e-4, epsilon = 5e-9);
    assert_abs_diff_eq!(raw / elements, 1.0459, epsilon = 5e-5);
}

#[test]
fn rotated_water_has_the_rotated_hamiltonian() {
    let Some(folder) = data("deeph/analyze/dft_equiv/dft_calc.bak") else { return };
    // All four in the frame of the first: how far is each from their mean? DeepH-dock's own figures.
    let first = case(&folder.join("0")).record.hamiltonian.unwrap();
    let in_first_frame = |name: &str| {
        let case = case(&folder.join(name));
        let text = std::fs::read_to_string(folder.join(name).join("euler_angle")).unwrap_or_else(|_| "0 0 0".into());
        let angles: Vec<f64> = text.split_whitespace().map(|x| x.parse().unwrap()).collect();
        let (y, z) = (Vector3::y(), Vector3::z());
        let q = Rotation3::new(z * angles[0]) * Rotation3::new(y * angles[1]) * Rotation3::new(z * angles[2]);
        let (back, h) = (q.inverse().into_inner(), case.record.hamiltonian.unwrap());
        let h = symmetry::rotated(&h, &case.basis, &case.crystal.species, |l| rotation::d(&back, l), None).unwrap();
        let Entries::Real(values) = symmetry::reorder_to(&h, &first).unwrap().entries else { unreachable!() };
        values
    };
    let turned = ["0", "1", "2", "3"].map(in_first_frame);
    let count = turned[0].len() as f64;
    let mean: Vec<f64> = (0..turned[0].len()).map(|e| turned.iter().map(|h| h[e]).sum::<f64>() / 4.0).collect();
    let squares = |h: &Vec<f64>| h.iter().zip(&mean).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let rmse = turned.iter().map(|h| (squares(h) / count).sqrt()).sum::<f64>() / 4.0;
    let magnitude = mean.iter().map(|x| x.abs()).sum::<f64>() / count;
    assert_abs_diff_eq!(magnitude, 4.624965817517407, epsilon = 1e-12);
    assert_abs_diff_eq!(rmse, 2.51205990814e-5, epsilon = 1e-15);
}

#[test]
fn rotated_graphene_has_the_rotated_operators() {
    let Some(folder) = data("dft/graphene-rotated/dft") else { return };
    let (plain, turned) = (case(&folder.join("0000_0")), case(&folder.join("0000_2")));
    let q = Rotation3::new(Vector3::new(0.5, -0.9, 0.7)).into_inner();
    for (a, b) in plain.crystal.rotated(&q).lattice.to_rows().iter().zip(turned.crystal.lattice.to_rows()) {
        a.iter().zip(b).for_each(|(a, b)| assert_abs_diff_eq!(*a, b, epsilon = 1e-9));
    }
    let rmse = |a: &Option<_>, b: &Option<_>| {
        let species = &plain.crystal.species;
        let a = symmetry::rotated(a.as_ref().unwrap(), &plain.basis, species, |l| rotation::d(&q, l), None).unwrap();
        let errors = gauge::compare(&a, b.as_ref().unwrap(), plain.record.overlap.as_ref().unwrap()).unwrap();
        errors.rmse_ev
    };
    assert_abs_diff_eq!(rmse(&plain.record.hamiltonian, &turned.record.hamiltonian), 1.8553e-6, epsilon = 1e-9);
    assert_abs_diff_eq!(rmse(&plain.record.overlap, &turned.record.overlap), 1.3631e-9, epsilon = 1e-12);
}
