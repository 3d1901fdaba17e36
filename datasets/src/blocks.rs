//! Blocks of pairs of atoms made from what other codes store: elements between orbitals counted through the cell, or
//! one direction of each pair only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{AddAssign, Mul};
use std::path::{Path, PathBuf};

use num_complex::Complex64;

use crate::deeph::info::orbitals_of;
use crate::deeph::matrix::{AtomPair, BlockMatrix, Entries, reverse};
use crate::error::{Error, Result, Rule};
use crate::orbital_order::Code;

/// A matrix element.
pub(crate) trait Element: Copy + Default + AddAssign + Mul<f64, Output = Self> {
    /// The complex conjugate.
    fn conjugate(self) -> Self;
    /// Elements as they are kept in a [`BlockMatrix`].
    fn entries(elements: Vec<Self>) -> Entries;
}

impl Element for f64 {
    fn conjugate(self) -> Self {
        self
    }

    fn entries(elements: Vec<Self>) -> Entries {
        Entries::Real(elements)
    }
}

impl Element for Complex64 {
    fn conjugate(self) -> Self {
        self.conj()
    }

    fn entries(elements: Vec<Self>) -> Entries {
        Entries::Complex(elements)
    }
}

/// The orbitals of a cell in a code's order, each with its place in ours.
#[derive(Clone, Debug)]
pub(crate) struct Orbitals {
    /// Of each orbital of the cell: atom, index within the atom in our order, sign.
    places: Vec<(usize, usize, f64)>,
    /// The number of orbitals of each atom.
    counts: Vec<usize>,
}

impl Orbitals {
    /// Orbitals of atoms with these shells, one atom after the other; `None` for a shell that `code` does not have.
    pub(crate) fn new<'a>(atoms: impl IntoIterator<Item = &'a [usize]>, code: Code) -> Option<Self> {
        let (mut places, mut counts) = (Vec::new(), Vec::new());
        for (atom, shells) in atoms.into_iter().enumerate() {
            let (start, count) = (places.len(), orbitals_of(shells));
            places.resize(start + count, (atom, 0, 1.0));
            for (ours, place) in code.places(shells)?.into_iter().enumerate() {
                places[start + place.index] = (atom, ours, place.sign);
            }
            counts.push(count);
        }
        Some(Orbitals { places, counts })
    }

    /// The number of orbitals of the cell, spin not counted.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}

/// Collects elements `<0 row| O |cell column>` into blocks.
pub(crate) struct Collector<'a, T> {
    orbitals: &'a Orbitals,
    /// 1, or 2 for blocks `[[uu, ud], [du, dd]]`.
    spins: usize,
    path: PathBuf,
    /// The number of elements that may still be allocated.
    room: usize,
    index: HashMap<AtomPair, usize>,
    blocks: Vec<(AtomPair, Vec<T>)>,
    /// The block of the last element, where the next one most often belongs.
    last: usize,
}

impl<'a, T: Element> Collector<'a, T> {
    /// For the matrix of `path`, whose blocks together must not take more than `max_bytes`.
    pub(crate) fn new(orbitals: &'a Orbitals, spins: usize, path: &Path, max_bytes: u64) -> Self {
        let room = usize::try_from(max_bytes).unwrap_or(usize::MAX) / size_of::<T>();
        let path = path.to_path_buf();
        Collector { orbitals, spins, path, room, index: HashMap::new(), blocks: Vec::new(), last: 0 }
    }

    /// Adds an element; `row` and `column` are (orbital, spin), orbitals below [`Orbitals::len`].
    ///
    /// Errors: [`Error::Invalid`] when the blocks become larger than the limit.
    pub(crate) fn add(
        &mut self,
        cell: [i64; 3],
        (row, s): (usize, usize),
        (column, t): (usize, usize),
        value: T,
    ) -> Result<()> {
        let ((i, a, sign_a), (j, b, sign_b)) = (self.orbitals.places[row], self.orbitals.places[column]);
        let pair = [cell[0], cell[1], cell[2], i as i64, j as i64];
        let (rows, columns) = (self.orbitals.counts[i], self.orbitals.counts[j]);
        if self.blocks.get(self.last).is_none_or(|(last, _)| *last != pair) {
            self.last = match self.index.get(&pair) {
                Some(known) => *known,
                None => self.insert(pair, rows * columns * self.spins * self.spins)?,
            };
        }
        let place = (s * rows + a) * columns * self.spins + t * columns + b;
        self.blocks[self.last].1[place] += value * (sign_a * sign_b);
        Ok(())
    }

    fn insert(&mut self, pair: AtomPair, elements: usize) -> Result<usize> {
        self.room = self.room.checked_sub(elements).ok_or_else(|| {
            let found = format!("more, after {} blocks", self.blocks.len());
            Error::invalid(Rule::Size, &self.path, "file", "blocks within the limit of memory", found)
        })?;
        self.index.insert(pair, self.blocks.len());
        self.blocks.push((pair, vec![T::default(); elements]));
        Ok(self.blocks.len() - 1)
    }

    /// The blocks, both directions of every pair.
    pub(crate) fn finish(self) -> BlockMatrix {
        let counts: Vec<usize> = self.orbitals.counts.iter().map(|count| count * self.spins).collect();
        assemble(self.blocks.into_iter().collect(), &counts)
    }
}

