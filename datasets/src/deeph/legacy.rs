//! The legacy DeepH layout (deephpack, DeepH-E3, all public sets), read into the unified conventions and written.
//!
//! Here lattice and positions are columns, pairs are dataset names "[R1, R2, R3, i, j]" with atoms from 1, and shells
//! are in OpenMX's order (`orbital_order`).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::info::{Info, Keys, orbitals_of};
use super::matrix::{AtomPair, BlockMatrix, Entries};
use super::validate::Limits;
use super::{ReadOptions, Record, consistent};
use crate::error::{Error, Result, Rule};
use crate::hdf5::{self, Column, Values};
use crate::orbital_order::openmx_order;
use crate::poscar::{Poscar, determinant};
use crate::{elements, files};

pub(super) const ELEMENTS: &str = "element.dat";
pub(super) const OVERLAPS: &str = "overlaps.h5";
pub(super) const HAMILTONIANS: &str = "hamiltonians.h5";
const ORBITALS: &str = "orbital_types.dat";
const LATTICE: &str = "lat.dat";
const RECIPROCAL: &str = "rlat.dat";
const POSITIONS: &str = "site_positions.dat";
const INFO: &str = "info.json";

/// The largest info.json that is read: 256 MiB.
const MAX_TEXT: u64 = 256 << 20;

/// Reads a folder. Atoms keep their order; pairs come sorted, for the names in the file have no order of their own.
///
/// Errors: a file that `options` asks for is missing, unreadable, or contradicts itself or the others.
pub fn read(folder: &Path, options: &ReadOptions, limits: &Limits) -> Result<Record> {
    let (poscar, info) = read_structure(folder)?;
    let orders = orders(&poscar, &info, &folder.join(ORBITALS))?;
    let matrix = |name: &str, spinful: bool| -> Result<BlockMatrix> {
        let path = folder.join(name);
        let matrix = read_matrix(&path, &orders, spinful, limits)?;
        consistent::matrix(&matrix, &info, &poscar, spinful, &path)?;
        Ok(matrix)
    };
    let overlap = options.overlap && (!info.orthogonal_basis || folder.join(OVERLAPS).exists());
    // An orthogonal basis needs no overlap file.
    let overlap = overlap.then(|| matrix(OVERLAPS, false)).transpose()?;
    let hamiltonian = options.hamiltonian.then(|| matrix(HAMILTONIANS, info.spinful)).transpose()?;
    Ok(Record { id: super::id_of(folder), path: folder.to_path_buf(), poscar, info, overlap, hamiltonian })
}

