//! Bloch sums and eigenvalues against closed forms and against the motions that a spectrum must not notice.

#![allow(clippy::unwrap_used)] // The helpers are test code too.

#[path = "support/rotation.rs"]
mod rotation;

use std::f64::consts::TAU;

use approx::assert_relative_eq;
use faer::{Mat, Par};
use nalgebra::{Matrix2, Rotation3, Unit, Vector3};
use num_complex::Complex64;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries, reverse};
use tesseral_nn::rng::Streams;
use tesseral_physics::electronic::dense::{Conditioning, Options, eigenvalues, solve, solve_dense};
use tesseral_physics::electronic::{Bloch, bands, fermi};
use tesseral_physics::hamiltonian::{Basis, gauge, symmetry};
use tesseral_physics::structure::{KPath, Lattice};

fn real(blocks: &[([i64; 5], f64)]) -> BlockMatrix {
    let shapes = vec![[1, 1]; blocks.len()];
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    let entries = Entries::Real(blocks.iter().map(|b| b.1).collect());
    BlockMatrix { pairs: blocks.iter().map(|b| b.0).collect(), shapes, boundaries, entries }
}

/// Two s orbitals a cell, alternating hoppings t1 inside and t2 between cells, overlap s inside.
fn chain(t1: f64, t2: f64, s: f64) -> (Bloch, Bloch) {
    let basis = Basis::new(vec![(1, vec![0])], false).unwrap();
    let both = |onsite: f64, inside: f64, between: f64| {
        real(&[
            ([0, 0, 0, 0, 0], onsite),
            ([0, 0, 0, 1, 1], onsite),
            ([0, 0, 0, 0, 1], inside),
            ([0, 0, 0, 1, 0], inside),
            ([-1, 0, 0, 0, 1], between),
            ([1, 0, 0, 1, 0], between),
        ])
    };
    let bloch = |m: &BlockMatrix| Bloch::new(m, &basis, &[1, 1]).unwrap();
    (bloch(&both(0.0, t1, t2)), bloch(&both(1.0, s, 0.0)))
}

#[test]
fn dimerised_chain_has_its_closed_form() {
    let (t1, t2) = (-1.0, -0.6);
    let (h, s) = chain(t1, t2, 0.0);
    let points: Vec<[f64; 3]> = (0..17).map(|n| [f64::from(n) / 16.0, 0.3, 0.0]).collect();
    for (k, values) in points.iter().zip(eigenvalues(&h, &s, &points).unwrap()) {
        let e = (t1 * t1 + t2 * t2 + 2.0 * t1 * t2 * (TAU * k[0]).cos()).sqrt();
        assert_relative_eq!(values[0], -e, epsilon = 1e-13);
        assert_relative_eq!(values[1], e, epsilon = 1e-13);
    }
    assert_eq!(h.dispersive(), [true, false, false]);
}

#[test]
fn overlap_splits_a_dimer_as_in_the_text_book() {
    let (t, overlap) = (-1.3, 0.25);
    let (h, s) = chain(t, 0.0, overlap);
    let values = &eigenvalues(&h, &s, &[[0.123, 0.0, 0.0]]).unwrap()[0];
    assert_relative_eq!(values[0], t / (1.0 + overlap), epsilon = 1e-13);
    assert_relative_eq!(values[1], -t / (1.0 - overlap), epsilon = 1e-13);
}

