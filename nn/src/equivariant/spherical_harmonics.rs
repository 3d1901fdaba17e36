//! Real spherical harmonics, component normalisation (sum_m Y_lm^2 = 2l + 1), z polar, no Condon-Shortley phase.
//!
//! Y_lm = N_lm Q_l^|m|(z) {A_m or B_|m|}(x, y) on the unit sphere, where Q_l^m is the m-th derivative of the Legendre
//! polynomial and A_m + i B_m = (x + i y)^m; no angle is ever formed, so the poles are ordinary points.

/// `Y` of degrees 0..=lmax, `[(lmax + 1)^2]`, m = -l..l within each, for the direction of `vector` (angstrom or any
/// unit). The zero vector gives Y_0 = 1 and zeros, as e3nn does.
pub fn spherical_harmonics(lmax: usize, vector: [f64; 3]) -> Vec<f64> {
    let Some(u) = direction(vector) else {
        let mut y = vec![0.0; (lmax + 1) * (lmax + 1)];
        y[0] = 1.0;
        return y;
    };
    let tables = Tables::new(lmax, u);
    let mut y = Vec::with_capacity((lmax + 1) * (lmax + 1));
    for l in 0..=lmax {
        for m in -(l as i64)..=l as i64 {
            let k = m.unsigned_abs() as usize;
            let azimuth = if m < 0 { tables.b[k] } else { tables.a[k] };
            y.push(norm(l, k) * tables.q(l, k) * azimuth);
        }
    }
    y
}

/// The vector-Jacobian product of [`spherical_harmonics`]: d/d vector of sum_k cotangent_k Y_k; zero at the origin.
pub fn spherical_harmonics_vjp(lmax: usize, vector: [f64; 3], cotangent: &[f64]) -> [f64; 3] {
    let Some(u) = direction(vector) else { return [0.0; 3] };
    let tables = Tables::new(lmax, u);
    let mut g = [0.0; 3];
    for l in 0..=lmax {
        for m in -(l as i64)..=l as i64 {
            let k = m.unsigned_abs() as usize;
            let w = cotangent[l * l + (m + l as i64) as usize] * norm(l, k);
            let (a, b) = if k == 0 { (0.0, 0.0) } else { (tables.a[k - 1], tables.b[k - 1]) };
            let (azimuth, dx, dy) = match m {
                0.. => (tables.a[k], k as f64 * a, -(k as f64) * b),
                _ => (tables.b[k], k as f64 * b, k as f64 * a),
            };
            g[0] += w * tables.q(l, k) * dx;
            g[1] += w * tables.q(l, k) * dy;
            g[2] += w * tables.q(l, k + 1) * azimuth;
        }
    }
    // Through the normalisation u = v / |v|.
    let r = (vector[0].powi(2) + vector[1].powi(2) + vector[2].powi(2)).sqrt();
    let radial: f64 = (0..3).map(|k| g[k] * u[k]).sum();
    std::array::from_fn(|k| (g[k] - radial * u[k]) / r)
}

/// Vectors shorter than this (angstrom) have no direction: the two ends of a self-loop.
pub const ZERO_LENGTH: f64 = 1e-10;

fn direction(v: [f64; 3]) -> Option<[f64; 3]> {
    let r = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt();
    (r > ZERO_LENGTH).then(|| v.map(|x| x / r))
}

fn norm(l: usize, m: usize) -> f64 {
    if m == 0 {
        return (2.0 * l as f64 + 1.0).sqrt();
    }
    let ratio: f64 = (l - m + 1..=l + m).map(|k| k as f64).product();
    (2.0 * (2.0 * l as f64 + 1.0) / ratio).sqrt()
}

struct Tables {
    lmax: usize,
    a: Vec<f64>,
    b: Vec<f64>,
    q: Vec<f64>,
}

impl Tables {
    fn new(lmax: usize, [x, y, z]: [f64; 3]) -> Self {
        let (mut a, mut b) = (vec![1.0], vec![0.0]);
        for m in 0..lmax {
            a.push(x * a[m] - y * b[m]);
            b.push(x * b[m] + y * a[m]);
        }
        let width = lmax + 2;
        let mut q = vec![0.0; (lmax + 1) * width];
        let mut double_factorial = 1.0;
        for m in 0..=lmax {
            q[m * width + m] = double_factorial;
            double_factorial *= 2.0 * m as f64 + 1.0;
            for l in m + 1..=lmax {
                let below = if l >= m + 2 { q[(l - 2) * width + m] } else { 0.0 };
                let (lf, mf) = (l as f64, m as f64);
                q[l * width + m] =
                    ((2.0 * lf - 1.0) * z * q[(l - 1) * width + m] - (lf + mf - 1.0) * below) / (lf - mf);
            }
        }
        Tables { lmax, a, b, q }
    }

    fn q(&self, l: usize, m: usize) -> f64 {
        self.q[l * (self.lmax + 2) + m]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_degrees_in_closed_form() {
        let [x, y, z] = [0.36, 0.48, 0.8];
        let found = spherical_harmonics(2, [3.6, 4.8, 8.0]);
        let (s3, s5, s15) = (3f64.sqrt(), 5f64.sqrt(), 15f64.sqrt());
        let expected = [
            1.0,
            s3 * y,
            s3 * z,
            s3 * x,
            s15 * x * y,
            s15 * y * z,
            s5 * (3.0 * z * z - 1.0) / 2.0,
            s15 * x * z,
            s15 * (x * x - y * y) / 2.0,
        ];
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-14);
        }
    }

    #[test]
    fn gradient_equals_central_differences() {
        let (v, lmax) = ([0.3, -1.1, 0.7], 8);
        let cotangent: Vec<f64> = (0..81).map(|k| (k as f64 * 0.37).sin()).collect();
        let value = |v| -> f64 { spherical_harmonics(lmax, v).iter().zip(&cotangent).map(|(y, c)| y * c).sum() };
        let found = spherical_harmonics_vjp(lmax, v, &cotangent);
        for k in 0..3 {
            let (mut up, mut down) = (v, v);
            up[k] += 1e-5;
            down[k] -= 1e-5;
            assert!((found[k] - (value(up) - value(down)) / 2e-5).abs() < 1e-6 * found[k].abs().max(1.0));
        }
    }
}
