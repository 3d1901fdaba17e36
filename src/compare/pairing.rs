//! Which prediction belongs to which reference: by the name of the structure's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::datasets::deeph::matrix::{BlockMatrix, Entries};
use crate::datasets::deeph::{self, ReadOptions, Record, unified};
use crate::datasets::error::{Error as DataError, Rule};
use crate::datasets::poscar::Poscar;
use crate::physics::comparison::Case;
use crate::physics::{Error, Result};
use crate::spectrum::system::PREDICTION;

/// How deep predictions may lie below a root, as structures do.
const MAX_DEPTH: usize = 6;
/// A prediction for positions farther than this from the reference's is of another structure, angstrom.
const SAME_POSITION: f64 = 1e-2;
/// The density matrix in a folder of the unified layout.
const DENSITY: &str = "density_matrix.h5";
const POSCAR: &str = "POSCAR";

/// A predicted Hamiltonian on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A matrix file of the unified layout.
    File(PathBuf),
    /// A structure folder whose own Hamiltonian is the prediction.
    Folder(PathBuf),
}

/// References with their predictions, and those that have no partner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairing {
    /// Reference folder and prediction, by the name of the reference.
    pub pairs: Vec<(PathBuf, Source)>,
    /// References without prediction.
    pub without_prediction: Vec<String>,
    /// Predictions without reference.
    pub without_reference: Vec<String>,
}

impl Source {
    pub(super) fn path(&self) -> &Path {
        match self {
            Source::File(path) | Source::Folder(path) => path,
        }
    }

    pub(super) fn folder(&self) -> &Path {
        match self {
            Source::File(path) => path.parent().unwrap_or(Path::new(".")),
            Source::Folder(path) => path,
        }
    }
}

/// Finds all structures below `references`, all predictions below `predictions` (files too), and pairs them by the
/// names of their folders; one of each are a pair whatever their names.
///
/// # Errors
/// A path without structure or prediction, two structures or two predictions of one name, no pair at all.
pub fn pair(references: &[PathBuf], predictions: &[PathBuf]) -> Result<Pairing> {
    let references = deeph::find_structures(references)?;
    let mut sources = Vec::new();
    for path in predictions {
        let before = sources.len();
        match path.is_file() {
            true => sources.push(Source::File(path.clone())),
            false => find_predictions(path, MAX_DEPTH, &mut sources)?,
        }
        if sources.len() == before {
            let expected = format!("folders with {PREDICTION} (or another Hamiltonian) in it");
            return Err(DataError::Missing { path: path.clone(), expected }.into());
        }
    }
    sources.sort_by(|a, b| a.path().cmp(b.path()));
    sources.dedup();
    if let ([reference], [source]) = (references.as_slice(), sources.as_slice()) {
        return Ok(Pairing { pairs: vec![(reference.clone(), source.clone())], ..Pairing::default() });
    }
    let mut by_name = named(sources, "prediction", Source::folder)?;
    let mut pairing = Pairing::default();
    for (name, reference) in named(references, "reference", |path| path)? {
        match by_name.remove(&name) {
            Some(source) => pairing.pairs.push((reference, source)),
            None => pairing.without_prediction.push(name),
        }
    }
    pairing.without_reference = by_name.into_keys().collect();
    if pairing.pairs.is_empty() {
        let first = |names: &[String]| names.first().cloned().unwrap_or_default();
        return Err(Error::Mismatch {
            what: "names of the structures".into(),
            expected: "a reference and a prediction of one name".into(),
            found: format!(
                "references such as {} and predictions such as {}",
                first(&pairing.without_prediction),
                first(&pairing.without_reference)
            ),
        });
    }
    Ok(pairing)
}

