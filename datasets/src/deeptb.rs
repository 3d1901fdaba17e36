//! DeePTB folders: H and S block by block in HDF5, the structure in text files.
//!
//! Source: DeePTB's documentation, "Data format", and its example Si64. docs/formats.md says what is read.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::blocks::assemble;
use crate::deeph::info::orbitals_of;
use crate::deeph::matrix::{AtomPair, BlockMatrix, Entries};
use crate::deeph::validate::Limits;
use crate::error::{Error, Result, Rule};
use crate::hdf5;
use crate::import::{Found, Imported};
use crate::poscar::{Poscar, determinant};
use crate::{elements, files};

const HAMILTONIANS: &str = "hamiltonians.h5";
const OVERLAPS: &str = "overlaps.h5";
const POSITIONS: &str = "positions.dat";
const NUMBERS: &str = "atomic_numbers.dat";
const CELL: &str = "cell.dat";
const BASIS: &str = "basis.dat";
const INFO: &str = "info.json";

/// The letters of l = 0, 1, ..
const LETTERS: &str = "spdfgh";
/// The largest number of shells of one angular momentum.
const MAX_SHELLS: usize = 100;

/// Whether this is a DeePTB folder: its H beside its own structure files.
pub fn is_folder(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    has(HAMILTONIANS) && (has(POSITIONS) || has(NUMBERS)) && !has("element.dat")
}

/// The frames that the Hamiltonian file has, in order.
///
/// Errors: those of opening it; [`Error::Invalid`] for a group that is no number.
pub fn frames(folder: &Path, limits: &Limits) -> Result<Vec<usize>> {
    let path = folder.join(HAMILTONIANS);
    let mut frames = Vec::new();
    for name in hdf5::File::open(&path, limits.max_bytes)?.groups()? {
        frames.push(name.parse().map_err(|_| {
            let cut: String = name.chars().take(60).collect();
            Error::invalid(Rule::Format, &path, "groups", "frames named by their numbers", format!("{cut:?}"))
        })?);
    }
    frames.sort_unstable();
    match frames.is_empty() {
        false => Ok(frames),
        true => Err(Error::invalid(Rule::Format, &path, "groups", "at least one frame, \"0\"", "none")),
    }
}

/// Reads one frame. A pair stored in one direction only gets the other; without an overlap file the basis is
/// orthogonal.
///
/// Errors: a file that is missing, unreadable, or contradicts itself or the others; spin-orbit coupling.
pub fn read(folder: &Path, frame: usize, limits: &Limits) -> Result<Imported> {
    let frames = frames(folder, limits)?;
    let Some(place) = frames.iter().position(|known| *known == frame) else {
        let (path, expected) = (folder.join(HAMILTONIANS), format!("one of the frames {frames:?}"));
        return Err(Error::invalid(Rule::Format, &path, "frame", expected, frame.to_string()));
    };
    let poscar = structure(folder, place, frames.len())?;
    let basis = basis(&folder.join(BASIS))?;
    let mut shells = Vec::with_capacity(poscar.atoms());
    for symbol in &poscar.symbols {
        let known = basis.iter().find(|(name, _)| name == symbol);
        shells.push(known.map(|(_, shells)| shells.clone()).ok_or_else(|| {
            let expected = format!("the basis of {symbol}, which {NUMBERS} has");
            Error::invalid(Rule::Symbol, &folder.join(BASIS), "file", expected, "none")
        })?);
    }
    let orbitals: Vec<usize> = shells.iter().map(|shells| orbitals_of(shells)).collect();
    let hamiltonian = matrix(&folder.join(HAMILTONIANS), frame, &orbitals, limits)?;
    let path = folder.join(OVERLAPS);
    let overlap = path.exists().then(|| matrix(&path, frame, &orbitals, limits)).transpose()?;
    let found = Found { poscar, shells, spinful: false, fermi_energy_ev: None, occupation: None, hamiltonian, overlap };
    found.record(folder, &folder.join(BASIS), limits)
}

