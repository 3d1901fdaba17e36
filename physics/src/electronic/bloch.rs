//! Bloch sums: M(k) = sum_R e^(2 pi i k.R) M(R), dense, from an operator given block by block.
//!
//! The phase belongs to the cell, not to the atom (docs/conventions.md), so M(k) is periodic in k. Orbitals are laid
//! out atom by atom, in a spinful basis all spin up first, then all spin down.

use std::collections::{BTreeMap, HashMap};
use std::f64::consts::TAU;
use std::ops::{AddAssign, Sub};

use faer::Mat;
use ndarray::ArrayView2;
use num_complex::Complex64;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};

use crate::hamiltonian::basis::{Basis, SpinForm};
use crate::{Error, Result};

/// Largest |M_ij(R) - M_ji(-R)*| of a matrix that is hermitian to the rounding of its file: eV for H (as `data check`).
const HERMITIAN: f64 = 1e-5;

/// An operator made ready for Bloch sums at many k.
#[derive(Clone, Debug)]
pub struct Bloch {
    size: usize,
    /// The distinct R.
    cells: Vec<[i64; 3]>,
    tiles: Vec<Tile>,
    /// Elements of the tiles, each column by column, as the dense matrices store them.
    elements: Entries,
}

/// A rectangle of elements and its place in the dense matrix.
#[derive(Clone, Debug)]
struct Tile {
    cell: usize,
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
    start: usize,
}

impl Bloch {
    /// Prepare `matrix` of the atoms `species`. In a spinful basis a spinless operator (an overlap) is put on both
    /// diagonal spin blocks.
    ///
    /// # Errors
    /// Blocks that do not fit basis and atoms, elements that are not finite.
    pub fn new(matrix: &BlockMatrix, basis: &Basis, species: &[u32]) -> Result<Self> {
        let form = basis.spin_form(matrix, species)?;
        let offsets = basis.offsets(species)?;
        let orbitals = offsets[species.len()];
        let mut numbers = BTreeMap::new();
        for pair in &matrix.pairs {
            let next = numbers.len();
            numbers.entry([pair[0], pair[1], pair[2]]).or_insert(next);
        }
        let mut cells = vec![[0; 3]; numbers.len()];
        numbers.iter().for_each(|(cell, &number)| cells[number] = *cell);

        let mut tiles = Vec::new();
        let mut start = 0;
        for pair in &matrix.pairs {
            let (first, second) = (pair[3] as usize, pair[4] as usize);
            let cell = numbers[&[pair[0], pair[1], pair[2]]];
            let (rows, columns) = (offsets[first + 1] - offsets[first], offsets[second + 1] - offsets[second]);
            let mut place = |up_down: [usize; 2], start: usize| {
                let (row, column) = (offsets[first] + up_down[0] * orbitals, offsets[second] + up_down[1] * orbitals);
                tiles.push(Tile { cell, row, column, rows, columns, start });
            };
            match form {
                SpinForm::Spinless => {
                    (0..basis.spins()).for_each(|spin| place([spin, spin], start));
                    start += rows * columns;
                }
                SpinForm::Spinful => {
                    for spins in [[0, 0], [0, 1], [1, 0], [1, 1]] {
                        place(spins, start);
                        start += rows * columns;
                    }
                }
            }
        }
        let elements = match matrix.entries {
            Entries::Real(_) => Entries::Real(column_major(matrix, form, BlockMatrix::real_block)),
            Entries::Complex(_) => Entries::Complex(column_major(matrix, form, BlockMatrix::complex_block)),
        };
        let finite = match &elements {
            Entries::Real(v) => v.iter().all(|x| x.is_finite()),
            Entries::Complex(v) => v.iter().all(|x| x.is_finite()),
        };
        if !finite {
            let what = "operator".into();
            return Err(Error::Mismatch { what, expected: "finite elements".into(), found: "NaN or infinity".into() });
        }
        let mut bloch = Self { size: basis.spins() * orbitals, cells, tiles, elements };
        bloch.take_lower_triangle();
        Ok(bloch)
    }

    /// Where M is hermitian to rounding, its elements below the diagonal stand for those above: this is what LAPACK reads,
    /// and so what other programs' eigenvalues come from. With a nearly singular overlap the mean of both triangles, 1e-8
    /// from either, moves levels by 1e-4 eV. A matrix farther from hermitian (a prediction) keeps both; [`Self::at`] takes
    /// their mean.
    fn take_lower_triangle(&mut self) {
        let place = |tile: &Tile, cell: [i64; 3]| (cell, tile.row, tile.column);
        let places: HashMap<_, usize> =
            self.tiles.iter().enumerate().map(|(n, tile)| (place(tile, self.cells[tile.cell]), n)).collect();
        let partner = |tile: &Tile| {
            let place = (self.cells[tile.cell].map(|r| -r), tile.column, tile.row);
            places.get(&place).map(|&n| self.tiles[n].start)
        };
        let Some(partners) = self.tiles.iter().map(partner).collect::<Option<Vec<usize>>>() else { return };
        match &mut self.elements {
            Entries::Real(v) => lower_for_upper(&self.tiles, &partners, v, |x| x, f64::abs),
            Entries::Complex(v) => lower_for_upper(&self.tiles, &partners, v, |x| x.conj(), |x| x.norm()),
        }
    }

    /// Rows of the dense matrices.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether M(R) is real, so that M(-k) = M(k)* and their eigenvalues are equal.
    pub fn is_real(&self) -> bool {
        matches!(self.elements, Entries::Real(_))
    }

    /// Along which lattice vectors M reaches another cell: M(k) does not depend on the other components of k.
    pub fn dispersive(&self) -> [bool; 3] {
        std::array::from_fn(|axis| self.cells.iter().any(|cell| cell[axis] != 0))
    }

