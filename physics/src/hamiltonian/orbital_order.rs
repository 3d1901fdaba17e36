//! The order of orbitals inside a shell: OpenMX's (legacy DeepH files) against m = -l..l (unified files, this crate).
//!
//! The tables are those of the file formats; here they act on blocks.

use ndarray::{Array2, ArrayView2};
use tesseral_datasets::deeph::info::orbitals_of;
use tesseral_datasets::orbital_order::openmx_order;

use crate::{Error, Result};

/// For each orbital of an atom in m = -l..l order its index in OpenMX's: `standard[k] = openmx[positions[k]]`; all
/// shells one after the other, `spins` times (1, or 2 for up then down).
///
/// # Errors
/// A shell beyond f, which OpenMX does not have.
pub fn openmx_positions(shells: &[usize], spins: usize) -> Result<Vec<usize>> {
    openmx_order(&shells.repeat(spins)).ok_or_else(|| Error::Mismatch {
        what: "shells in OpenMX's order".into(),
        expected: "l of at most 3".into(),
        found: format!("{shells:?}"),
    })
}

/// A block in OpenMX's order brought to m = -l..l; `rows` and `columns` are the shells of the two atoms. A block of
/// twice their orbitals is spinful.
///
/// # Errors
/// The block has neither shape, or a shell is beyond f.
pub fn from_openmx<T: Clone>(block: ArrayView2<'_, T>, rows: &[usize], columns: &[usize]) -> Result<Array2<T>> {
    let (rows, columns) = positions(block.dim(), rows, columns)?;
    Ok(Array2::from_shape_fn(block.dim(), |(a, b)| block[[rows[a], columns[b]]].clone()))
}

/// The inverse of [`from_openmx`]; errors the same.
pub fn to_openmx<T: Clone>(block: ArrayView2<'_, T>, rows: &[usize], columns: &[usize]) -> Result<Array2<T>> {
    let (rows, columns) = positions(block.dim(), rows, columns)?;
    let (rows, columns) = (inverse(&rows), inverse(&columns));
    Ok(Array2::from_shape_fn(block.dim(), |(a, b)| block[[rows[a], columns[b]]].clone()))
}

/// The positions along rows and columns, after a check of the block's shape.
fn positions(shape: (usize, usize), rows: &[usize], columns: &[usize]) -> Result<(Vec<usize>, Vec<usize>)> {
    let size = (orbitals_of(rows), orbitals_of(columns));
    let spins = if shape == size { 1 } else { 2 };
    if shape != (spins * size.0, spins * size.1) {
        return Err(Error::Mismatch {
            what: format!("block of shells {rows:?} and {columns:?}"),
            expected: format!("{size:?} orbitals, or twice that"),
            found: format!("{shape:?}"),
        });
    }
    Ok((openmx_positions(rows, spins)?, openmx_positions(columns, spins)?))
}

fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    for (place, &value) in permutation.iter().enumerate() {
        inverse[value] = place;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_there_and_back() {
        let (rows, columns) = ([0, 2, 1], [3, 0]);
        for spins in [1, 2] {
            let block = Array2::from_shape_fn((9 * spins, 8 * spins), |(a, b)| 100 * a + b);
            let standard = from_openmx(block.view(), &rows, &columns).unwrap();
            assert_ne!(standard, block);
            assert_eq!(to_openmx(standard.view(), &rows, &columns).unwrap(), block);
        }
        assert!(from_openmx(Array2::<f64>::zeros((9, 16)).view(), &rows, &columns).is_err());
        assert!(from_openmx(Array2::<f64>::zeros((9, 9)).view(), &rows, &[4]).is_err());
    }

    #[test]
    fn p_shell_is_y_z_x() {
        let block = ndarray::array![["x", "y", "z"]];
        assert_eq!(from_openmx(block.view(), &[0], &[1]).unwrap(), ndarray::array![["y", "z", "x"]]);
    }
}
