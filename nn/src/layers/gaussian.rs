//! The fixed Gaussian basis of distances.

/// `exp(-((r - mu_k) / w)^2 / 2)` with `count` centres mu from 0 to `stop` (angstrom) and w their spacing; `[count]`.
pub fn gaussians(r: f64, stop: f64, count: usize) -> impl Iterator<Item = f64> {
    let width = stop / (count.max(2) - 1) as f64;
    (0..count).map(move |k| (-0.5 * (r / width - k as f64).powi(2)).exp())
}

#[cfg(test)]
mod tests {
    #[test]
    fn centres_and_width() {
        let g: Vec<f64> = super::gaussians(2.0, 6.0, 4).collect();
        assert!((g[1] - 1.0).abs() < 1e-15);
        assert!((g[0] - (-0.5f64).exp()).abs() < 1e-15 && (g[2] - g[0]).abs() < 1e-15);
    }
}
