//! The unified DeepH layout (DeepH-pack, DeepH-dock): POSCAR, info.json, overlap.h5, hamiltonian.h5.
//!
//! A matrix file has `atom_pairs` [P, 5], `chunk_shapes` [P, 2], `chunk_boundaries` [P + 1] (integers) and `entries`
//! (real or complex). The reader refuses arrays that contradict each other before it uses any of them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::consistent;
use super::info::Info;
use super::matrix::{AtomPair, BlockMatrix, Entries};
use super::validate::Limits;
use super::{ReadOptions, Record};
use crate::error::{Error, Result, Rule};
use crate::files;
use crate::hdf5::{self, Column, Values};
use crate::poscar::Poscar;

/// The number of bytes in which `entries` are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// float64 or complex128: what DFT codes write.
    F64,
    /// float32 or complex64: what DeepH writes for predictions.
    F32,
}

/// Names of the files of a structure.
pub(super) const POSCAR: &str = "POSCAR";
pub(super) const INFO: &str = "info.json";
pub(super) const OVERLAP: &str = "overlap.h5";
pub(super) const HAMILTONIAN: &str = "hamiltonian.h5";

/// Cells farther than this from the home cell are no crystal's; the bound also keeps `-R` representable.
const MAX_CELL: i64 = i32::MAX as i64;

/// Reads a folder; nothing is reordered.
///
/// Errors: a file that `options` asks for is missing, unreadable, or contradicts itself or the others.
pub fn read(folder: &Path, options: &ReadOptions, limits: &Limits) -> Result<Record> {
    let poscar = Poscar::read(&folder.join(POSCAR))?;
    let info = Info::read(&folder.join(INFO))?;
    consistent::totals(&info, &poscar, folder)?;
    let matrix = |name: &str, spinful: bool| -> Result<BlockMatrix> {
        let path = folder.join(name);
        let matrix = read_matrix_limited(&path, limits)?;
        consistent::matrix(&matrix, &info, &poscar, spinful, &path)?;
        Ok(matrix)
    };
    // An orthogonal basis needs no overlap file.
    let overlap = options.overlap && (!info.orthogonal_basis || folder.join(OVERLAP).exists());
    let overlap = overlap.then(|| matrix(OVERLAP, false)).transpose()?;
    let hamiltonian = options.hamiltonian.then(|| matrix(HAMILTONIAN, info.spinful)).transpose()?;
    Ok(Record { id: super::id_of(folder), path: folder.to_path_buf(), poscar, info, overlap, hamiltonian })
}

/// Reads one matrix file (`overlap.h5`, `hamiltonian.h5`, `hamiltonian_pred.h5`, ..) by default [`Limits`].
///
/// Errors: rank, dtype, boundaries, sizes, cell indices. Atom indices and block shapes are checked against a
/// structure, by [`read`].
pub fn read_matrix(path: &Path) -> Result<BlockMatrix> {
    read_matrix_limited(path, &Limits::default())
}

