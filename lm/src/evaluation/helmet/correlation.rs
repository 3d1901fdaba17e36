//! How alike the categories order models: Spearman's rank correlation.

use crate::{Error, Result};

/// Spearman's correlation of two lists: Pearson's, of the ranks, equal values sharing their mean rank. Not a number where
/// one of them does not vary.
///
/// # Errors
/// [`Error::Config`] for lists of different lengths, fewer than two values, or values that are no numbers.
pub fn spearman(first: &[f64], second: &[f64]) -> Result<f64> {
    if first.len() != second.len() || first.len() < 2 {
        let what =
            format!("expected two lists of as many scores, at least two, found {} and {}", first.len(), second.len());
        return Err(Error::config("scores", what));
    }
    if first.iter().chain(second).any(|score| score.is_nan()) {
        return Err(Error::config("scores", "expected numbers, found NaN"));
    }
    let (first, second) = (ranks(first), ranks(second));
    // The mean of ranks is always the same.
    let mean = (first.len() + 1) as f64 / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    Ok(product(&first, &second) / (product(&first, &first) * product(&second, &second)).sqrt())
}

/// Correlations between the columns of a table of models (rows) by categories (columns).
///
/// # Errors
/// As [`spearman`]; rows of different lengths.
pub fn matrix(models: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
    let columns = models.first().map_or(0, Vec::len);
    if models.iter().any(|row| row.len() != columns) {
        return Err(Error::config("scores", format!("expected {columns} scores of each model, found another number")));
    }
    let column = |place: usize| models.iter().filter_map(|row| row.get(place).copied()).collect::<Vec<_>>();
    let columns: Vec<Vec<f64>> = (0..columns).map(column).collect();
    columns.iter().map(|first| columns.iter().map(|second| spearman(first, second)).collect()).collect()
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same = order[start..].iter().take_while(|place| values[**place] == values[order[start]]).count();
        for place in &order[start..start + same] {
            ranks[*place] = start as f64 + (same + 1) as f64 / 2.0;
        }
        start += same;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_correlate() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0, 10.0], &[10.0, 20.0, 21.0, 22.0]).unwrap(), 1.0);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]).unwrap(), -1.0);
        // By hand: ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4; products 2.25 + 0 + 0 + 2.25 over sqrt(4.5 * 5).
        let found = spearman(&[1.0, 2.0, 2.0, 3.0], &[5.0, 7.0, 6.0, 8.0]).unwrap();
        assert!((found - 4.5 / 22.5f64.sqrt()).abs() < 1e-12, "{found}");
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).unwrap().is_nan());
    }

    #[test]
    fn a_matrix_is_symmetric_with_ones() {
        let models: Vec<Vec<f64>> =
            (0..6).map(|m| (0..7).map(|c| f64::from((m * m * 7 + c * 3 + m * c * 5 + m) % 11)).collect()).collect();
        let matrix = matrix(&models).unwrap();
        assert_eq!(matrix.len(), 7);
        for (i, row) in matrix.iter().enumerate() {
            assert_eq!(row.len(), 7);
            assert!((row[i] - 1.0).abs() < 1e-12);
            for (j, value) in row.iter().enumerate() {
                assert!((value - matrix[j][i]).abs() < 1e-12 && value.abs() <= 1.0 + 1e-12);
            }
        }
    }

    #[test]
    fn tables_that_do_not_fit_are_told() {
        let told = |error: Error| error.to_string();
        assert!(told(spearman(&[1.0], &[1.0]).unwrap_err()).contains("at least two"));
        assert!(told(spearman(&[1.0, f64::NAN], &[1.0, 2.0]).unwrap_err()).contains("NaN"));
        assert!(told(matrix(&[vec![1.0, 2.0], vec![1.0]]).unwrap_err()).contains("expected 2 scores"));
    }
}
