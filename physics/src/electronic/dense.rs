//! The generalised Hermitian problem H c = e S c at one or many k, dense, in f64.
//!
//! S = L L^dagger, then the ordinary problem of L^-1 H L^-dagger (Golub and Van Loan, section 8.7); where S is nearly
//! singular, canonical orthogonalisation instead: the eigenvectors of S below a threshold are left out and counted.
//! faer does the factorisations. Many k points run in parallel, each serial; a single one uses all threads itself.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::traits::ComplexField;
use faer::traits::math_utils::{from_f64, real, zero};
use faer::{Accum, Mat, Par};
use num_complex::Complex64;
use rayon::prelude::*;

use super::Bloch;
use crate::{Error, Result};

/// What to do about an overlap that is nearly or not at all positive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Conditioning {
    /// Cholesky; an overlap that is not positive definite is an error.
    #[default]
    Strict,
    /// Where the smallest eigenvalue of S(k) is below `threshold`, leave out the eigenvectors below it.
    Project {
        /// Smallest eigenvalue of S that is kept; positive.
        threshold: f64,
    },
}

/// What to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Eigenvectors too.
    pub vectors: bool,
    /// The smallest eigenvalue of S(k) even where nothing else needs it; about a third more time.
    pub overlap_spectrum: bool,
    /// Nearly singular overlaps.
    pub conditioning: Conditioning,
    /// How many points there are in all, where the call has some of them; the last bits of an eigenvalue depend on how
    /// threads share the work, so parts of a list are solved as the whole list would be.
    pub points_in_all: Option<usize>,
}

/// The spectrum at one k.
#[derive(Clone, Debug)]
pub struct Solution {
    /// Ascending eigenvalues, eV; `size - dropped` of them.
    pub values: Vec<f64>,
    /// `[size, values]` columns c with c^dagger S c = 1, if asked for.
    pub vectors: Option<Mat<Complex64>>,
    /// How many eigenvectors of S were left out.
    pub dropped: usize,
    /// Smallest eigenvalue of S(k), where it was computed.
    pub smallest_overlap: Option<f64>,
}

/// Solve one or several Hamiltonians with the same overlap at all `points` (fractional): `[hamiltonian][k]`.
///
/// # Errors
/// Operators of different sizes; an overlap that is not positive definite under [`Conditioning::Strict`], or of which
/// nothing is left; an eigensolver that does not converge. The k point is named.
pub fn solve(
    hamiltonians: &[&Bloch],
    overlap: &Bloch,
    points: &[[f64; 3]],
    options: Options,
) -> Result<Vec<Vec<Solution>>> {
    if let Some(other) = hamiltonians.iter().find(|h| h.size() != overlap.size()) {
        return Err(Error::Mismatch {
            what: "size of the Hamiltonian".into(),
            expected: format!("{} orbitals as in the overlap", overlap.size()),
            found: other.size().to_string(),
        });
    }
    let at = |k: &[f64; 3], par| {
        let dense = hamiltonians.iter().map(|h| h.at(*k)).collect();
        solve_dense(dense, overlap.at(*k), *k, options, par)
    };
    let by_point: Vec<Vec<Solution>> = over(points, options.points_in_all, at)?;
    let mut by_hamiltonian = vec![Vec::with_capacity(points.len()); hamiltonians.len()];
    for solutions in by_point {
        solutions.into_iter().zip(&mut by_hamiltonian).for_each(|(solution, list)| list.push(solution));
    }
    Ok(by_hamiltonian)
}

/// `at` of each of `items` (k points): in parallel, each serial; or, where they are few (they, or the `in_all` of which
/// they are a shard), one by one with all threads.
pub(super) fn over<I: Sync, R: Send>(
    items: &[I],
    in_all: Option<usize>,
    at: impl Fn(&I, Par) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if in_all.unwrap_or(items.len()) < rayon::current_num_threads() {
        items.iter().map(|item| at(item, Par::rayon(0))).collect()
    } else {
        items.par_iter().map(|item| at(item, Par::Seq)).collect()
    }
}

