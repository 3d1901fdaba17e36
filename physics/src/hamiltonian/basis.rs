//! Which shells each element carries, and where their orbitals lie in blocks and in the dense matrices.
//!
//! Source: `elements_orbital_map` of DeepH's `info.json` (specs of the unified format); order in docs/conventions.md.

use tesseral_datasets::deeph::info::{Info, orbitals_of};
use tesseral_datasets::deeph::matrix::BlockMatrix;
use tesseral_datasets::elements;

use crate::{Error, Result};

/// Largest angular momentum of a shell that is accepted.
pub const L_MAX: usize = 8;

/// The orbitals of a set of elements; `spinful` doubles them.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    elements: Vec<(u32, Vec<usize>)>,
    spinful: bool,
}

/// How the blocks of an operator relate to the spin of its basis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpinForm {
    /// `[n_i, n_j]`: no spin, or the same for both spins (overlaps).
    Spinless,
    /// `[2 n_i, 2 n_j]`: `[[uu, ud], [du, dd]]`.
    Spinful,
}

impl Basis {
    /// From pairs of atomic number and angular momenta in basis order; the order of the elements is kept, because it
    /// fixes the classes of a network's one-hot inputs.
    ///
    /// # Errors
    /// No element, an element twice or without shell, l above [`L_MAX`].
    pub fn new(elements: Vec<(u32, Vec<usize>)>, spinful: bool) -> Result<Self> {
        let mismatch =
            |what: String, expected: &str, found: String| Error::Mismatch { what, expected: expected.into(), found };
        if elements.is_empty() {
            return Err(mismatch("basis".into(), "at least one element", "none".into()));
        }
        for (place, (number, shells)) in elements.iter().enumerate() {
            let what = format!("basis of element {number}");
            if shells.is_empty() {
                return Err(mismatch(what, "at least one shell", "none".into()));
            }
            if let Some(l) = shells.iter().find(|&&l| l > L_MAX) {
                return Err(mismatch(what, &format!("l of at most {L_MAX}"), l.to_string()));
            }
            if elements[..place].iter().any(|(earlier, _)| earlier == number) {
                return Err(mismatch(what, "one list of shells", "two".into()));
            }
        }
        Ok(Self { elements, spinful })
    }

    /// From the `elements_orbital_map` of an `info.json`; `spinful` is its own.
    ///
    /// # Errors
    /// An unknown element, or as [`Self::new`].
    pub fn from_info(info: &Info) -> Result<Self> {
        let element = |(symbol, shells): &(String, Vec<usize>)| {
            let number = elements::atomic_number(symbol).ok_or_else(|| Error::Mismatch {
                what: "elements_orbital_map".into(),
                expected: "chemical elements".into(),
                found: format!("`{symbol}`"),
            })?;
            Ok((number, shells.clone()))
        };
        Self::new(info.elements_orbital_map.iter().map(element).collect::<Result<_>>()?, info.spinful)
    }

    /// The same elements by ascending atomic number: the order in which networks number species.
    pub fn sorted(mut self) -> Self {
        self.elements.sort_by_key(|(number, _)| *number);
        self
    }

    /// Atomic numbers with the angular momenta of their shells, in order.
    pub fn elements(&self) -> &[(u32, Vec<usize>)] {
        &self.elements
    }

    /// Whether every orbital comes with spin up and spin down.
    pub fn spinful(&self) -> bool {
        self.spinful
    }

    /// 2 for a spinful basis, else 1.
    pub fn spins(&self) -> usize {
        if self.spinful { 2 } else { 1 }
    }

    /// The place of an element in [`Self::elements`].
    pub fn index(&self, number: u32) -> Option<usize> {
        self.elements.iter().position(|(n, _)| *n == number)
    }

    /// The angular momenta of an element's shells.
    ///
    /// # Errors
    /// The element is not in the basis.
    pub fn shells(&self, number: u32) -> Result<&[usize]> {
        let index = self.index(number).ok_or_else(|| Error::Mismatch {
            what: "element".into(),
            expected: format!("one of the atomic numbers {:?}", self.elements.iter().map(|e| e.0).collect::<Vec<_>>()),
            found: number.to_string(),
        })?;
        Ok(&self.elements[index].1)
    }

