//! H - sigma S = L B L^dagger: how many levels lie below sigma, and solutions with H - sigma S.
//!
//! By Sylvester's law of inertia H - sigma S has as many negative eigenvalues as B, and for positive definite S that is
//! the number of levels below sigma; no eigenvalue is ever computed.
//!
//! Dense matrices are factored without pivoting, B diagonal, which runs at the speed of a matrix product; sparse ones are
//! pivoted only inside the supernodes. Neither is a guarantee, so every such factor is tried on a right-hand side, and
//! where the backward error is large the matrix is factored dense and pivoted after Bunch and Kaufman (Math. Comput. 31,
//! 163 (1977)), B having 1 x 1 and 2 x 2 blocks.

use std::sync::Arc;

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::lblt::{factor as dense_factor, solve as dense_solve};
use faer::linalg::cholesky::ldlt::{factor as plain_factor, solve as plain_solve};
use faer::linalg::cholesky::llt::factor as llt;
use faer::perm::PermRef;
use faer::sparse::SparseColMatRef;
use faer::sparse::linalg::cholesky::{IntranodeLbltRef, SymbolicCholeskyRaw, supernodal::SupernodalIntranodeLbltRef};
use faer::{Conj, Mat, MatMut, MatRef, Par, Side};

use super::pencil::{Pattern, Pencil, Places, Scalar};
use crate::Result;

/// Backward error, relative to |H| + |sigma| |S|, above which a factor without full pivoting is not trusted: some 1e-10 eV.
const LARGEST_BACKWARD_ERROR: f64 = 3e-13;

/// Orbitals above which a sparse matrix is not factored dense (8 GB).
const MOST_DENSE: usize = 20_000;

/// The factors of H - sigma S.
pub(super) struct Factor<T> {
    lower: Lower<T>,
    forward: Vec<usize>,
    inverse: Vec<usize>,
    par: Par,
}

enum Lower<T> {
    /// L below the diagonal, B on it.
    Plain(Mat<T>),
    /// L below the diagonal, the diagonal of B on it, and B below its diagonal.
    Pivoted {
        lower: Mat<T>,
        below: Diag<T>,
    },
    Sparse {
        pattern: Arc<Pattern>,
        values: Vec<T>,
        below: Vec<T>,
    },
}

impl<T: Scalar> Factor<T> {
    /// Factor H - `sigma` S.
    ///
    /// # Errors
    /// A sparse matrix that pivots inside the supernodes cannot factor and that is too large to be factored dense.
    pub(super) fn new(pencil: &Pencil<T>, sigma: f64) -> Result<Self> {
        Self::of(pencil, &pencil.shifted(sigma), pencil.norm(sigma), &format!("H - {sigma} S"))
    }

    /// An error unless S is positive definite.
    ///
    /// # Errors
    /// It is not; or as [`Self::new`].
    pub(super) fn check_overlap(pencil: &Pencil<T>) -> Result<()> {
        if let Places::Dense = &pencil.places {
            let mut lower = MatRef::from_column_major_slice(&pencil.overlap, pencil.size, pencil.size).to_owned();
            let scratch = llt::cholesky_in_place_scratch::<T>(pencil.size, pencil.par, Default::default());
            let mut memory = MemBuffer::new(scratch);
            let stack = MemStack::new(&mut memory);
            let options = (Default::default(), Default::default());
            if llt::cholesky_in_place(lower.as_mut(), options.0, pencil.par, stack, options.1).is_ok() {
                return Ok(());
            }
        }
        match Self::of(pencil, &pencil.overlap, pencil.norms[1], "S")?.levels_below() {
            0 => Ok(()),
            count => {
                let found = format!("found {count} negative eigenvalues");
                Err(pencil.error(format!("overlap: expected positive definite, {found}")))
            }
        }
    }

    /// Factor `matrix`, of a norm of about `norm`, called `name` in errors.
    fn of(pencil: &Pencil<T>, matrix: &[T], norm: f64, name: &str) -> Result<Self> {
        let size = pencil.size;
        let Places::Sparse(pattern) = &pencil.places else {
            let dense = || MatRef::from_column_major_slice(matrix, size, size).to_owned();
            let plain = Self::plain(dense(), pencil.par);
            let plain = plain.filter(|factor| factor.backward_error(pencil, matrix) < norm * LARGEST_BACKWARD_ERROR);
            return Ok(plain.unwrap_or_else(|| Self::pivoted(dense(), pencil.par)));
        };
        let factor = Self::sparse(pattern, matrix, pencil.par);
        if factor.backward_error(pencil, matrix) < norm * LARGEST_BACKWARD_ERROR {
            return Ok(factor);
        }
        if size > MOST_DENSE {
            let found = "found one with large growth; move the energy a little";
            return Err(pencil.error(format!("{name}: expected a stable sparse factorisation, {found}")));
        }
        let mut dense = Mat::zeros(size, size);
        for (column, ends) in pattern.places.col_ptr().windows(2).enumerate() {
            for place in ends[0]..ends[1] {
                dense[(pattern.places.row_idx()[place], column)] = matrix[place];
            }
        }
        Ok(Self::pivoted(dense, pencil.par))
    }

