//! Levels next to an energy by block Lanczos on (H - sigma S)^-1 S.
//!
//! The operator is Hermitian in the inner product of S; its largest eigenvalues theta = 1 / (e - sigma) are the levels
//! nearest to sigma (Ericsson and Ruhe, Math. Comput. 35, 1251 (1980); Grimes, Lewis and Simon, SIAM J. Matrix Anal.
//! Appl. 15, 228 (1994)). Blocks, so that degenerate levels come together; the basis is kept orthogonal in full, so that
//! no level comes twice. Nothing is believed of the iteration: residuals are computed from H and S themselves, and the
//! number of levels found is held against the number that the inertia of H - sigma S counts.

use std::cmp::Ordering;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef};
use rand_distr::{Distribution, StandardNormal};
use tesseral_nn::rng::Streams;

use super::dense::hermitian;
use super::factor::Factor;
use super::pencil::{Pencil, Scalar};
use crate::Result;

/// Vectors added at a time: more than the degeneracy of a level in a crystal without accident.
const BLOCK: usize = 8;

/// |OP x - theta x| / |theta| at which a level counts as converged; levels are then good to its square.
const CONVERGED: f64 = 1e-11;

/// Largest |H c - e S c| / ((|H| + |e| |S|) |c|) of a level that is handed out.
const LARGEST_RESIDUAL: f64 = 1e-8;

/// Levels whose distances from the shift differ by less than this part are not told apart.
const SAME_LEVEL: f64 = 1e-6;

/// Some neighbouring levels.
#[derive(Clone, Debug)]
pub(super) struct Levels<T> {
    /// Ascending, eV.
    pub(super) energies: Vec<f64>,
    /// `[size, levels]` columns c with c^dagger S c = 1.
    pub(super) vectors: Mat<T>,
    /// How many levels of the whole spectrum lie below the first.
    pub(super) first: usize,
    /// Largest |H c - e S c| / ((|H| + |e| |S|) |c|).
    pub(super) residual: f64,
}

/// At least `count` levels nearest to `sigma` (eV): more where the last is degenerate or close to the next.
///
/// # Errors
/// An overlap that is not positive, an iteration that does not converge or misses levels.
pub(super) fn nearest<T: Scalar>(pencil: &Pencil<T>, sigma: f64, count: usize) -> Result<Levels<T>> {
    let mut krylov = Krylov::new(pencil, sigma)?;
    let count = count.clamp(1, pencil.size);
    let mut misses = 0;
    loop {
        let cut = krylov.grow_until(|ritz| {
            // Nearest first; cut where the next level is clearly farther.
            let far = |n: usize| ritz[n].theta.abs().recip();
            let clear = |n: usize| n < ritz.len() && far(n) - far(n - 1) > SAME_LEVEL * (1.0 + far(n));
            let done = ritz.len() == pencil.size;
            (count..=ritz.len()).find(|&n| clear(n)).or(done.then_some(ritz.len()))
        })?;
        let (ritz, radius) = (&krylov.converged[..cut], |n: usize| krylov.converged[n].theta.abs().recip());
        let mut levels = krylov.levels(ritz)?;
        if cut == pencil.size {
            return Ok(levels);
        }
        let radius = (radius(cut - 1) + radius(cut)) / 2.0;
        let (below, within) = {
            let below = Factor::new(pencil, sigma - radius)?.levels_below();
            (below, Factor::new(pencil, sigma + radius)?.levels_below().saturating_sub(below))
        };
        levels.first = below;
        if within == cut {
            return Ok(levels);
        }
        misses += 1;
        if misses > 4 || within < cut {
            let what = format!("levels within {radius} eV of {sigma} eV: expected {within} by inertia, found {cut}");
            return Err(pencil.error(what));
        }
        krylov.start_again();
    }
}

