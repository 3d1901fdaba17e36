//! The pair (H(k), S(k)) at one k, dense or sparse, real where it is exactly real: what a shift-invert method needs.
//!
//! Sparse matrices share one pattern, the union of all places that H and S ever fill, so that the symbolic work of a
//! factorisation is done once for all k and all shifts.

use std::collections::BTreeMap;
use std::sync::Arc;

use faer::linalg::matmul::matmul;
use faer::sparse::linalg::SupernodalThreshold;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, SymbolicCholesky, SymmetricOrdering, factorize_symbolic_cholesky,
};
use faer::sparse::linalg::matmul::sparse_dense_matmul;
use faer::sparse::{SparseColMatRef, SymbolicSparseColMat};
use faer::traits::ComplexField;
use faer::{Accum, Mat, MatRef, Par, Side};
use num_complex::Complex64;

use super::Bloch;
use crate::{Error, Result};

/// f64 or complex f64.
pub(super) trait Scalar: ComplexField<Real = f64> + Copy + Send + Sync + 'static {
    /// From a complex number whose imaginary part, for f64, is known to be zero.
    fn from_complex(x: Complex64) -> Self;
    /// As a complex number.
    fn to_complex(self) -> Complex64;
    /// From a real number.
    fn from_real(x: f64) -> Self {
        Self::from_complex(Complex64::new(x, 0.0))
    }
}

impl Scalar for f64 {
    fn from_complex(x: Complex64) -> Self {
        x.re
    }
    fn to_complex(self) -> Complex64 {
        Complex64::new(self, 0.0)
    }
}

impl Scalar for Complex64 {
    fn from_complex(x: Complex64) -> Self {
        x
    }
    fn to_complex(self) -> Complex64 {
        self
    }
}

/// Where H and S have elements, with what the pattern alone says about factorisations.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) places: SymbolicSparseColMat<usize>,
    pub(super) symbolic: SymbolicCholesky<usize>,
    /// For the tile at (column, row): how many elements of its columns come before it.
    starts: BTreeMap<(usize, usize), usize>,
}

impl Pattern {
    /// The union over both operators and all cells, made symmetric.
    pub(super) fn new(hamiltonian: &Bloch, overlap: &Bloch) -> Result<Self> {
        let size = hamiltonian.size();
        // (column, row) -> (columns, rows): tiles of one basis meet in the same grid of atoms and spins.
        let mut tiles = BTreeMap::new();
        for (row, column, rows, columns) in hamiltonian.tiles().chain(overlap.tiles()) {
            tiles.insert((column, row), (columns, rows));
            tiles.insert((row, column), (rows, columns));
        }
        let mut counts = vec![0; size];
        let mut starts = BTreeMap::new();
        for (&(column, row), &(columns, rows)) in &tiles {
            starts.insert((column, row), counts[column]);
            counts[column..column + columns].iter_mut().for_each(|count| *count += rows);
        }
        let mut pointers = vec![0; size + 1];
        (0..size).for_each(|n| pointers[n + 1] = pointers[n] + counts[n]);
        let mut indices = vec![0; pointers[size]];
        for (&(column, row), &(columns, rows)) in &tiles {
            let start = starts[&(column, row)];
            for n in column..column + columns {
                let target = &mut indices[pointers[n] + start..pointers[n] + start + rows];
                target.iter_mut().enumerate().for_each(|(i, index)| *index = row + i);
            }
        }
        let places = SymbolicSparseColMat::new_checked(size, size, pointers, None, indices);
        // Only the supernodal form pivots.
        let params = CholeskySymbolicParams {
            supernodal_flop_ratio_threshold: SupernodalThreshold::FORCE_SUPERNODAL,
            ..CholeskySymbolicParams::default()
        };
        let symbolic = factorize_symbolic_cholesky(places.as_ref(), Side::Lower, SymmetricOrdering::Amd, params)
            .map_err(|error| Error::Mismatch {
                what: "pattern of the sparse Hamiltonian".into(),
                expected: "one that fits into memory".into(),
                found: format!("{error:?}"),
            })?;
        Ok(Self { places, symbolic, starts })
    }

