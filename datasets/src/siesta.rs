//! SIESTA runs: H and S in the binary file .HSX (`SaveHS`), the elements in .XV or .STRUCT_OUT.
//!
//! Source: SIESTA's manual (files HSX, XV, STRUCT_OUT, EIG, ORB_INDX), the record layout as sisl's documentation and a
//! real run of 5.4 show it; its .EIG and .bands are reproduced. docs/formats.md says what is read.

mod hsx;
mod records;

use std::path::{Path, PathBuf};

use num_complex::Complex64;

use crate::blocks::{Collector, Element, Orbitals};
use crate::deeph::matrix::BlockMatrix;
use crate::deeph::validate::Limits;
use crate::error::{Error, Result, Rule};
use crate::import::{Found, Imported, element_of};
use crate::orbital_order::Code;
use crate::poscar::{Poscar, determinant};
use crate::{elements, files};
use hsx::{Geometry, Hsx};

/// Rydberg in eV and Bohr in angstrom as DeepH's converters have them, so that the folders of both can be mixed: 6e-8 of an
/// energy below CODATA 2018.
const RYDBERG: f64 = 27.211_384_5 / 2.0;
const BOHR: f64 = 0.529_177_249;

/// Whether there is a file .HSX.
pub fn is_folder(folder: &Path) -> bool {
    !with_extension(folder, "HSX").is_empty()
}

fn with_extension(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is = |path: &PathBuf| path.extension().is_some_and(|e| e == extension) && path.is_file();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is).collect();
    found.sort_unstable();
    found
}

/// Reads a run. Spin: none, or collinear (a record with spin blocks uu and dd).
///
/// Errors: a file that is missing, unreadable, or contradicts itself or the others; non-collinear spin and spin-orbit
/// coupling.
pub fn read(folder: &Path, limits: &Limits) -> Result<Imported> {
    let path = match with_extension(folder, "HSX").as_slice() {
        [one] => one.clone(),
        [] => return Err(Error::Missing { path: folder.to_path_buf(), expected: "a file .HSX".into() }),
        several => {
            let found = several.len().to_string();
            return Err(Error::invalid(Rule::Format, folder, "*.HSX", "one file", found));
        }
    };
    let hsx = Hsx::read(&path, limits.max_bytes)?;
    let xv = Xv::read(&path.with_extension("XV"))?;
    let (lattice, positions) = match (&hsx.geometry, &xv) {
        (Geometry::Cells { lattice, positions, .. }, _) => (*lattice, positions.clone()),
        (Geometry::Vectors(_), Some(xv)) => (xv.lattice, xv.positions.clone()),
        (Geometry::Vectors(_), None) => {
            let expected = "a .XV file: the first version of .HSX has no structure".into();
            return Err(Error::Missing { path: path.with_extension("XV"), expected });
        }
    };
    let scaled = |v: &[f64; 3]| v.map(|x| x * BOHR);
    let lattice = [scaled(&lattice[0]), scaled(&lattice[1]), scaled(&lattice[2])];
    let positions: Vec<[f64; 3]> = positions.iter().map(scaled).collect();
    if !determinant(&lattice).is_normal() {
        let expected = "lattice vectors that span a volume";
        return Err(Error::invalid(Rule::Format, &path, "ucell", expected, format!("{lattice:?}")));
    }
    let numbers = match &xv {
        Some(xv) => Some((path.with_extension("XV"), xv.numbers.clone())),
        None => struct_out(&path.with_extension("STRUCT_OUT"))?,
    };
    let symbols = symbols(&hsx, numbers, &path)?;
    let poscar = Poscar { comment: "from a SIESTA run".into(), lattice, symbols, positions };

    // Before anything is allocated by it: the orbitals of all atoms are the rows of the matrices.
    let stated = hsx.species_of.iter().map(|species| hsx.species[*species].orbitals).fold(0, usize::saturating_add);
    if (stated, poscar.atoms()) != (hsx.numbers.len(), hsx.species_of.len()) {
        let expected = format!("{} orbitals of {} atoms", hsx.numbers.len(), hsx.species_of.len());
        let found = format!("{stated} of {}", poscar.atoms());
        return Err(Error::invalid(Rule::OrbitalCount, &path, "no_u, na_u", expected, found));
    }
    let shells: Vec<Vec<usize>> = hsx.species_of.iter().map(|species| hsx.species[*species].shells.clone()).collect();
    let orbitals = Orbitals::new(shells.iter().map(Vec::as_slice), Code::Siesta);
    let orbitals = orbitals.ok_or_else(|| {
        Error::invalid(Rule::OrbitalCount, &path, "lquant", "shells that SIESTA has", format!("{shells:?}"))
    })?;
    let cells = hsx.cells(&poscar, BOHR, &path)?;
    let overlap = collect(&hsx, &orbitals, &cells, &path, limits, 1, |s: f64| s, &[&hsx.overlap])?;
    let h: Vec<&Vec<f64>> = hsx.hamiltonian.iter().collect();
    let (hamiltonian, spinful) = match h.len() {
        1 => (collect(&hsx, &orbitals, &cells, &path, limits, 1, |x| x * RYDBERG, &h)?, false),
        _ => (collect(&hsx, &orbitals, &cells, &path, limits, 2, |x| Complex64::from(x * RYDBERG), &h)?, true),
    };
    let fermi_energy_ev = match hsx.fermi_ry {
        Some(energy) => Some(energy * RYDBERG),
        None => fermi_of_eig(&path.with_extension("EIG"))?,
    };
    let (occupation, overlap) = (Some(hsx.electrons), Some(overlap));
    Found { poscar, shells, spinful, fermi_energy_ev, occupation, hamiltonian, overlap }.record(folder, &path, limits)
}

