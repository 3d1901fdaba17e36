//! Whether one crystal is another one turned, and by which rotation.

use nalgebra::{Matrix3, SVD, Vector3};

use super::Crystal;

/// How a crystal maps onto its copy: r' = Q r + t, atom by atom, up to lattice vectors of the copy.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// Q, proper or improper.
    pub rotation: Matrix3<f64>,
    /// `[N]` cell of the copy in which the image of each atom lies, seen from the copy's own atom.
    pub cells: Vec<[i64; 3]>,
    /// Largest distance of an atom of the copy from where Q and t put it, angstrom.
    pub deviation: f64,
}

impl Alignment {
    /// The pair of the original that a pair of the copy comes from: r_ij' = Q r_ij.
    pub fn pair_before(&self, pair: &[i64; 5]) -> [i64; 5] {
        let cell = |atom: i64| usize::try_from(atom).ok().and_then(|a| self.cells.get(a)).copied().unwrap_or_default();
        let (first, second) = (cell(pair[3]), cell(pair[4]));
        let mut before = *pair;
        (0..3).for_each(|x| before[x] += first[x] - second[x]);
        before
    }
}

/// The rotation that turns `from` into `to`, the atoms in the same order; `None` where no rotation does within
/// `tolerance` (angstrom). `molecule`: the cell is only a box and does not turn with the atoms.
///
/// A crystal's Q follows from its lattice vectors, a molecule's from its atoms (Kabsch, Acta Cryst. A32, 922 (1976)),
/// proper where both kinds fit.
pub fn find(from: &Crystal, to: &Crystal, molecule: bool, tolerance: f64) -> Option<Alignment> {
    let candidates = match molecule {
        false => {
            let inverse = from.lattice.rows().try_inverse()?;
            vec![nearest_orthogonal(&(inverse * to.lattice.rows()).transpose())?]
        }
        true => {
            let products = centred(from).iter().zip(centred(to)).map(|(a, b)| b * a.transpose()).sum();
            let svd = SVD::new(products, true, true);
            let (u, v) = (svd.u?, svd.v_t?);
            // The least singular value, the last, decides least: there the kind of the rotation is chosen.
            let with = |last: f64| u * Matrix3::from_diagonal(&Vector3::new(1.0, 1.0, last)) * v;
            let proper = (u * v).determinant().signum();
            vec![with(proper), with(-proper)]
        }
    };
    candidates.iter().find_map(|rotation| by(from, to, rotation, molecule, tolerance))
}

/// As [`find`], for a rotation that is known.
pub fn by(from: &Crystal, to: &Crystal, rotation: &Matrix3<f64>, molecule: bool, tolerance: f64) -> Option<Alignment> {
    let same = from.species == to.species && !from.is_empty();
    let lattice = to.lattice.rows() - from.lattice.rotated(rotation).rows();
    if !same || (!molecule && lattice.abs().max() > tolerance) {
        return None;
    }
    let turned: Vec<Vector3<f64>> = from.positions.iter().map(|r| rotation * r).collect();
    let shift = to.positions[0] - turned[0];
    let mut cells = Vec::with_capacity(to.len());
    let mut rest = Vec::with_capacity(to.len());
    for (r, image) in to.positions.iter().zip(&turned) {
        let difference = image + shift - r;
        let cell = match molecule {
            true => Vector3::zeros(),
            false => to.lattice.fractional(&difference).map(f64::round),
        };
        rest.push(difference - to.lattice.cartesian(&cell));
        cells.push([cell.x as i64, cell.y as i64, cell.z as i64]);
    }
    let mean = rest.iter().sum::<Vector3<f64>>() / rest.len() as f64;
    let deviation = rest.iter().map(|r| (r - mean).norm()).fold(0.0, f64::max);
    (deviation <= tolerance).then_some(Alignment { rotation: *rotation, cells, deviation })
}

/// The orthogonal factor of a matrix that is nearly orthogonal itself, by its polar decomposition.
fn nearest_orthogonal(matrix: &Matrix3<f64>) -> Option<Matrix3<f64>> {
    let svd = SVD::new(*matrix, true, true);
    // Strained cells have singular values away from 1; the tolerance of the positions decides about small ones.
    let nearly = svd.singular_values.iter().all(|s| (s - 1.0).abs() < 1e-2);
    nearly.then_some(())?;
    Some(svd.u? * svd.v_t?)
}

fn centred(crystal: &Crystal) -> Vec<Vector3<f64>> {
    let centre = crystal.positions.iter().sum::<Vector3<f64>>() / crystal.len().max(1) as f64;
    crystal.positions.iter().map(|r| r - centre).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Lattice;
    use approx::assert_relative_eq;
    use nalgebra::Rotation3;

    fn crystal() -> Crystal {
        Crystal {
            lattice: Lattice::from_rows(&[[3.0, 0.1, 0.0], [-1.4, 2.5, 0.2], [0.3, -0.2, 9.0]]).unwrap(),
            species: vec![42, 16, 16, 16],
            positions: [[0.1, 0.2, 4.0], [1.0, 0.9, 5.5], [1.1, 0.8, 2.5], [0.2, 1.9, 3.0]].map(Vector3::from).to_vec(),
        }
    }

    #[test]
    fn a_turned_crystal_is_found_and_its_pairs_go_back() {
        let crystal = crystal();
        let proper = Rotation3::new(Vector3::new(0.5, -0.9, 0.7)).into_inner();
        for rotation in [proper, -proper] {
            let mut copy = crystal.rotated(&rotation).translated(&Vector3::new(0.3, -7.0, 1.0));
            // An atom written in another cell.
            copy.positions[2] += copy.lattice.translation([1, -2, 0]);
            let found = find(&crystal, &copy, false, 1e-6).unwrap();
            assert_relative_eq!(found.rotation, rotation, epsilon = 1e-12);
            for pair in [[0, 0, 0, 0, 2], [1, -1, 0, 2, 1], [0, 2, 0, 1, 3]] {
                let [a, b, c, i, j] = pair;
                let [d, e, f, ..] = found.pair_before(&pair);
                let (after, before) = ([a, b, c], [d, e, f]);
                let (i, j) = (i as usize, j as usize);
                let turned = rotation * crystal.displacement(before, i, j);
                assert_relative_eq!(copy.displacement(after, i, j), turned, epsilon = 1e-9);
            }
        }
        let mut other = crystal.clone();
        other.positions[1].x += 0.01;
        assert!(find(&crystal, &other, false, 1e-3).is_none());
    }

    #[test]
    fn a_turned_molecule_is_found_in_its_box() {
        let molecule = crystal();
        let proper = Rotation3::new(Vector3::new(-2.0, 0.9, 0.7)).into_inner();
        for rotation in [proper, -proper] {
            let copy = Crystal { lattice: molecule.lattice.clone(), ..molecule.rotated(&rotation) };
            assert_relative_eq!(find(&molecule, &copy, true, 1e-6).unwrap().rotation, rotation, epsilon = 1e-9);
            assert!(find(&molecule, &copy, false, 1e-3).is_none());
        }
        // A flat one: both kinds fit, the proper one is taken.
        let flat = Crystal { species: vec![8, 1, 1], positions: molecule.positions[..3].to_vec(), ..molecule };
        let copy = Crystal { lattice: flat.lattice.clone(), ..flat.rotated(&-proper) };
        assert!(find(&flat, &copy, true, 1e-6).unwrap().rotation.determinant() > 0.0);
    }
}
