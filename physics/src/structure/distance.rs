//! How near two atoms of a crystal come, periodic images included.

use nalgebra::Vector3;
use rayon::prelude::*;

use super::Crystal;

/// The two nearest atoms of a crystal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// Their distance, angstrom.
    pub distance: f64,
    /// Their numbers, the smaller first; twice the same for an atom and its own image.
    pub atoms: [usize; 2],
}

/// The nearest two atoms; every lattice vector counts as periodic. `None` without atoms.
///
/// Differences are brought into the home cell, where none is longer than half its diagonal D; so an image nearer than
/// the shortest lattice vector a lies at most D + a away. All pairs are tried: quadratic in the number of atoms.
pub fn nearest(crystal: &Crystal) -> Option<Nearest> {
    let lattice = &crystal.lattice;
    let shortest = lattice.lengths().into_iter().fold(f64::INFINITY, f64::min);
    let diagonal = lattice.lengths().iter().sum::<f64>() / 2.0;
    let radius = shortest + diagonal;
    let cells = lattice.images_within(radius, [true; 3]).into_iter();
    let images: Vec<Vector3<f64>> = cells.map(|c| lattice.translation(c)).filter(|t| t.norm() <= radius).collect();
    let fractional: Vec<Vector3<f64>> = crystal.positions.iter().map(|r| lattice.fractional(r)).collect();
    // Squares, and the root once: this is the inner loop.
    let pair = |first: usize, second: usize| {
        let difference = lattice.cartesian(&(fractional[second] - fractional[first]).map(|x| x - x.round()));
        let own = first == second;
        let squares = images.iter().map(|t| (difference + t).norm_squared()).filter(|d| !own || *d > 0.0);
        (squares.fold(f64::INFINITY, f64::min), [first, second])
    };
    let least = |a: (f64, [usize; 2]), b: (f64, [usize; 2])| {
        if b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).is_lt() { b } else { a }
    };
    let of_atom = |first: usize| (first..crystal.len()).map(|second| pair(first, second)).reduce(least);
    let (square, atoms) = (0..crystal.len()).into_par_iter().filter_map(of_atom).reduce_with(least)?;
    Some(Nearest { distance: square.sqrt(), atoms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::structure::Lattice;
    use approx::assert_relative_eq;

    fn crystal(rows: [[f64; 3]; 3], positions: &[[f64; 3]]) -> Crystal {
        let positions: Vec<_> = positions.iter().map(|p| Vector3::from(*p)).collect();
        Crystal { lattice: Lattice::from_rows(&rows).unwrap(), species: vec![6; positions.len()], positions }
    }

    #[test]
    fn images_count_also_in_a_skewed_cell() {
        // The same square lattice of side 2, by a cell as skewed as a3 = z allows.
        for skew in [0.0, 2.0, 14.0] {
            let cell = [[2.0, 0.0, 0.0], [skew, 2.0, 0.0], [0.0, 0.0, 20.0]];
            let alone = nearest(&crystal(cell, &[[0.3, 0.1, 0.0]])).unwrap();
            assert_relative_eq!(alone.distance, 2.0, epsilon = 1e-12);
            assert_eq!(alone.atoms, [0, 0]);
            // 0.4 apart across the cell's border, and one cell further written.
            let two = nearest(&crystal(cell, &[[0.1, 0.0, 0.0], [1.7 - 8.0, 0.0, 0.0]])).unwrap();
            assert_relative_eq!(two.distance, 0.4, epsilon = 1e-12);
            assert_eq!(two.atoms, [0, 1]);
        }
    }

    #[test]
    fn the_same_place_twice_is_no_distance() {
        let cube = [[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]];
        let found = nearest(&crystal(cube, &[[0.0; 3], [1.0; 3], [0.0, 3.0, 0.0]])).unwrap();
        assert_eq!((found.distance, found.atoms), (0.0, [0, 2]));
        assert!(nearest(&crystal(cube, &[])).is_none());
    }
}