/// Blocks of the columns of `parts`: one, or that of each spin.
///
/// Both triangles are kept as SIESTA wrote them, some 1e-8 apart.
#[allow(clippy::too_many_arguments)] // one place for both matrices and both kinds of numbers
fn collect<T: Element>(
    hsx: &Hsx,
    orbitals: &Orbitals,
    cells: &[[i64; 3]],
    path: &Path,
    limits: &Limits,
    spins: usize,
    element: impl Fn(f64) -> T,
    parts: &[&Vec<f64>],
) -> Result<BlockMatrix> {
    let mut collector = Collector::new(orbitals, spins, path, limits.max_bytes);
    for (s, part) in parts.iter().enumerate() {
        let mut k = 0;
        for (row, count) in hsx.numbers.iter().enumerate() {
            for _ in 0..*count {
                let (cell, column) = (cells[k], hsx.columns[k] % orbitals.len());
                collector.add(cell, (row, s), (column, s), element(part[k]))?;
                k += 1;
            }
        }
    }
    Ok(collector.finish())
}

/// The elements of the atoms: by the atomic numbers of a structure file, else by the labels of the species.
fn symbols(hsx: &Hsx, numbers: Option<(PathBuf, Vec<i64>)>, path: &Path) -> Result<Vec<String>> {
    let unknown = |path: &Path, k: usize, expected: &str, found: String| {
        Error::invalid(Rule::Symbol, path, format!("atom {}", k + 1), expected, found)
    };
    let Some((path, numbers)) = numbers else {
        let symbol = |(k, species): (usize, &usize)| {
            let label = &hsx.species[*species].label;
            let expected = "a species named after its element, or a file .XV or .STRUCT_OUT";
            element_of(label).map(String::from).ok_or_else(|| unknown(path, k, expected, format!("{label:?}")))
        };
        return hsx.species_of.iter().enumerate().map(symbol).collect();
    };
    if numbers.len() != hsx.species_of.len() {
        let expected = format!("the {} atoms of the .HSX file", hsx.species_of.len());
        return Err(Error::invalid(Rule::Format, &path, "file", expected, numbers.len().to_string()));
    }
    let symbol = |(k, number): (usize, &i64)| {
        let symbol = u32::try_from(*number).ok().and_then(elements::symbol).map(String::from);
        symbol.ok_or_else(|| unknown(&path, k, "the atomic number of an element", number.to_string()))
    };
    numbers.iter().enumerate().map(symbol).collect()
}

/// The structure of a run, in Bohr.
struct Xv {
    lattice: [[f64; 3]; 3],
    numbers: Vec<i64>,
    positions: Vec<[f64; 3]>,
}

impl Xv {
    /// Lattice vectors with velocities, the number of atoms, then species, atomic number, position, velocity of each;
    /// `None` where there is no such file.
    fn read(path: &Path) -> Result<Option<Self>> {
        let Some((lattice, atoms)) = structure_rows(path, "a .XV file", 6)? else { return Ok(None) };
        let lattice = std::array::from_fn(|i| std::array::from_fn(|x| lattice[i][x]));
        let numbers = atoms.iter().map(|row| row[1] as i64).collect();
        let positions = atoms.iter().map(|row| [row[2], row[3], row[4]]).collect();
        Ok(Some(Xv { lattice, numbers, positions }))
    }
}

/// The atomic numbers of a .STRUCT_OUT file.
fn struct_out(path: &Path) -> Result<Option<(PathBuf, Vec<i64>)>> {
    let rows = structure_rows(path, "a .STRUCT_OUT file", 3)?;
    Ok(rows.map(|(_, atoms)| (path.to_path_buf(), atoms.iter().map(|row| row[1] as i64).collect())))
}

type Rows = Vec<Vec<f64>>;

/// Three rows of at least `width` numbers, the number of atoms, a row of at least 5 for each atom.
fn structure_rows(path: &Path, what: &str, width: usize) -> Result<Option<(Rows, Rows)>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut rows = files::read_numbers(path, what)?;
    let atoms = rows.get(3).filter(|row| row.len() == 1).map(|row| row[0]);
    let fits = atoms == Some(rows.len() as f64 - 4.0)
        && rows[..3].iter().all(|row| row.len() >= width)
        && rows[4..].iter().all(|row| row.len() >= 5 && row[1].fract() == 0.0 && row[1].abs() < 1e6);
    if !fits || rows.len() < 5 {
        let expected = "3 lattice vectors, the number of atoms, and a line of species, atomic number and position each";
        return Err(Error::invalid(Rule::Format, path, "file", expected, format!("{} lines", rows.len())));
    }
    let atoms = rows.split_off(4);
    Ok(Some((rows, atoms)))
}

/// The Fermi energy that heads an .EIG file, eV.
fn fermi_of_eig(path: &Path) -> Result<Option<f64>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = files::read_text(path, "an .EIG file", 1 << 30)?;
    let first = text.lines().next().unwrap_or_default().trim();
    let energy = first.parse().ok().filter(|x: &f64| x.is_finite());
    energy.map(Some).ok_or_else(|| {
        let found = format!("{:?}", first.chars().take(60).collect::<String>());
        Error::invalid(Rule::Format, path, "line 1", "the Fermi energy", found)
    })
}
