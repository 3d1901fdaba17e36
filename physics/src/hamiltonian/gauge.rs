//! The freedom H -> H + mu S, which moves all eigenvalues alike, and errors after it is fixed.
//!
//! mu = <dH, S> / <S, S> over all stored elements minimises |dH - mu S|; so does DeepH-dock. Spinful: S stands for
//! S x 1. Errors are those of docs/conventions.md; a complex element counts with its modulus.

use ndarray::Array2;
use num_complex::Complex64;
use serde::{Deserialize, Serialize};
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};

use super::basis::Basis;
use super::symmetry::{complex, places, reorder_to};
use crate::{Error, Result};

/// Errors of a predicted Hamiltonian against its reference, over all elements of all blocks of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaugeErrors {
    /// How many matrix elements.
    pub elements: usize,
    /// mu of prediction - reference, eV.
    pub mu_ev: f64,
    /// mean |dH|, eV.
    pub mae_ev: f64,
    /// Root of the mean |dH|^2, eV.
    pub rmse_ev: f64,
    /// mean |dH - mu S|, eV.
    pub mae_gauge_fixed_ev: f64,
    /// Root of the mean |dH - mu S|^2, eV.
    pub rmse_gauge_fixed_ev: f64,
}

/// <H, S> / <S, S>, eV: the multiple of S that is in H. Blocks that S lacks count as zero in it.
///
/// # Errors
/// Blocks of S and H of the same pair that do not belong together, S all zero.
pub fn projection(matrix: &BlockMatrix, overlap: &BlockMatrix) -> Result<f64> {
    let (product, square) = inner_products(matrix, overlap)?;
    if square > 0.0 {
        return Ok(product / square);
    }
    Err(Error::Mismatch {
        what: "overlap".into(),
        expected: "a non-zero element on the pairs of the Hamiltonian".into(),
        found: "none".into(),
    })
}

/// <rho, S> over all elements, which is Tr(rho S) of a cell: the electrons of a density matrix in DeepH's normalisation
/// (spinless: both spins in one). Blocks that S lacks count as zero in it.
///
/// # Errors
/// Blocks of S and rho of the same pair that do not belong together.
pub fn electrons(density: &BlockMatrix, overlap: &BlockMatrix) -> Result<f64> {
    Ok(inner_products(density, overlap)?.0)
}

/// Re <M, S> and <S, S> over the pairs of M.
fn inner_products(matrix: &BlockMatrix, overlap: &BlockMatrix) -> Result<(f64, f64)> {
    let (mut product, mut square) = (0.0, 0.0);
    for_each_with_overlap(matrix, overlap, |_, block, overlap| {
        product += block.iter().zip(overlap).map(|(h, s)| (h * s.conj()).re).sum::<f64>();
        square += overlap.iter().map(|s| s.norm_sqr()).sum::<f64>();
    })?;
    Ok((product, square))
}

/// The overlap of an orthogonal basis: unit on-site blocks and no other.
///
/// # Errors
/// An element that is not in the basis.
pub fn unit_overlap(basis: &Basis, species: &[u32]) -> Result<BlockMatrix> {
    let sizes = species.iter().map(|&number| basis.orbitals(number)).collect::<Result<Vec<_>>>()?;
    let shapes: Vec<[usize; 2]> = sizes.iter().map(|&n| [n, n]).collect();
    let entries = sizes.iter().flat_map(|&n| Array2::<f64>::eye(n).into_raw_vec_and_offset().0).collect();
    Ok(BlockMatrix {
        pairs: (0..species.len() as i64).map(|atom| [0, 0, 0, atom, atom]).collect(),
        boundaries: BlockMatrix::boundaries_of(&shapes),
        entries: Entries::Real(entries),
        shapes,
    })
}

/// H + mu S on the pairs of H; errors as [`projection`].
pub fn shifted(matrix: &BlockMatrix, overlap: &BlockMatrix, mu: f64) -> Result<BlockMatrix> {
    let mut result = matrix.clone();
    for_each_with_overlap(matrix, overlap, |k, _, overlap| {
        if let Some(mut target) = result.real_block_mut(k) {
            target.zip_mut_with(overlap, |h, s| *h += mu * s.re);
        }
        if let Some(mut target) = result.complex_block_mut(k) {
            target.zip_mut_with(overlap, |h, s| *h += mu * s);
        }
    })?;
    Ok(result)
}

/// prediction - reference on the pairs of the reference, in its order.
///
/// # Errors
/// A pair of the reference that the prediction lacks or has with another shape.
pub fn difference(prediction: &BlockMatrix, reference: &BlockMatrix) -> Result<BlockMatrix> {
    let mut result = reorder_to(prediction, reference)?;
    match (&mut result.entries, &reference.entries) {
        (Entries::Real(a), Entries::Real(b)) => a.iter_mut().zip(b).for_each(|(a, b)| *a -= b),
        (Entries::Complex(a), Entries::Complex(b)) => a.iter_mut().zip(b).for_each(|(a, b)| *a -= b),
        (Entries::Complex(a), Entries::Real(b)) => a.iter_mut().zip(b).for_each(|(a, b)| *a -= b),
        (Entries::Real(a), Entries::Complex(b)) => {
            let complex = a.iter().zip(b).map(|(a, b)| a - b).collect();
            result.entries = Entries::Complex(complex);
        }
    }
    Ok(result)
}

