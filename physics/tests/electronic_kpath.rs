//! Paths found from the symmetry: the points are where the Brillouin zone has its corners, in whatever cell is given.
#![allow(clippy::unwrap_used)] // The helpers are test code too.

use std::collections::BTreeMap;

use approx::assert_relative_eq;
use nalgebra::{Matrix3, Rotation3, Vector3};
use tesseral_physics::structure::kpath::bravais::Bravais;
use tesseral_physics::structure::kpath::symmetry::Symmetry;
use tesseral_physics::structure::{Crystal, KPath, Lattice};

/// Conventional lattice (rows) and the rule for the reciprocal vectors of the centred lattice.
type Case = (Bravais, [[f64; 3]; 3], fn(i32, i32, i32) -> bool);

fn primitive(_: i32, _: i32, _: i32) -> bool {
    true
}

fn face(h: i32, k: i32, l: i32) -> bool {
    (h + k) % 2 == 0 && (k + l) % 2 == 0
}

fn body(h: i32, k: i32, l: i32) -> bool {
    (h + k + l) % 2 == 0
}

fn base(h: i32, k: i32, _: i32) -> bool {
    (h + k) % 2 == 0
}

fn obverse(h: i32, k: i32, l: i32) -> bool {
    (k - h + l) % 3 == 0
}

fn right(a: f64, b: f64, c: f64) -> [[f64; 3]; 3] {
    [[a, 0.0, 0.0], [0.0, b, 0.0], [0.0, 0.0, c]]
}

fn hexagonal(a: f64, c: f64) -> [[f64; 3]; 3] {
    [[a, 0.0, 0.0], [-a / 2.0, a * 0.75_f64.sqrt(), 0.0], [0.0, 0.0, c]]
}

fn cases() -> Vec<Case> {
    // The angle between the primitive vectors of a rhombohedral lattice from its hexagonal a and c.
    let rhombohedral = |a: f64, c: f64| {
        let (square, dot) = (a * a / 3.0 + c * c / 9.0, -a * a / 6.0 + c * c / 9.0);
        Bravais::Rhombohedral((dot / square).acos())
    };
    let (b, c, alpha) = (3.1, 4.4, 74.0_f64.to_radians());
    let monoclinic = [[3.7, 0.0, 0.0], [0.0, b, 0.0], [0.0, c * alpha.cos(), c * alpha.sin()]];
    vec![
        (Bravais::Cubic, right(3.0, 3.0, 3.0), primitive),
        (Bravais::FaceCentredCubic, right(3.0, 3.0, 3.0), face),
        (Bravais::BodyCentredCubic, right(3.0, 3.0, 3.0), body),
        (Bravais::Tetragonal, right(3.0, 3.0, 4.0), primitive),
        (Bravais::BodyCentredTetragonal(3.0, 2.2), right(3.0, 3.0, 2.2), body),
        (Bravais::BodyCentredTetragonal(3.0, 4.9), right(3.0, 3.0, 4.9), body),
        (Bravais::Orthorhombic, right(2.0, 3.0, 4.0), primitive),
        (Bravais::FaceCentredOrthorhombic(2.0, 3.0, 4.0), right(2.0, 3.0, 4.0), face),
        (Bravais::FaceCentredOrthorhombic(3.0, 3.3, 3.9), right(3.0, 3.3, 3.9), face),
        (Bravais::BodyCentredOrthorhombic(2.0, 3.0, 4.0), right(2.0, 3.0, 4.0), body),
        (Bravais::BodyCentredOrthorhombic(3.0, 3.3, 3.9), right(3.0, 3.3, 3.9), body),
        (Bravais::BaseCentredOrthorhombic(2.5, 4.0), right(2.5, 4.0, 3.0), base),
        (Bravais::Hexagonal, hexagonal(3.0, 5.0), primitive),
        (rhombohedral(3.0, 9.0), hexagonal(3.0, 9.0), obverse),
        (rhombohedral(3.0, 3.0), hexagonal(3.0, 3.0), obverse),
        (Bravais::Monoclinic(b, c, alpha), monoclinic, primitive),
    ]
}