    /// M(k), its hermitian part, on these places.
    fn assemble(&self, operator: &Bloch, k: [f64; 3]) -> Vec<Complex64> {
        let (pointers, indices) = (self.places.col_ptr(), self.places.row_idx());
        let mut values = vec![Complex64::new(0.0, 0.0); indices.len()];
        operator.for_each_tile(k, |row, column, rows, columns, element| {
            let (own, other) = (self.starts[&(column, row)], self.starts[&(row, column)]);
            for j in 0..columns {
                for i in 0..rows {
                    let half = element(i, j) * 0.5;
                    values[pointers[column + j] + own + i] += half;
                    values[pointers[row + i] + other + j] += half.conj();
                }
            }
        });
        values
    }
}

/// Where the elements of the matrices are.
#[derive(Clone, Debug)]
pub(super) enum Places {
    /// Everywhere, column by column.
    Dense,
    /// On the places of the pattern.
    Sparse(Arc<Pattern>),
}

/// H(k) and S(k).
#[derive(Clone, Debug)]
pub(super) struct Pencil<T> {
    pub(super) k: [f64; 3],
    pub(super) size: usize,
    pub(super) places: Places,
    /// Elements of H(k) on the places.
    pub(super) hamiltonian: Vec<T>,
    /// Elements of S(k) on the places.
    pub(super) overlap: Vec<T>,
    /// |H| and |S|, Frobenius norms.
    pub(super) norms: [f64; 2],
    pub(super) par: Par,
}

/// A pencil of either kind of number.
#[derive(Clone, Debug)]
pub(super) enum AnyPencil {
    Real(Pencil<f64>),
    Complex(Pencil<Complex64>),
}

impl AnyPencil {
    /// H(k) and S(k); `par` is what their factorisations may use.
    pub(super) fn new(hamiltonian: &Bloch, overlap: &Bloch, places: &Places, k: [f64; 3], par: Par) -> Self {
        let elements = |operator: &Bloch| match places {
            Places::Dense => {
                let dense = operator.at(k);
                let mut elements = Vec::with_capacity(dense.ncols().pow(2));
                (0..dense.ncols()).for_each(|n| elements.extend_from_slice(dense.col_as_slice(n)));
                elements
            }
            Places::Sparse(pattern) => pattern.assemble(operator, k),
        };
        let (h, s): (Vec<Complex64>, Vec<Complex64>) = (elements(hamiltonian), elements(overlap));
        let size = hamiltonian.size();
        if h.iter().chain(&s).all(|x| x.im == 0.0) {
            let real = |values: Vec<Complex64>| values.into_iter().map(|x| x.re).collect();
            Self::Real(Pencil::new(k, size, places, real(h), real(s), par))
        } else {
            Self::Complex(Pencil::new(k, size, places, h, s, par))
        }
    }
}

impl<T: Scalar> Pencil<T> {
    fn new(k: [f64; 3], size: usize, places: &Places, hamiltonian: Vec<T>, overlap: Vec<T>, par: Par) -> Self {
        let norm = |values: &[T]| values.iter().map(|x| x.to_complex().norm_sqr()).sum::<f64>().sqrt();
        let norms = [norm(&hamiltonian), norm(&overlap)];
        Self { k, size, places: places.clone(), hamiltonian, overlap, norms, par }
    }

    /// Elements of H - sigma S.
    pub(super) fn shifted(&self, sigma: f64) -> Vec<T> {
        let sigma = T::from_real(sigma);
        self.hamiltonian.iter().zip(&self.overlap).map(|(h, s)| *h - *s * sigma).collect()
    }

    /// M x, M one of the pencil's matrices or a mixture of them.
    pub(super) fn times(&self, elements: &[T], x: MatRef<'_, T>) -> Mat<T> {
        let mut product = Mat::zeros(self.size, x.ncols());
        let (target, one) = (product.as_mut(), T::from_real(1.0));
        match &self.places {
            Places::Dense => {
                let m = MatRef::from_column_major_slice(elements, self.size, self.size);
                matmul(target, Accum::Replace, m, x, one, self.par);
            }
            Places::Sparse(pattern) => {
                let m = SparseColMatRef::new(pattern.places.as_ref(), elements);
                sparse_dense_matmul(target, Accum::Replace, m, x, one, self.par);
            }
        }
        product
    }

    /// |M x| may reach this much of |x| for M = H - `energy` S.
    pub(super) fn norm(&self, energy: f64) -> f64 {
        self.norms[0] + energy.abs() * self.norms[1]
    }

    /// An error at this k.
    pub(super) fn error(&self, what: String) -> Error {
        Error::Eigenproblem { k: self.k, what }
    }
}