fn read_structure(folder: &Path) -> Result<(Poscar, Info)> {
    let path = folder.join(ELEMENTS);
    let mut symbols = Vec::new();
    for (k, row) in files::read_numbers(&path, "an element.dat file")?.into_iter().flatten().enumerate() {
        let symbol = (row.fract() == 0.0 && (1.0..200.0).contains(&row)).then_some(row as u32);
        let symbol = symbol.and_then(elements::symbol).ok_or_else(|| {
            Error::invalid(Rule::Symbol, &path, format!("atom {}", k + 1), "an atomic number", row.to_string())
        })?;
        symbols.push(symbol.to_string());
    }
    let n = symbols.len();
    if n == 0 {
        return Err(Error::invalid(Rule::Format, &path, "file", "at least one atom", "none"));
    }

    let columns = columns(&folder.join(LATTICE), 3, "the 3 lattice vectors as columns")?;
    let lattice = [columns[0], columns[1], columns[2]];
    if !determinant(&lattice).is_normal() {
        let found = format!("{} cubic angstrom", determinant(&lattice));
        return Err(Error::invalid(Rule::Format, &folder.join(LATTICE), "file", "a lattice with a volume", found));
    }
    let positions = self::columns(&folder.join(POSITIONS), n, "the positions of all atoms as columns")?;

    let path = folder.join(ORBITALS);
    let rows = files::read_numbers(&path, "an orbital_types.dat file")?;
    if rows.len() != n {
        let expected = format!("a line for each of the {n} atoms");
        return Err(Error::invalid(Rule::OrbitalCount, &path, "file", expected, format!("{} lines", rows.len())));
    }
    let mut map: Vec<(String, Vec<usize>)> = Vec::new();
    for (k, (symbol, row)) in symbols.iter().zip(rows).enumerate() {
        let field = format!("line {}", k + 1);
        let shells: Option<Vec<usize>> =
            row.iter().map(|l| [0.0, 1.0, 2.0, 3.0].contains(l).then_some(*l as usize)).collect();
        let shells = shells.ok_or_else(|| {
            Error::invalid(Rule::Format, &path, &field, "angular momenta from 0 to 3", format!("{row:?}"))
        })?;
        match map.iter().find(|(s, _)| s == symbol) {
            None => map.push((symbol.clone(), shells)),
            Some((_, known)) if *known == shells => {}
            Some((_, known)) => {
                let expected = format!("the shells {known:?} of the first {symbol}");
                return Err(Error::invalid(Rule::OrbitalCount, &path, field, expected, format!("{shells:?}")));
            }
        }
    }

    let path = folder.join(INFO);
    let text = files::read_text(&path, "an info.json file", MAX_TEXT)?;
    let mut keys = Keys::parse(&text, &path)?;
    let orbitals = |s: &String| map.iter().find(|(name, _)| name == s).map_or(0, |(_, shells)| orbitals_of(shells));
    let info = Info {
        atoms_quantity: n,
        orbits_quantity: symbols.iter().map(orbitals).sum(),
        orthogonal_basis: keys.optional("isorthogonal", "true or false", serde_json::Value::as_bool)?.unwrap_or(false),
        spinful: keys.required("isspinful", "true or false", serde_json::Value::as_bool)?,
        fermi_energy_ev: keys.optional("fermi_level", "a number or null", serde_json::Value::as_f64)?,
        occupation: None,
        elements_orbital_map: map,
        other: {
            let stated = keys.optional("nsites", "the number of atoms", serde_json::Value::as_u64)?;
            if let Some(stated) = stated.filter(|stated| *stated != n as u64) {
                let expected = format!("{n}, the number of atoms in {ELEMENTS}");
                return Err(Error::invalid(Rule::Format, &path, "nsites", expected, stated.to_string()));
            }
            keys.map
        },
    };
    let comment = "from a legacy DeepH folder".to_string();
    Ok((Poscar { comment, lattice, symbols, positions }, info))
}

/// The order of the orbitals of every atom.
fn orders(poscar: &Poscar, info: &Info, path: &Path) -> Result<Vec<Vec<usize>>> {
    let order = |symbol: &String| {
        info.shells(symbol).and_then(openmx_order).ok_or_else(|| {
            let expected = format!("shells of {symbol} up to f, the last of OpenMX");
            Error::invalid(Rule::OrbitalCount, path, "file", expected, format!("{:?}", info.shells(symbol)))
        })
    };
    poscar.symbols.iter().map(order).collect()
}

