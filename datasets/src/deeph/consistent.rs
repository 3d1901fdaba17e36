//! Rules that tie matrices, structure and orbitals together; whoever indexes by them has checked them first.

use std::path::Path;

use super::Record;
use super::info::Info;
use super::matrix::{BlockMatrix, Entries};
use super::unified::INFO;
use crate::error::{Error, Result, Rule};
use crate::poscar::Poscar;

/// The totals of `info.json` against the structure, and every element known.
pub(super) fn totals(info: &Info, poscar: &Poscar, folder: &Path) -> Result<()> {
    let path = folder.join(INFO);
    let atoms = poscar.symbols.len();
    if info.atoms_quantity != atoms || poscar.positions.len() != atoms {
        let expected = format!("{atoms}, the number of atoms in POSCAR");
        return Err(Error::invalid(Rule::Format, &path, "atoms_quantity", expected, info.atoms_quantity.to_string()));
    }
    let mut orbitals = 0;
    for symbol in &poscar.symbols {
        let Some(count) = info.orbitals(symbol) else {
            let known: Vec<&str> = info.elements_orbital_map.iter().map(|(s, _)| s.as_str()).collect();
            let expected = format!("the shells of {symbol}, which POSCAR has");
            let found = format!("those of {} only", known.join(", "));
            return Err(Error::invalid(Rule::Symbol, &path, "elements_orbital_map", expected, found));
        };
        orbitals += count;
    }
    if info.orbits_quantity != orbitals {
        let expected = format!("{orbitals}, which follows from elements_orbital_map");
        let found = info.orbits_quantity.to_string();
        return Err(Error::invalid(Rule::OrbitalCount, &path, "orbits_quantity", expected, found));
    }
    Ok(())
}

/// A matrix against its structure: element type, atom indices, block shapes, and its own arrays.
/// `spinful` is whether this matrix has spin blocks; an overlap never has.
pub(super) fn matrix(matrix: &BlockMatrix, info: &Info, poscar: &Poscar, spinful: bool, path: &Path) -> Result<()> {
    let invalid =
        |rule, field: String, expected: String, found: String| Error::invalid(rule, path, field, expected, found);
    let complex = matches!(matrix.entries, Entries::Complex(_));
    if complex != spinful {
        let name = |complex: bool| if complex { "complex numbers" } else { "real numbers" };
        let expected = format!("{} (spinful is {})", name(spinful), info.spinful);
        return Err(invalid(Rule::Dtype, "entries".into(), expected, name(complex).into()));
    }
    if matrix.shapes.len() != matrix.pairs.len() {
        let (p, found) = (matrix.pairs.len(), matrix.shapes.len());
        return Err(invalid(Rule::Rank, "chunk_shapes".into(), format!("{p} shapes"), found.to_string()));
    }
    let spins = if spinful { 2 } else { 1 };
    let orbitals: Vec<usize> = poscar.symbols.iter().map(|s| spins * info.orbitals(s).unwrap_or(0)).collect();
    for (k, pair) in matrix.pairs.iter().enumerate() {
        let count = |i: i64| usize::try_from(i).ok().and_then(|i| orbitals.get(i).copied());
        let (Some(rows), Some(columns)) = (count(pair[3]), count(pair[4])) else {
            let expected = format!("atom indices from 0 to {}", orbitals.len().saturating_sub(1));
            return Err(invalid(Rule::AtomIndex, format!("atom_pairs[{k}]"), expected, format!("{pair:?}")));
        };
        if matrix.shapes[k] != [rows, columns] {
            let symbol =
                |i: i64| usize::try_from(i).ok().and_then(|i| poscar.symbols.get(i)).map_or("?", |s| s.as_str());
            let expected = format!("[{rows}, {columns}], the orbitals of {}-{}", symbol(pair[3]), symbol(pair[4]));
            let found = format!("{:?}", matrix.shapes[k]);
            return Err(invalid(Rule::OrbitalCount, format!("chunk_shapes[{k}]"), expected, found));
        }
    }
    // Safe to multiply now: every shape is that of two known elements.
    if matrix.boundaries != BlockMatrix::boundaries_of(&matrix.shapes) {
        let expected = "the running sum of the block sizes".into();
        return Err(invalid(Rule::Boundaries, "chunk_boundaries".into(), expected, "something else".into()));
    }
    let elements = matrix.boundaries.last().copied().unwrap_or(0);
    if elements != matrix.entries.len() {
        let found = matrix.entries.len().to_string();
        return Err(invalid(Rule::Boundaries, "entries".into(), format!("{elements} elements"), found));
    }
    Ok(())
}

/// A whole record, before it is written as these files of `folder`.
pub(super) fn record(record: &Record, folder: &Path, overlap: &str, hamiltonian: &str) -> Result<()> {
    totals(&record.info, &record.poscar, folder)?;
    let matrices = [(overlap, &record.overlap, false), (hamiltonian, &record.hamiltonian, record.info.spinful)];
    for (name, values, spinful) in matrices {
        if let Some(values) = values {
            matrix(values, &record.info, &record.poscar, spinful, &folder.join(name))?;
        }
    }
    Ok(())
}
