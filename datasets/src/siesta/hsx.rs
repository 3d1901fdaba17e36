//! The records of an .HSX file: versions 1 and 2 (SIESTA 5), and the first version (SIESTA 4), which has no number.
//!
//! Version 1, 2: version; whether numbers are double; atoms, orbitals, spins, species, cells along each vector; lattice,
//! Fermi energy, electrons, temperature; cells, positions, species of atoms, last orbital of atoms; label, valence and
//! orbitals of species; n, l, zeta of the orbitals of each species; (2: k mesh;) elements of each row; then row by row
//! the columns, H of each spin, S. First version: orbitals, orbitals of all cells, spins, elements; whether Gamma only;
//! (orbital in the home cell of every one;) elements of each row; columns, H, S in single precision; electrons,
//! temperature; (row by row the vectors between atoms;) species; n, l, zeta; atoms; species of atoms; orbitals of atoms.

use std::path::Path;

use super::records::Records;
use crate::error::{Error, Result, Rule};
use crate::poscar::{Poscar, determinant};

/// The highest angular momentum that is accepted.
const MAX_L: i64 = 12;
/// Cells farther than this from the home cell are no crystal's.
const MAX_CELL: f64 = i32::MAX as f64;
/// How far a vector between atoms may be from one of the lattice, in lattice vectors.
const LATTICE_DIGITS: f64 = 1e-3;

/// One species.
#[derive(Debug)]
pub(super) struct Species {
    pub(super) label: String,
    /// Angular momenta of its shells.
    pub(super) shells: Vec<usize>,
    /// How many orbitals that is.
    pub(super) orbitals: usize,
}

/// What tells the cell of a column.
#[derive(Debug)]
pub(super) enum Geometry {
    /// Versions 1 and 2: lattice and positions in Bohr, and the cells in the order in which columns count through them.
    Cells { lattice: [[f64; 3]; 3], positions: Vec<[f64; 3]>, offsets: Vec<[i64; 3]> },
    /// First version: for every element the vector from the atom of its row to that of its column, Bohr; none in a
    /// calculation at Gamma only.
    Vectors(Option<Vec<[f64; 3]>>),
}

/// A file.
#[derive(Debug)]
pub(super) struct Hsx {
    pub(super) species: Vec<Species>,
    /// Of each atom the index of its species.
    pub(super) species_of: Vec<usize>,
    pub(super) geometry: Geometry,
    pub(super) fermi_ry: Option<f64>,
    pub(super) electrons: f64,
    /// The number of elements of each row.
    pub(super) numbers: Vec<usize>,
    /// The column of each element, counted from 0 through all cells.
    pub(super) columns: Vec<usize>,
    /// H of each spin, Rydberg.
    pub(super) hamiltonian: Vec<Vec<f64>>,
    pub(super) overlap: Vec<f64>,
}

impl Hsx {
    /// Reads a file of at most `max_bytes`.
    ///
    /// Errors: a record of another length than those before it imply, a number out of its range, spins beyond 2.
    pub(super) fn read(path: &Path, max_bytes: u64) -> Result<Self> {
        let mut records = Records::open(path, max_bytes)?;
        match records.peek() {
            Some(4) => Self::numbered(&mut records),
            Some(16) => Self::first(&mut records),
            other => {
                let expected = "a first record of 4 bytes (SIESTA 5) or 16 (SIESTA 4), little-endian";
                let found = other.map_or("the end of the file".into(), |n| n.to_string());
                Err(records.invalid(Rule::Format, "version", expected, &found))
            }
        }
    }

    fn numbered(records: &mut Records) -> Result<Self> {
        let version = records.integers("version", 1)?[0];
        if ![1, 2].contains(&version) {
            return Err(records.invalid(Rule::Format, "version", "1 or 2", &version.to_string()));
        }
        let double = records.integers("is_dp", 1)?[0] != 0;
        let sizes = records.integers("na_u, no_u, nspin, nspecies, nsc", 7)?;
        let [atoms, orbitals, _, kinds, a, b, c] = positive(records, "na_u, no_u, nspin, nspecies, nsc", &sizes)?[..]
        else {
            return Err(records.invalid(Rule::Format, "sizes", "7 numbers", "others")); // 7 were read
        };
        let spins = spins(records, sizes[2])?;
        let cells = a.saturating_mul(b).saturating_mul(c);

        let row = records.numbers("ucell, Ef, qtot, temp", 12, true)?;
        let lattice = std::array::from_fn(|i| std::array::from_fn(|x| row[3 * i + x]));
        let (fermi_ry, electrons) = (Some(row[9]), row[10]);
        let field = "isc_off, xa, isa, lasto";
        let size = cells.saturating_mul(12).saturating_add(atoms.saturating_mul(32));
        let mut record = records.next(field, size)?;
        let offsets = record.integers(3 * cells).as_chunks::<3>().0.to_vec();
        let positions = record.doubles(3 * atoms).as_chunks::<3>().0.to_vec();
        let species_of = record.integers(atoms);
        if !positions.iter().flatten().all(|x| x.is_finite()) {
            return Err(records.invalid(Rule::NotFinite, "xa", "finite positions", "others"));
        }
        let species = species(records, kinds)?;
        let species_of = indices(records, &species_of, kinds)?;
        if version == 2 {
            records.next("kcell, kdispl", 60)?;
        }
        let sparse = Sparse::read(records, orbitals, spins, double, orbitals.saturating_mul(cells))?;
        records.end()?;
        let Sparse { numbers, columns, hamiltonian, overlap } = sparse;
        let geometry = Geometry::Cells { lattice, positions, offsets };
        Ok(Hsx { species, species_of, geometry, fermi_ry, electrons, numbers, columns, hamiltonian, overlap })
    }

