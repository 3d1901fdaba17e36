//! Three lattice vectors, their reciprocal, and the change between fractional and Cartesian coordinates.
//!
//! Vectors are rows: `r = f A` with `A` the 3 x 3 matrix of rows a1, a2, a3 in angstrom (docs/conventions.md).

use std::f64::consts::TAU;

use nalgebra::{Matrix3, Vector3};

use crate::{Error, Result};

/// A cell below this volume (cubic angstrom) is taken for an error in the file.
const SMALLEST_VOLUME: f64 = 1e-3;

/// A lattice in three dimensions; angstrom, vectors as rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Lattice {
    rows: Matrix3<f64>,
    inverse: Matrix3<f64>,
}

impl Lattice {
    /// From the rows a1, a2, a3 in angstrom.
    ///
    /// # Errors
    /// A component that is not finite, or a cell without volume.
    pub fn new(rows: Matrix3<f64>) -> Result<Self> {
        let volume = rows.determinant().abs();
        let inverse = rows.try_inverse().filter(|_| volume.is_finite() && volume > SMALLEST_VOLUME);
        let inverse = inverse.ok_or_else(|| Error::Mismatch {
            what: "lattice".into(),
            expected: format!("three finite vectors that span more than {SMALLEST_VOLUME} cubic angstrom"),
            found: format!(
                "rows {:?}, volume {volume}",
                rows.row_iter().map(|r| [r[0], r[1], r[2]]).collect::<Vec<_>>()
            ),
        })?;
        Ok(Self { rows, inverse })
    }

    /// From nested arrays, rows a1, a2, a3 in angstrom; errors as [`Self::new`].
    pub fn from_rows(rows: &[[f64; 3]; 3]) -> Result<Self> {
        Self::new(Matrix3::from_fn(|i, j| rows[i][j]))
    }

    /// The rows a1, a2, a3, angstrom.
    pub fn rows(&self) -> &Matrix3<f64> {
        &self.rows
    }

    /// The rows as nested arrays, angstrom.
    pub fn to_rows(&self) -> [[f64; 3]; 3] {
        std::array::from_fn(|i| std::array::from_fn(|j| self.rows[(i, j)]))
    }

    /// Lattice vector a1, a2 or a3 (`axis` 0, 1 or 2), angstrom.
    pub fn vector(&self, axis: usize) -> Vector3<f64> {
        self.rows.row(axis).transpose()
    }

    /// Volume of the cell, cubic angstrom, positive.
    pub fn volume(&self) -> f64 {
        self.rows.determinant().abs()
    }

    /// Rows b1, b2, b3 with a_i . b_j = 2 pi delta_ij, inverse angstrom.
    pub fn reciprocal(&self) -> Matrix3<f64> {
        self.inverse.transpose() * TAU
    }

    /// Lengths of a1, a2, a3, angstrom.
    pub fn lengths(&self) -> [f64; 3] {
        std::array::from_fn(|axis| self.vector(axis).norm())
    }

    /// The angles (a2, a3), (a3, a1), (a1, a2), radian.
    pub fn angles(&self) -> [f64; 3] {
        std::array::from_fn(|axis| self.vector((axis + 1) % 3).angle(&self.vector((axis + 2) % 3)))
    }

    /// Fractional to Cartesian coordinates.
    pub fn cartesian(&self, fractional: &Vector3<f64>) -> Vector3<f64> {
        self.rows.tr_mul(fractional)
    }

    /// Cartesian to fractional coordinates.
    pub fn fractional(&self, cartesian: &Vector3<f64>) -> Vector3<f64> {
        self.inverse.tr_mul(cartesian)
    }

    /// The lattice translation R1 a1 + R2 a2 + R3 a3, angstrom.
    pub fn translation(&self, cell: [i64; 3]) -> Vector3<f64> {
        self.cartesian(&Vector3::new(cell[0] as f64, cell[1] as f64, cell[2] as f64))
    }

    /// All cells R that can hold a point within `radius` (angstrom) of a point of the home cell, in lexicographic
    /// order; `periodic` says along which vectors the crystal repeats (R is 0 along the others).
    ///
    /// The planes of a cell are |2 pi / b_i| apart; points of two cells differ by less than one cell more.
    pub fn images_within(&self, radius: f64, periodic: [bool; 3]) -> Vec<[i64; 3]> {
        let reciprocal = self.reciprocal();
        let reach: [i64; 3] = std::array::from_fn(|axis| {
            let planes = radius.max(0.0) * reciprocal.row(axis).norm() / TAU;
            if periodic[axis] { planes.ceil() as i64 + 1 } else { 0 }
        });
        let mut cells = Vec::new();
        for first in -reach[0]..=reach[0] {
            for second in -reach[1]..=reach[1] {
                for third in -reach[2]..=reach[2] {
                    cells.push([first, second, third]);
                }
            }
        }
        cells
    }

    /// The lattice after r' = `rotation` r.
    pub fn rotated(&self, rotation: &Matrix3<f64>) -> Self {
        Self { rows: self.rows * rotation.transpose(), inverse: rotation * self.inverse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use nalgebra::Rotation3;

    fn oblique() -> Lattice {
        Lattice::from_rows(&[[3.0, 0.1, 0.0], [-1.4, 2.5, 0.2], [0.3, -0.2, 9.0]]).unwrap()
    }

    #[test]
    fn reciprocal_vectors_are_dual() {
        let lattice = oblique();
        let product = lattice.rows() * lattice.reciprocal().transpose();
        assert_relative_eq!(product, Matrix3::identity() * TAU, epsilon = 1e-12);
    }

    #[test]
    fn coordinates_go_there_and_back() {
        let (lattice, fractional) = (oblique(), Vector3::new(0.2, -1.3, 0.7));
        let cartesian = lattice.cartesian(&fractional);
        let expected = lattice.vector(0) * 0.2 - lattice.vector(1) * 1.3 + lattice.vector(2) * 0.7;
        assert_relative_eq!(cartesian, expected, epsilon = 1e-12);
        assert_relative_eq!(lattice.fractional(&cartesian), fractional, epsilon = 1e-12);
    }

    #[test]
    fn rotation_keeps_volume_and_fractional_coordinates() {
        let (lattice, point) = (oblique(), Vector3::new(0.4, 0.9, -2.0));
        let rotation = Rotation3::new(Vector3::new(0.5, -0.9, 0.7)).into_inner();
        let rotated = lattice.rotated(&rotation);
        assert_relative_eq!(rotated.volume(), lattice.volume(), epsilon = 1e-10);
        assert_relative_eq!(rotated.fractional(&(rotation * point)), lattice.fractional(&point), epsilon = 1e-12);
    }

    #[test]
    fn images_hold_every_neighbour() {
        let (lattice, radius) = (oblique(), 6.0);
        let cells = lattice.images_within(radius, [true, true, false]);
        for first in -6..=6 {
            for second in -6..=6 {
                let cell = [first, second, 0];
                if lattice.translation(cell).norm() <= radius {
                    assert!(cells.contains(&cell), "{cell:?}");
                }
            }
        }
        assert!(cells.iter().all(|cell| cell[2] == 0));
    }

    #[test]
    fn flat_and_broken_cells_are_refused() {
        assert!(Lattice::from_rows(&[[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).is_err());
        assert!(Lattice::from_rows(&[[f64::NAN, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).is_err());
    }
}
