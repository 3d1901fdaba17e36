//! Sparse levels and Fermi levels by every method, on made-up crystals, against the full spectrum.
#![allow(clippy::unwrap_used)] // The helpers are test code too.

use std::f64::consts::{PI, TAU};

use approx::assert_abs_diff_eq;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_nn::rng::Streams;
use tesseral_physics::electronic::smearing::Smearing;
use tesseral_physics::electronic::{Bloch, Mesh, dense, dos, fermi, sparse};
use tesseral_physics::hamiltonian::{Basis, symmetry};
use tesseral_physics::structure::Lattice;

fn cubic(a: f64) -> Lattice {
    Lattice::from_rows(&[[a, 0.0, 0.0], [0.0, a, 0.0], [0.0, 0.0, a]]).unwrap()
}

/// `atoms` atoms with an s and a p shell in a ring of cells along a1, each coupled to the next `reach`; random blocks of
/// H, an overlap near 1; real, and dispersive along a1 and (on the first atom) a2.
fn random_crystal(atoms: i64, reach: i64, seed: u64) -> (Bloch, Bloch) {
    let mut rng = Streams::new(seed).stream("crystal", &[]);
    let basis = Basis::new(vec![(6, vec![0, 1])], false).unwrap();
    let mut pairs = vec![];
    for i in 0..atoms {
        for j in i - reach..=i + reach {
            pairs.push([j.div_euclid(atoms), 0, 0, i, j.rem_euclid(atoms)]);
        }
    }
    pairs.extend([[0, 1, 0, 0, 0], [0, -1, 0, 0, 0]]);
    pairs.sort_unstable();
    pairs.dedup();
    let blocks = |scale: f64, diagonal: f64, rng: &mut ChaCha8Rng| {
        let shapes = vec![[4, 4]; pairs.len()];
        let boundaries = BlockMatrix::boundaries_of(&shapes);
        let entries = Entries::Real((0..16 * pairs.len()).map(|_| scale * rng.random_range(-1.0..1.0)).collect());
        let raw = BlockMatrix { pairs: pairs.clone(), shapes, boundaries, entries };
        let mut matrix = symmetry::hermitised(&raw).unwrap();
        for (n, pair) in pairs.iter().enumerate() {
            if pair[..3] == [0, 0, 0] && pair[3] == pair[4] {
                matrix.real_block_mut(n).unwrap().diag_mut().map_inplace(|x| *x += diagonal);
            }
        }
        Bloch::new(&matrix, &basis, &vec![6; atoms as usize]).unwrap()
    };
    let h = blocks(2.0, 0.0, &mut rng);
    (h, blocks(0.02, 1.0, &mut rng))
}

/// One s orbital on a simple cubic lattice: e = -2 t (cos k1 + cos k2 + cos k3) over the axes with a hopping.
fn cosine_band(hopping: [f64; 3]) -> (Bloch, Bloch) {
    let basis = Basis::new(vec![(1, vec![0])], false).unwrap();
    let mut pairs = vec![[0, 0, 0, 0, 0]];
    let mut values = vec![0.0];
    for axis in 0..3 {
        for sign in [1, -1] {
            let mut pair = [0; 5];
            pair[axis] = sign;
            pairs.push(pair);
            values.push(-hopping[axis]);
        }
    }
    let matrix = |values: Vec<f64>| {
        let shapes = vec![[1, 1]; values.len()];
        let boundaries = BlockMatrix::boundaries_of(&shapes);
        let pairs = pairs[..values.len()].to_vec();
        let matrix = BlockMatrix { pairs, shapes, boundaries, entries: Entries::Real(values) };
        Bloch::new(&matrix, &basis, &[1]).unwrap()
    };
    (matrix(values.clone()), matrix(vec![1.0]))
}

#[test]
fn sparse_levels_are_those_of_the_full_spectrum() {
    for (atoms, reach, seed) in [(3, 1, 1), (12, 2, 2), (40, 3, 3)] {
        let (h, s) = random_crystal(atoms, reach, seed);
        let points = [[0.0; 3], [0.5, 0.0, 0.0], [0.137, 0.291, 0.0]];
        let full = dense::eigenvalues(&h, &s, &points).unwrap();
        for around_ev in [-9.0, -0.3, 0.0, 4.0, 40.0] {
            for count in [1, 7, 4 * atoms as usize] {
                let options = sparse::Options { around_ev, count, vectors: true, points_in_all: None };
                for (window, full) in sparse::solve(&h, &s, &points, options).unwrap().iter().zip(&full) {
                    assert!(window.values.len() >= count && window.residual < 1e-8);
                    assert_eq!(window.vectors.as_ref().unwrap().ncols(), window.values.len());
                    for (n, e) in window.values.iter().enumerate() {
                        assert_abs_diff_eq!(*e, full[window.first + n], epsilon = 1e-8);
                    }
                    // None is nearer than those found.
                    let farthest = window.values.iter().map(|e| (e - around_ev).abs()).fold(0.0, f64::max);
                    let nearer = full.iter().filter(|&&e| (e - around_ev).abs() < farthest - 1e-6).count();
                    assert!(nearer < window.values.len() || window.values.len() == full.len());
                }
            }
        }
    }
}