/// All `expected` levels between `low` and `high` (eV), `below` more lying under `low`.
///
/// # Errors
/// As [`nearest`].
pub(super) fn within<T: Scalar>(
    pencil: &Pencil<T>,
    [low, high]: [f64; 2],
    below: usize,
    expected: usize,
) -> Result<Levels<T>> {
    let sigma = (low + high) / 2.0;
    if expected == 0 {
        let (energies, vectors) = (vec![], Mat::zeros(pencil.size, 0));
        return Ok(Levels { energies, vectors, first: below, residual: 0.0 });
    }
    let mut krylov = Krylov::new(pencil, sigma)?;
    let shift = krylov.sigma;
    // A level next to an end is on the side that its Rayleigh quotient says, not its first approximation.
    let margin = SAME_LEVEL * (1.0 + high - low);
    let near = |ritz: &Ritz| {
        let energy = shift + ritz.theta.recip();
        energy > low - margin && energy < high + margin
    };
    let mut wanted = expected;
    loop {
        krylov.grow_until(|ritz| (ritz.iter().filter(|r| near(r)).count() >= wanted).then_some(()))?;
        let candidates: Vec<Ritz> = krylov.converged.iter().filter(|r| near(r)).copied().collect();
        let levels = krylov.levels(&candidates)?;
        let inside: Vec<usize> =
            (0..levels.energies.len()).filter(|&n| (low..high).contains(&levels.energies[n])).collect();
        if inside.len() == expected {
            let vectors = Mat::from_fn(pencil.size, expected, |i, j| levels.vectors[(i, inside[j])]);
            let energies = inside.iter().map(|&n| levels.energies[n]).collect();
            return Ok(Levels { energies, vectors, first: below, residual: levels.residual });
        }
        wanted = candidates.len() + 1;
        if inside.len() > expected || wanted > expected + 4 * BLOCK {
            let found = inside.len();
            let what = format!("levels between {low} and {high} eV: expected {expected} by inertia, found {found}");
            return Err(pencil.error(what));
        }
    }
}

/// An approximate eigenvalue of the shifted inverse.
#[derive(Clone, Copy, Debug)]
struct Ritz {
    theta: f64,
    /// Its column among the eigenvectors of the projected operator.
    column: usize,
}

/// The growing basis.
struct Krylov<'a, T> {
    pencil: &'a Pencil<T>,
    factor: Factor<T>,
    sigma: f64,
    /// V, `[size, n]`, V^dagger S V = 1.
    basis: Mat<T>,
    /// S V.
    images: Mat<T>,
    /// Columns of V whose images under the operator are in `projected`.
    applied: usize,
    /// V^dagger S OP V over the applied columns.
    projected: Mat<T>,
    /// The part of OP V that left the applied columns, in the last block: `[new, last]`.
    coupling: Mat<T>,
    /// Starts so far; numbers the random blocks.
    starts: u64,
    /// Nearest first, up to the first that is not converged.
    converged: Vec<Ritz>,
    eigenvectors: Mat<T>,
}

impl<'a, T: Scalar> Krylov<'a, T> {
    fn new(pencil: &'a Pencil<T>, sigma: f64) -> Result<Self> {
        // A shift on a level makes the matrix singular: move it by little.
        let scale = 1.0 + sigma.abs();
        let mut shift = sigma;
        let mut factor = Factor::new(pencil, shift)?;
        for step in [1e-7, -3e-7, 1e-6] {
            if factor.is_regular(pencil) {
                break;
            }
            shift = sigma + step * scale;
            factor = Factor::new(pencil, shift)?;
        }
        if !factor.is_regular(pencil) {
            return Err(pencil.error(format!("H - {sigma} S: expected a regular matrix, found a singular one")));
        }
        let empty = || Mat::zeros(pencil.size, 0);
        let mut krylov = Self {
            pencil,
            factor,
            sigma: shift,
            basis: empty(),
            images: empty(),
            applied: 0,
            projected: Mat::zeros(0, 0),
            coupling: Mat::zeros(0, 0),
            starts: 0,
            converged: vec![],
            eigenvectors: Mat::zeros(0, 0),
        };
        krylov.start_again();
        krylov.check_overlap()?;
        Ok(krylov)
    }

    fn check_overlap(&self) -> Result<()> {
        if self.basis.ncols() > 0 || self.pencil.size == 0 {
            return Ok(());
        }
        Err(self.pencil.error("overlap: expected positive definite, found a vector without positive norm".into()))
    }