/// Eigenvalues alone of one Hamiltonian, `[k][band]`; errors as [`solve`].
pub fn eigenvalues(hamiltonian: &Bloch, overlap: &Bloch, points: &[[f64; 3]]) -> Result<Vec<Vec<f64>>> {
    let solutions = solve(&[hamiltonian], overlap, points, Options::default())?;
    Ok(solutions.into_iter().flatten().map(|solution| solution.values).collect())
}

/// Solve dense Hermitian `hamiltonians` with one `overlap`, all `[n, n]`; `k` names the point in errors. Where
/// everything is exactly real (k = 0 without spin-orbit coupling) the real solver does it in a quarter of the time.
///
/// # Errors
/// As [`solve`].
pub fn solve_dense(
    hamiltonians: Vec<Mat<Complex64>>,
    overlap: Mat<Complex64>,
    k: [f64; 3],
    options: Options,
    par: Par,
) -> Result<Vec<Solution>> {
    if is_real(&overlap) && hamiltonians.iter().all(is_real) {
        let metric = Metric::new(real_part(&overlap), k, options, par)?;
        hamiltonians.iter().map(|h| metric.solve(real_part(h), |x| Complex64::new(*x, 0.0), k, options, par)).collect()
    } else {
        let metric = Metric::new(overlap, k, options, par)?;
        hamiltonians.into_iter().map(|h| metric.solve(h, |x| *x, k, options, par)).collect()
    }
}

/// Ascending eigenvalues of M(k) itself at all `points` (fractional), `[k][size]`: of an overlap, how near it is to
/// being singular.
///
/// # Errors
/// An eigensolver that does not converge; the k point is named.
pub fn spectrum(matrix: &Bloch, points: &[[f64; 3]]) -> Result<Vec<Vec<f64>>> {
    let at = |k: &[f64; 3], par| {
        let dense = matrix.at(*k);
        match is_real(&dense) {
            true => hermitian(&real_part(&dense), false, *k, par).map(|found| found.0),
            false => hermitian(&dense, false, *k, par).map(|found| found.0),
        }
    };
    if points.len() < rayon::current_num_threads() {
        points.iter().map(|k| at(k, Par::rayon(0))).collect()
    } else {
        points.par_iter().map(|k| at(k, Par::Seq)).collect()
    }
}

/// Whether every imaginary part is exactly zero.
fn is_real(matrix: &Mat<Complex64>) -> bool {
    matrix.col_iter().all(|column| column.iter().all(|x| x.im == 0.0))
}

fn real_part(matrix: &Mat<Complex64>) -> Mat<f64> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)].re)
}

/// An overlap ready to turn the generalised problem into an ordinary one.
struct Metric<T> {
    form: Form<T>,
    dropped: usize,
    smallest: Option<f64>,
}

enum Form<T> {
    /// L of S = L L^dagger, in the lower triangle.
    Cholesky(Mat<T>),
    /// X with X^dagger S X = 1, `[n, kept]`.
    Canonical(Mat<T>),
}

impl<T: ComplexField<Real = f64>> Metric<T> {
    fn new(overlap: Mat<T>, k: [f64; 3], options: Options, par: Par) -> Result<Self> {
        let threshold = match options.conditioning {
            Conditioning::Strict => None,
            Conditioning::Project { threshold } => Some(threshold.max(f64::MIN_POSITIVE)),
        };
        let mut smallest = None;
        if options.overlap_spectrum || threshold.is_some() {
            smallest = hermitian(&overlap, false, k, par)?.0.first().copied();
        }
        if let (Some(threshold), Some(value)) = (threshold, smallest)
            && value < threshold
        {
            return Self::canonical(&overlap, threshold, k, par);
        }
        let mut factor = overlap.clone();
        let size = factor.nrows();
        let mut memory = MemBuffer::new(cholesky_in_place_scratch::<T>(size, par, Default::default()));
        let stack = MemStack::new(&mut memory);
        match cholesky_in_place(factor.as_mut(), Default::default(), par, stack, Default::default()) {
            Ok(_) => Ok(Self { form: Form::Cholesky(factor), dropped: 0, smallest }),
            Err(_) => {
                let value = hermitian(&overlap, false, k, par)?.0.first().copied().unwrap_or(f64::NAN);
                let what = format!("overlap: expected positive definite, found smallest eigenvalue {value:e}");
                Err(Error::Eigenproblem { k, what })
            }
        }
    }