/// [`read_matrix`] with chosen limits.
pub fn read_matrix_limited(path: &Path, limits: &Limits) -> Result<BlockMatrix> {
    let file = hdf5::File::open(path, limits.max_bytes)?;
    let invalid =
        |rule, field: &str, expected: String, found: String| Error::invalid(rule, path, field, expected, found);
    // All headers first: a wrong rank or type is told before anything large is read.
    let rank = |field: &str, expected: &str, fits: &dyn Fn(&[usize]) -> bool| -> Result<Vec<usize>> {
        let (shape, _) = file.header(field)?;
        match fits(&shape) {
            true => Ok(shape),
            false => Err(invalid(Rule::Rank, field, format!("shape {expected}"), format!("{shape:?}"))),
        }
    };
    let pairs = rank("atom_pairs", "[P, 5]", &|s| s.len() == 2 && s[1] == 5)?[0];
    rank("chunk_shapes", &format!("[{pairs}, 2]"), &|s| s == [pairs, 2])?;
    rank("chunk_boundaries", &format!("[{}]", pairs + 1), &|s| s == [pairs + 1])?;
    let elements = rank("entries", "[M]", &|s| s.len() == 1)?[0];

    let (_, flat) = file.integers("atom_pairs")?;
    let pairs: Vec<AtomPair> = flat.as_chunks::<5>().0.to_vec();
    for (k, [a, b, c, i, j]) in pairs.iter().enumerate() {
        if [a, b, c].into_iter().any(|r| r.abs_diff(0) > MAX_CELL as u64) || *i < 0 || *j < 0 {
            let expected = "cell indices of a crystal and atom indices from 0";
            return Err(invalid(
                Rule::AtomIndex,
                &format!("atom_pairs[{k}]"),
                expected.into(),
                format!("{:?}", pairs[k]),
            ));
        }
    }

    let (_, flat) = file.integers("chunk_shapes")?;
    let (_, boundaries) = file.integers("chunk_boundaries")?;
    let mut shapes: Vec<[usize; 2]> = Vec::with_capacity(pairs.len());
    let mut end = 0_usize;
    let boundary = |k: usize, expected: usize| match boundaries.get(k) {
        Some(found) if usize::try_from(*found) == Ok(expected) => Ok(()),
        found => {
            let found = found.map_or("nothing".to_string(), |b| b.to_string());
            Err(invalid(Rule::Boundaries, &format!("chunk_boundaries[{k}]"), expected.to_string(), found))
        }
    };
    boundary(0, 0)?;
    for (k, [rows, columns]) in flat.as_chunks::<2>().0.iter().enumerate() {
        let positive = |n: i64| usize::try_from(n).ok().filter(|n| *n > 0);
        let block = positive(*rows).zip(positive(*columns));
        let size =
            block.and_then(|(r, c)| r.checked_mul(c)).and_then(|n| n.checked_add(end)).filter(|n| *n <= elements);
        let (Some((rows, columns)), Some(next)) = (block, size) else {
            let expected = format!("a positive shape whose block ends within the {elements} entries");
            let found = format!("[{rows}, {columns}] at {end}");
            return Err(invalid(Rule::Boundaries, &format!("chunk_shapes[{k}]"), expected, found));
        };
        end = next;
        boundary(k + 1, end)?;
        shapes.push([rows, columns]);
    }
    if end != elements {
        return Err(invalid(Rule::Boundaries, "entries", format!("{end} elements"), elements.to_string()));
    }
    let (_, entries) = file.elements("entries")?;
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    Ok(BlockMatrix { pairs, shapes, boundaries, entries })
}

/// Writes one matrix file, whole or not at all, pairs in the order given.
pub fn write_matrix(path: &Path, matrix: &BlockMatrix, precision: Precision) -> Result<()> {
    // Nothing in memory is beyond i64, except by a caller's mistake that the reader would then refuse.
    let integer = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let p = matrix.pairs.len();
    let entries = match (&matrix.entries, precision) {
        (Entries::Real(values), Precision::F64) => Values::Real(values.clone()),
        (Entries::Real(values), Precision::F32) => Values::Real32(values.iter().map(|x| *x as f32).collect()),
        (Entries::Complex(values), Precision::F64) => Values::Complex(values.clone()),
        (Entries::Complex(values), Precision::F32) => Values::Complex32(values.clone()),
    };
    let integers = Values::Integer;
    let columns = [
        Column::new("atom_pairs", [p, 5], integers(matrix.pairs.iter().flatten().copied().collect())),
        Column::new("chunk_boundaries", [p + 1], integers(matrix.boundaries.iter().map(|n| integer(*n)).collect())),
        Column::new("chunk_shapes", [p, 2], integers(matrix.shapes.iter().flatten().map(|n| integer(*n)).collect())),
        Column::new("entries", [matrix.entries.len()], entries),
    ];
    hdf5::write(path, &columns)
}

