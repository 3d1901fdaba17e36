//! Fixed positions of patches: sines and cosines of row and column of a square grid (MAE, He et al. 2022), which PTP
//! reads in the order of the patches whatever the shape of the image.

/// `[1 + side^2, width]` for a grid that holds `patches`, of side `ceil(sqrt(patches))`: zeros for the state of the whole, then
/// the grid row by row. The first half of the width is of the column, the second of the row; of each half sines, then
/// cosines of place / 10000^(k / quarter).
pub fn table(patches: usize, width: usize) -> Vec<f32> {
    let side = (1..).find(|side| side * side >= patches).unwrap_or(1);
    let quarter = width / 4;
    let mut values = vec![0.0; width];
    values.reserve(side * side * width);
    for place in 0..side * side {
        for coordinate in [place % side, place / side] {
            let angle = |k: usize| coordinate as f64 / 10_000f64.powf(k as f64 / quarter as f64);
            values.extend((0..quarter).map(|k| angle(k).sin() as f32));
            values.extend((0..quarter).map(|k| angle(k).cos() as f32));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_hold_all_patches() {
        assert_eq!(table(511, 8).len(), 530 * 8);
        let found = table(4, 8);
        assert!(found[..8].iter().all(|x| *x == 0.0));
        assert_eq!(found[8..16], [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0]);
        // The second patch of the first row: column 1.
        assert!((found[16] - 1f32.sin()).abs() < 1e-7 && found[20] == 0.0);
    }
}