/// The name of a folder, also of `.`.
pub(super) fn name_of(folder: &Path) -> String {
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// By the names of their folders.
fn named<T>(found: Vec<T>, what: &str, folder: impl Fn(&T) -> &Path) -> Result<BTreeMap<String, T>> {
    let mut by_name: BTreeMap<String, T> = BTreeMap::new();
    for item in found {
        let name = name_of(folder(&item));
        if let Some(other) = by_name.get(&name) {
            return Err(Error::Mismatch {
                what: format!("{what} {name}"),
                expected: "one folder of this name".into(),
                found: format!("{} and {}", folder(other).display(), folder(&item).display()),
            });
        }
        by_name.insert(name, item);
    }
    Ok(by_name)
}

fn find_predictions(folder: &Path, depth: usize, found: &mut Vec<Source>) -> Result<()> {
    let unreadable = |source| Error::Io { path: folder.into(), source };
    if folder.join(PREDICTION).is_file() {
        found.push(Source::File(folder.join(PREDICTION)));
        return Ok(());
    }
    if deeph::layout(folder).is_some() {
        if ReadOptions::present(folder).hamiltonian {
            found.push(Source::Folder(folder.to_path_buf()));
        }
        return Ok(());
    }
    let dft = folder.join("dft");
    if dft.is_dir() {
        return find_predictions(&dft, depth.saturating_sub(1), found);
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            find_predictions(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Reads a reference and its prediction, atoms in one order. A prediction whose folder has no POSCAR is taken to be in
/// the order of the reference.
///
/// # Errors
/// A file that does not read, a number that is not finite, a prediction for another structure.
pub fn read(reference: &Path, source: &Source, density: bool) -> Result<Case> {
    let present = ReadOptions::present(reference);
    let mut record = deeph::read(reference, &ReadOptions { hamiltonian: true, ..present })?;
    let prediction = match source {
        Source::File(file) => unified::read_matrix(file)?,
        Source::Folder(folder) => {
            let options = ReadOptions { overlap: false, hamiltonian: true, validate: false };
            let read = deeph::read(folder, &options)?;
            record = same_structure(record, &read.poscar, folder)?;
            read.hamiltonian.ok_or_else(|| missing(folder))?
        }
    };
    finite(&prediction, source.path())?;
    let poscar = source.folder().join(POSCAR);
    if matches!(source, Source::File(_)) && poscar.is_file() {
        record = same_structure(record, &Poscar::read(&poscar)?, &poscar)?;
    }
    let density = Some(reference.join(DENSITY)).filter(|file| density && file.is_file());
    let density = density.filter(|_| record.info.occupation.is_none()).map(|f| unified::read_matrix(&f)).transpose()?;
    Ok(Case { record, prediction, source: source.path().to_path_buf(), density })
}

fn missing(folder: &Path) -> Error {
    DataError::Missing { path: folder.to_path_buf(), expected: "a Hamiltonian".into() }.into()
}

/// The record in the order of atoms of the prediction, if that is for the same structure.
fn same_structure(record: Record, predicted: &Poscar, path: &Path) -> Result<Record> {
    // Writers of the unified layout group atoms by element; a legacy reference need not.
    let record = if record.poscar.symbols == predicted.symbols { record } else { unified::regrouped(&record) };
    let mismatch = |what: &str, expected: String, found: String| {
        let what = format!("{}: {what}", path.display());
        Err(Error::Mismatch { what, expected, found })
    };
    if record.poscar.symbols != predicted.symbols {
        let list = |symbols: &[String]| symbols.iter().take(20).cloned().collect::<Vec<_>>().join(" ");
        return mismatch("atoms of the prediction", list(&record.poscar.symbols), list(&predicted.symbols));
    }
    for (atom, (a, b)) in record.poscar.positions.iter().zip(&predicted.positions).enumerate() {
        if a.iter().zip(b).any(|(a, b)| (a - b).abs() > SAME_POSITION) {
            let what = format!("position of atom {}", atom + 1);
            return mismatch(&what, format!("{a:?} as in the reference"), format!("{b:?}"));
        }
    }
    Ok(record)
}

fn finite(matrix: &BlockMatrix, path: &Path) -> Result<()> {
    let wild = match &matrix.entries {
        Entries::Real(values) => values.iter().position(|x| !x.is_finite()),
        Entries::Complex(values) => values.iter().position(|x| !x.is_finite()),
    };
    match wild {
        None => Ok(()),
        Some(place) => Err(DataError::Invalid {
            rule: Rule::NotFinite,
            path: path.to_path_buf(),
            field: format!("entries[{place}]"),
            expected: "finite numbers".into(),
            found: "NaN or infinity".into(),
        }
        .into()),
    }
}
