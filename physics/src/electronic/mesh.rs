//! Meshes of k points, and the tetrahedra between them.
//!
//! Gamma-centred, k = i / n; with time reversal one of k and -k is kept. The tetrahedra are those of Bloechl, Jepsen and
//! Andersen, Phys. Rev. B 49, 16223 (1994): each cell of the mesh cut in six along its shortest main diagonal.

use crate::structure::Lattice;
use crate::{Error, Result};

/// Most points of a mesh.
const MOST_POINTS: usize = 10_000_000;

/// A Gamma-centred mesh k = i / n.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    /// Divisions along b1, b2, b3.
    pub divisions: [usize; 3],
    /// Fractional points.
    pub points: Vec<[f64; 3]>,
    /// How many points of the whole mesh each stands for.
    pub weights: Vec<usize>,
    /// For each point of the whole mesh, third index fastest, the one of `points` that stands for it.
    pub representatives: Vec<usize>,
}

impl Mesh {
    /// The mesh of these divisions; with `time_reversal` only one of k and -k is kept, at double weight.
    ///
    /// # Errors
    /// A zero division, more than ten million points.
    pub fn new(divisions: [usize; 3], time_reversal: bool) -> Result<Self> {
        let total = divisions.iter().try_fold(1_usize, |total, &n| total.checked_mul(n));
        if !total.is_some_and(|total| (1..=MOST_POINTS).contains(&total)) {
            return Err(Error::Mismatch {
                what: "k mesh".into(),
                expected: format!("1 to {MOST_POINTS} points"),
                found: format!("{divisions:?}"),
            });
        }
        let mut mesh = Self { divisions, points: vec![], weights: vec![], representatives: vec![] };
        for first in 0..divisions[0] {
            for second in 0..divisions[1] {
                for third in 0..divisions[2] {
                    let index = [first, second, third];
                    let opposite: [usize; 3] = std::array::from_fn(|i| (divisions[i] - index[i]) % divisions[i]);
                    if time_reversal && opposite < index {
                        // Already met, as the smaller of the two.
                        let place = mesh.place(opposite);
                        mesh.representatives.push(mesh.representatives[place]);
                        continue;
                    }
                    mesh.representatives.push(mesh.points.len());
                    mesh.weights.push(if time_reversal && opposite != index { 2 } else { 1 });
                    mesh.points.push(std::array::from_fn(|i| index[i] as f64 / divisions[i] as f64));
                }
            }
        }
        Ok(mesh)
    }

    /// Points at most `spacing` (inverse angstrom, 2 pi included) apart: n_i = ceil(|b_i| / spacing), and 1 along
    /// vectors without dispersion.
    ///
    /// # Errors
    /// A spacing that is not positive, or as [`Self::new`].
    pub fn with_spacing(lattice: &Lattice, spacing: f64, dispersive: [bool; 3], time_reversal: bool) -> Result<Self> {
        if !(spacing.is_finite() && spacing > 0.0) {
            return Err(Error::Mismatch {
                what: "spacing of the k mesh".into(),
                expected: "a positive number of inverse angstrom".into(),
                found: spacing.to_string(),
            });
        }
        let reciprocal = lattice.reciprocal();
        let divisions = std::array::from_fn(|axis| {
            if dispersive[axis] { (reciprocal.row(axis).norm() / spacing).ceil() as usize } else { 1 }
        });
        Self::new(divisions, time_reversal)
    }

    /// Where a point of the whole mesh stands in `representatives`.
    fn place(&self, index: [usize; 3]) -> usize {
        (index[0] * self.divisions[1] + index[1]) * self.divisions[2] + index[2]
    }

    /// Corners, as indices of `points`, of the tetrahedra that fill the Brillouin zone, six a cell, all of one volume.
    pub fn tetrahedra(&self, lattice: &Lattice) -> Vec<[usize; 4]> {
        let reciprocal = lattice.reciprocal();
        let step = |axis: usize| reciprocal.row(axis) / self.divisions[axis] as f64;
        // A main diagonal runs from `start` to the opposite corner; one of each pair of ends begins with 0.
        let length = |start: &[usize; 3]| {
            (0..3)
                .map(|axis| if start[axis] == 0 { step(axis) } else { -step(axis) })
                .fold(step(0) * 0.0, |a, b| a + b)
                .norm()
        };
        let mut start = [0; 3];
        for candidate in [[0, 0, 1], [0, 1, 0], [0, 1, 1]] {
            if length(&candidate) < length(&start) * (1.0 - 1e-9) {
                start = candidate;
            }
        }
        // From `start` to the other end of the diagonal along three edges, in each of their six orders.
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let paths = orders.map(|order| {
            let mut corner = start;
            let mut corners = [corner; 4];
            for (step, axis) in order.into_iter().enumerate() {
                corner[axis] = 1 - corner[axis];
                corners[step + 1] = corner;
            }
            corners
        });
        let mut found = Vec::with_capacity(6 * self.representatives.len());
        for first in 0..self.divisions[0] {
            for second in 0..self.divisions[1] {
                for third in 0..self.divisions[2] {
                    let cell = [first, second, third];
                    let point = |corner: [usize; 3]| {
                        let index = std::array::from_fn(|axis| (cell[axis] + corner[axis]) % self.divisions[axis]);
                        self.representatives[self.place(index)]
                    };
                    found.extend(paths.map(|corners| corners.map(point)));
                }
            }
        }
        found
    }
}