    /// Without pivoting; nothing where a pivot vanishes.
    fn plain(mut lower: Mat<T>, par: Par) -> Option<Self> {
        let scratch = plain_factor::cholesky_in_place_scratch::<T>(lower.nrows(), par, Default::default());
        let mut memory = MemBuffer::new(scratch);
        let stack = MemStack::new(&mut memory);
        let info = plain_factor::cholesky_in_place(lower.as_mut(), Default::default(), par, stack, Default::default());
        info.ok().map(|_| Self { lower: Lower::Plain(lower), forward: vec![], inverse: vec![], par })
    }

    fn pivoted(mut lower: Mat<T>, par: Par) -> Self {
        let size = lower.nrows();
        let (mut forward, mut inverse) = (vec![0_usize; size], vec![0_usize; size]);
        let mut below = Diag::zeros(size);
        let scratch = dense_factor::cholesky_in_place_scratch::<usize, T>(size, par, Default::default());
        dense_factor::cholesky_in_place(
            lower.as_mut(),
            below.as_mut(),
            &mut forward,
            &mut inverse,
            par,
            MemStack::new(&mut MemBuffer::new(scratch)),
            Default::default(),
        );
        Self { lower: Lower::Pivoted { lower, below }, forward, inverse, par }
    }

    fn sparse(pattern: &Arc<Pattern>, matrix: &[T], par: Par) -> Self {
        let size = pattern.places.nrows();
        let (mut forward, mut inverse) = (vec![0_usize; size], vec![0_usize; size]);
        let mut values = vec![T::from_real(0.0); pattern.symbolic.len_val()];
        let mut below = vec![T::from_real(0.0); size];
        let scratch = pattern.symbolic.factorize_numeric_intranode_lblt_scratch::<T>(par, Default::default());
        pattern.symbolic.factorize_numeric_intranode_lblt(
            &mut values,
            &mut below,
            &mut forward,
            &mut inverse,
            SparseColMatRef::new(pattern.places.as_ref(), matrix),
            Side::Lower,
            par,
            MemStack::new(&mut MemBuffer::new(scratch)),
            Default::default(),
        );
        Self { lower: Lower::Sparse { pattern: pattern.clone(), values, below }, forward, inverse, par }
    }

    /// |A x - b| / |x| for some b.
    fn backward_error(&self, pencil: &Pencil<T>, matrix: &[T]) -> f64 {
        // Any vector without a pattern: the fractional parts of the multiples of the golden ratio.
        let b = Mat::from_fn(pencil.size, 1, |i, _| T::from_real((i as f64 * 0.618_033_988_749_895).fract() - 0.5));
        let mut x = b.clone();
        self.solve(x.as_mut());
        let difference = pencil.times(matrix, x.as_ref()) - &b;
        let error = difference.norm_l2() / x.norm_l2();
        if error.is_finite() { error } else { f64::INFINITY }
    }

    /// Whether solutions are finite and not so large that nothing but rounding is in them.
    pub(super) fn is_regular(&self, pencil: &Pencil<T>) -> bool {
        let mut x = Mat::from_fn(pencil.size, 1, |_, _| T::from_real(1.0));
        self.solve(x.as_mut());
        let norm = x.norm_l2();
        norm.is_finite() && norm * pencil.norms[0] < 1e10 * (pencil.size as f64).sqrt()
    }

    /// The number of levels below sigma.
    pub(super) fn levels_below(&self) -> usize {
        match &self.lower {
            Lower::Plain(lower) => (0..lower.nrows()).filter(|&n| lower[(n, n)].to_complex().re < 0.0).count(),
            Lower::Pivoted { lower, below } => {
                let below = below.column_vector();
                negative(self.forward.len(), |n| lower[(n, n)], |n| below[n])
            }
            Lower::Sparse { pattern, values, below } => {
                let permutation = PermRef::new_checked(&self.forward, &self.inverse, self.forward.len());
                match pattern.symbolic.raw() {
                    SymbolicCholeskyRaw::Supernodal(symbolic) => {
                        let factor = SupernodalIntranodeLbltRef::new(symbolic, values, below, permutation);
                        let of = |node: usize| {
                            let node = factor.supernode(node);
                            negative(node.val().ncols(), |n| node.val()[(n, n)], |n| below[node.start() + n])
                        };
                        (0..symbolic.n_supernodes()).map(of).sum()
                    }
                    // A diagonal matrix: each column begins with its element of B.
                    SymbolicCholeskyRaw::Simplicial(symbolic) => {
                        let starts = &symbolic.col_ptr()[..symbolic.ncols()];
                        starts.iter().filter(|&&start| values[start].to_complex().re < 0.0).count()
                    }
                }
            }
        }
    }