/// The structure of the frame at `place` of `frames`: cell and species may be given once for all.
fn structure(folder: &Path, place: usize, frames: usize) -> Result<Poscar> {
    let fractional = fractional(&folder.join(INFO))?;
    let path = folder.join(POSITIONS);
    let rows = files::read_numbers(&path, "a positions.dat file")?;
    let atoms = rows.len() / frames;
    if atoms == 0 || rows.len() % frames != 0 || rows.iter().any(|row| row.len() != 3) {
        let expected = format!("3 numbers for every atom of {frames} frames");
        let found = format!("{} lines of {:?} numbers", rows.len(), rows.first().map(Vec::len));
        return Err(Error::invalid(Rule::Rank, &path, "file", expected, found));
    }
    let own = |row: usize| [rows[row][0], rows[row][1], rows[row][2]];
    let positions: Vec<[f64; 3]> = (place * atoms..(place + 1) * atoms).map(own).collect();

    let path = folder.join(CELL);
    let rows = files::read_numbers(&path, "a cell.dat file")?;
    let start = if rows.len() == 3 { 0 } else { 3 * place };
    if ![3, 3 * frames].contains(&rows.len()) || rows.iter().any(|row| row.len() != 3) {
        let expected = format!("3 lattice vectors as rows, once or for each of {frames} frames");
        return Err(Error::invalid(Rule::Rank, &path, "file", expected, format!("{} lines", rows.len())));
    }
    let lattice: [[f64; 3]; 3] = std::array::from_fn(|i| std::array::from_fn(|x| rows[start + i][x]));
    if !determinant(&lattice).is_normal() {
        let found = format!("{} cubic angstrom", determinant(&lattice));
        return Err(Error::invalid(Rule::Format, &path, "file", "a lattice with a volume", found));
    }

    let path = folder.join(NUMBERS);
    let all: Vec<f64> = files::read_numbers(&path, "an atomic_numbers.dat file")?.into_iter().flatten().collect();
    if ![atoms, atoms * frames].contains(&all.len()) {
        let expected = format!("an atomic number for each of the {atoms} atoms");
        return Err(Error::invalid(Rule::Rank, &path, "file", expected, format!("{}", all.len())));
    }
    let start = if all.len() == atoms { 0 } else { place * atoms };
    let mut symbols = Vec::with_capacity(atoms);
    for (k, number) in all[start..start + atoms].iter().enumerate() {
        let symbol = (number.fract() == 0.0 && (1.0..200.0).contains(number)).then_some(*number as u32);
        symbols.push(symbol.and_then(elements::symbol).map(String::from).ok_or_else(|| {
            Error::invalid(Rule::Symbol, &path, format!("atom {}", k + 1), "an atomic number", number.to_string())
        })?);
    }
    let cartesian = |v: &[f64; 3]| std::array::from_fn(|x| (0..3).map(|a| v[a] * lattice[a][x]).sum());
    let positions = if fractional { positions.iter().map(cartesian).collect() } else { positions };
    Ok(Poscar { comment: "from a DeePTB folder".into(), lattice, symbols, positions })
}

/// Whether positions are fractional: `pos_type` of `info.json`; Cartesian where there is no such file or key.
fn fractional(path: &Path) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let text = files::read_text(path, "an info.json file", 1 << 20)?;
    let value: Value =
        serde_json::from_str(&text).map_err(|e| Error::invalid(Rule::Format, path, "file", "JSON", e.to_string()))?;
    match value.get("pos_type").map(|kind| kind.as_str()) {
        None | Some(Some("cart")) => Ok(false),
        Some(Some("frac")) => Ok(true),
        Some(other) => {
            let found = format!("{:?}", other.unwrap_or("no text"));
            Err(Error::invalid(Rule::Format, path, "pos_type", "\"cart\" or \"frac\"", found))
        }
    }
}

/// The shells of each element: a Python dictionary such as {'Si': '2s2p1d'}, the number of shells before each letter.
fn basis(path: &Path) -> Result<Vec<(String, Vec<usize>)>> {
    let text = files::read_text(path, "a basis.dat file", 1 << 20)?;
    let value: Value = serde_json::from_str(&text.replace('\'', "\"")).unwrap_or(Value::Null);
    let invalid = |field: &str, found: String| {
        let expected = "a dictionary of elements such as {'Si': '2s2p1d'}, with l ascending";
        Error::invalid(Rule::Format, path, field, expected, found)
    };
    let shown = |text: &str| format!("{:?}", text.chars().take(60).collect::<String>());
    let map = value.as_object().filter(|map| !map.is_empty()).ok_or_else(|| invalid("file", shown(&text)))?;
    let mut basis = Vec::new();
    for (symbol, value) in map {
        let name = elements::atomic_number(symbol).and_then(elements::symbol);
        let name = name.ok_or_else(|| invalid("file", shown(symbol)))?;
        let shells = value.as_str().and_then(shells).ok_or_else(|| invalid(name, shown(&value.to_string())))?;
        basis.push((name.to_string(), shells));
    }
    Ok(basis)
}

