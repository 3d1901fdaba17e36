//! What a structure must satisfy before it is used: the physics of H and S, beyond what the readers enforce.

use std::collections::HashMap;
use std::path::Path;

use num_complex::Complex64;
use serde::{Deserialize, Deserializer, Serialize};

use super::matrix::{AtomPair, BlockMatrix, Entries, reverse};
use super::{Layout, ReadOptions, Record, consistent, layout, legacy, unified};
use crate::error::{Error, Rule};
pub use crate::error::{Problem, Severity};
use crate::hdf5;

/// What is accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of one dataset.
    pub max_bytes: u64,
    /// Largest |O_ij(R) - O_ji(-R)^dagger|: eV for H, 1 for S.
    pub hermiticity: f64,
}

/// 16 GiB a dataset; 1e-5 eV.
impl Default for Limits {
    fn default() -> Self {
        Limits { max_bytes: hdf5::MAX_BYTES, hermiticity: 1e-5 }
    }
}

/// What was counted and measured on one matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Ordered pairs of atoms.
    pub pairs: usize,
    /// Matrix elements.
    pub elements: usize,
    /// Largest |O_ij(R) - O_ji(-R)^dagger|: eV for H, 1 for S.
    #[serde(deserialize_with = "or_null")]
    pub hermiticity: f64,
    /// The pair where that is; `None` where the matrix is hermitian to the bit.
    pub hermiticity_pair: Option<AtomPair>,
    /// Pairs whose reverse is not there.
    pub without_reverse: usize,
}

/// JSON writes what is not a number as null.
fn or_null<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// Everything [`examine`] finds on one structure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Errors and warnings, file by file.
    pub problems: Vec<Problem>,
    /// S; `None` where it was not read or contradicts the structure.
    pub overlap: Option<Measured>,
    /// H; likewise.
    pub hamiltonian: Option<Measured>,
    /// Pairs of H that S does not have, where both were measured.
    pub outside_overlap: Option<usize>,
}

/// [`validate_with`] default [`Limits`].
pub fn validate(record: &Record) -> Vec<Problem> {
    validate_with(record, &Limits::default())
}

/// All problems of a structure, errors and warnings, file by file: those of [`examine`].
pub fn validate_with(record: &Record, limits: &Limits) -> Vec<Problem> {
    examine(record, limits).problems
}

/// Applies all rules to a structure.
///
/// A record whose arrays contradict each other yields that one problem: the other rules would have nothing to stand
/// on. Each of the other rules yields at most one problem per file, with the number of its cases.
pub fn examine(record: &Record, limits: &Limits) -> Findings {
    let (overlap_file, hamiltonian_file) = match layout(&record.path) {
        Some(Layout::Legacy) => (legacy::OVERLAPS, legacy::HAMILTONIANS),
        _ => (unified::OVERLAP, unified::HAMILTONIAN),
    };
    let only =
        |error: Error| Findings { problems: vec![problem_of(&record.id, &record.path, &error)], ..Findings::default() };
    if let Err(error) = consistent::totals(&record.info, &record.poscar, &record.path) {
        return only(error);
    }
    let mut found = Findings::default();
    let matrices =
        [(overlap_file, &record.overlap, false), (hamiltonian_file, &record.hamiltonian, record.info.spinful)];
    for (file, matrix, spinful) in matrices {
        let Some(matrix) = matrix else { continue };
        let path = record.path.join(file);
        if let Err(error) = consistent::matrix(matrix, &record.info, &record.poscar, spinful, &path) {
            return only(error);
        }
        let energy = file == hamiltonian_file;
        let mut report = Report { structure: &record.id, file, problems: &mut found.problems };
        let measured = Some(matrix_rules(matrix, record.poscar.atoms(), limits, energy, &mut report));
        if energy { found.hamiltonian = measured } else { found.overlap = measured }
    }
    if let (Some(s), Some(h)) = (&record.overlap, &record.hamiltonian) {
        let mut report = Report { structure: &record.id, file: hamiltonian_file, problems: &mut found.problems };
        found.outside_overlap = Some(support(h, s, overlap_file, &mut report));
    }
    found
}

