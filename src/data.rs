//! What the `data` commands do: check, inspect, split and convert folders of structures.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::datasets::deeph::validate::{self, Limits, Problem, Severity};
use crate::datasets::deeph::{self, Layout, ReadOptions, legacy, unified};
use crate::datasets::error::{Error, Result, Rule};
use crate::datasets::files;
use crate::datasets::split::Split;

/// Result of [`check`].
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// No problem of severity `error`.
    pub ok: bool,
    /// Structures that were looked at.
    pub structures: usize,
    /// All problems, warnings included.
    pub problems: Vec<Problem>,
}

/// Checks every structure below the roots, and the `dataset_split.json` of each root that has one.
///
/// # Errors
/// A root that does not exist or holds no structure; everything else is a problem in the result.
pub fn check(roots: &[PathBuf], limits: &Limits) -> Result<Checked> {
    let folders = deeph::find_structures(roots)?;
    let mut problems = Vec::new();
    for folder in &folders {
        problems.extend(validate::check(folder, &ReadOptions::present(folder), limits).1);
    }
    for root in roots {
        let path = root.join(SPLIT);
        if !path.exists() {
            continue;
        }
        let known: Vec<String> = folders.iter().filter(|f| f.starts_with(root)).map(|f| name(f)).collect();
        if let Err(error) = Split::read(&path).and_then(|split| split.check_known(&known, &path)) {
            problems.push(validate::problem_of(&name(root), root, &error));
        }
    }
    let ok = problems.iter().all(|problem| problem.severity != Severity::Error);
    Ok(Checked { ok, structures: folders.len(), problems })
}

/// What there is in a folder of structures.
#[derive(Clone, Debug, Serialize)]
pub struct Inspected {
    /// Number of structures.
    pub structures: usize,
    /// How many in each layout.
    pub layouts: BTreeMap<&'static str, usize>,
    /// Angular momenta of the shells of each element; all variants, should they differ.
    pub elements: BTreeMap<String, BTreeSet<Vec<usize>>>,
    /// Fewest and most atoms.
    pub atoms: [usize; 2],
    /// Fewest and most orbitals.
    pub orbitals: [usize; 2],
    /// Fewest and most pairs of atoms.
    pub pairs: [usize; 2],
    /// Structures with an H.
    pub with_hamiltonian: usize,
    /// Structures with spin blocks.
    pub spinful: usize,
    /// Matrix elements of all H.
    pub hamiltonian_elements: usize,
    /// Longest |r_ij| of a pair, angstrom.
    pub longest_pair: f64,
    /// Largest |H|, eV.
    pub largest_h_ev: f64,
}

/// Reads every structure below `root` and sums up.
///
/// # Errors
/// The first structure that does not read.
pub fn inspect(root: &Path) -> Result<Inspected> {
    let folders = deeph::find_structures(&[root.to_path_buf()])?;
    let none = [usize::MAX, 0];
    let mut found = Inspected {
        structures: folders.len(),
        layouts: BTreeMap::new(),
        elements: BTreeMap::new(),
        atoms: none,
        orbitals: none,
        pairs: none,
        with_hamiltonian: 0,
        spinful: 0,
        hamiltonian_elements: 0,
        longest_pair: 0.0,
        largest_h_ev: 0.0,
    };
    let widen = |range: &mut [usize; 2], n: usize| *range = [range[0].min(n), range[1].max(n)];
    for folder in &folders {
        let record = deeph::read(folder, &ReadOptions { validate: false, ..ReadOptions::present(folder) })?;
        let layout = if deeph::layout(folder) == Some(Layout::Legacy) { "legacy" } else { "unified" };
        *found.layouts.entry(layout).or_default() += 1;
        for (element, shells) in &record.info.elements_orbital_map {
            found.elements.entry(element.clone()).or_default().insert(shells.clone());
        }
        widen(&mut found.atoms, record.info.atoms_quantity);
        widen(&mut found.orbitals, record.info.orbits_quantity);
        found.spinful += usize::from(record.info.spinful);
        if let Some(matrix) = record.hamiltonian.as_ref().or(record.overlap.as_ref()) {
            widen(&mut found.pairs, matrix.pairs.len());
            for pair in &matrix.pairs {
                found.longest_pair = found.longest_pair.max(distance(&record.poscar, pair).unwrap_or(0.0));
            }
        }
        if let Some(h) = &record.hamiltonian {
            found.with_hamiltonian += 1;
            found.hamiltonian_elements += h.entries.len();
            let largest = match &h.entries {
                deeph::matrix::Entries::Real(v) => v.iter().map(|x| x.abs()).fold(0.0, f64::max),
                deeph::matrix::Entries::Complex(v) => v.iter().map(|z| z.re.hypot(z.im)).fold(0.0, f64::max),
            };
            found.largest_h_ev = found.largest_h_ev.max(largest);
        }
    }
    if found.pairs == none {
        found.pairs = [0, 0];
    }
    Ok(found)
}

