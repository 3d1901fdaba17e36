//! A real-space operator in a localised basis, block by block: H(R), S(R) or rho(R).
//!
//! This is the in-memory form of one DeepH matrix file (unified layout): `atom_pairs`, `chunk_shapes`,
//! `chunk_boundaries` and `entries` keep their meaning; legacy files are converted to it on reading.

use ndarray::{ArrayView2, ArrayViewMut2};
use num_complex::Complex64;

/// One ordered pair of atoms `[R1, R2, R3, i, j]`: atom `i` in the home cell, atom `j` in cell `R`; 0-based.
pub type AtomPair = [i64; 5];

/// Matrix elements, all blocks one after another, each row-major. eV for Hamiltonians, 1 for overlaps.
#[derive(Clone, Debug, PartialEq)]
pub enum Entries {
    /// Spinless operators, and overlaps.
    Real(Vec<f64>),
    /// Spinful operators, blocks `[[uu, ud], [du, dd]]`.
    Complex(Vec<Complex64>),
}

impl Entries {
    /// The number of matrix elements.
    pub fn len(&self) -> usize {
        match self {
            Entries::Real(v) => v.len(),
            Entries::Complex(v) => v.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Blocks `<0 i a | O | R j b>` of one operator on one structure, shell components in m = -l..l order
/// (docs/conventions.md).
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMatrix {
    /// `[P]` ordered pairs.
    pub pairs: Vec<AtomPair>,
    /// `[P]` rows and columns of each block.
    pub shapes: Vec<[usize; 2]>,
    /// `[P + 1]` offsets of the blocks in `entries`.
    pub boundaries: Vec<usize>,
    /// The elements.
    pub entries: Entries,
}

impl BlockMatrix {
    /// Block `k` of a real operator, `[n_i, n_j]`; `None` for a complex one or `k` out of range.
    pub fn real_block(&self, k: usize) -> Option<ArrayView2<'_, f64>> {
        let Entries::Real(values) = &self.entries else { return None };
        let (shape, range) = (self.shapes.get(k)?, *self.boundaries.get(k)?..*self.boundaries.get(k + 1)?);
        ArrayView2::from_shape((shape[0], shape[1]), values.get(range)?).ok()
    }

    /// Block `k` of a complex operator, `[2 n_i, 2 n_j]`; `None` for a real one or `k` out of range.
    pub fn complex_block(&self, k: usize) -> Option<ArrayView2<'_, Complex64>> {
        let Entries::Complex(values) = &self.entries else { return None };
        let (shape, range) = (self.shapes.get(k)?, *self.boundaries.get(k)?..*self.boundaries.get(k + 1)?);
        ArrayView2::from_shape((shape[0], shape[1]), values.get(range)?).ok()
    }

    /// Mutable [`Self::real_block`].
    pub fn real_block_mut(&mut self, k: usize) -> Option<ArrayViewMut2<'_, f64>> {
        let (shape, range) = (*self.shapes.get(k)?, *self.boundaries.get(k)?..*self.boundaries.get(k + 1)?);
        let Entries::Real(values) = &mut self.entries else { return None };
        ArrayViewMut2::from_shape((shape[0], shape[1]), values.get_mut(range)?).ok()
    }

    /// Mutable [`Self::complex_block`].
    pub fn complex_block_mut(&mut self, k: usize) -> Option<ArrayViewMut2<'_, Complex64>> {
        let (shape, range) = (*self.shapes.get(k)?, *self.boundaries.get(k)?..*self.boundaries.get(k + 1)?);
        let Entries::Complex(values) = &mut self.entries else { return None };
        ArrayViewMut2::from_shape((shape[0], shape[1]), values.get_mut(range)?).ok()
    }

    /// The offsets that `shapes` imply: `[P + 1]`, from 0.
    pub fn boundaries_of(shapes: &[[usize; 2]]) -> Vec<usize> {
        let mut boundaries = Vec::with_capacity(shapes.len() + 1);
        let mut end = 0;
        boundaries.push(end);
        for [rows, columns] in shapes {
            end += rows * columns;
            boundaries.push(end);
        }
        boundaries
    }
}

/// The pair seen from the other atom: `(-R, j, i)`, whose block is the adjoint of this one.
pub fn reverse(pair: &AtomPair) -> AtomPair {
    [-pair[0], -pair[1], -pair[2], pair[4], pair[3]]
}
