//! How well matrices of rotated copies of one structure turn with them.
//!
//! Each copy is rotated back; what then differs between copies is the error. The figure that DeepH-dock quotes is
//! the mean over copies of the root mean square about their mean, all elements of all blocks.

use nalgebra::Matrix3;
use num_complex::Complex64;
use serde::Serialize;
use std::collections::HashSet;
use tesseral_datasets::deeph::matrix::{AtomPair, BlockMatrix, Entries};
use tesseral_nn::equivariant::Parity;
use tesseral_nn::equivariant::wigner::{wigner_d, wigner_d_half};

use super::basis::Basis;
use super::{gauge, symmetry};
use crate::structure::alignment::Alignment;
use crate::{Error, Result};

/// Differences between copies of one operator, in its unit (eV for H).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Matrix elements of each copy.
    pub elements: usize,
    /// mean |x| over all copies.
    pub mean: f64,
    /// Mean over copies of the root mean square about the mean of the copies.
    pub rmse: f64,
    /// That root for each copy.
    pub rmse_by_copy: Vec<f64>,
    /// Largest difference from the mean of the copies.
    pub max: f64,
}

/// The operator of a copy rotated back: that of the original, under the original's pairs.
///
/// # Errors
/// Blocks that do not fit `basis` and `species`.
pub fn turned_back(matrix: &BlockMatrix, alignment: &Alignment, basis: &Basis, species: &[u32]) -> Result<BlockMatrix> {
    let back: Matrix3<f64> = alignment.rotation.transpose();
    let d = |l: usize| wigner_d(l, if l.is_multiple_of(2) { Parity::Even } else { Parity::Odd }, &back);
    let mut turned = symmetry::rotated(matrix, basis, species, d, Some(&wigner_d_half(&back)))?;
    turned.pairs.iter_mut().for_each(|pair| *pair = alignment.pair_before(pair));
    Ok(turned)
}

/// The pairs that all copies have, in the order of the first.
pub fn common_pairs(copies: &[&BlockMatrix]) -> Vec<AtomPair> {
    let Some((first, others)) = copies.split_first() else { return vec![] };
    let others: Vec<HashSet<&AtomPair>> = others.iter().map(|copy| copy.pairs.iter().collect()).collect();
    first.pairs.iter().filter(|pair| others.iter().all(|other| other.contains(pair))).copied().collect()
}

/// Compare copies that have the same pairs in the same order (after [`turned_back`]).
///
/// # Errors
/// No copy, copies of different pairs.
pub fn spread(copies: &[BlockMatrix]) -> Result<Spread> {
    about_mean(copies, &mean(copies)?, Ok)
}

/// [`spread`] after H -> H + mu S of each copy, so that it lies as near to the mean of the copies as it can.
///
/// # Errors
/// As [`spread`], and as [`gauge::projection`].
pub fn spread_gauge_fixed(copies: &[BlockMatrix], overlap: &BlockMatrix) -> Result<Spread> {
    about_mean(copies, &mean(copies)?, |difference| {
        let mu = gauge::projection(&difference, overlap)?;
        gauge::shifted(&difference, overlap, -mu)
    })
}

fn about_mean(
    copies: &[BlockMatrix],
    mean: &BlockMatrix,
    fix: impl Fn(BlockMatrix) -> Result<BlockMatrix>,
) -> Result<Spread> {
    let elements = mean.entries.len();
    let count = elements.max(1) as f64;
    let mut spread = Spread { elements, mean: 0.0, rmse: 0.0, rmse_by_copy: vec![], max: 0.0 };
    for copy in copies {
        spread.mean += moduli(&copy.entries).sum::<f64>() / count;
        let difference = fix(gauge::difference(copy, mean)?)?;
        let squares: f64 = moduli(&difference.entries).map(|x| x * x).sum();
        spread.rmse_by_copy.push((squares / count).sqrt());
        spread.max = moduli(&difference.entries).fold(spread.max, f64::max);
    }
    spread.mean /= copies.len() as f64;
    spread.rmse = spread.rmse_by_copy.iter().sum::<f64>() / copies.len() as f64;
    Ok(spread)
}

fn mean(copies: &[BlockMatrix]) -> Result<BlockMatrix> {
    let mismatch = |expected: &str, found: String| Error::Mismatch {
        what: "rotated copies".into(),
        expected: expected.into(),
        found,
    };
    let (first, others) = copies.split_first().ok_or_else(|| mismatch("at least one", "none".into()))?;
    let mut mean = first.clone();
    for copy in others {
        if copy.pairs != first.pairs {
            return Err(mismatch("the same pairs in the same order", "others".into()));
        }
        match (&mut mean.entries, &copy.entries) {
            (Entries::Real(a), Entries::Real(b)) if a.len() == b.len() => {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b)
            }
            (Entries::Complex(a), Entries::Complex(b)) if a.len() == b.len() => {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            }
            _ => return Err(mismatch("blocks of the same shapes and kind of numbers", "others".into())),
        }
    }
    let share = 1.0 / copies.len() as f64;
    match &mut mean.entries {
        Entries::Real(values) => values.iter_mut().for_each(|x| *x *= share),
        Entries::Complex(values) => values.iter_mut().for_each(|x| *x *= share),
    }
    Ok(mean)
}

/// |x| of all elements.
fn moduli(entries: &Entries) -> Box<dyn Iterator<Item = f64> + '_> {
    match entries {
        Entries::Real(values) => Box::new(values.iter().map(|x| x.abs())),
        Entries::Complex(values) => Box::new(values.iter().map(|z: &Complex64| z.norm())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use nalgebra::{Rotation3, Vector3};

    #[test]
    fn a_turned_matrix_turns_back_and_the_gauge_is_no_error() {
        let basis = Basis::new(vec![(6, vec![0, 1]), (8, vec![2])], false).unwrap();
        let species = [6, 8];
        let pairs = vec![[0, 0, 0, 0, 1], [1, -1, 0, 1, 0]];
        let shapes = vec![[4, 5], [5, 4]];
        let boundaries = BlockMatrix::boundaries_of(&shapes);
        let entries = Entries::Real((0..40).map(|n| f64::from(n * n % 17) - 8.0).collect());
        let original = BlockMatrix { pairs, shapes, boundaries, entries };
        let rotation = -Rotation3::new(Vector3::new(0.4, 1.2, -0.7)).into_inner();
        let cells = vec![[0, 0, 0], [0, 1, 0]];
        let alignment = Alignment { rotation, cells, deviation: 0.0 };
        let d = |l: usize| wigner_d(l, if l == 1 { Parity::Odd } else { Parity::Even }, &rotation);
        let mut copy = symmetry::rotated(&original, &basis, &species, d, None).unwrap();
        copy.pairs = vec![[0, 1, 0, 0, 1], [1, -2, 0, 1, 0]];
        let back = turned_back(&copy, &alignment, &basis, &species).unwrap();
        assert_eq!(back.pairs, original.pairs);
        let copies = [original.clone(), back];
        let found = spread(&copies).unwrap();
        assert!(found.max < 1e-13 && found.rmse < 1e-13 && found.mean > 1.0, "{found:?}");
        let moved = [original.clone(), gauge::shifted(&original, &original, 0.1).unwrap()];
        assert_relative_eq!(spread(&moved).unwrap().max, 0.05 * 8.0, epsilon = 1e-12);
        assert!(spread_gauge_fixed(&moved, &original).unwrap().max < 1e-13);
        assert!(common_pairs(&[&copies[0], &copy]).is_empty());
        assert!(spread(&[original, copy]).is_err());
    }
}
