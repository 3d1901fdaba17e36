//! A crystal: lattice, species and Cartesian positions, with the motions that its spectrum must not notice.

use nalgebra::{Matrix3, Vector3};
use tesseral_datasets::elements;
use tesseral_datasets::poscar::Poscar;

use super::Lattice;
use crate::{Error, Result};

/// Atoms in a cell; a molecule is a crystal whose images are out of reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Crystal {
    /// The cell, angstrom.
    pub lattice: Lattice,
    /// `[N]` atomic numbers.
    pub species: Vec<u32>,
    /// `[N]` Cartesian positions, angstrom; not necessarily inside the home cell.
    pub positions: Vec<Vector3<f64>>,
}

impl Crystal {
    /// The number of atoms in the cell.
    pub fn len(&self) -> usize {
        self.species.len()
    }

    /// Whether there is no atom.
    pub fn is_empty(&self) -> bool {
        self.species.is_empty()
    }

    /// From a POSCAR, the order of the atoms kept.
    ///
    /// # Errors
    /// An unknown element, a cell without volume.
    pub fn from_poscar(poscar: &Poscar) -> Result<Self> {
        let number = |symbol: &String| {
            elements::atomic_number(symbol).ok_or_else(|| Error::Mismatch {
                what: "POSCAR: symbols".into(),
                expected: "chemical elements".into(),
                found: format!("`{symbol}`"),
            })
        };
        Ok(Self {
            lattice: Lattice::from_rows(&poscar.lattice)?,
            species: poscar.symbols.iter().map(number).collect::<Result<_>>()?,
            positions: poscar.positions.iter().map(|&p| Vector3::from(p)).collect(),
        })
    }

    /// To a POSCAR with this comment line, the order of the atoms kept.
    ///
    /// # Errors
    /// An atomic number without symbol.
    pub fn to_poscar(&self, comment: &str) -> Result<Poscar> {
        let symbol = |&number: &u32| {
            elements::symbol(number).map(str::to_owned).ok_or_else(|| Error::Mismatch {
                what: "species".into(),
                expected: "atomic numbers of elements".into(),
                found: number.to_string(),
            })
        };
        Ok(Poscar {
            comment: comment.to_owned(),
            lattice: self.lattice.to_rows(),
            symbols: self.species.iter().map(symbol).collect::<Result<_>>()?,
            positions: self.positions.iter().map(|&p| p.into()).collect(),
        })
    }

    /// r_ij = r_j + R A - r_i, angstrom: the vector along which the block (R, i, j) reaches.
    ///
    /// # Panics
    /// `first` or `second` is not an atom of the crystal.
    pub fn displacement(&self, cell: [i64; 3], first: usize, second: usize) -> Vector3<f64> {
        self.positions[second] + self.lattice.translation(cell) - self.positions[first]
    }

    /// The crystal after r' = `rotation` r, cell and atoms together.
    pub fn rotated(&self, rotation: &Matrix3<f64>) -> Self {
        Self {
            lattice: self.lattice.rotated(rotation),
            species: self.species.clone(),
            positions: self.positions.iter().map(|r| rotation * r).collect(),
        }
    }

    /// The crystal with every atom moved by `shift` (angstrom).
    pub fn translated(&self, shift: &Vector3<f64>) -> Self {
        Self { positions: self.positions.iter().map(|r| r + shift).collect(), ..self.clone() }
    }

    /// The crystal whose atom `n` is atom `order[n]` of this one.
    ///
    /// # Errors
    /// `order` does not name every atom once.
    pub fn permuted(&self, order: &[usize]) -> Result<Self> {
        check_permutation(order, self.len())?;
        Ok(Self {
            lattice: self.lattice.clone(),
            species: order.iter().map(|&n| self.species[n]).collect(),
            positions: order.iter().map(|&n| self.positions[n]).collect(),
        })
    }

