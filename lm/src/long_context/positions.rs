//! The base of the rotary angles for a longer context.

/// The base that "dynamic NTK" scaling gives for a context `stretch` times as long, heads of `width` columns:
/// `base * stretch^(width / (width - 2))`. ProLong found about twice this to be best (its section 3.2).
pub fn ntk_base(base: f64, stretch: f64, width: usize) -> f64 {
    base * stretch.powf(width as f64 / (width as f64 - 2.0).max(1.0))
}

/// What is doubtful about a change of base: `None` where the new one is at least what NTK scaling asks for.
pub fn doubt(old_base: f64, new_base: f64, old_length: usize, new_length: usize, width: usize) -> Option<String> {
    let stretch = new_length as f64 / old_length.max(1) as f64;
    let needed = ntk_base(old_base, stretch, width);
    let low = stretch > 1.0 && new_base < needed;
    low.then(|| {
        format!(
            "rope_theta: {new_base:.4e} is below the {needed:.4e} that NTK scaling gives for {new_length} tokens \
             after {old_length}; recall at a distance will suffer"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_paper() {
        // golden/prolong/losses.json, from 5e5 with heads of 128 columns.
        assert!((ntk_base(5e5, 8.0, 128) / 4_134_231.132_028_111 - 1.0).abs() < 1e-12);
        assert!((ntk_base(5e5, 64.0, 128) / 34_183_734.106_060_86 - 1.0).abs() < 1e-12);
        assert!(doubt(5e5, 8e6, 8192, 65_536, 128).is_none());
        assert!(doubt(5e5, 5e5, 8192, 65_536, 128).unwrap().contains("4.1342e6"));
        assert!(doubt(5e5, 5e5, 8192, 4096, 128).is_none());
    }
}