fn read_matrix(path: &Path, orders: &[Vec<usize>], spinful: bool, limits: &Limits) -> Result<BlockMatrix> {
    let file = hdf5::File::open(path, limits.max_bytes)?;
    let mut names: BTreeMap<AtomPair, String> = BTreeMap::new();
    for name in file.names()? {
        let cut: String = name.chars().take(60).collect();
        let key: Option<AtomPair> = serde_json::from_str(&name).ok();
        let fits = |key: &AtomPair| {
            let [r @ .., i, j] = key;
            let atom = |i: &i64| (1..=orders.len() as i64).contains(i);
            atom(i) && atom(j) && r.iter().all(|r| r.abs_diff(0) <= i32::MAX as u64)
        };
        let Some([a, b, c, i, j]) = key.filter(fits) else {
            let expected = format!("a name \"[R1, R2, R3, i, j]\" with atoms from 1 to {}", orders.len());
            return Err(Error::invalid(Rule::AtomIndex, path, cut.clone(), expected, format!("{cut:?}")));
        };
        if names.insert([a, b, c, i - 1, j - 1], name).is_some() {
            return Err(Error::invalid(Rule::DuplicatePair, path, cut, "every ordered pair once", "it twice"));
        }
    }
    // Spin is the outer index of a block.
    let spins = if spinful { 2 } else { 1 };
    let with_spin =
        |order: &Vec<usize>| (0..spins).flat_map(|s| order.iter().map(move |k| s * order.len() + k)).collect();
    let orders: Vec<Vec<usize>> = orders.iter().map(with_spin).collect();
    let order = |atom: i64| orders[usize::try_from(atom).unwrap_or(0)].as_slice(); // in range: checked with the name
    let shapes: Vec<[usize; 2]> = names.keys().map(|pair| [order(pair[3]).len(), order(pair[4]).len()]).collect();
    // The whole at once, so that it never exists twice while it grows; but not more than the file can hold.
    let total = shapes.iter().fold(0_usize, |total, [r, c]| total.saturating_add(r.saturating_mul(*c)));
    let room = |bytes: usize| total.min(usize::try_from(file.bytes()).unwrap_or(0) / bytes);
    let mut entries = match spinful {
        false => Entries::Real(Vec::with_capacity(room(8))),
        true => Entries::Complex(Vec::with_capacity(room(16))),
    };
    for ((pair, name), expected) in names.iter().zip(&shapes) {
        let dataset = file.dataset(name)?;
        if dataset.shape != expected {
            let rule = if dataset.shape.len() == 2 { Rule::OrbitalCount } else { Rule::Rank };
            let wanted = format!("shape {expected:?}, the orbitals of the two atoms");
            return Err(Error::invalid(rule, path, name, wanted, format!("{:?}", dataset.shape)));
        }
        let (rows, columns) = (order(pair[3]), order(pair[4]));
        let places = rows.iter().flat_map(|r| columns.iter().map(move |c| r * columns.len() + c));
        match (&mut entries, &dataset.elements()?) {
            (Entries::Real(all), Entries::Real(block)) => all.extend(places.map(|k| block[k])),
            (Entries::Complex(all), Entries::Complex(block)) => all.extend(places.map(|k| block[k])),
            _ => {
                let kind = if spinful { "complex numbers (isspinful is true)" } else { "real numbers" };
                return Err(Error::invalid(Rule::Dtype, path, name, kind, dataset.kind.to_string()));
            }
        }
    }
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    Ok(BlockMatrix { pairs: names.into_keys().collect(), shapes, boundaries, entries })
}

/// Writes a structure in the legacy layout; a new folder appears whole or not at all.
///
/// Errors: [`Error::Invalid`] for shells beyond f or arrays that contradict each other, and those of writing.
pub fn write(record: &Record, folder: &Path) -> Result<()> {
    let (poscar, info) = (&record.poscar, &record.info);
    consistent::record(record, folder, OVERLAPS, HAMILTONIANS)?;
    let orders = orders(poscar, info, &folder.join(ORBITALS))?;
    let matrices = [(OVERLAPS, &record.overlap, false), (HAMILTONIANS, &record.hamiltonian, info.spinful)];
    let text = |name: &str, folder: &Path, lines: Vec<String>| {
        files::write_atomic(&folder.join(name), |w| lines.iter().try_for_each(|line| writeln!(w, "{line}")))
    };
    let fill = |folder: &Path| -> Result<()> {
        for (name, matrix, spinful) in matrices {
            if let Some(matrix) = matrix {
                hdf5::write(&folder.join(name), &blocks(matrix, &orders, spinful))?;
            }
        }
        let number = |s: &String| elements::atomic_number(s).map_or(String::new(), |z| z.to_string());
        text(ELEMENTS, folder, poscar.symbols.iter().map(number).collect())?;
        let shells = |s: &String| info.shells(s).unwrap_or_default().iter().map(usize::to_string).collect::<Vec<_>>();
        text(ORBITALS, folder, poscar.symbols.iter().map(|s| shells(s).join("  ")).collect())?;
        text(LATTICE, folder, transposed(&poscar.lattice))?;
        text(RECIPROCAL, folder, transposed(&reciprocal(&poscar.lattice)))?;
        text(POSITIONS, folder, transposed(&poscar.positions))?;
        let mut keys = json!({"nsites": info.atoms_quantity, "isorthogonal": info.orthogonal_basis,
            "isspinful": info.spinful, "fermi_level": info.fermi_energy_ev});
        if let Some(map) = keys.as_object_mut() {
            map.extend(info.other.clone());
        }
        text(INFO, folder, vec![keys.to_string()])
    };
    match fs::exists(folder).map_err(Error::io(folder, "write"))? {
        true => fill(folder),
        false => files::write_folder_atomic(folder, fill),
    }
}