/// [`check_and_measure`] without the numbers.
pub fn check(folder: &Path, options: &ReadOptions, limits: &Limits) -> (Option<Record>, Vec<Problem>) {
    let (record, found) = check_and_measure(folder, options, limits);
    (record, found.problems)
}

/// Reads and examines a folder, turning errors of reading into problems: what `data check` is made of.
///
/// When the folder does not read, each matrix is tried alone, so that one bad file does not hide the other.
pub fn check_and_measure(folder: &Path, options: &ReadOptions, limits: &Limits) -> (Option<Record>, Findings) {
    let read = |overlap: bool, hamiltonian: bool| {
        super::read_with(folder, &ReadOptions { overlap, hamiltonian, validate: false }, limits)
    };
    let first = match read(options.overlap, options.hamiltonian) {
        Ok(record) => {
            let found = examine(&record, limits);
            return (Some(record), found);
        }
        Err(error) => error,
    };
    let errors = [read(options.overlap, false), read(false, options.hamiltonian)].into_iter().filter_map(Result::err);
    let mut problems: Vec<Problem> = errors.map(|e| problem_of(&super::id_of(folder), folder, &e)).collect();
    problems.dedup(); // what both need, such as POSCAR
    if problems.is_empty() {
        problems.push(problem_of(&super::id_of(folder), folder, &first)); // a file that came back in between
    }
    (None, Findings { problems, ..Findings::default() })
}

/// An error of reading as a problem of the structure `id` in `folder`.
pub fn problem_of(id: &str, folder: &Path, error: &Error) -> Problem {
    let file = error.path().strip_prefix(folder).unwrap_or(error.path()).display().to_string();
    let (field, message) = match error {
        Error::Missing { expected, .. } => ("file".into(), format!("expected {expected}, found nothing")),
        Error::Io { action, source, .. } => ("file".into(), format!("expected to {action} it, found: {source}")),
        Error::Hdf5 { field, reason, .. } => {
            (field.clone(), format!("expected a readable HDF5 object, found: {reason}"))
        }
        Error::Invalid { field, expected, found, .. } => (field.clone(), format!("expected {expected}, found {found}")),
        Error::Problems { .. } => ("structure".into(), error.to_string()),
    };
    let message = format!("{file}: {field}: {message}");
    Problem { structure: id.to_string(), file, field, rule: error.rule(), message, severity: Severity::Error }
}

/// Collects the problems of one file.
struct Report<'a> {
    structure: &'a str,
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Report<'_> {
    fn add(&mut self, severity: Severity, rule: Rule, field: String, expected: &str, found: String) {
        self.problems.push(Problem {
            structure: self.structure.to_string(),
            file: self.file.to_string(),
            rule,
            message: format!("{}: {field}: expected {expected}, found {found}", self.file),
            field,
            severity,
        });
    }
}

