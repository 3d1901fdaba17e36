//! Rotations of p and d shells straight from their polynomials: an oracle that owes nothing to Wigner's formulas.

use nalgebra::{DMatrix, Matrix3, Vector3};

/// D_l of r' = `q` r for l <= 2, in m = -l..l order (p = y, z, x; d = xy, yz, z2, xz, x2-y2), parity (-1)^l inside.
pub(crate) fn d(q: &Matrix3<f64>, l: usize) -> DMatrix<f64> {
    match l {
        0 => DMatrix::identity(1, 1),
        1 => {
            let axes = [1, 2, 0];
            DMatrix::from_fn(3, 3, |a, b| q[(axes[a], axes[b])])
        }
        2 => {
            // Symmetric traceless matrices T with Y = r^T T r up to one common factor; they turn as Q T Q^T.
            let (h, s) = (0.5, 0.5 / 3.0_f64.sqrt());
            let basis = [
                Matrix3::new(0.0, h, 0.0, h, 0.0, 0.0, 0.0, 0.0, 0.0),
                Matrix3::new(0.0, 0.0, 0.0, 0.0, 0.0, h, 0.0, h, 0.0),
                Matrix3::from_diagonal(&Vector3::new(-s, -s, 2.0 * s)),
                Matrix3::new(0.0, 0.0, h, 0.0, 0.0, 0.0, h, 0.0, 0.0),
                Matrix3::from_diagonal(&Vector3::new(h, -h, 0.0)),
            ];
            DMatrix::from_fn(5, 5, |a, b| 2.0 * (basis[a] * q * basis[b] * q.transpose()).trace())
        }
        _ => unreachable!("no polynomials for l = {l}"),
    }
}