#[test]
fn points_of_all_lattices_lie_on_the_zone_boundary() {
    for (bravais, rows, present) in cases() {
        let lattice = Lattice::from_rows(&rows).unwrap();
        let distance =
            |k: [f64; 3], g: [f64; 3]| lattice.reciprocal().tr_mul(&(Vector3::from(k) - Vector3::from(g))).norm();
        let (points, route) = bravais.table();
        for (name, k) in &points {
            let mut nearest: Vec<f64> = Vec::new();
            for h in -4..=4 {
                for l in -4..=4 {
                    nearest.extend(
                        (-4..=4)
                            .filter(|&m| present(h, l, m))
                            .map(|m| distance(*k, [f64::from(h), f64::from(l), f64::from(m)])),
                    );
                }
            }
            nearest.sort_by(f64::total_cmp);
            assert_relative_eq!(nearest[0], distance(*k, [0.0; 3]), epsilon = 1e-9);
            if *name != "GAMMA" {
                assert!(nearest[1] - nearest[0] < 1e-9, "{bravais:?} {name} is inside the zone");
            }
        }
        for name in route.split_whitespace().filter(|&name| name != "|") {
            assert!(points.iter().any(|point| point.0 == name), "{bravais:?} {name}");
        }
    }
}

fn silicon() -> Crystal {
    let half = 5.43 / 2.0;
    let rows = [[0.0, half, half], [half, 0.0, half], [half, half, 0.0]];
    let quarter = Vector3::from_element(half / 2.0);
    Crystal {
        lattice: Lattice::from_rows(&rows).unwrap(),
        species: vec![14, 14],
        positions: vec![Vector3::zeros(), quarter],
    }
}

fn dichalcogenide() -> Crystal {
    let lattice = Lattice::from_rows(&hexagonal(3.55, 20.0)).unwrap();
    let at = |x: f64, y: f64, z: f64| lattice.cartesian(&Vector3::new(x, y, z));
    let positions = vec![at(1.0 / 3.0, 2.0 / 3.0, 0.5), at(2.0 / 3.0, 1.0 / 3.0, 0.59), at(2.0 / 3.0, 1.0 / 3.0, 0.41)];
    Crystal { species: vec![42, 52, 52], positions, lattice: lattice.clone() }
}

/// How many rotations of the crystal, found by trying all 48 or 24 of a lattice, leave k where it is up to a reciprocal
/// lattice vector; by label.
fn little_groups(crystal: &Crystal, path: &KPath) -> BTreeMap<String, usize> {
    let a = crystal.lattice.rows();
    let mut rotations = Vec::new();
    let entries: [f64; 3] = [-1.0, 0.0, 1.0];
    for code in 0..19683_usize {
        let w = Matrix3::from_fn(|i, j| entries[code / 3_usize.pow((3 * i + j) as u32) % 3]);
        if w.determinant().abs() != 1.0 {
            continue;
        }
        // r' = Q r with A^T W = Q A^T, an isometry.
        let q = a.transpose() * w * a.transpose().try_inverse().unwrap();
        if (q.transpose() * q - Matrix3::identity()).norm() < 1e-6 && is_symmetry(crystal, &q) {
            rotations.push(q);
        }
    }
    let mut groups = BTreeMap::new();
    for segment in &path.segments {
        for (label, k) in segment.labels.iter().zip([segment.from, segment.to]) {
            let cartesian = crystal.lattice.reciprocal().tr_mul(&Vector3::from(k));
            let count = rotations.iter().filter(|q| {
                let moved = a * (*q * cartesian - cartesian) / std::f64::consts::TAU;
                moved.iter().all(|x| (x - x.round()).abs() < 1e-6)
            });
            groups.insert(label.clone(), count.count());
        }
    }
    groups
}