/// Writes a structure: POSCAR, info.json and the matrices that the record has, in double precision.
///
/// Atoms are regrouped by element (first appearance first, as the layout's own tools do) and pairs sorted. A new
/// folder appears whole or not at all; in an existing one each file is replaced by itself.
/// Errors: [`Error::Invalid`] for arrays that contradict each other, and those of writing.
pub fn write(record: &Record, folder: &Path) -> Result<()> {
    consistent::record(record, folder, OVERLAP, HAMILTONIAN)?;
    let record = regrouped(record);
    let fill = |folder: &Path| -> Result<()> {
        for (name, matrix) in [(OVERLAP, &record.overlap), (HAMILTONIAN, &record.hamiltonian)] {
            if let Some(matrix) = matrix {
                write_matrix(&folder.join(name), matrix, Precision::F64)?;
            }
        }
        record.info.write(&folder.join(INFO))?;
        record.poscar.write(&folder.join(POSCAR))
    };
    match fs::exists(folder).map_err(Error::io(folder, "write"))? {
        true => fill(folder),
        false => files::write_folder_atomic(folder, fill),
    }
}

/// The record with atoms grouped by element and pairs in lexicographic order; H and S keep their meaning.
/// For records whose arrays agree, as those of every reader do.
pub fn regrouped(record: &Record) -> Record {
    let symbols = &record.poscar.symbols;
    let mut groups: Vec<&String> = Vec::new();
    let mut rank = HashMap::new();
    for symbol in symbols {
        rank.entry(symbol).or_insert_with(|| {
            groups.push(symbol);
            groups.len()
        });
    }
    let mut order: Vec<usize> = (0..symbols.len()).collect();
    order.sort_by_key(|atom| rank.get(&symbols[*atom])); // stable: equal elements keep their order
    let mut place = vec![0_i64; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new as i64;
    }
    let atom = |i: i64| usize::try_from(i).ok().and_then(|i| place.get(i).copied()).unwrap_or(i);
    let matrix = |matrix: &BlockMatrix| {
        let pairs = matrix.pairs.iter().map(|&[a, b, c, i, j]| [a, b, c, atom(i), atom(j)]).collect();
        sorted(&BlockMatrix { pairs, ..matrix.clone() })
    };
    let mut poscar = record.poscar.clone();
    poscar.symbols = order.iter().map(|i| symbols[*i].clone()).collect();
    poscar.positions = order.iter().map(|i| record.poscar.positions[*i]).collect();
    Record {
        id: record.id.clone(),
        path: record.path.clone(),
        poscar,
        info: record.info.clone(),
        overlap: record.overlap.as_ref().map(matrix),
        hamiltonian: record.hamiltonian.as_ref().map(matrix),
    }
}

/// The same operator with its pairs in lexicographic order; for a matrix whose arrays agree.
pub fn sorted(matrix: &BlockMatrix) -> BlockMatrix {
    let mut order: Vec<usize> = (0..matrix.pairs.len()).collect();
    order.sort_by_key(|k| matrix.pairs[*k]);
    let entries = match &matrix.entries {
        Entries::Real(values) => Entries::Real(gather_blocks(matrix, &order, values)),
        Entries::Complex(values) => Entries::Complex(gather_blocks(matrix, &order, values)),
    };
    let shapes: Vec<[usize; 2]> = order.iter().map(|k| matrix.shapes[*k]).collect();
    let pairs = order.iter().map(|k| matrix.pairs[*k]).collect();
    BlockMatrix { pairs, boundaries: BlockMatrix::boundaries_of(&shapes), shapes, entries }
}

fn gather_blocks<T: Copy>(matrix: &BlockMatrix, order: &[usize], values: &[T]) -> Vec<T> {
    let b = &matrix.boundaries;
    order.iter().flat_map(|k| values[b[*k]..b[*k + 1]].iter().copied()).collect()
}