/// The angular momenta of "2s2p1d": [0, 0, 1, 1, 2].
fn shells(text: &str) -> Option<Vec<usize>> {
    let (mut shells, mut digits) = (Vec::new(), String::new());
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let (l, count) = (LETTERS.find(letter)?, digits.parse::<usize>().ok()?);
        if !(1..=MAX_SHELLS).contains(&count) || shells.last().is_some_and(|last| *last >= l) {
            return None;
        }
        shells.extend(std::iter::repeat_n(l, count));
        digits.clear();
    }
    (digits.is_empty() && !shells.is_empty()).then_some(shells)
}

/// One matrix of one frame: datasets "i_j_R1_R2_R3", atoms from 0, or from 1 when there is no "0_0_0_0_0".
fn matrix(path: &Path, frame: usize, orbitals: &[usize], limits: &Limits) -> Result<BlockMatrix> {
    let file = hdf5::File::open(path, limits.max_bytes)?;
    let group = frame.to_string();
    let names = file.names_in(&group)?;
    let first = if names.iter().any(|name| name == "0_0_0_0_0") { 0 } else { 1 };
    let mut blocks: BTreeMap<AtomPair, Vec<f64>> = BTreeMap::new();
    for name in &names {
        let field = format!("{group}/{}", name.chars().take(60).collect::<String>());
        let pair = pair(name, first, orbitals.len()).ok_or_else(|| {
            let expected =
                format!("a name i_j_R1_R2_R3 with atoms from {first} to {}", orbitals.len() as i64 + first - 1);
            Error::invalid(Rule::AtomIndex, path, &field, expected, "another name")
        })?;
        let expected = [orbitals[pair[3] as usize], orbitals[pair[4] as usize]]; // in range: checked with the name
        let full = format!("{group}/{name}");
        let dataset = file.dataset(&full)?;
        if dataset.shape != expected {
            let expected = format!("shape {expected:?}, the orbitals of the two atoms in {BASIS}");
            return Err(Error::invalid(Rule::OrbitalCount, path, &field, expected, format!("{:?}", dataset.shape)));
        }
        let Entries::Real(block) = dataset.elements()? else {
            let expected = "real numbers: spin-orbit coupling of this format is not supported";
            return Err(Error::invalid(Rule::Dtype, path, &field, expected, "complex numbers"));
        };
        if !block.iter().all(|x| x.is_finite()) {
            return Err(Error::invalid(Rule::NotFinite, path, &field, "finite numbers", "NaN or infinity"));
        }
        if blocks.insert(pair, block).is_some() {
            return Err(Error::invalid(Rule::DuplicatePair, path, &field, "every ordered pair once", "it twice"));
        }
    }
    Ok(assemble(blocks, orbitals))
}

/// The pair of a dataset's name; `None` when it is none of this structure.
fn pair(name: &str, first: i64, atoms: usize) -> Option<AtomPair> {
    let numbers: Vec<i64> = name.split('_').map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let [i, j, cell @ ..] = numbers.as_slice() else { return None };
    let [a, b, c] = *cell else { return None };
    let atom = |n: &i64| n.checked_sub(first).filter(|n| (0..atoms as i64).contains(n));
    let near = [a, b, c].iter().all(|r| r.unsigned_abs() <= i32::MAX as u64);
    near.then_some([a, b, c, atom(i)?, atom(j)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_of_a_basis() {
        assert_eq!(shells("2s2p1d").unwrap(), [0, 0, 1, 1, 2]);
        for bad in ["", "s", "2s1", "1p1s", "1s1s", "2x", "0s", "999999999999s"] {
            assert_eq!(shells(bad), None, "{bad}");
        }
    }

    #[test]
    fn pairs_of_names() {
        assert_eq!(pair("0_1_-1_0_2", 0, 2), Some([-1, 0, 2, 0, 1]));
        assert_eq!(pair("1_2_0_0_0", 1, 2), Some([0, 0, 0, 0, 1]));
        for bad in ["", "0_1_0_0", "0_1_0_0_0_0", "0_2_0_0_0", "-1_0_0_0_0", "0_0_99999999999_0_0", "a_0_0_0_0"] {
            assert_eq!(pair(bad, 0, 2), None, "{bad}");
        }
    }
}