/// One dataset per block, in OpenMX's order.
fn blocks(matrix: &BlockMatrix, orders: &[Vec<usize>], spinful: bool) -> Vec<Column> {
    let spins = if spinful { 2 } else { 1 };
    let place = |atom: i64, orbital: usize| {
        let order = &orders[usize::try_from(atom).unwrap_or(0)]; // in range: the record is consistent
        order[orbital % order.len()] + orbital / order.len() * order.len()
    };
    let column = |(k, pair): (usize, &AtomPair)| {
        let [rows, columns] = matrix.shapes[k];
        debug_assert!(rows % spins == 0 && columns % spins == 0);
        let start = matrix.boundaries[k];
        let targets = (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c)));
        let targets = targets.map(|(r, c)| place(pair[3], r) * columns + place(pair[4], c)).enumerate();
        let values = match &matrix.entries {
            Entries::Real(values) => {
                let mut block = vec![0.0; rows * columns];
                targets.for_each(|(here, there)| block[there] = values[start + here]);
                Values::Real(block)
            }
            Entries::Complex(values) => {
                let mut block = vec![num_complex::Complex64::ZERO; rows * columns];
                targets.for_each(|(here, there)| block[there] = values[start + here]);
                Values::Complex(block)
            }
        };
        let [a, b, c, i, j] = pair;
        Column::new(format!("[{a}, {b}, {c}, {}, {}]", i + 1, j + 1), [rows, columns], values)
    };
    matrix.pairs.iter().enumerate().map(column).collect()
}

/// Rows of a text of columns.
fn transposed(vectors: &[[f64; 3]]) -> Vec<String> {
    (0..3).map(|x| vectors.iter().map(|v| format!("{:?}", v[x])).collect::<Vec<_>>().join(" ")).collect()
}

/// 2 pi times the inverse transpose: rows b_i with a_i . b_j = 2 pi delta_ij.
fn reciprocal(a: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let cross =
        |u: &[f64; 3], v: &[f64; 3]| [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    let scale = std::f64::consts::TAU / determinant(a);
    std::array::from_fn(|i| cross(&a[(i + 1) % 3], &a[(i + 2) % 3]).map(|x| x * scale))
}

/// `n` vectors stored as columns; a single vector may lie on one line.
fn columns(path: &Path, n: usize, what: &str) -> Result<Vec<[f64; 3]>> {
    let rows = files::read_numbers(path, what)?;
    if let (1, [row]) = (n, rows.as_slice())
        && let [x, y, z] = row[..]
    {
        return Ok(vec![[x, y, z]]);
    }
    if rows.len() != 3 || rows.iter().any(|row| row.len() != n) {
        let found =
            format!("{} lines of {:?} numbers", rows.len(), rows.iter().map(Vec::len).take(4).collect::<Vec<_>>());
        return Err(Error::invalid(Rule::Rank, path, "file", format!("{what}: 3 lines of {n} numbers"), found));
    }
    Ok((0..n).map(|k| [rows[0][k], rows[1][k], rows[2][k]]).collect())
}
