//! Wigner D matrices of real spherical harmonics: Y_l(R r) = D_l(R) Y_l(r), and the spin-1/2 ones.
//!
//! D_l follows from D_1 and D_{l-1} by the recursion of Ivanic and Ruedenberg (J. Phys. Chem. 100, 6342 (1996), with
//! the 1998 correction), which needs neither angles nor a case at the poles.

use super::Parity;
use nalgebra::{DMatrix, Matrix2, Matrix3, Rotation3, UnitQuaternion, Vector3};
use num_complex::Complex64;

/// D_0..=D_lmax of the proper rotation `r` (r' = R r, x y z), each `[2l + 1, 2l + 1]` row-major, one after another.
pub fn wigner_d_packed(lmax: usize, r: &Matrix3<f64>, out: &mut Vec<f64>) {
    let base = out.len();
    out.push(1.0);
    if lmax == 0 {
        return;
    }
    const AXES: [usize; 3] = [1, 2, 0]; // m = -1, 0, 1 are y, z, x
    for i in AXES {
        out.extend(AXES.map(|j| r[(i, j)]));
    }
    let mut previous = base + 1;
    for l in 2..=lmax {
        let start = out.len();
        next_degree(l as i64, base + 1, previous, out);
        previous = start;
    }
}

/// Elements of [`wigner_d_packed`] for degrees 0..=lmax.
pub fn packed_length(lmax: usize) -> usize {
    (0..=lmax).map(|l| (2 * l + 1) * (2 * l + 1)).sum()
}

fn next_degree(l: i64, first: usize, previous: usize, out: &mut Vec<f64>) {
    let wide = |m: i64, n: i64| previous + ((m + l - 1) * (2 * l - 1) + n + l - 1) as usize;
    let one = |i: i64, j: i64| first + ((i + 1) * 3 + j + 1) as usize;
    for m in -l..=l {
        for n in -l..=l {
            let p = |i: i64, a: i64| match n {
                _ if n == -l => out[one(i, 1)] * out[wide(a, 1 - l)] + out[one(i, -1)] * out[wide(a, l - 1)],
                _ if n == l => out[one(i, 1)] * out[wide(a, l - 1)] - out[one(i, -1)] * out[wide(a, 1 - l)],
                _ => out[one(i, 0)] * out[wide(a, n)],
            };
            let denominator = if n.abs() < l { (l + n) * (l - n) } else { 2 * l * (2 * l - 1) } as f64;
            let k = m.abs();
            let (lone, edge) = (f64::from(m == 0), f64::from(k == 1));
            let u = (((l + m) * (l - m)) as f64 / denominator).sqrt();
            let v = 0.5 * ((1.0 + lone) * ((l + k - 1) * (l + k)) as f64 / denominator).sqrt() * (1.0 - 2.0 * lone);
            let w = -0.5 * (((l - k - 1) * (l - k)).max(0) as f64 / denominator).sqrt() * (1.0 - lone);
            let mut value = 0.0;
            if u != 0.0 {
                value += u * p(0, m);
            }
            if v != 0.0 {
                value += v * match m {
                    0 => p(1, 1) + p(-1, -1),
                    1.. => p(1, m - 1) * (1.0 + edge).sqrt() - if k == 1 { 0.0 } else { p(-1, 1 - m) },
                    _ => (1.0 - edge) * if k == 1 { 0.0 } else { p(1, m + 1) } + p(-1, -m - 1) * (1.0 + edge).sqrt(),
                };
            }
            if w != 0.0 {
                value += w * if m > 0 { p(1, m + 1) + p(-1, -m - 1) } else { p(1, m - 1) - p(-1, 1 - m) };
            }
            out.push(value);
        }
    }
}

/// D of one irrep for any orthogonal matrix `r`, proper or not: an inversion gives the sign of the parity.
pub fn wigner_d(l: usize, parity: Parity, r: &Matrix3<f64>) -> DMatrix<f64> {
    let proper = r.determinant() > 0.0;
    let mut packed = Vec::with_capacity(packed_length(l));
    wigner_d_packed(l, &if proper { *r } else { -r }, &mut packed);
    let n = 2 * l + 1;
    let sign = if proper { 1.0 } else { f64::from(parity.sign()) };
    DMatrix::from_row_iterator(n, n, packed[packed.len() - n * n..].iter().map(|d| sign * d))
}

