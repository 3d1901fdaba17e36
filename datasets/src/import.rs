//! Folders of other codes: which code a folder is of, its structures, and reading them as DeepH records.
//!
//! Every reader gives the conventions of unified folders (docs/conventions.md): shells in m = -l..l order, eV and
//! angstrom, both directions of every pair, H and S with the same pairs, atoms grouped by element.

use std::path::{Path, PathBuf};

use crate::blocks;
use crate::deeph::info::{Info, orbitals_of};
use crate::deeph::matrix::{BlockMatrix, Entries};
use crate::deeph::validate::{self, Limits, Severity};
use crate::deeph::{Record, id_of, unified};
use crate::error::{Error, Result, Rule};
use crate::poscar::Poscar;
use crate::{abacus, deeptb, elements, siesta};

/// A code whose folders are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// [`deeptb`].
    DeePtb,
    /// [`abacus`].
    Abacus,
    /// [`siesta`].
    Siesta,
}

impl Source {
    /// Its name in commands and results.
    pub fn name(self) -> &'static str {
        match self {
            Source::DeePtb => "deeptb",
            Source::Abacus => "abacus",
            Source::Siesta => "siesta",
        }
    }
}

/// A structure read from another code's files.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The structure.
    pub record: Record,
    /// Blocks of zeros added to give H and S the same pairs.
    pub padded_pairs: usize,
}

/// The code that a folder is of, by the files it has; `None` when it is of none of them.
pub fn source(folder: &Path) -> Option<Source> {
    if deeptb::is_folder(folder) {
        Some(Source::DeePtb)
    } else if abacus::is_folder(folder) {
        Some(Source::Abacus)
    } else {
        siesta::is_folder(folder).then_some(Source::Siesta)
    }
}

/// All folders of `source` at or below `root`, sorted; none within another.
///
/// Errors: [`Error::Io`] for a folder that cannot be listed.
pub fn find(root: &Path, source: Source) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    descend(root, source, 6, &mut found)?;
    found.sort_unstable();
    Ok(found)
}

fn descend(folder: &Path, wanted: Source, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    if source(folder) == Some(wanted) {
        found.push(folder.to_path_buf());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder, "list"))? {
        let entry = entry.map_err(Error::io(folder, "list"))?;
        if entry.path().is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
            descend(&entry.path(), wanted, depth - 1, found)?;
        }
    }
    Ok(())
}

/// The frames of a folder: those of a DeePTB folder, 0 alone for the other codes.
///
/// Errors: those of opening a DeePTB file.
pub fn frames(folder: &Path, source: Source, limits: &Limits) -> Result<Vec<usize>> {
    if source == Source::DeePtb { deeptb::frames(folder, limits) } else { Ok(vec![0]) }
}

/// Reads one frame of a folder, validated.
///
/// Errors: those of the reader, [`Error::Problems`] of validation, a frame that is not there.
pub fn read(folder: &Path, source: Source, frame: usize, limits: &Limits) -> Result<Imported> {
    if source != Source::DeePtb && frame != 0 {
        let expected = format!("frame 0, all that a folder of {} has", source.name());
        return Err(Error::invalid(Rule::Format, folder, "frame", expected, frame.to_string()));
    }
    match source {
        Source::DeePtb => deeptb::read(folder, frame, limits),
        Source::Abacus => abacus::read(folder, limits),
        Source::Siesta => siesta::read(folder, limits),
    }
}

/// What a reader has found; atoms in the code's own order.
pub(crate) struct Found {
    pub(crate) poscar: Poscar,
    /// The shells of each atom.
    pub(crate) shells: Vec<Vec<usize>>,
    pub(crate) spinful: bool,
    pub(crate) fermi_energy_ev: Option<f64>,
    pub(crate) occupation: Option<f64>,
    pub(crate) hamiltonian: BlockMatrix,
    /// `None` when the basis is orthogonal.
    pub(crate) overlap: Option<BlockMatrix>,
}

impl Found {
    /// The record of `folder`: pairs padded, atoms grouped, rules checked. `basis` is the file that tells the shells.
    pub(crate) fn record(mut self, folder: &Path, basis: &Path, limits: &Limits) -> Result<Imported> {
        let mut map: Vec<(String, Vec<usize>)> = Vec::new();
        for (symbol, shells) in self.poscar.symbols.iter().zip(&self.shells) {
            match map.iter().find(|(known, _)| known == symbol) {
                None => map.push((symbol.clone(), shells.clone())),
                Some((_, known)) if known == shells => {}
                Some((_, known)) => {
                    let expected = format!("the same shells for every {symbol}, {known:?}");
                    return Err(Error::invalid(Rule::OrbitalCount, basis, "basis", expected, format!("{shells:?}")));
                }
            }
        }
        let orbitals: Vec<usize> = self.shells.iter().map(|shells| orbitals_of(shells)).collect();
        let spins = if matches!(self.hamiltonian.entries, Entries::Complex(_)) { 2 } else { 1 };
        let padded_pairs =
            self.overlap.as_mut().map_or(0, |overlap| blocks::pad(&mut self.hamiltonian, overlap, &orbitals, spins));
        let info = Info {
            atoms_quantity: orbitals.len(),
            orbits_quantity: orbitals.iter().sum(),
            orthogonal_basis: self.overlap.is_none(),
            spinful: self.spinful,
            fermi_energy_ev: self.fermi_energy_ev,
            elements_orbital_map: map,
            occupation: self.occupation,
            other: serde_json::Map::new(),
        };
        let (id, path) = (id_of(folder), folder.to_path_buf());
        let (overlap, hamiltonian) = (self.overlap, Some(self.hamiltonian));
        let record = unified::regrouped(&Record { id, path, poscar: self.poscar, info, overlap, hamiltonian });
        let mut problems = validate::validate_with(&record, limits);
        problems.retain(|problem| problem.severity == Severity::Error);
        match problems.is_empty() {
            true => Ok(Imported { record, padded_pairs }),
            false => Err(Error::Problems { path: folder.to_path_buf(), problems }),
        }
    }
}

/// The element that a code's own name of a species begins with: "Fe_up", "Mo1"; `None` for no element.
pub(crate) fn element_of(label: &str) -> Option<&'static str> {
    let letters: String = label.chars().take_while(char::is_ascii_alphabetic).take(2).collect();
    let known = |name: &str| elements::atomic_number(name).and_then(elements::symbol);
    known(&letters).or_else(|| known(letters.get(..1)?))
}

#[cfg(test)]
mod tests {
    use super::element_of;

    #[test]
    fn elements_of_labels() {
        let cases = [
            ("Mo", Some("Mo")),
            ("S2", Some("S")),
            ("Fe_up", Some("Fe")),
            ("Sup", Some("S")),
            ("xx", None),
            ("", None),
        ];
        for (label, element) in cases {
            assert_eq!(element_of(label), element, "{label}");
        }
    }
}