    fn canonical(overlap: &Mat<T>, threshold: f64, k: [f64; 3], par: Par) -> Result<Self> {
        let (values, vectors) = hermitian(overlap, true, k, par)?;
        let size = values.len();
        let dropped = values.iter().take_while(|&&value| value < threshold).count();
        if dropped == size {
            let what = format!(
                "overlap: expected an eigenvalue of at least {threshold:e}, found {:e} at most",
                values[size - 1]
            );
            return Err(Error::Eigenproblem { k, what });
        }
        let scale = |i, j: usize| vectors[(i, j + dropped)].clone() * from_f64::<T>(values[j + dropped].sqrt().recip());
        let form = Form::Canonical(Mat::from_fn(size, size - dropped, scale));
        Ok(Self { form, dropped, smallest: values.first().copied() })
    }

    fn solve(
        &self,
        mut hamiltonian: Mat<T>,
        to_complex: impl Fn(&T) -> Complex64,
        k: [f64; 3],
        options: Options,
        par: Par,
    ) -> Result<Solution> {
        let ordinary = match &self.form {
            Form::Cholesky(factor) => {
                solve_lower_triangular_in_place(factor.as_ref(), hamiltonian.as_mut(), par);
                let mut ordinary = hamiltonian.adjoint().to_owned();
                solve_lower_triangular_in_place(factor.as_ref(), ordinary.as_mut(), par);
                ordinary
            }
            Form::Canonical(x) => {
                product(x.adjoint().to_owned().as_ref(), product(hamiltonian.as_ref(), x.as_ref(), par).as_ref(), par)
            }
        };
        let (values, mut vectors) = hermitian(&ordinary, options.vectors, k, par)?;
        let vectors = options.vectors.then(|| {
            match &self.form {
                Form::Cholesky(factor) => solve_upper_triangular_in_place(factor.adjoint(), vectors.as_mut(), par),
                Form::Canonical(x) => vectors = product(x.as_ref(), vectors.as_ref(), par),
            }
            Mat::from_fn(vectors.nrows(), vectors.ncols(), |i, j| to_complex(&vectors[(i, j)]))
        });
        Ok(Solution { values, vectors, dropped: self.dropped, smallest_overlap: self.smallest })
    }
}

/// Ascending eigenvalues of a Hermitian matrix (its lower triangle is read) and, if asked for, its eigenvectors.
pub(super) fn hermitian<T: ComplexField<Real = f64>>(
    matrix: &Mat<T>,
    vectors: bool,
    k: [f64; 3],
    par: Par,
) -> Result<(Vec<f64>, Mat<T>)> {
    let size = matrix.nrows();
    if size == 0 {
        return Err(Error::Eigenproblem { k, what: "expected at least one orbital, found none".into() });
    }
    let (compute, columns) = if vectors { (ComputeEigenvectors::Yes, size) } else { (ComputeEigenvectors::No, 0) };
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<T>(size, compute, par, Default::default()));
    let mut values = Diag::<T>::zeros(size);
    let mut basis = Mat::<T>::zeros(size, columns);
    let target = vectors.then(|| basis.as_mut());
    self_adjoint_evd(matrix.as_ref(), values.as_mut(), target, par, MemStack::new(&mut memory), Default::default())
        .map_err(|_| Error::Eigenproblem { k, what: "the eigensolver did not converge".into() })?;
    Ok((values.column_vector().iter().map(|value| real(value)).collect(), basis))
}

fn product<T: ComplexField>(a: faer::MatRef<'_, T>, b: faer::MatRef<'_, T>, par: Par) -> Mat<T> {
    let mut result = Mat::from_fn(a.nrows(), b.ncols(), |_, _| zero::<T>());
    matmul(result.as_mut(), Accum::Replace, a, b, from_f64::<T>(1.0), par);
    result
}