/// |r_ij| of a pair, angstrom; `None` for atoms that the structure does not have.
fn distance(poscar: &crate::datasets::poscar::Poscar, pair: &deeph::matrix::AtomPair) -> Option<f64> {
    let atom = |n: i64| poscar.positions.get(usize::try_from(n).ok()?);
    let (first, second) = (atom(pair[3])?, atom(pair[4])?);
    let component =
        |x: usize| second[x] - first[x] + (0..3).map(|axis| pair[axis] as f64 * poscar.lattice[axis][x]).sum::<f64>();
    Some((0..3).map(|x| component(x).powi(2)).sum::<f64>().sqrt())
}

/// Name of the file of a split.
const SPLIT: &str = "dataset_split.json";

/// Draws a split of the structures below `root` and writes it to `out`, by default the `dataset_split.json` of `root`,
/// which must not exist then. Returns it with its place.
///
/// # Errors
/// No structure, fractions out of range, the same id twice, a split that is there already.
pub fn split(root: &Path, fractions: [f64; 3], seed: u64, out: Option<&Path>) -> Result<(Split, PathBuf)> {
    let folders = deeph::find_structures(&[root.to_path_buf()])?;
    let split = Split::random(&folders.iter().map(|f| name(f)).collect::<Vec<_>>(), fractions, seed)?;
    let path = out.map_or_else(|| root.join(SPLIT), Path::to_path_buf);
    if out.is_none() && path.exists() {
        return Err(there(&path, "no split yet, or --out"));
    }
    split.write(&path)?;
    Ok((split, path))
}

/// Result of [`convert`].
#[derive(Clone, Debug, Serialize)]
pub struct Converted {
    /// Structures written.
    pub structures: usize,
    /// Their layout.
    pub layout: &'static str,
    /// The new folder.
    pub out: PathBuf,
}

/// Writes all structures below `root` in the other layout to the new folder `out`: one structure folder where `root`
/// is one, else `out/dft/<id>` with the split where there is one. `out` appears whole or not at all.
///
/// # Errors
/// `out` exists already, structures of the same name, a structure that is broken.
pub fn convert(root: &Path, out: &Path, to: Layout) -> Result<Converted> {
    if out.exists() {
        return Err(there(out, "a folder that does not exist yet"));
    }
    let folders = deeph::find_structures(&[root.to_path_buf()])?;
    let single = folders.len() == 1 && folders[0] == root;
    files::write_folder_atomic(out, |temporary| {
        for folder in &folders {
            let record = deeph::read(folder, &ReadOptions::present(folder))?;
            let target = if single { temporary.to_path_buf() } else { temporary.join("dft").join(name(folder)) };
            if !single && target.exists() {
                return Err(there(folder, "a name that no other structure has"));
            }
            match to {
                Layout::Unified => unified::write(&record, &target)?,
                Layout::Legacy => legacy::write(&record, &target)?,
            }
        }
        let split = root.join(SPLIT);
        if split.is_file() && !single {
            Split::read(&split)?.write(&temporary.join(SPLIT))?;
        }
        Ok(())
    })?;
    let layout = if to == Layout::Legacy { "legacy" } else { "unified" };
    Ok(Converted { structures: folders.len(), layout, out: out.to_path_buf() })
}

/// Something that exists already.
fn there(path: &Path, expected: &str) -> Error {
    let (expected, found) = (expected.into(), "one that exists already".into());
    Error::Invalid { rule: Rule::Format, path: path.into(), field: "output".into(), expected, found }
}

fn name(folder: &Path) -> String {
    let own = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    own(folder).or_else(|| own(&folder.canonicalize().ok()?)).unwrap_or_else(|| folder.display().to_string())
}