#[test]
fn a_shift_on_a_level_is_moved() {
    let (h, s) = cosine_band([1.0, 0.0, 0.0]);
    let options = sparse::Options { around_ev: -2.0, count: 1, vectors: false, points_in_all: None };
    let found = sparse::solve(&h, &s, &[[0.0; 3]], options).unwrap().remove(0);
    assert_abs_diff_eq!(found.values[0], -2.0, epsilon = 1e-12);
    for options in [sparse::Options { count: 0, ..options }, sparse::Options { around_ev: f64::NAN, ..options }] {
        assert!(sparse::solve(&h, &s, &[[0.0; 3]], options).is_err());
    }
    // The Hamiltonian is no overlap: it has levels of both signs.
    let (h, _) = random_crystal(6, 1, 9);
    let error = sparse::solve(&h, &h, &[[0.1, 0.0, 0.0]], options).unwrap_err().to_string();
    assert!(error.contains("positive definite") && error.contains("0.1"), "{error}");
}

#[test]
fn inertia_finds_the_level_that_counting_finds() {
    // Small ones and those on fine meshes are solved in full where they are solved, the one of 400 orbitals by shift and
    // invert.
    for (atoms, reach, seed, divisions) in [
        (1, 1, 4, [12, 12, 1]),
        (5, 1, 5, [30, 5, 1]),
        (12, 2, 6, [1, 1, 1]),
        (100, 2, 7, [3, 2, 1]),
        (80, 1, 8, [30, 1, 1]),
    ] {
        let (h, s) = random_crystal(atoms, reach, seed);
        let mesh = Mesh::new(divisions, true).unwrap();
        let values = dense::eigenvalues(&h, &s, &mesh.points).unwrap();
        for electrons in [2.0, 2.5, 3.3, 4.0 * atoms as f64, 8.0 * atoms as f64 - 1.0] {
            let expected = fermi::by_counting(&values, &mesh.weights, electrons, false).unwrap();
            let found = fermi::by_inertia(&h, &s, &mesh, electrons, false).unwrap();
            assert_abs_diff_eq!(found.fermi_ev, expected.fermi_ev, epsilon = 1e-8);
            assert_abs_diff_eq!(found.valence_top_ev, expected.valence_top_ev, epsilon = 1e-8);
            assert_abs_diff_eq!(found.gap_ev, expected.gap_ev, epsilon = 1e-8);
            assert_eq!(found.metal, expected.metal);
        }
        for electrons in [0.0, 8.0 * atoms as f64, f64::NAN] {
            assert!(fermi::by_inertia(&h, &s, &mesh, electrons, false).is_err());
        }
    }
    // Every point of a star has the same levels: half filling cuts through many equal states.
    let (h, s) = cosine_band([1.0; 3]);
    let mesh = Mesh::new([8, 8, 8], true).unwrap();
    let found = fermi::by_inertia(&h, &s, &mesh, 1.0, false).unwrap();
    assert_abs_diff_eq!(found.fermi_ev, 0.0, epsilon = 1e-8);
    assert!(found.metal);
}

#[test]
fn tetrahedra_fill_the_zone_and_follow_the_cosine_band() {
    let lattice = cubic(3.0);
    // One dimension: N(E) = arccos(-E / 2) / pi, here times two for spin.
    let (h, s) = cosine_band([1.0, 0.0, 0.0]);
    let mesh = Mesh::new([200, 1, 1], true).unwrap();
    assert_eq!(mesh.tetrahedra(&lattice).len(), 1200);
    let values = dense::eigenvalues(&h, &s, &mesh.points).unwrap();
    let energies = dos::energies([-2.5, 2.5], 501).unwrap();
    let found = dos::tetrahedra(&values, &mesh, &lattice, &energies, false).unwrap();
    for (energy, states) in energies.iter().zip(&found.states_below) {
        let expected = 2.0 * (-energy / 2.0).clamp(-1.0, 1.0).acos() / PI;
        assert_abs_diff_eq!(*states, expected, epsilon = 2e-3);
        let density = found.states_per_ev[((energy + 2.5) * 100.0).round() as usize];
        if energy.abs() < 1.5 {
            assert_abs_diff_eq!(density, 2.0 / (PI * (4.0 - energy * energy).sqrt()), epsilon = 1e-2);
        }
    }
    // Three dimensions against fine sampling; the sum over bins is the number of states.
    let (h, s) = cosine_band([1.0, 0.7, 0.4]);
    let mesh = Mesh::new([16, 16, 16], true).unwrap();
    let values = dense::eigenvalues(&h, &s, &mesh.points).unwrap();
    let energies = dos::energies([-5.0, 5.0], 201).unwrap();
    let found = dos::tetrahedra(&values, &mesh, &lattice, &energies, false).unwrap();
    let sum: f64 = found.states_per_ev.iter().sum::<f64>() * 0.05;
    assert_abs_diff_eq!(sum, 2.0, epsilon = 1e-12);
    let fine = 96;
    let cosine = |n: usize| -2.0 * (TAU * (n as f64 + 0.5) / fine as f64).cos();
    for energy in [-3.0, -1.3, 0.0, 0.9, 2.2] {
        let mut below = 0_usize;
        for n in 0..fine {
            for m in 0..fine {
                below += (0..fine).filter(|&l| cosine(n) + 0.7 * cosine(m) + 0.4 * cosine(l) < energy).count();
            }
        }
        let expected = 2.0 * below as f64 / (fine as f64).powi(3);
        let place = energies.iter().position(|e| (e - energy).abs() < 1e-9).unwrap();
        assert_abs_diff_eq!(found.states_below[place], expected, epsilon = 1e-2);
        // And the way back: the Fermi level of so many electrons.
        let level = fermi::by_tetrahedra(&values, &mesh, &lattice, found.states_below[place], false).unwrap();
        assert_abs_diff_eq!(level.fermi_ev, energy, epsilon = 1e-9);
    }
}