    fn first(records: &mut Records) -> Result<Self> {
        let field = "no_u, no_s, nspin, nh";
        let sizes = records.integers(field, 4)?;
        let [orbitals, all, _, _] = positive(records, field, &sizes)?[..] else {
            return Err(records.invalid(Rule::Format, field, "4 numbers", "others")); // 4 were read
        };
        let spins = spins(records, sizes[2])?;
        let gamma = records.integers("gamma", 1)?[0] != 0;
        if !gamma {
            let homes = records.integers("indxuo", all)?;
            if let Some(k) = (0..all).find(|k| homes[*k] != (k % orbitals) as i64 + 1) {
                let expected = format!("orbital {} of the home cell", k % orbitals + 1);
                return Err(records.invalid(Rule::AtomIndex, "indxuo", &expected, &homes[k].to_string()));
            }
        }
        let Sparse { numbers, columns, hamiltonian, overlap } = Sparse::read(records, orbitals, spins, false, all)?;
        let electrons = records.numbers("qtot, temp", 2, true)?[0];
        let mut vectors = Vec::new();
        if !gamma {
            for count in &numbers {
                let row = records.numbers("xij", count.saturating_mul(3), false)?;
                vectors.extend_from_slice(row.as_chunks::<3>().0);
            }
        }
        let kinds = records.integers("nspecies", 1)?;
        let kinds = positive(records, "nspecies", &kinds)?[0];
        let species = species(records, kinds)?;
        let atoms = records.integers("na_u", 1)?;
        let atoms = positive(records, "na_u", &atoms)?[0];
        let species_of = records.integers("isa", atoms)?;
        let species_of = indices(records, &species_of, kinds)?;
        let geometry = Geometry::Vectors((!gamma).then_some(vectors));
        let fermi_ry = None;
        Ok(Hsx { species, species_of, geometry, fermi_ry, electrons, numbers, columns, hamiltonian, overlap })
    }

    /// The cell R of every element. `poscar` and `bohr` (in angstrom) serve the first version, which has it only as
    /// the vector r_j + R A - r_i.
    pub(super) fn cells(&self, poscar: &Poscar, bohr: f64, path: &Path) -> Result<Vec<[i64; 3]>> {
        let vectors = match &self.geometry {
            Geometry::Cells { offsets, .. } => {
                let orbitals = self.numbers.len();
                return Ok(self.columns.iter().map(|column| offsets[column / orbitals]).collect());
            }
            Geometry::Vectors(None) => return Ok(vec![[0; 3]; self.columns.len()]),
            Geometry::Vectors(Some(vectors)) => vectors,
        };
        let counts = self.species_of.iter().map(|species| self.species[*species].orbitals);
        let atom_of: Vec<usize> =
            counts.enumerate().flat_map(|(atom, count)| std::iter::repeat_n(atom, count)).collect();
        let inverse = inverse(&poscar.lattice);
        let rows = self.numbers.iter().enumerate().flat_map(|(row, count)| std::iter::repeat_n(row, *count));
        let mut cells = Vec::with_capacity(vectors.len());
        for ((row, column), vector) in rows.zip(&self.columns).zip(vectors) {
            let (from, to) = (poscar.positions[atom_of[row]], poscar.positions[atom_of[column % self.numbers.len()]]);
            let shift: [f64; 3] = std::array::from_fn(|x| vector[x] * bohr - (to[x] - from[x]));
            let exact: [f64; 3] = std::array::from_fn(|i| (0..3).map(|x| shift[x] * inverse[x][i]).sum());
            if exact.iter().any(|r| (r - r.round()).abs() > LATTICE_DIGITS || r.abs() > MAX_CELL) {
                let expected = "vectors between the atoms of the .XV file, a lattice vector apart";
                return Err(Error::invalid(Rule::Format, path, "xij", expected, format!("{vector:?} Bohr")));
            }
            cells.push(exact.map(|r| r.round() as i64));
        }
        Ok(cells)
    }
}

