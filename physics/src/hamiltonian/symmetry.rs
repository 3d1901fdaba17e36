//! Hermiticity, order of pairs and atoms, and rotation of operators given block by block.
//!
//! H_ji(-R) = H_ij(R)^dagger; after r' = Q r the block is D_i(Q) H_ij D_j(Q)^T, spinful (U D_i) H_ij (U D_j)^dagger.

use std::collections::HashMap;

use nalgebra::{DMatrix, Matrix2};
use ndarray::linalg::kron;
use ndarray::{Array2, ArrayView2};
use num_complex::Complex64;
use tesseral_datasets::deeph::info::orbitals_of;
use tesseral_datasets::deeph::matrix::{AtomPair, BlockMatrix, Entries, reverse};

use super::basis::{Basis, SpinForm};
use crate::structure::crystal::check_permutation;
use crate::{Error, Result};

/// Where each pair of `matrix` stands.
///
/// # Errors
/// A pair that is listed twice.
pub fn places(matrix: &BlockMatrix) -> Result<HashMap<AtomPair, usize>> {
    let places: HashMap<AtomPair, usize> = matrix.pairs.iter().enumerate().map(|(k, pair)| (*pair, k)).collect();
    match matrix.pairs.iter().enumerate().find(|(k, pair)| places[*pair] != *k) {
        None => Ok(places),
        Some((_, pair)) => Err(Error::Mismatch {
            what: "atom pairs".into(),
            expected: "each pair once".into(),
            found: format!("{pair:?} twice"),
        }),
    }
}

/// Largest |H_ij(R) - H_ji(-R)^dagger| over all elements; a block whose reverse is not listed counts as it is, as if
/// the reverse were zero.
///
/// # Errors
/// A pair listed twice.
pub fn hermiticity_residual(matrix: &BlockMatrix) -> Result<f64> {
    let places = places(matrix)?;
    let mut largest = 0.0_f64;
    for k in 0..matrix.pairs.len() {
        let block = complex(matrix, k);
        let residual = match places.get(&reverse(&matrix.pairs[k])) {
            Some(&other) if matrix.shapes[other] == [block.ncols(), block.nrows()] => {
                &block - &adjoint(complex(matrix, other).view())
            }
            _ => block,
        };
        largest = residual.iter().fold(largest, |most, x| most.max(x.norm()));
    }
    Ok(largest)
}

/// The hermitian part: every block averaged with the adjoint of its reverse. Exactly hermitian, to the bit.
///
/// # Errors
/// A pair listed twice, or one whose reverse is missing or not of the transposed shape.
pub fn hermitised(matrix: &BlockMatrix) -> Result<BlockMatrix> {
    let places = places(matrix)?;
    let mut result = matrix.clone();
    for (k, pair) in matrix.pairs.iter().enumerate() {
        let shape = matrix.shapes[k];
        let other = places.get(&reverse(pair)).copied().filter(|&o| matrix.shapes[o] == [shape[1], shape[0]]);
        let other = other.ok_or_else(|| Error::Mismatch {
            what: format!("block {pair:?}"),
            expected: format!("its reverse {:?} with the transposed shape", reverse(pair)),
            found: "none".into(),
        })?;
        if let (Some(mut target), Some(a), Some(b)) =
            (result.real_block_mut(k), matrix.real_block(k), matrix.real_block(other))
        {
            target.assign(&((&a + &b.t()) * 0.5));
        }
        if let (Some(mut target), Some(a), Some(b)) =
            (result.complex_block_mut(k), matrix.complex_block(k), matrix.complex_block(other))
        {
            target.assign(&((&a + &adjoint(b)) * Complex64::new(0.5, 0.0)));
        }
    }
    Ok(result)
}

/// The blocks of `matrix` for the pairs of `like`, in its order; other pairs are left out.
///
/// # Errors
/// A pair of `like` that `matrix` lacks or has with another shape, a pair listed twice.
pub fn reorder_to(matrix: &BlockMatrix, like: &BlockMatrix) -> Result<BlockMatrix> {
    if matrix.pairs == like.pairs && matrix.shapes == like.shapes {
        return Ok(matrix.clone());
    }
    let places = places(matrix)?;
    let find = |(pair, shape): (&AtomPair, &[usize; 2])| {
        let place = places.get(pair).copied();
        place.filter(|&k| matrix.shapes[k] == *shape).ok_or_else(|| Error::Mismatch {
            what: format!("block {pair:?}"),
            expected: format!("shape {shape:?}"),
            found: place.map_or("no such pair".into(), |k| format!("{:?}", matrix.shapes[k])),
        })
    };
    let order = like.pairs.iter().zip(&like.shapes).map(find).collect::<Result<Vec<_>>>()?;
    Ok(gather(matrix, &order, like.pairs.clone()))
}

/// The blocks of `pairs`, in their order; other pairs are left out.
///
/// # Errors
/// A pair that `matrix` lacks, or lists twice.
pub fn select(matrix: &BlockMatrix, pairs: &[AtomPair]) -> Result<BlockMatrix> {
    if matrix.pairs == pairs {
        return Ok(matrix.clone());
    }
    let places = places(matrix)?;
    let find = |pair: &AtomPair| {
        places.get(pair).copied().ok_or_else(|| Error::Mismatch {
            what: "atom pairs".into(),
            expected: format!("{pair:?}"),
            found: "no such pair".into(),
        })
    };
    let order = pairs.iter().map(find).collect::<Result<Vec<_>>>()?;
    Ok(gather(matrix, &order, pairs.to_vec()))
}