/// The matrix of these blocks, pairs sorted; a pair without its reverse gets it, as the adjoint. `orbitals` are those
/// of each atom, spins counted; a block is row-major.
pub(crate) fn assemble<T: Element>(mut blocks: BTreeMap<AtomPair, Vec<T>>, orbitals: &[usize]) -> BlockMatrix {
    let shape = |pair: &AtomPair| [orbitals[pair[3] as usize], orbitals[pair[4] as usize]]; // atoms are in range
    let lonely: Vec<AtomPair> = blocks.keys().filter(|pair| !blocks.contains_key(&reverse(pair))).copied().collect();
    for pair in lonely {
        let [rows, columns] = shape(&pair);
        let block = &blocks[&pair];
        let places = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
        let adjoint = places.map(|k| block[k].conjugate()).collect();
        blocks.insert(reverse(&pair), adjoint);
    }
    let shapes: Vec<[usize; 2]> = blocks.keys().map(shape).collect();
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    let mut elements = Vec::with_capacity(boundaries.last().copied().unwrap_or(0));
    let pairs = blocks.keys().copied().collect();
    blocks.into_values().for_each(|block| elements.extend(block));
    BlockMatrix { pairs, shapes, boundaries, entries: T::entries(elements) }
}

/// Gives both matrices all pairs of either, with blocks of zeros; how many blocks that took. `spins` of H: 1 or 2.
///
/// All matrices of a unified folder have the same pairs, but codes cut H and S off at different distances.
pub(crate) fn pad(h: &mut BlockMatrix, s: &mut BlockMatrix, orbitals: &[usize], spins: usize) -> usize {
    let pairs: BTreeSet<AtomPair> = h.pairs.iter().chain(&s.pairs).copied().collect();
    let missing = 2 * pairs.len() - h.pairs.len() - s.pairs.len();
    *h = spread(h, &pairs, |pair| pair.map(|atom| orbitals[atom] * spins));
    *s = spread(s, &pairs, |pair| pair.map(|atom| orbitals[atom]));
    missing
}

fn spread(matrix: &BlockMatrix, pairs: &BTreeSet<AtomPair>, shape: impl Fn([usize; 2]) -> [usize; 2]) -> BlockMatrix {
    let known: HashMap<&AtomPair, usize> = matrix.pairs.iter().zip(0..).collect();
    let shapes: Vec<[usize; 2]> = pairs.iter().map(|pair| shape([pair[3] as usize, pair[4] as usize])).collect();
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    let entries = match &matrix.entries {
        Entries::Real(values) => Entries::Real(spread_elements(matrix, &known, pairs, &boundaries, values)),
        Entries::Complex(values) => Entries::Complex(spread_elements(matrix, &known, pairs, &boundaries, values)),
    };
    BlockMatrix { pairs: pairs.iter().copied().collect(), shapes, boundaries, entries }
}

fn spread_elements<T: Element>(
    matrix: &BlockMatrix,
    known: &HashMap<&AtomPair, usize>,
    pairs: &BTreeSet<AtomPair>,
    boundaries: &[usize],
    values: &[T],
) -> Vec<T> {
    let mut all = vec![T::default(); boundaries.last().copied().unwrap_or(0)];
    for (pair, place) in pairs.iter().zip(boundaries.windows(2)) {
        if let Some(&k) = known.get(pair) {
            all[place[0]..place[1]].copy_from_slice(&values[matrix.boundaries[k]..matrix.boundaries[k + 1]]);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_find_their_blocks_and_reverses() {
        let shells: [&[usize]; 2] = [&[0], &[1]];
        let orbitals = Orbitals::new(shells, Code::Siesta).unwrap();
        assert_eq!(orbitals.len(), 4);
        let mut collector = Collector::<Complex64>::new(&orbitals, 2, Path::new("x"), 1 << 20);
        collector.add([1, 0, 0], (0, 0), (1, 1), Complex64::new(1.0, 2.0)).unwrap(); // s up, -y down
        collector.add([1, 0, 0], (0, 1), (2, 0), Complex64::new(3.0, 0.0)).unwrap(); // s down, z up
        let matrix = collector.finish();
        assert_eq!(matrix.pairs, [[-1, 0, 0, 1, 0], [1, 0, 0, 0, 1]]);
        assert_eq!(matrix.shapes, [[6, 2], [2, 6]]);
        let (block, back) = (matrix.complex_block(1).unwrap(), matrix.complex_block(0).unwrap());
        assert_eq!((block[[0, 3]], block[[1, 1]]), (Complex64::new(-1.0, -2.0), Complex64::new(3.0, 0.0)));
        assert_eq!(back, block.t().mapv(|z| z.conj()));
    }

    #[test]
    fn memory_is_limited() {
        let shells: [&[usize]; 1] = [&[0, 1, 2]];
        let orbitals = Orbitals::new(shells, Code::DeePtb).unwrap();
        let mut collector = Collector::<f64>::new(&orbitals, 1, Path::new("x"), 1000);
        collector.add([0; 3], (0, 0), (0, 0), 1.0).unwrap();
        let text = collector.add([1, 0, 0], (0, 0), (0, 0), 1.0).unwrap_err().to_string();
        assert!(text.contains("x: file: expected blocks within the limit"), "{text}");
    }

    #[test]
    fn padding_counts_the_blocks_it_adds() {
        let one = |pairs: Vec<AtomPair>| {
            assemble(pairs.into_iter().map(|pair| (pair, vec![2.0])).collect::<BTreeMap<_, Vec<f64>>>(), &[1])
        };
        let (mut h, mut s) = (one(vec![[0; 5], [1, 0, 0, 0, 0]]), one(vec![[0; 5]]));
        assert_eq!(pad(&mut h, &mut s, &[1], 1), 2);
        assert_eq!((h.pairs.len(), &s.pairs), (3, &h.pairs));
        assert_eq!(s.entries, Entries::Real(vec![0.0, 2.0, 0.0]));
        assert_eq!(h.entries, Entries::Real(vec![2.0; 3]));
    }
}