    /// Add a random block, orthogonal to the basis.
    fn start_again(&mut self) {
        let mut random = Streams::new(self.starts).stream("krylov", &[]);
        self.starts += 1;
        let mut draw = || T::from_real(StandardNormal.sample(&mut random));
        let block = Mat::from_fn(self.pencil.size, BLOCK.min(self.pencil.size), |_, _| draw());
        self.append(block);
        // It did not come out of the operator.
        self.coupling = Mat::zeros(0, 0);
    }

    /// Make `block` orthogonal to the basis and to itself and append what is left; the coupling to the basis' end.
    fn append(&mut self, mut block: Mat<T>) {
        let before = self.basis.ncols();
        let mut coupling = Mat::<T>::identity(block.ncols(), block.ncols());
        let mut images = self.pencil.times(&self.pencil.overlap, block.as_ref());
        let mut scale = None;
        // Until the block is orthogonal to rounding; once more than often enough (Kahan; Parlett 1980, section 6.9).
        for _ in 0..4 {
            let overlaps = product(self.images.adjoint().to_owned().as_ref(), block.as_ref());
            let before_projection = diagonal(&product(block.adjoint().to_owned().as_ref(), images.as_ref()));
            let scale = *scale.get_or_insert(before_projection);
            block -= product(self.basis.as_ref(), overlaps.as_ref());
            images = self.pencil.times(&self.pencil.overlap, block.as_ref());
            let gram = product(block.adjoint().to_owned().as_ref(), images.as_ref());
            if gram.ncols() == 0 {
                break;
            }
            let Ok((values, vectors)) = hermitian(&gram, true, self.pencil.k, self.pencil.par) else { return };
            // Ascending; what is left of a column that lay in the basis is rounding.
            let room = self.pencil.size - before;
            let kept: Vec<usize> =
                (values.len().saturating_sub(room)..values.len()).filter(|&n| values[n] > 1e-26 * scale).collect();
            let scaled = |power: f64| {
                Mat::from_fn(values.len(), kept.len(), |i, j| {
                    vectors[(i, kept[j])] * T::from_real(values[kept[j]].powf(power))
                })
            };
            block = product(block.as_ref(), scaled(-0.5).as_ref());
            images = product(images.as_ref(), scaled(-0.5).as_ref());
            coupling = product(scaled(0.5).adjoint().to_owned().as_ref(), coupling.as_ref());
            if kept.len() == values.len() && kept.iter().all(|&n| (values[n] - 1.0).abs() < 1e-3) {
                break;
            }
        }
        let kept = block.ncols();
        images = self.pencil.times(&self.pencil.overlap, block.as_ref());
        let joined = |first: &Mat<T>, second: &Mat<T>| {
            Mat::from_fn(self.pencil.size, before + kept, |i, j| {
                if j < before { first[(i, j)] } else { second[(i, j - before)] }
            })
        };
        self.basis = joined(&self.basis, &block);
        self.images = joined(&self.images, &images);
        self.coupling = coupling;
    }

    /// Apply the operator to the columns that have not seen it and append the block that comes out.
    fn step(&mut self) {
        let (before, after) = (self.applied, self.basis.ncols());
        let mut block = self.images.get(.., before..after).to_owned();
        self.factor.solve(block.as_mut());
        let overlaps = product(self.images.adjoint().to_owned().as_ref(), block.as_ref());
        self.projected = Mat::from_fn(after, after, |i, j| {
            if i < before && j < before {
                self.projected[(i, j)]
            } else if j >= before {
                overlaps[(i, j - before)]
            } else {
                T::from_complex(overlaps[(j, i - before)].to_complex().conj())
            }
        });
        self.applied = after;
        self.append(block);
    }