#[test]
fn every_dos_holds_all_states() {
    let (h, s) = random_crystal(3, 1, 8);
    let lattice = cubic(4.0);
    for divisions in [[1, 1, 1], [4, 3, 1]] {
        let mesh = Mesh::new(divisions, true).unwrap();
        let values = dense::eigenvalues(&h, &s, &mesh.points).unwrap();
        let energies = dos::energies([-30.0, 30.0], 3001).unwrap();
        for spinful in [false, true] {
            let states = 12.0 * if spinful { 1.0 } else { 2.0 };
            let smooth = dos::gaussian(&values, &mesh.weights, &energies, 0.1, spinful).unwrap();
            let linear = dos::tetrahedra(&values, &mesh, &lattice, &energies, spinful).unwrap();
            for dos in [smooth, linear] {
                let sum: f64 = dos.states_per_ev.iter().sum::<f64>() * 0.02;
                assert_abs_diff_eq!(sum, states, epsilon = 1e-9);
                assert_eq!((dos.states_below[0], dos.states_below[3000]), (0.0, states));
                assert!(dos.states_below.windows(2).all(|pair| pair[1] > pair[0] - 1e-12));
                assert_eq!(dos.to_csv().lines().count(), 3002);
            }
        }
    }
    let (values, weights) = (vec![vec![0.0]], [1]);
    for (energies, sigma) in
        [(vec![0.0], 0.1), (vec![1.0, 0.0], 0.1), (vec![0.0, 1.0], 0.0), (vec![0.0, 1.0], f64::NAN)]
    {
        assert!(dos::gaussian(&values, &weights, &energies, sigma, false).is_err());
    }
    assert!(dos::gaussian(&[vec![f64::NAN]], &weights, &[0.0, 1.0], 0.1, false).is_err());
    assert!(dos::energies([1.0, 0.0], 10).is_err() && dos::energies([0.0, 1.0], 1).is_err());
}

#[test]
fn smeared_levels_keep_the_electrons() {
    let (h, s) = cosine_band([1.0, 0.7, 0.0]);
    let mesh = Mesh::new([24, 24, 1], true).unwrap();
    let values = dense::eigenvalues(&h, &s, &mesh.points).unwrap();
    let total: usize = mesh.weights.iter().sum();
    for smearing in [Smearing::FermiDirac, Smearing::Gaussian, Smearing::Cold] {
        for (electrons, width) in [(0.4, 0.3), (1.0, 0.05), (1.7, 0.2)] {
            let found = fermi::by_smearing(&values, &mesh.weights, electrons, false, smearing, width).unwrap();
            let filled: f64 = (values.iter().zip(&mesh.weights))
                .map(|(e, &w)| w as f64 * smearing.filling((found.fermi_ev - e[0]) / width))
                .sum();
            assert_abs_diff_eq!(2.0 * filled / total as f64, electrons, epsilon = 1e-10);
        }
        // The band is symmetric about 0, so its half filling is at 0, but for the lopsided cold step.
        let half = fermi::by_smearing(&values, &mesh.weights, 1.0, false, smearing, 0.1).unwrap();
        assert_abs_diff_eq!(half.fermi_ev, 0.0, epsilon = if smearing == Smearing::Cold { 0.05 } else { 1e-9 });
        assert!(fermi::by_smearing(&values, &mesh.weights, 1.0, false, smearing, 0.0).is_err());
    }
    // Two sharp levels: the middle of the gap.
    let two = [vec![-1.0, 3.0]];
    let found = fermi::by_smearing(&two, &[1], 2.0, false, Smearing::Gaussian, 1e-3).unwrap();
    assert_abs_diff_eq!(found.fermi_ev, 1.0, epsilon = 1e-6);
    assert_abs_diff_eq!(found.gap_ev, 4.0);
}
