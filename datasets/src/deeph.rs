//! DeepH folders: one structure with its overlap and Hamiltonian, in the unified or the legacy layout.
//!
//! Modules in order, each using only those before it: `band_file`, `matrix`, `info`, `consistent`, `unified`,
//! `legacy`, `validate`. Formats: docs/formats.md.

pub mod band_file;
mod consistent;
pub mod info;
pub mod legacy;
pub mod matrix;
pub mod unified;
pub mod validate;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::poscar::Poscar;
use info::Info;
use matrix::BlockMatrix;
use validate::{Limits, Severity};

/// One structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The name of its folder.
    pub id: String,
    /// Its folder.
    pub path: PathBuf,
    /// Lattice, elements, positions.
    pub poscar: Poscar,
    /// Orbitals, spin, Fermi energy.
    pub info: Info,
    /// S, if it was asked for; real, without spin blocks.
    pub overlap: Option<BlockMatrix>,
    /// H in eV, if it was asked for; complex with spin blocks when `info.spinful`.
    pub hamiltonian: Option<BlockMatrix>,
}

/// What to read. A matrix that is asked for must be there (but an orthogonal basis needs no overlap).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Read S.
    pub overlap: bool,
    /// Read H.
    pub hamiltonian: bool,
    /// Run [`validate`](validate::validate) and fail when it finds an error.
    pub validate: bool,
}

/// Everything, validated.
impl Default for ReadOptions {
    fn default() -> Self {
        ReadOptions { overlap: true, hamiltonian: true, validate: true }
    }
}

impl ReadOptions {
    /// Reads the matrices that the folder has, validated.
    pub fn present(folder: &Path) -> Self {
        let has = |names: [&str; 2]| names.iter().any(|name| folder.join(name).exists());
        ReadOptions {
            overlap: has([unified::OVERLAP, legacy::OVERLAPS]),
            hamiltonian: has([unified::HAMILTONIAN, legacy::HAMILTONIANS]),
            validate: true,
        }
    }
}

/// The two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// POSCAR, overlap.h5, hamiltonian.h5.
    Unified,
    /// element.dat, overlaps.h5, hamiltonians.h5.
    Legacy,
}

/// The layout of a folder, by the files it has; `None` when it is no structure. A broken structure still is one.
pub fn layout(folder: &Path) -> Option<Layout> {
    let has = |name: &&str| folder.join(name).is_file();
    if [unified::POSCAR, unified::OVERLAP, unified::HAMILTONIAN].iter().any(has) {
        Some(Layout::Unified)
    } else if [legacy::ELEMENTS, legacy::OVERLAPS, legacy::HAMILTONIANS].iter().any(has) {
        Some(Layout::Legacy)
    } else {
        [unified::INFO].iter().any(has).then_some(Layout::Unified)
    }
}

/// Reads one structure in either layout, with default [`Limits`].
///
/// Errors: a missing file, a file that breaks a rule of the readers, or [`Error::Problems`] of validation.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Record> {
    read_with(path, options, &Limits::default())
}

/// [`read`] with chosen limits.
pub fn read_with(path: &Path, options: &ReadOptions, limits: &Limits) -> Result<Record> {
    let record = match layout(path) {
        Some(Layout::Unified) => unified::read(path, options, limits)?,
        Some(Layout::Legacy) => legacy::read(path, options, limits)?,
        None => {
            let expected = "a DeepH structure folder (with POSCAR, or element.dat)".to_string();
            return Err(Error::Missing { path: path.to_path_buf(), expected });
        }
    };
    if options.validate {
        let mut problems = validate::validate_with(&record, limits);
        problems.retain(|problem| problem.severity == Severity::Error);
        if !problems.is_empty() {
            return Err(Error::Problems { path: path.to_path_buf(), problems });
        }
    }
    Ok(record)
}

/// The name of a folder, also for paths such as `.`.
pub fn id_of(folder: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(folder).or_else(|| name(&folder.canonicalize().ok()?)).unwrap_or_else(|| folder.display().to_string())
}

/// How deep structures may lie below a root: `dft/`, tiers, the structure.
const MAX_DEPTH: usize = 6;

/// All structure folders below the roots, sorted by path, each once.
///
/// A root is a structure folder, a set folder (with `dft/`, which alone is searched then), or a parent of structure
/// folders, through any tiers. Hidden folders are skipped.
///
/// Errors: [`Error::Missing`] for a root that does not exist or has no structure below it.
pub fn find_structures(roots: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for root in roots {
        let before = found.len();
        if !root.is_dir() {
            return Err(Error::Missing { path: root.clone(), expected: "a folder".into() });
        }
        descend(root, MAX_DEPTH, &mut found)?;
        if found.len() == before {
            let expected = "DeepH structure folders (with POSCAR, or element.dat) in it".into();
            return Err(Error::Missing { path: root.clone(), expected });
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn descend(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let dft = folder.join("dft");
    if dft.is_dir() {
        return descend(&dft, depth.saturating_sub(1), found);
    }
    if layout(folder).is_some() {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder, "list"))? {
        let entry = entry.map_err(Error::io(folder, "list"))?;
        if entry.path().is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            descend(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
}