/// All errors of one structure.
///
/// # Errors
/// As [`difference`] and [`projection`].
pub fn compare(prediction: &BlockMatrix, reference: &BlockMatrix, overlap: &BlockMatrix) -> Result<GaugeErrors> {
    let raw = difference(prediction, reference)?;
    let mu_ev = projection(&raw, overlap)?;
    let fixed = shifted(&raw, overlap, -mu_ev)?;
    let (mae_ev, rmse_ev) = mean_errors(&raw.entries);
    let (mae_gauge_fixed_ev, rmse_gauge_fixed_ev) = mean_errors(&fixed.entries);
    let elements = raw.entries.len();
    Ok(GaugeErrors { elements, mu_ev, mae_ev, rmse_ev, mae_gauge_fixed_ev, rmse_gauge_fixed_ev })
}

/// mean |x| and root mean |x|^2; zero where there is no element.
fn mean_errors(entries: &Entries) -> (f64, f64) {
    let (sum, squares) = match entries {
        Entries::Real(v) => v.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x.abs(), squares + x * x)),
        Entries::Complex(v) => v.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x.norm(), squares + x.norm_sqr())),
    };
    let count = entries.len().max(1) as f64;
    (sum / count, (squares / count).sqrt())
}

/// Visit every block of `matrix` with the overlap block of its pair, brought to its spin form, zero where absent.
fn for_each_with_overlap(
    matrix: &BlockMatrix,
    overlap: &BlockMatrix,
    mut visit: impl FnMut(usize, &Array2<Complex64>, &Array2<Complex64>),
) -> Result<()> {
    let places = places(overlap)?;
    for (k, pair) in matrix.pairs.iter().enumerate() {
        let block = complex(matrix, k);
        let partner = match places.get(pair).map(|&place| complex(overlap, place)) {
            None => Array2::zeros(block.dim()),
            Some(s) if s.dim() == block.dim() => s,
            Some(s) if (2 * s.nrows(), 2 * s.ncols()) == block.dim() => ndarray::linalg::kron(&Array2::eye(2), &s),
            Some(s) => {
                return Err(Error::Mismatch {
                    what: format!("overlap block {pair:?}"),
                    expected: format!("{:?}, or half of it", block.dim()),
                    found: format!("{:?}", s.dim()),
                });
            }
        };
        visit(k, &block, &partner);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    fn real(values: Vec<f64>) -> BlockMatrix {
        let shapes = vec![[2, 2], [1, 2]];
        let (pairs, boundaries) = (vec![[0, 0, 0, 0, 0], [1, 0, 0, 1, 0]], BlockMatrix::boundaries_of(&shapes));
        BlockMatrix { pairs, shapes, boundaries, entries: Entries::Real(values) }
    }

    #[test]
    fn a_multiple_of_the_overlap_is_no_error() {
        let overlap = real(vec![1.0, 0.2, 0.2, 1.0, 0.1, -0.3]);
        let reference = real(vec![-3.0, 1.0, 1.0, -2.0, 0.4, 0.5]);
        let prediction = shifted(&reference, &overlap, 0.7).unwrap();
        let errors = compare(&prediction, &reference, &overlap).unwrap();
        assert_relative_eq!(errors.mu_ev, 0.7, epsilon = 1e-14);
        assert!(errors.mae_gauge_fixed_ev < 1e-15 && errors.mae_ev > 0.1);
        assert_eq!(errors.elements, 6);
    }

    #[test]
    fn the_fixed_error_is_the_least_in_the_mean_square() {
        let overlap = real(vec![1.0, 0.2, 0.2, 1.0, 0.1, -0.3]);
        let reference = real(vec![-3.0, 1.0, 1.0, -2.0, 0.4, 0.5]);
        let prediction = real(vec![-2.8, 0.9, 1.3, -2.1, 0.1, 0.6]);
        let errors = compare(&prediction, &reference, &overlap).unwrap();
        for other in [errors.mu_ev - 1e-3, errors.mu_ev + 1e-3] {
            let moved = shifted(&prediction, &overlap, -other).unwrap();
            let rmse = mean_errors(&difference(&moved, &reference).unwrap().entries).1;
            assert!(rmse > errors.rmse_gauge_fixed_ev);
        }
    }

    #[test]
    fn spin_blocks_meet_the_overlap_on_the_diagonal() {
        let shapes = vec![[1, 1]];
        let (pairs, boundaries) = (vec![[0; 5]], BlockMatrix::boundaries_of(&shapes));
        let overlap = BlockMatrix { pairs: pairs.clone(), shapes, boundaries, entries: Entries::Real(vec![0.5]) };
        let entries = [1.0, 2.0, 2.0, 3.0].map(|x| Complex64::new(x, 0.0)).to_vec();
        let spinful =
            BlockMatrix { pairs, shapes: vec![[2, 2]], boundaries: vec![0, 4], entries: Entries::Complex(entries) };
        assert_relative_eq!(projection(&spinful, &overlap).unwrap(), 2.0 / 0.5);
    }
}