/// Whether the crystal turned by `q` and moved by some translation is itself.
fn is_symmetry(crystal: &Crystal, q: &Matrix3<f64>) -> bool {
    let atoms = || crystal.species.iter().zip(&crystal.positions);
    let (kind, first) = atoms().next().unwrap();
    atoms().filter(|atom| atom.0 == kind).any(|(_, target)| {
        let shift = target - q * first;
        atoms().all(|(kind, r)| {
            atoms().filter(|atom| atom.0 == kind).any(|(_, other)| {
                let f = crystal.lattice.fractional(&(q * r + shift - other));
                f.iter().all(|x| (x - x.round()).abs() < 1e-6)
            })
        })
    })
}

#[test]
fn points_have_their_little_groups() {
    let (silicon, layer) = (silicon(), dichalcogenide());
    let found = Symmetry::of(&silicon).unwrap();
    assert_eq!((found.space_group, found.bravais), (227, Bravais::FaceCentredCubic));
    let groups = little_groups(&silicon, &KPath::from_symmetry(&silicon, 200).unwrap());
    let expected = [("GAMMA", 48), ("K", 4), ("L", 12), ("U", 4), ("W", 8), ("X", 16)];
    assert_eq!(groups, expected.map(|(name, n)| (name.to_owned(), n)).into());

    let found = Symmetry::of(&layer).unwrap();
    assert_eq!((found.space_group, found.bravais), (187, Bravais::Hexagonal));
    let groups = little_groups(&layer, &KPath::from_symmetry(&layer, 200).unwrap());
    let expected = [("A", 12), ("GAMMA", 12), ("H", 6), ("K", 6), ("L", 4), ("M", 4)];
    assert_eq!(groups, expected.map(|(name, n)| (name.to_owned(), n)).into());
}

/// |k| of every corner, inverse angstrom without 2 pi.
fn radii(crystal: &Crystal, path: &KPath) -> Vec<f64> {
    let corners = path.segments.iter().flat_map(|segment| [segment.from, segment.to]);
    corners.map(|k| crystal.lattice.reciprocal().tr_mul(&Vector3::from(k)).norm()).collect()
}

#[test]
fn other_cells_of_a_crystal_get_the_same_path() {
    let silicon = silicon();
    let path = KPath::from_symmetry(&silicon, 300).unwrap();
    assert!((path.points().len() as i64 - 300).abs() < 12);
    let names: Vec<String> = path.ticks(&silicon.lattice).into_iter().map(|tick| tick.1).collect();
    assert_eq!(names, ["GAMMA", "X", "W", "K", "GAMMA", "L", "U", "W", "L", "K|U", "X"]);
    let rotation = Rotation3::new(Vector3::new(0.5, -0.9, 0.7)).into_inner();
    // Another choice of the primitive vectors, the conventional cell, a supercell.
    let other = Matrix3::new(1.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 1.0);
    let recut = Crystal { lattice: Lattice::new(other * silicon.lattice.rows()).unwrap(), ..silicon.clone() };
    for crystal in [silicon.rotated(&rotation), recut, silicon.supercell([2, 1, 1]).unwrap()] {
        let found = KPath::from_symmetry(&crystal, 300).unwrap();
        for (a, b) in radii(&crystal, &found).iter().zip(radii(&silicon, &path)) {
            assert_relative_eq!(*a, b, epsilon = 1e-6);
        }
    }
    let nothing = Crystal { species: vec![], positions: vec![], ..silicon };
    assert!(KPath::from_symmetry(&nothing, 100).is_err());
}

#[test]
fn the_usual_path_follows_the_dispersive_axes() {
    let layer = dichalcogenide();
    let names = |dispersive| -> Vec<String> {
        let path = KPath::usual(&layer, dispersive, 60).unwrap();
        path.ticks(&layer.lattice).into_iter().map(|tick| tick.1).collect()
    };
    assert_eq!(names([true, true, false]), ["GAMMA", "M", "K", "GAMMA"]);
    assert_eq!(names([true, false, true]), ["GAMMA", "X", "S", "Y", "GAMMA"]);
    assert_eq!(names([false, false, true]), ["GAMMA", "X"]);
    assert_eq!(names([false; 3]), ["GAMMA", "GAMMA"]);
    assert_eq!(names([true; 3]).len(), 10);
}