fn matrix_rules(
    matrix: &BlockMatrix,
    atoms: usize,
    limits: &Limits,
    energy: bool,
    report: &mut Report<'_>,
) -> Measured {
    let error = Severity::Error;
    let pairs = &matrix.pairs;
    let mut measured = Measured { pairs: pairs.len(), elements: matrix.entries.len(), ..Measured::default() };
    if pairs.is_empty() {
        report.add(error, Rule::NoEdge, "atom_pairs".into(), "at least one pair of atoms", "none".into());
        return measured;
    }
    let mut index: HashMap<&AtomPair, usize> = HashMap::with_capacity(pairs.len());
    let mut duplicates = Cases::default();
    for (k, pair) in pairs.iter().enumerate() {
        match index.get(pair) {
            Some(first) => duplicates.add(|| (k, format!("{pair:?} again, after atom_pairs[{first}]"))),
            None => {
                index.insert(pair, k);
            }
        }
    }
    duplicates.report(report, Rule::DuplicatePair, "atom_pairs", "every ordered pair once");

    let mut bare = Cases::default();
    for atom in 0..atoms as i64 {
        if !index.contains_key(&[0, 0, 0, atom, atom]) {
            bare.add(|| (0, format!("none for atom {atom}")));
        }
    }
    bare.report_at(report, Rule::OnSite, "atom_pairs".into(), "an on-site block for every atom");
    if pairs.iter().all(|p| p[..3] == [0, 0, 0] && p[3] == p[4]) {
        let expected = "pairs between atoms";
        report.add(Severity::Warning, Rule::NoEdge, "atom_pairs".into(), expected, "on-site blocks only".into());
    }

    let finite = |k: usize| match &matrix.entries {
        Entries::Real(values) => values[k].is_finite(),
        Entries::Complex(values) => values[k].is_finite(),
    };
    let mut wild = Cases::default();
    for k in (0..matrix.entries.len()).filter(|k| !finite(*k)) {
        let block = matrix.boundaries.partition_point(|b| *b <= k).saturating_sub(1);
        wild.add(|| (k, format!("NaN or infinity in the block of {:?}", pairs[block])));
    }
    wild.report(report, Rule::NotFinite, "entries", "finite numbers");

    let mut lonely = Cases::default();
    for (k, pair) in pairs.iter().enumerate() {
        match index.get(&reverse(pair)) {
            None => lonely.add(|| (k, format!("{pair:?} without {:?}", reverse(pair)))),
            Some(back) => {
                let residual = residual(matrix, k, *back);
                if residual > measured.hermiticity {
                    (measured.hermiticity, measured.hermiticity_pair) = (residual, Some(*pair));
                }
            }
        }
    }
    measured.without_reverse = lonely.count;
    lonely.report(report, Rule::Reverse, "atom_pairs", "the reverse (-R, j, i) of every pair (R, i, j)");
    if let Measured { hermiticity: worst, hermiticity_pair: Some(at), .. } = measured
        && worst > limits.hermiticity
    {
        let unit = if energy { " eV" } else { "" };
        let expected = format!("every block within {:e}{unit} of the adjoint of its reverse", limits.hermiticity);
        report.add(error, Rule::Hermiticity, "entries".into(), &expected, format!("{worst:.3e}{unit} at {at:?}"));
    }
    measured
}

/// The largest |O_ij(R) - O_ji(-R)^dagger| over one block; NaN elements are another rule's.
fn residual(matrix: &BlockMatrix, k: usize, back: usize) -> f64 {
    let [rows, columns] = matrix.shapes[k];
    let (a, b) = (matrix.boundaries[k], matrix.boundaries[back]);
    let difference = |r: usize, c: usize| {
        let (here, there) = (a + r * columns + c, b + c * rows + r);
        match &matrix.entries {
            Entries::Real(v) => (v[here] - v[there]).abs(),
            Entries::Complex(v) => Complex64::norm(v[here] - v[there].conj()),
        }
    };
    (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(|(r, c)| difference(r, c)).fold(0.0, f64::max)
}

/// How many pairs of H are not among those of S.
fn support(h: &BlockMatrix, s: &BlockMatrix, overlap_file: &str, report: &mut Report<'_>) -> usize {
    let known: std::collections::HashSet<&AtomPair> = s.pairs.iter().collect();
    let mut outside = Cases::default();
    for (k, pair) in h.pairs.iter().enumerate().filter(|(_, pair)| !known.contains(pair)) {
        outside.add(|| (k, format!("{pair:?}, which is not there")));
    }
    let count = outside.count;
    outside.report(report, Rule::Support, "atom_pairs", &format!("pairs that {overlap_file} has too"));
    count
}

/// The first case of a rule and how many there are.
#[derive(Default)]
struct Cases {
    first: Option<(usize, String)>,
    count: usize,
}

impl Cases {
    fn add(&mut self, case: impl FnOnce() -> (usize, String)) {
        self.first.get_or_insert_with(case);
        self.count += 1;
    }

    /// One problem at `field[k]` of the first case, if there is one.
    fn report(self, report: &mut Report<'_>, rule: Rule, field: &str, expected: &str) {
        let place = self.first.as_ref().map_or(0, |(k, _)| *k);
        self.report_at(report, rule, format!("{field}[{place}]"), expected);
    }

    fn report_at(self, report: &mut Report<'_>, rule: Rule, field: String, expected: &str) {
        if let Some((_, first)) = self.first {
            report.add(Severity::Error, rule, field, expected, format!("{first} ({} in all)", self.count));
        }
    }
}