#[test]
fn chain_at_half_filling_has_its_gap() {
    let (h, s) = chain(-1.0, -0.6, 0.0);
    let lattice = Lattice::from_rows(&[[2.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]).unwrap();
    let found = fermi::fermi_level(&h, &s, &lattice, 0.1, 2.0, false).unwrap();
    assert_relative_eq!(found.fermi_ev, 0.0, epsilon = 1e-12);
    assert_relative_eq!(found.gap_ev, 0.8, epsilon = 1e-12);
    assert_relative_eq!(found.direct_gap_ev.unwrap(), 0.8, epsilon = 1e-12);
    assert!(!found.metal);
    let metal = fermi::fermi_level(&h, &s, &lattice, 0.1, 1.0, false).unwrap();
    assert!(metal.metal && metal.gap_ev == 0.0);
    for electrons in [0.0, 4.0, 5.0] {
        assert!(fermi::fermi_level(&h, &s, &lattice, 0.1, electrons, false).is_err());
    }
    // k and -k counted once give the same as the whole mesh.
    let full = fermi::Mesh::new([32, 1, 1], false).unwrap();
    let half = fermi::Mesh::new([32, 1, 1], true).unwrap();
    assert_eq!(half.points.len(), 17);
    let level = |mesh: &fermi::Mesh| {
        fermi::by_counting(&eigenvalues(&h, &s, &mesh.points).unwrap(), &mesh.weights, 1.3, false).unwrap().fermi_ev
    };
    assert_relative_eq!(level(&full), level(&half), epsilon = 1e-12);
}

fn random_hermitian(n: usize, complex: bool, rng: &mut ChaCha8Rng) -> Mat<Complex64> {
    let mut draw = || rng.random_range(-1.0..1.0);
    let a = Mat::from_fn(n, n, |_, _| Complex64::new(draw(), if complex { draw() } else { 0.0 }));
    &a + a.adjoint()
}

fn random_positive(n: usize, complex: bool, rng: &mut ChaCha8Rng) -> Mat<Complex64> {
    let a = random_hermitian(n, complex, rng);
    &a * a.adjoint() + Mat::<Complex64>::identity(n, n)
}

#[test]
fn random_pairs_are_solved_to_rounding() {
    let mut rng = Streams::new(7).stream("electronic", &[]);
    for n in [1, 2, 3, 17, 90, 150] {
        for complex in [false, true] {
            for conditioning in [Conditioning::Strict, Conditioning::Project { threshold: 1e-6 }] {
                let (h, s) = (random_hermitian(n, complex, &mut rng), random_positive(n, complex, &mut rng));
                let options = Options { vectors: true, overlap_spectrum: true, conditioning, ..Options::default() };
                let solution = &solve_dense(vec![h.clone()], s.clone(), [0.0; 3], options, Par::Seq).unwrap()[0];
                let c = solution.vectors.as_ref().unwrap();
                let residual = &h * c - &s * c * energies(&solution.values);
                assert!(residual.norm_max() < 1e-10, "n {n}: {:e}", residual.norm_max());
                let norm = c.adjoint() * &s * c - Mat::<Complex64>::identity(n, n);
                assert!(norm.norm_max() < 1e-12, "n {n}: {:e}", norm.norm_max());
                assert!(solution.values.is_sorted() && solution.smallest_overlap.unwrap() >= 1.0 - 1e-9);
                let alone = &solve_dense(vec![h], s, [0.0; 3], Options::default(), Par::Seq).unwrap()[0];
                for (a, b) in alone.values.iter().zip(&solution.values) {
                    assert_relative_eq!(a, b, epsilon = 1e-11);
                }
            }
        }
    }
}

fn energies(values: &[f64]) -> Mat<Complex64> {
    Mat::from_fn(values.len(), values.len(), |i, j| Complex64::new(if i == j { values[i] } else { 0.0 }, 0.0))
}

#[test]
fn singular_overlaps_are_reported_or_projected() {
    let mut rng = Streams::new(8).stream("electronic", &[]);
    let n = 12;
    // The last two orbitals repeat the first two: two null vectors of S, and H lives in the same space.
    let embed = Mat::from_fn(n, n - 2, |i, j| Complex64::new(if i % (n - 2) == j { 1.0 } else { 0.0 }, 0.0));
    let (h, s) = (random_hermitian(n - 2, true, &mut rng), random_positive(n - 2, true, &mut rng));
    let full = |m: &Mat<Complex64>| &embed * m * embed.transpose();
    let exact = &solve_dense(vec![h.clone()], s.clone(), [0.0; 3], Options::default(), Par::Seq).unwrap()[0];
    let conditioning = Conditioning::Project { threshold: 1e-6 };
    let options = Options { vectors: true, conditioning, ..Options::default() };
    let found = &solve_dense(vec![full(&h)], full(&s), [0.0; 3], options, Par::Seq).unwrap()[0];
    assert_eq!((found.dropped, found.values.len()), (2, n - 2));
    for (a, b) in found.values.iter().zip(&exact.values) {
        assert_relative_eq!(a, b, epsilon = 1e-10);
    }
    let negative = full(&s) - Mat::<Complex64>::identity(n, n) * faer::Scale(Complex64::new(0.5, 0.0));
    let error = solve_dense(vec![full(&h)], negative, [0.25, 0.0, 0.0], Options::default(), Par::Seq).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("0.250000") && text.contains("-5.0"), "{text}");
}