    /// How many orbitals an element has, spin not counted; errors as [`Self::shells`].
    pub fn orbitals(&self, number: u32) -> Result<usize> {
        Ok(orbitals_of(self.shells(number)?))
    }

    /// `[N + 1]` where the orbitals of each atom begin, spin not counted; the last is the size of a spinless dense
    /// matrix. Errors as [`Self::shells`].
    pub fn offsets(&self, species: &[u32]) -> Result<Vec<usize>> {
        let mut offsets = Vec::with_capacity(species.len() + 1);
        let mut end = 0;
        offsets.push(end);
        for &number in species {
            end += self.orbitals(number)?;
            offsets.push(end);
        }
        Ok(offsets)
    }

    /// Check that all blocks of `matrix` fit the atoms `species`, and say which spin form they have.
    ///
    /// # Errors
    /// An atom out of range, a block of another shape, spinful blocks in a spinless basis; the pair is named.
    pub fn spin_form(&self, matrix: &BlockMatrix, species: &[u32]) -> Result<SpinForm> {
        let offsets = self.offsets(species)?;
        let orbitals = |atom: i64| {
            let atom = usize::try_from(atom).ok()?;
            Some(offsets.get(atom + 1)? - offsets[atom])
        };
        let mut form = None;
        for (pair, shape) in matrix.pairs.iter().zip(&matrix.shapes) {
            let mismatch =
                |expected: String, found: String| Error::Mismatch { what: format!("block {pair:?}"), expected, found };
            let (Some(rows), Some(columns)) = (orbitals(pair[3]), orbitals(pair[4])) else {
                return Err(mismatch(format!("atoms below {}", species.len()), format!("{} and {}", pair[3], pair[4])));
            };
            let this = match *shape {
                [r, c] if [r, c] == [rows, columns] => SpinForm::Spinless,
                [r, c] if self.spinful && [r, c] == [2 * rows, 2 * columns] => SpinForm::Spinful,
                _ => {
                    let twice = if self.spinful { " or twice that" } else { "" };
                    return Err(mismatch(format!("shape [{rows}, {columns}]{twice}"), format!("{shape:?}")));
                }
            };
            if *form.get_or_insert(this) != this {
                return Err(mismatch("the spin form of the blocks before".into(), format!("shape {shape:?}")));
            }
        }
        Ok(form.unwrap_or(if self.spinful { SpinForm::Spinful } else { SpinForm::Spinless }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tesseral_datasets::deeph::matrix::Entries;

    fn matrix(pair: [i64; 5], shape: [usize; 2]) -> BlockMatrix {
        let shapes = vec![shape];
        let boundaries = BlockMatrix::boundaries_of(&shapes);
        BlockMatrix { pairs: vec![pair], shapes, boundaries, entries: Entries::Real(vec![0.0; shape[0] * shape[1]]) }
    }

    #[test]
    fn orbitals_are_laid_out_atom_by_atom() {
        let basis = Basis::new(vec![(42, vec![0, 0, 1, 2, 2]), (16, vec![0, 0, 1, 1, 2])], false).unwrap();
        assert_eq!(basis.offsets(&[42, 16, 16]).unwrap(), [0, 15, 28, 41]);
        assert_eq!(basis.index(16), Some(1));
        assert!(basis.offsets(&[42, 6]).unwrap_err().to_string().contains("found 6"));
    }

    #[test]
    fn wrong_bases_are_refused() {
        for elements in [vec![], vec![(6, vec![])], vec![(6, vec![0]), (6, vec![1])], vec![(6, vec![9])]] {
            assert!(Basis::new(elements, false).is_err());
        }
    }

    #[test]
    fn blocks_must_fit_the_atoms() {
        let basis = Basis::new(vec![(1, vec![0]), (6, vec![0, 1])], true).unwrap();
        let form = |pair, shape| basis.spin_form(&matrix(pair, shape), &[1, 6]);
        assert_eq!(form([0, 0, 0, 0, 1], [1, 4]).unwrap(), SpinForm::Spinless);
        assert_eq!(form([0, 0, 0, 0, 1], [2, 8]).unwrap(), SpinForm::Spinful);
        assert!(form([0, 0, 0, 0, 1], [4, 1]).is_err());
        assert!(form([0, 0, 0, 0, 2], [1, 4]).is_err());
        assert!(form([0, 0, 0, -1, 1], [1, 4]).is_err());
    }
}
