//! Some levels next to an energy at each k, from sparse matrices: for cells too large to be solved in full.
//!
//! Shift-invert block Lanczos from sparse factors; every level is checked by its residual and their number by inertia, so
//! none is missed in silence.

use std::sync::Arc;

use faer::Mat;
use num_complex::Complex64;

use super::factor::Factor;
use super::krylov::{Levels, nearest};
use super::pencil::{AnyPencil, Pattern, Pencil, Places, Scalar};
use super::{Bloch, dense};
use crate::{Error, Result};

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Levels nearest to this energy, eV.
    pub around_ev: f64,
    /// At least so many at each k (all, where the cell has fewer); some more where the last is degenerate.
    pub count: usize,
    /// Eigenvectors too.
    pub vectors: bool,
    /// The number of points of the whole job, where this call does a shard of it: threads are shared out as there, so
    /// that the figures are the same to the bit. None: all points are given.
    pub points_in_all: Option<usize>,
}

/// Levels at one k.
#[derive(Clone, Debug)]
pub struct Window {
    /// Ascending, eV.
    pub values: Vec<f64>,
    /// How many levels of the whole spectrum lie below the first: `values[0]` is band `first` (counted from 0).
    pub first: usize,
    /// `[size, values]` columns c with c^dagger S c = 1, if asked for.
    pub vectors: Option<Mat<Complex64>>,
    /// Largest |H c - e S c| / ((|H| + |e| |S|) |c|), in Frobenius norms.
    pub residual: f64,
}

/// Levels nearest to an energy at all `points` (fractional).
///
/// # Errors
/// Operators of different sizes, no level asked for, an energy that is not finite, an overlap that is not positive
/// definite, an iteration that does not converge or misses levels. The k point is named.
pub fn solve(hamiltonian: &Bloch, overlap: &Bloch, points: &[[f64; 3]], options: Options) -> Result<Vec<Window>> {
    let places = Places::Sparse(Arc::new(pattern(hamiltonian, overlap)?));
    if !options.around_ev.is_finite() || options.count == 0 {
        return Err(Error::Mismatch {
            what: "levels next to an energy".into(),
            expected: "a finite energy and at least one level".into(),
            found: format!("{} levels around {} eV", options.count, options.around_ev),
        });
    }
    dense::over(points, options.points_in_all, |&k, par| match AnyPencil::new(hamiltonian, overlap, &places, k, par) {
        AnyPencil::Real(pencil) => window(&pencil, options),
        AnyPencil::Complex(pencil) => window(&pencil, options),
    })
}

/// The part of H and S, over all R together, that is filled: how sparse H(k) is.
///
/// # Errors
/// Operators of different sizes.
pub fn filling(hamiltonian: &Bloch, overlap: &Bloch) -> Result<f64> {
    let places = pattern(hamiltonian, overlap)?.places;
    Ok(places.row_idx().len() as f64 / (hamiltonian.size() as f64).powi(2))
}

pub(super) fn pattern(hamiltonian: &Bloch, overlap: &Bloch) -> Result<Pattern> {
    if hamiltonian.size() == overlap.size() {
        return Pattern::new(hamiltonian, overlap);
    }
    Err(Error::Mismatch {
        what: "size of the Hamiltonian".into(),
        expected: format!("{} orbitals as in the overlap", overlap.size()),
        found: hamiltonian.size().to_string(),
    })
}

fn window<T: Scalar>(pencil: &Pencil<T>, options: Options) -> Result<Window> {
    Factor::check_overlap(pencil)?;
    let Levels { energies, vectors, first, residual } = nearest(pencil, options.around_ev, options.count)?;
    let complex = || Mat::from_fn(vectors.nrows(), vectors.ncols(), |i, j| vectors[(i, j)].to_complex());
    Ok(Window { values: energies, first, vectors: options.vectors.then(complex), residual })
}