/// Two atoms with s, p, d shells and random Hermitian blocks over five cells; S diagonally dominant.
fn random_operators(spinful: bool, rng: &mut ChaCha8Rng) -> (Basis, Vec<u32>, BlockMatrix, BlockMatrix) {
    let basis = Basis::new(vec![(42, vec![0, 1, 2]), (16, vec![0, 1])], spinful).unwrap();
    let (species, sizes) = (vec![42, 16], [9, 4]);
    let mut pairs = vec![];
    for cell in [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]] {
        for i in 0..2 {
            (0..2).for_each(|j| pairs.push([cell[0], cell[1], cell[2], i, j]));
        }
    }
    let blocks = |spins: usize, scale: f64, diagonal: f64, rng: &mut ChaCha8Rng| {
        let shapes: Vec<[usize; 2]> =
            pairs.iter().map(|p: &[i64; 5]| [spins * sizes[p[3] as usize], spins * sizes[p[4] as usize]]).collect();
        let boundaries = BlockMatrix::boundaries_of(&shapes);
        let count = boundaries[shapes.len()];
        let mut draw = || scale * rng.random_range(-1.0..1.0);
        let entries = if spins == 2 {
            Entries::Complex((0..count).map(|_| Complex64::new(draw(), draw())).collect())
        } else {
            Entries::Real((0..count).map(|_| draw()).collect())
        };
        let raw = BlockMatrix { pairs: pairs.clone(), shapes, boundaries, entries };
        let mut matrix = symmetry::hermitised(&raw).unwrap();
        for (k, pair) in pairs.iter().enumerate() {
            if *pair == reverse(pair)
                && let Some(mut block) = matrix.real_block_mut(k)
            {
                block.diag_mut().map_inplace(|x| *x += diagonal);
            }
        }
        matrix
    };
    let hamiltonian = blocks(basis.spins(), 1.0, 0.0, rng);
    let overlap = blocks(1, 0.02, 1.0, rng);
    (basis, species, hamiltonian, overlap)
}

fn spectrum(basis: &Basis, species: &[u32], h: &BlockMatrix, s: &BlockMatrix, k: [f64; 3]) -> Vec<f64> {
    let (h, s) = (Bloch::new(h, basis, species).unwrap(), Bloch::new(s, basis, species).unwrap());
    eigenvalues(&h, &s, &[k]).unwrap().remove(0)
}

fn assert_same(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).for_each(|(a, b)| assert_relative_eq!(a, b, epsilon = 1e-11));
}

/// U in SU(2) of the rotation about `axis` (unit) by `angle`: cos(angle/2) - i sin(angle/2) axis . sigma.
fn spin(axis: &Vector3<f64>, angle: f64) -> Matrix2<Complex64> {
    let (sin, cos) = (angle / 2.0).sin_cos();
    let [x, y, z] = [axis.x * sin, axis.y * sin, axis.z * sin];
    Matrix2::new(Complex64::new(cos, -z), Complex64::new(-y, -x), Complex64::new(y, -x), Complex64::new(cos, z))
}

#[test]
fn spectra_do_not_notice_rotation_permutation_or_reciprocal_vectors() {
    let mut rng = Streams::new(9).stream("electronic", &[]);
    for spinful in [false, true] {
        let (basis, species, h, s) = random_operators(spinful, &mut rng);
        assert!(symmetry::hermiticity_residual(&h).unwrap() == 0.0);
        let k = [0.137, 0.291, 0.4];
        let reference = spectrum(&basis, &species, &h, &s, k);
        assert_eq!(reference.len(), 13 * basis.spins());
        assert_same(&spectrum(&basis, &species, &h, &s, [1.137, -1.709, 3.4]), &reference);

        let (axis, angle) = (Unit::new_normalize(Vector3::new(0.5, -0.9, 0.7)), 1.1);
        let q = Rotation3::from_axis_angle(&axis, angle).into_inner();
        let u = spin(&axis, angle);
        for q in [q, -q] {
            let turn = |m| symmetry::rotated(m, &basis, &species, |l| rotation::d(&q, l), Some(&u)).unwrap();
            let (h, s) = (turn(&h), turn(&s));
            assert!(symmetry::hermiticity_residual(&h).unwrap() < 1e-14);
            assert_same(&spectrum(&basis, &species, &h, &s, k), &reference);
        }
        let order = [1, 0];
        let (h, s) = (symmetry::permuted(&h, &order).unwrap(), symmetry::permuted(&s, &order).unwrap());
        assert_same(&spectrum(&basis, &[16, 42], &h, &s, k), &reference);
    }
}