    /// Row, column, rows and columns of every rectangle that is filled for some R; the same place may come again.
    pub(super) fn tiles(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> + '_ {
        self.tiles.iter().map(|tile| (tile.row, tile.column, tile.rows, tile.columns))
    }

    /// Call `visit` with row, column, rows, columns and the elements (i, j) of every rectangle of every M(R), its phase
    /// at `k` included.
    pub(super) fn for_each_tile(
        &self,
        k: [f64; 3],
        mut visit: impl FnMut(usize, usize, usize, usize, &dyn Fn(usize, usize) -> Complex64),
    ) {
        let phases: Vec<Complex64> = self.cells.iter().map(|cell| phase(k, *cell)).collect();
        for tile in &self.tiles {
            let (start, rows, phase) = (tile.start, tile.rows, phases[tile.cell]);
            let element: &dyn Fn(usize, usize) -> Complex64 = match &self.elements {
                Entries::Real(v) => &|i, j| phase * v[start + j * rows + i],
                Entries::Complex(v) => &|i, j| phase * v[start + j * rows + i],
            };
            visit(tile.row, tile.column, tile.rows, tile.columns, element);
        }
    }

    /// M(k), `[size, size]`, its hermitian part (stored operators are hermitian to rounding; predicted ones may not
    /// be); `k` fractional.
    pub fn at(&self, k: [f64; 3]) -> Mat<Complex64> {
        let phases: Vec<Complex64> = self.cells.iter().map(|cell| phase(k, *cell)).collect();
        let mut dense = Mat::zeros(self.size, self.size);
        for tile in &self.tiles {
            let phase = phases[tile.cell];
            match &self.elements {
                Entries::Real(v) => tile.add(&mut dense, v, |x| phase * x),
                Entries::Complex(v) => tile.add(&mut dense, v, |x| phase * x),
            }
        }
        // In squares that stay in the cache, since one of the two triangles is crossed against its order.
        const SQUARE: usize = 32;
        for first_column in (0..self.size).step_by(SQUARE) {
            for first_row in (0..=first_column).step_by(SQUARE) {
                for column in first_column..(first_column + SQUARE).min(self.size) {
                    for row in first_row..(first_row + SQUARE).min(column + 1) {
                        let mean = (dense[(row, column)] + dense[(column, row)].conj()) * 0.5;
                        dense[(row, column)] = mean;
                        dense[(column, row)] = mean.conj();
                    }
                }
            }
        }
        dense
    }
}

impl Tile {
    /// Add the tile, each element through `term`, to the dense matrix.
    fn add<T: Copy, U>(&self, dense: &mut Mat<U>, elements: &[T], term: impl Fn(T) -> U)
    where
        U: AddAssign,
    {
        let elements = &elements[self.start..self.start + self.rows * self.columns];
        for (column, values) in elements.chunks_exact(self.rows).enumerate() {
            let target = &mut dense.col_as_slice_mut(self.column + column)[self.row..self.row + self.rows];
            for (target, &value) in target.iter_mut().zip(values) {
                *target += term(value);
            }
        }
    }
}

/// Copies elements below the diagonal, conjugated, to their places above it (in the tile of -R that starts at `partners`),
/// unless some pair differs by more than rounding.
fn lower_for_upper<T: Copy + Sub<Output = T>>(
    tiles: &[Tile],
    partners: &[usize],
    elements: &mut [T],
    conjugate: impl Fn(T) -> T,
    size: impl Fn(T) -> f64,
) {
    let mut pairs = Vec::new();
    for (tile, partner) in tiles.iter().zip(partners) {
        for j in 0..tile.columns {
            for i in (0..tile.rows).filter(|i| tile.row + i > tile.column + j) {
                pairs.push((tile.start + j * tile.rows + i, partner + i * tile.columns + j));
            }
        }
    }
    if pairs.iter().all(|&(below, above)| size(elements[below] - conjugate(elements[above])) <= HERMITIAN) {
        pairs.into_iter().for_each(|(below, above)| elements[above] = conjugate(elements[below]));
    }
}

/// e^(2 pi i k.R), exactly 1 or -1 where k.R is a multiple of one half, so that H(k) is exactly real there.
fn phase(k: [f64; 3], cell: [i64; 3]) -> Complex64 {
    let turns: f64 = (0..3).map(|axis| k[axis] * cell[axis] as f64).sum();
    let turns = turns - turns.round();
    if turns == 0.0 {
        Complex64::new(1.0, 0.0)
    } else if turns.abs() == 0.5 {
        Complex64::new(-1.0, 0.0)
    } else {
        Complex64::from_polar(1.0, TAU * turns)
    }
}

/// All elements, tile by tile, columns first; spinful blocks are cut into uu, ud, du, dd.
fn column_major<'a, T: Copy + 'a>(
    matrix: &'a BlockMatrix,
    form: SpinForm,
    block: impl Fn(&'a BlockMatrix, usize) -> Option<ArrayView2<'a, T>>,
) -> Vec<T> {
    let mut elements = Vec::with_capacity(matrix.entries.len());
    for block in (0..matrix.pairs.len()).filter_map(|k| block(matrix, k)) {
        match form {
            SpinForm::Spinless => elements.extend(block.t().iter()),
            SpinForm::Spinful => {
                let (rows, columns) = (block.nrows() / 2, block.ncols() / 2);
                for [up, down] in [[0, 0], [0, 1], [1, 0], [1, 1]] {
                    let (first, second) = (up * rows, down * columns);
                    let quarter = block.slice(ndarray::s![first..first + rows, second..second + columns]);
                    elements.extend(quarter.t().iter());
                }
            }
        }
    }
    elements
}