    /// `times[0] x times[1] x times[2]` copies; copy (c1, c2, c3) of atom n is atom `((c1 t2 + c2) t3 + c3) N + n`.
    ///
    /// # Errors
    /// A zero among `times`.
    pub fn supercell(&self, times: [usize; 3]) -> Result<Self> {
        let scale = Matrix3::from_diagonal(&Vector3::from(times.map(|t| t as f64)));
        let mut crystal =
            Self { lattice: Lattice::new(scale * self.lattice.rows())?, species: vec![], positions: vec![] };
        for first in 0..times[0] as i64 {
            for second in 0..times[1] as i64 {
                for third in 0..times[2] as i64 {
                    let copy = self.translated(&self.lattice.translation([first, second, third]));
                    crystal.species.extend(copy.species);
                    crystal.positions.extend(copy.positions);
                }
            }
        }
        Ok(crystal)
    }
}

/// An error unless `order` names each of 0..`count` once.
pub(crate) fn check_permutation(order: &[usize], count: usize) -> Result<()> {
    let mut seen = vec![false; count];
    let new = order.iter().all(|&n| n < count && !std::mem::replace(&mut seen[n], true));
    if new && order.len() == count {
        return Ok(());
    }
    Err(Error::Mismatch {
        what: "order of atoms".into(),
        expected: format!("each of 0..{count} once"),
        found: format!("{order:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;
    use nalgebra::Rotation3;

    fn crystal() -> Crystal {
        Crystal {
            lattice: Lattice::from_rows(&[[3.0, 0.1, 0.0], [-1.4, 2.5, 0.2], [0.3, -0.2, 9.0]]).unwrap(),
            species: vec![42, 16, 16],
            positions: vec![Vector3::new(0.1, 0.2, 4.0), Vector3::new(1.0, 0.9, 5.5), Vector3::new(1.1, 0.8, 2.5)],
        }
    }

    #[test]
    fn poscar_there_and_back() {
        let poscar = crystal().to_poscar("test").unwrap();
        assert_eq!(poscar.symbols, ["Mo", "S", "S"]);
        assert_eq!(Crystal::from_poscar(&poscar).unwrap(), crystal());
        let unknown = Poscar { symbols: vec!["Mo".into(), "Xx".into(), "S".into()], ..poscar };
        assert!(Crystal::from_poscar(&unknown).unwrap_err().to_string().contains("Xx"));
    }

    #[test]
    fn displacements_turn_with_the_crystal_and_do_not_move_with_it() {
        let (crystal, cell) = (crystal(), [1, -2, 0]);
        let rotation = Rotation3::new(Vector3::new(0.5, -0.9, 0.7)).into_inner();
        let r = crystal.displacement(cell, 0, 1);
        assert_relative_eq!(crystal.rotated(&rotation).displacement(cell, 0, 1), rotation * r, epsilon = 1e-12);
        let moved = crystal.translated(&Vector3::new(0.3, 7.0, -1.0));
        assert_relative_eq!(moved.displacement(cell, 0, 1), r, epsilon = 1e-12);
        let permuted = crystal.permuted(&[2, 0, 1]).unwrap();
        assert_eq!(permuted.displacement(cell, 1, 2), r);
        assert!(crystal.permuted(&[0, 1, 1]).is_err());
    }

    #[test]
    fn supercell_holds_all_copies() {
        let (small, large) = (crystal(), crystal().supercell([2, 1, 3]).unwrap());
        assert_eq!(large.len(), 18);
        assert_relative_eq!(large.lattice.volume(), 6.0 * small.lattice.volume(), epsilon = 1e-10);
        // Copy (1, 0, 2) of atom 1.
        let expected = small.positions[1] + small.lattice.translation([1, 0, 2]);
        assert_relative_eq!(large.positions[5 * 3 + 1], expected, epsilon = 1e-12);
        assert!(small.supercell([1, 0, 1]).is_err());
    }
}
