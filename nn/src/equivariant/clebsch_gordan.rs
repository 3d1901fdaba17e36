//! Real Clebsch-Gordan tensors (Wigner 3j, Frobenius norm 1) of the `e3nn` crate, computed once a process.

use super::irreps::Convention;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// C^{l1 l2 l3}_{m1 m2 m3}, `[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]`, Frobenius norm 1; indices m + l.
#[derive(Debug)]
pub struct Wigner3j {
    shape: [usize; 3],
    values: Vec<f64>,
}

impl Wigner3j {
    /// The element at signed orders.
    pub fn at(&self, m1: i64, m2: i64, m3: i64) -> f64 {
        let index = |m: i64, n: usize| (m + (n as i64 - 1) / 2) as usize;
        let [n1, n2, n3] = self.shape;
        self.values[(index(m1, n1) * n2 + index(m2, n2)) * n3 + index(m3, n3)]
    }

    /// Non-zero elements as (i1, i2, i3, value), i = m + l.
    pub fn non_zero(&self) -> impl Iterator<Item = (usize, usize, usize, f64)> + '_ {
        let [_, n2, n3] = self.shape;
        let place = move |k: usize| (k / (n2 * n3), k / n3 % n2, k % n3);
        self.values.iter().enumerate().filter(|(_, v)| v.abs() > 1e-14).map(move |(k, &v)| {
            let (i, j, l) = place(k);
            (i, j, l, v)
        })
    }
}

/// Triples with all l <= 6 whose tensor changes sign from e3nn 0.3.5 to 0.6 (measured against both releases).
const NEGATED_IN_035: [[u32; 3]; 34] = [
    [1, 2, 2],
    [1, 3, 3],
    [1, 4, 4],
    [1, 5, 5],
    [1, 6, 6],
    [2, 1, 2],
    [2, 2, 1],
    [3, 1, 3],
    [3, 3, 1],
    [3, 4, 6],
    [3, 6, 4],
    [4, 1, 4],
    [4, 3, 6],
    [4, 4, 1],
    [4, 4, 5],
    [4, 5, 4],
    [4, 5, 6],
    [4, 6, 3],
    [4, 6, 5],
    [5, 1, 5],
    [5, 4, 4],
    [5, 4, 6],
    [5, 5, 1],
    [5, 5, 5],
    [5, 6, 4],
    [5, 6, 6],
    [6, 1, 6],
    [6, 3, 4],
    [6, 4, 3],
    [6, 4, 5],
    [6, 5, 4],
    [6, 5, 6],
    [6, 6, 1],
    [6, 6, 5],
];

type Cache = Mutex<HashMap<([u32; 3], bool), Arc<Wigner3j>>>;
static CACHE: LazyLock<Cache> = LazyLock::new(Cache::default);

/// The tensor of `(l1, l2, l3)`; zero when the triangle rule fails. Signs of 0.3.5 are known for l <= 6; above that
/// both conventions give e3nn 0.6's.
pub fn wigner_3j(l1: u32, l2: u32, l3: u32, convention: Convention) -> Arc<Wigner3j> {
    let negated = convention == Convention::V035 && NEGATED_IN_035.contains(&[l1, l2, l3]);
    // A poisoned cache still holds whole entries only.
    let mut cache = CACHE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let make = || {
        let tensor = e3nn::cg::so3(l1, l2, l3);
        // The crate's norm is sqrt(2 l3 + 1).
        let scale = if negated { -1.0 } else { 1.0 } / f64::from(2 * l3 + 1).sqrt();
        Arc::new(Wigner3j { shape: tensor.shape, values: tensor.data.iter().map(|v| v * scale).collect() })
    };
    cache.entry(([l1, l2, l3], negated)).or_insert_with(make).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm_one_and_transposition_sign() {
        for (l1, l2, l3) in [(1, 1, 0), (1, 2, 2), (2, 3, 4), (8, 8, 5)] {
            let (a, b) = (wigner_3j(l1, l2, l3, Convention::V06), wigner_3j(l2, l1, l3, Convention::V06));
            let norm: f64 = a.values.iter().map(|v| v * v).sum();
            assert!((norm - 1.0).abs() < 1e-12);
            let sign = if (l1 + l2 + l3) % 2 == 0 { 1.0 } else { -1.0 };
            for (i, j, k, v) in a.non_zero() {
                let [_, n2, n3] = b.shape;
                assert!((b.values[(j * n2 + i) * n3 + k] - sign * v).abs() < 1e-13);
            }
        }
    }
}