/// The inverse of a lattice with a volume.
fn inverse(a: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let volume = determinant(a);
    let minor = |i: usize, x: usize| {
        let (j, k, y, z) = ((i + 1) % 3, (i + 2) % 3, (x + 1) % 3, (x + 2) % 3);
        (a[j][y] * a[k][z] - a[j][z] * a[k][y]) / volume
    };
    std::array::from_fn(|x| std::array::from_fn(|i| minor(i, x)))
}

/// Rows of columns and elements.
struct Sparse {
    numbers: Vec<usize>,
    columns: Vec<usize>,
    hamiltonian: Vec<Vec<f64>>,
    overlap: Vec<f64>,
}

impl Sparse {
    fn read(records: &mut Records, orbitals: usize, spins: usize, double: bool, all: usize) -> Result<Self> {
        let numbers = records.integers("numh", orbitals)?;
        let count = |n: &i64| usize::try_from(*n).ok();
        let numbers = numbers.iter().map(count).collect::<Option<Vec<usize>>>().ok_or_else(|| {
            records.invalid(Rule::Format, "numh", "numbers of elements that are not negative", "a negative one")
        })?;
        let mut columns = Vec::new();
        for (row, count) in numbers.iter().enumerate() {
            let field = format!("listh of row {}", row + 1);
            for column in records.integers(&field, *count)? {
                let place = column.checked_sub(1).and_then(|k| usize::try_from(k).ok()).filter(|k| *k < all);
                columns.push(place.ok_or_else(|| {
                    let expected = format!("columns from 1 to {all}");
                    records.invalid(Rule::AtomIndex, &field, &expected, &column.to_string())
                })?);
            }
        }
        let matrix = |records: &mut Records, name: &str| -> Result<Vec<f64>> {
            let mut all = Vec::with_capacity(columns.len());
            for (row, count) in numbers.iter().enumerate() {
                all.extend(records.numbers(&format!("{name} of row {}", row + 1), *count, double)?);
            }
            Ok(all)
        };
        let hamiltonian = (0..spins).map(|spin| matrix(records, &format!("H({})", spin + 1))).collect::<Result<_>>()?;
        let overlap = matrix(records, "S")?;
        Ok(Sparse { numbers, columns, hamiltonian, overlap })
    }
}

fn positive(records: &Records, field: &str, numbers: &[i64]) -> Result<Vec<usize>> {
    let positive = |n: &i64| usize::try_from(*n).ok().filter(|n| *n > 0);
    let found = || records.invalid(Rule::Format, field, "positive numbers", &format!("{numbers:?}"));
    numbers.iter().map(positive).collect::<Option<_>>().ok_or_else(found)
}

fn spins(records: &Records, spins: i64) -> Result<usize> {
    match spins {
        1 => Ok(1),
        2 => Ok(2),
        other => {
            let expected = "1 or 2: non-collinear spin (4) and spin-orbit coupling (8) of SIESTA are not supported";
            Err(records.invalid(Rule::Format, "nspin", expected, &other.to_string()))
        }
    }
}

/// The species of the atoms, counted from 0.
fn indices(records: &Records, species_of: &[i64], kinds: usize) -> Result<Vec<usize>> {
    let index = |n: &i64| n.checked_sub(1).and_then(|n| usize::try_from(n).ok()).filter(|n| *n < kinds);
    let found = || records.invalid(Rule::AtomIndex, "isa", &format!("species from 1 to {kinds}"), "another");
    species_of.iter().map(index).collect::<Option<_>>().ok_or_else(found)
}

/// Labels of 20 letters, valence charges and numbers of orbitals, then n, l, zeta of all orbitals of each.
fn species(records: &mut Records, kinds: usize) -> Result<Vec<Species>> {
    let mut record = records.next("label, zval, no", kinds.saturating_mul(32))?;
    let mut heads = Vec::new();
    for _ in 0..kinds {
        let label = record.text(20);
        record.doubles(1);
        heads.push((label, record.integers(1)[0]));
    }
    let mut species = Vec::new();
    for (label, orbitals) in heads {
        let orbitals = positive(records, "no", &[orbitals])?[0];
        let numbers = records.integers("nquant, lquant, zeta", orbitals.saturating_mul(3))?;
        let rows = numbers.as_chunks::<3>().0;
        let (mut shells, mut start) = (Vec::new(), 0);
        while let Some([_, l, _]) = rows.get(start) {
            let width = (2 * l + 1) as usize;
            let whole = (0..=MAX_L).contains(l)
                && rows.get(start..start + width).is_some_and(|shell| shell.iter().all(|row| *row == rows[start]));
            if !whole {
                let expected = format!("whole shells of {label}, 2 l + 1 orbitals with the same n, l, zeta");
                let found = format!("others at orbital {}", start + 1);
                return Err(records.invalid(Rule::OrbitalCount, "nquant, lquant, zeta", &expected, &found));
            }
            shells.push(*l as usize);
            start += width;
        }
        species.push(Species { label, shells, orbitals });
    }
    Ok(species)
}