#[test]
fn a_shift_by_the_overlap_moves_all_bands_alike() {
    let mut rng = Streams::new(10).stream("electronic", &[]);
    for spinful in [false, true] {
        let (basis, species, h, s) = random_operators(spinful, &mut rng);
        let moved = gauge::shifted(&h, &s, 0.37).unwrap();
        let before = spectrum(&basis, &species, &h, &s, [0.1, 0.2, 0.0]);
        let after = spectrum(&basis, &species, &moved, &s, [0.1, 0.2, 0.0]);
        before.iter().zip(&after).for_each(|(a, b)| assert_relative_eq!(a + 0.37, b, epsilon = 1e-11));
    }
}

#[test]
fn bands_compare_after_alignment() {
    let (h, s) = chain(-1.0, -0.6, 0.1);
    let lattice = Lattice::from_rows(&[[2.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]]).unwrap();
    let path = KPath::through(&lattice, &[("GAMMA", [0.0; 3]), ("X", [0.5, 0.0, 0.0])], 21);
    let two = bands::along(&path, &lattice, &[&h, &h], &s, Options::default()).unwrap();
    let reference = two[0].clone().with_filling(Some(0.0), Some(1));
    let mut shifted = two[1].clone().with_filling(Some(0.25), Some(1));
    shifted.energies_ev.iter_mut().flatten().for_each(|e| *e += 0.3);
    let errors = bands::compare(&shifted, &reference, 1, 4).unwrap();
    assert_eq!((errors.occupied, errors.empty), (1, 1));
    assert_relative_eq!(errors.shift_ev, -0.3, epsilon = 1e-12);
    assert!(errors.band_mae_mev < 1e-9 && errors.band_max_mev < 1e-9);
    assert_relative_eq!(errors.unaligned_mae_mev, 300.0, epsilon = 1e-9);
    assert_relative_eq!(errors.fermi_aligned_mae_mev.unwrap(), 50.0, epsilon = 1e-9);
    assert_eq!(reference.to_csv().lines().count(), 22);
    assert!(bands::compare(&shifted, &reference, 3, 4).is_err());
    let json = serde_json::to_string(&reference).unwrap();
    assert_eq!(serde_json::from_str::<bands::BandStructure>(&json).unwrap(), reference);
}

#[test]
fn one_hamiltonian_or_several_give_the_same() {
    let mut rng = Streams::new(11).stream("electronic", &[]);
    let (basis, species, h, s) = random_operators(false, &mut rng);
    let (h, s) = (Bloch::new(&h, &basis, &species).unwrap(), Bloch::new(&s, &basis, &species).unwrap());
    let points: Vec<[f64; 3]> = (0..8).map(|n| [f64::from(n) / 8.0, 0.1, 0.0]).collect();
    let both = solve(&[&h, &s], &s, &points, Options::default()).unwrap();
    let alone = eigenvalues(&h, &s, &points).unwrap();
    both[0].iter().zip(&alone).for_each(|(a, b)| assert_eq!(&a.values, b));
    both[1].iter().flat_map(|x| &x.values).for_each(|&e| assert_relative_eq!(e, 1.0, epsilon = 1e-12));
}

#[test]
fn unusable_operators_are_refused() {
    let basis = Basis::new(vec![(1, vec![0])], false).unwrap();
    let nan = real(&[([0, 0, 0, 0, 0], f64::NAN)]);
    assert!(Bloch::new(&nan, &basis, &[1]).unwrap_err().to_string().contains("finite"));
    let one = Bloch::new(&real(&[([0, 0, 0, 0, 0], 1.0)]), &basis, &[1]).unwrap();
    let (two, _) = chain(1.0, 1.0, 0.0);
    assert!(solve(&[&two], &one, &[[0.0; 3]], Options::default()).is_err());
}