    /// Grow the basis until `enough` of the converged levels, nearest first, gives a result.
    fn grow_until<R>(&mut self, enough: impl Fn(&[Ritz]) -> Option<R>) -> Result<R> {
        let size = self.pencil.size;
        let mut next_look = 2 * BLOCK;
        loop {
            let last = (self.applied, self.basis.ncols() - self.applied);
            if last.1 == 0 {
                // The space of the start is exhausted.
                if self.basis.ncols() >= size {
                    let what = "levels next to an energy: the iteration ended before they converged".into();
                    return Err(self.pencil.error(what));
                }
                self.start_again();
                if self.basis.ncols() == self.applied {
                    let what = "levels next to an energy: expected an independent vector, found none".into();
                    return Err(self.pencil.error(what));
                }
            }
            self.step();
            let whole = self.applied >= size;
            if self.applied < next_look && !whole {
                continue;
            }
            next_look = self.applied + (self.applied / 6).max(BLOCK);
            let (values, vectors) = hermitian(&self.projected, true, self.pencil.k, self.pencil.par)?;
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&a, &b| values[b].abs().partial_cmp(&values[a].abs()).unwrap_or(Ordering::Equal));
            let tail = self.coupling.ncols().min(vectors.nrows());
            let last_rows = vectors.get(vectors.nrows() - tail.., ..);
            let leaving = if whole { Mat::zeros(0, values.len()) } else { product(self.coupling.as_ref(), last_rows) };
            let error =
                |n: usize| (0..leaving.nrows()).map(|i| leaving[(i, n)].to_complex().norm_sqr()).sum::<f64>().sqrt();
            self.converged = order
                .into_iter()
                .take_while(|&n| values[n] != 0.0 && error(n) < CONVERGED * values[n].abs())
                .map(|n| Ritz { theta: values[n], column: n })
                .collect();
            self.eigenvectors = vectors;
            if let Some(found) = enough(&self.converged) {
                return Ok(found);
            }
        }
    }

    /// Energies, vectors and residuals of these, ascending; `first` is left 0.
    fn levels(&self, ritz: &[Ritz]) -> Result<Levels<T>> {
        let mut sorted = ritz.to_vec();
        sorted.sort_by(|a, b| a.theta.recip().total_cmp(&b.theta.recip()));
        let coefficients =
            Mat::from_fn(self.eigenvectors.nrows(), sorted.len(), |i, j| self.eigenvectors[(i, sorted[j].column)]);
        let vectors = product(self.basis.get(.., ..coefficients.nrows()), coefficients.as_ref());
        let pencil = self.pencil;
        let h = pencil.times(&pencil.hamiltonian, vectors.as_ref());
        let s = pencil.times(&pencil.overlap, vectors.as_ref());
        let mut levels = Levels { energies: vec![], vectors, first: 0, residual: 0.0 };
        for n in 0..sorted.len() {
            // The Rayleigh quotient is better than sigma + 1 / theta far from the shift.
            let dot = |y: &Mat<T>| {
                (0..pencil.size)
                    .map(|i| (levels.vectors[(i, n)].to_complex().conj() * y[(i, n)].to_complex()).re)
                    .sum::<f64>()
            };
            let energy = dot(&h) / dot(&s);
            let difference = |i: usize| (h[(i, n)] - s[(i, n)] * T::from_real(energy)).to_complex().norm_sqr();
            let left = (0..pencil.size).map(difference).sum::<f64>().sqrt();
            let residual = left / (pencil.norm(energy) * levels.vectors.col(n).norm_l2());
            if residual.is_nan() || residual > LARGEST_RESIDUAL {
                let found = format!("found residual {residual:e} at {energy} eV");
                return Err(pencil.error(format!("levels near {} eV: expected converged ones, {found}", self.sigma)));
            }
            levels.energies.push(energy);
            levels.residual = levels.residual.max(residual);
        }
        // Rounding may exchange degenerate ones.
        let mut order: Vec<usize> = (0..sorted.len()).collect();
        order.sort_by(|&a, &b| levels.energies[a].total_cmp(&levels.energies[b]));
        levels.vectors = Mat::from_fn(pencil.size, order.len(), |i, j| levels.vectors[(i, order[j])]);
        levels.energies = order.iter().map(|&n| levels.energies[n]).collect();
        Ok(levels)
    }
}

/// The largest diagonal element.
fn diagonal<T: Scalar>(matrix: &Mat<T>) -> f64 {
    (0..matrix.ncols()).map(|n| matrix[(n, n)].to_complex().re).fold(0.0, f64::max)
}

fn product<T: Scalar>(a: MatRef<'_, T>, b: MatRef<'_, T>) -> Mat<T> {
    let mut result = Mat::zeros(a.nrows(), b.ncols());
    matmul(result.as_mut(), Accum::Replace, a, b, T::from_real(1.0), faer::Par::Seq);
    result
}