    /// x = (H - sigma S)^-1 x.
    pub(super) fn solve(&self, x: MatMut<'_, T>) {
        let columns = x.ncols();
        let permutation = || PermRef::new_checked(&self.forward, &self.inverse, self.forward.len());
        match &self.lower {
            Lower::Plain(lower) => {
                let scratch = plain_solve::solve_in_place_scratch::<T>(lower.nrows(), columns, self.par);
                let mut memory = MemBuffer::new(scratch);
                plain_solve::solve_in_place(lower.as_ref(), lower.diagonal(), x, self.par, MemStack::new(&mut memory));
            }
            Lower::Pivoted { lower, below } => {
                let scratch = dense_solve::solve_in_place_scratch::<usize, T>(lower.nrows(), columns, self.par);
                dense_solve::solve_in_place(
                    lower.as_ref(),
                    lower.diagonal(),
                    below.as_ref(),
                    permutation(),
                    x,
                    self.par,
                    MemStack::new(&mut MemBuffer::new(scratch)),
                );
            }
            Lower::Sparse { pattern, values, below } => {
                let scratch = pattern.symbolic.solve_in_place_scratch::<T>(columns, self.par);
                let factor = IntranodeLbltRef::new(&pattern.symbolic, values, below, permutation());
                factor.solve_in_place_with_conj(Conj::No, x, self.par, MemStack::new(&mut MemBuffer::new(scratch)));
            }
        }
    }
}

/// Negative eigenvalues of a Hermitian block diagonal matrix: its diagonal, and below it, where a 2 x 2 block starts,
/// the element that couples it to the next.
fn negative<T: Scalar>(size: usize, diagonal: impl Fn(usize) -> T, below: impl Fn(usize) -> T) -> usize {
    let (mut n, mut count) = (0, 0);
    while n < size {
        let (first, coupling) = (diagonal(n).to_complex().re, below(n).to_complex().norm_sqr());
        if coupling == 0.0 || n + 1 == size {
            count += usize::from(first < 0.0);
            n += 1;
        } else {
            let second = diagonal(n + 1).to_complex().re;
            // A negative determinant is one negative eigenvalue, else both have the sign of the trace.
            let determinant = first * second - coupling;
            count += if determinant < 0.0 {
                1
            } else if first + second < 0.0 {
                2
            } else {
                0
            };
            n += 2;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_complex::Complex64;

    fn random<T: Scalar>(size: usize, seed: u64) -> Pencil<T> {
        use rand_distr::{Distribution, StandardNormal};
        let mut random = tesseral_nn::rng::Streams::new(seed).stream("factor", &[]);
        let mut draw = || Complex64::new(StandardNormal.sample(&mut random), StandardNormal.sample(&mut random));
        let a = Mat::from_fn(size, size, |_, _| T::from_complex(draw()));
        let h = &a + a.adjoint();
        let flat = |m: &Mat<T>| (0..size).flat_map(|n| m.col_as_slice(n).to_vec()).collect();
        let s = Mat::<T>::identity(size, size);
        let (hamiltonian, overlap) = (flat(&h), flat(&s));
        Pencil { k: [0.0; 3], size, places: Places::Dense, hamiltonian, overlap, norms: [1.0; 2], par: Par::Seq }
    }

    fn inertia_is_that_of_the_eigenvalues<T: Scalar>() {
        for size in [1, 2, 3, 4, 5, 9, 40, 70, 130] {
            for seed in 0..if size < 10 { 200 } else { 3 } {
                let pencil = random::<T>(size, seed);
                let h = MatRef::from_column_major_slice(&pencil.hamiltonian, size, size).to_owned();
                let (values, _) = crate::electronic::dense::hermitian(&h, false, [0.0; 3], Par::Seq).unwrap();
                for sigma in [-7.0, -1.0, -0.1, 0.0, 0.3, 2.5, 11.0] {
                    let expected = values.iter().filter(|&&e| e < sigma).count();
                    let factor = Factor::new(&pencil, sigma).unwrap();
                    assert_eq!(factor.levels_below(), expected, "size {size}, seed {seed}, sigma {sigma}");
                    assert!(factor.backward_error(&pencil, &pencil.shifted(sigma)) < 1e-10);
                }
            }
        }
    }

    #[test]
    fn inertia_is_that_of_real_eigenvalues() {
        inertia_is_that_of_the_eigenvalues::<f64>();
    }

    #[test]
    fn inertia_is_that_of_complex_eigenvalues() {
        inertia_is_that_of_the_eigenvalues::<Complex64>();
    }
}