/// The operator of the crystal whose atom `n` is atom `order[n]` of this one (`Crystal::permuted`).
///
/// # Errors
/// `order` does not name each of its atoms once, or a pair names an atom outside it.
pub fn permuted(matrix: &BlockMatrix, order: &[usize]) -> Result<BlockMatrix> {
    check_permutation(order, order.len())?;
    let new: HashMap<i64, i64> = order.iter().enumerate().map(|(new, &old)| (old as i64, new as i64)).collect();
    let rename = |pair: &AtomPair| match (new.get(&pair[3]), new.get(&pair[4])) {
        (Some(&i), Some(&j)) => Ok([pair[0], pair[1], pair[2], i, j]),
        _ => Err(Error::Mismatch {
            what: format!("block {pair:?}"),
            expected: format!("atoms below {}", order.len()),
            found: format!("{} and {}", pair[3], pair[4]),
        }),
    };
    Ok(BlockMatrix { pairs: matrix.pairs.iter().map(rename).collect::<Result<_>>()?, ..matrix.clone() })
}

/// The operator of the crystal after r' = Q r. `d(l)` is D_l(Q), `[2l + 1, 2l + 1]`, in m = -l..l order with the
/// parity (-1)^l of the shell inside for improper Q; `spin` is U(Q) in SU(2), needed for spinful blocks alone.
///
/// # Errors
/// Blocks that do not fit `basis` and `species`, a D of another size, spinful blocks without `spin`.
pub fn rotated(
    matrix: &BlockMatrix,
    basis: &Basis,
    species: &[u32],
    d: impl Fn(usize) -> DMatrix<f64>,
    spin: Option<&Matrix2<Complex64>>,
) -> Result<BlockMatrix> {
    let form = basis.spin_form(matrix, species)?;
    let mut turns = HashMap::new();
    for (number, shells) in basis.elements() {
        turns.insert(*number, atom_rotation(shells, &d)?);
    }
    let unit = match (form, spin) {
        (SpinForm::Spinless, _) => Array2::eye(1),
        (SpinForm::Spinful, Some(u)) => Array2::from_shape_fn((2, 2), |(s, t)| u[(s, t)]),
        (SpinForm::Spinful, None) => {
            return Err(Error::Mismatch {
                what: "rotation of a spinful operator".into(),
                expected: "the rotation of spin as well".into(),
                found: "none".into(),
            });
        }
    };
    let complex_turns: HashMap<u32, Array2<Complex64>> =
        turns.iter().map(|(number, turn)| (*number, kron(&unit, &turn.mapv(Complex64::from)))).collect();
    let mut result = matrix.clone();
    if let (SpinForm::Spinful, Entries::Real(values)) = (form, &matrix.entries) {
        result.entries = Entries::Complex(values.iter().map(|&x| x.into()).collect());
    }
    for (k, pair) in matrix.pairs.iter().enumerate() {
        // spin_form has checked that both atoms exist and that their elements are in the basis.
        let (first, second) = (species[pair[3] as usize], species[pair[4] as usize]);
        if let (Some(mut target), Some(block)) = (result.real_block_mut(k), matrix.real_block(k)) {
            target.assign(&turns[&first].dot(&block).dot(&turns[&second].t()));
        }
        if let Some(mut target) = result.complex_block_mut(k) {
            target.assign(&complex_turns[&first].dot(&complex(matrix, k)).dot(&adjoint(complex_turns[&second].view())));
        }
    }
    Ok(result)
}

/// The block-diagonal rotation of all shells of an atom, `[n, n]`.
///
/// # Errors
/// A D that is not `[2l + 1, 2l + 1]`.
pub fn atom_rotation(shells: &[usize], d: &impl Fn(usize) -> DMatrix<f64>) -> Result<Array2<f64>> {
    let size = orbitals_of(shells);
    let (mut turn, mut start) = (Array2::zeros((size, size)), 0);
    for &l in shells {
        let block = d(l);
        if block.shape() != (2 * l + 1, 2 * l + 1) {
            return Err(Error::Mismatch {
                what: format!("rotation of shells with l = {l}"),
                expected: format!("{0} x {0}", 2 * l + 1),
                found: format!("{:?}", block.shape()),
            });
        }
        for a in 0..=2 * l {
            for b in 0..=2 * l {
                turn[[start + a, start + b]] = block[(a, b)];
            }
        }
        start += 2 * l + 1;
    }
    Ok(turn)
}

/// Block `k` as complex numbers, whichever kind is stored.
pub(super) fn complex(matrix: &BlockMatrix, k: usize) -> Array2<Complex64> {
    let real = matrix.real_block(k).map(|block| block.mapv(Complex64::from));
    real.or_else(|| matrix.complex_block(k).map(|block| block.to_owned())).unwrap_or_default()
}

fn adjoint(block: ArrayView2<'_, Complex64>) -> Array2<Complex64> {
    block.t().mapv(|x| x.conj())
}

/// The blocks `order` of `matrix` under the names `pairs`.
fn gather(matrix: &BlockMatrix, order: &[usize], pairs: Vec<AtomPair>) -> BlockMatrix {
    fn pick<T: Clone>(values: &[T], matrix: &BlockMatrix, order: &[usize]) -> Vec<T> {
        let range = |&k: &usize| values[matrix.boundaries[k]..matrix.boundaries[k + 1]].iter().cloned();
        order.iter().flat_map(range).collect()
    }
    let shapes: Vec<[usize; 2]> = order.iter().map(|&k| matrix.shapes[k]).collect();
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    let entries = match &matrix.entries {
        Entries::Real(values) => Entries::Real(pick(values, matrix, order)),
        Entries::Complex(values) => Entries::Complex(pick(values, matrix, order)),
    };
    BlockMatrix { pairs, shapes, boundaries, entries }
}