/// The spin-1/2 rotation exp(-i theta n.sigma / 2), rows and columns (up, down). An improper `r` acts as `-r`. Its
/// overall sign is a free choice; it cancels in U H U^dagger.
pub fn wigner_d_half(r: &Matrix3<f64>) -> Matrix2<Complex64> {
    let proper = if r.determinant() > 0.0 { *r } else { -r };
    let q = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(proper));
    let c = Complex64::new;
    Matrix2::new(c(q.w, -q.k), c(-q.j, -q.i), c(q.j, -q.i), c(q.w, q.k))
}

/// The rotation that turns `vector` onto the polar axis z; the identity where there is no direction.
pub fn to_polar_axis(vector: &Vector3<f64>) -> Matrix3<f64> {
    let r = vector.norm();
    if r <= super::spherical_harmonics::ZERO_LENGTH {
        return Matrix3::identity();
    }
    let [x, y, z] = [vector.x / r, vector.y / r, vector.z / r];
    // R = R_y(-theta) R_z(-phi), written in Cartesian components; phi is free on the axis.
    let rho = x.hypot(y);
    let (c, s) = if rho > 1e-12 { (x / rho, y / rho) } else { (1.0, 0.0) };
    Matrix3::new(z * c, z * s, -rho, -s, c, 0.0, rho * c, rho * s, z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::equivariant::spherical_harmonics::spherical_harmonics;
    use proptest::prelude::*;

    fn rotation(a: [f64; 3]) -> Matrix3<f64> {
        *Rotation3::from_scaled_axis(Vector3::from(a)).matrix()
    }

    proptest! {
        #[test]
        fn rotates_harmonics_composes_and_is_orthogonal(
            a in prop::array::uniform3(-3.0..3.0f64), b in prop::array::uniform3(-3.0..3.0f64),
            v in prop::array::uniform3(-2.0..2.0f64),
        ) {
            let (ra, rb) = (rotation(a), rotation(b));
            let rotated: [f64; 3] = (ra * Vector3::from(v)).into();
            let (before, after) = (spherical_harmonics(8, v), spherical_harmonics(8, rotated));
            for l in 0..=8usize {
                let p = Parity::of_spherical_harmonic(l as u32);
                let d = wigner_d(l, p, &ra);
                let y = nalgebra::DVector::from_column_slice(&before[l * l..(l + 1) * (l + 1)]);
                let y_rotated = nalgebra::DVector::from_column_slice(&after[l * l..(l + 1) * (l + 1)]);
                prop_assert!((&d * y - y_rotated).amax() < 1e-11);
                prop_assert!((&d * d.transpose() - DMatrix::identity(2 * l + 1, 2 * l + 1)).amax() < 1e-12);
                prop_assert!((&d * wigner_d(l, p, &rb) - wigner_d(l, p, &(ra * rb))).amax() < 1e-11);
                let inverted = wigner_d(l, p, &(-ra));
                prop_assert!((inverted - d * f64::from(p.sign())).amax() < 1e-14);
            }
        }

        #[test]
        fn polar_axis_is_reached(v in prop::array::uniform3(-2.0..2.0f64)) {
            let v = Vector3::from(v);
            prop_assume!(v.norm() > 1e-6);
            let r = to_polar_axis(&v);
            prop_assert!((r * v - Vector3::new(0.0, 0.0, v.norm())).amax() < 1e-14 * v.norm().max(1.0) * 10.0);
            prop_assert!((r.determinant() - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn poles_and_origin() {
        for v in [Vector3::new(0.0, 0.0, 2.0), Vector3::new(0.0, 0.0, -2.0)] {
            assert!((to_polar_axis(&v) * v - Vector3::new(0.0, 0.0, 2.0)).amax() < 1e-15);
        }
        assert_eq!(to_polar_axis(&Vector3::zeros()), Matrix3::identity());
    }
}
