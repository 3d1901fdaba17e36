//! ABACUS runs in a basis of numerical atomic orbitals: H(R) and S(R) as sparse text (`out_mat_hs2 1`).
//!
//! Source: ABACUS's documentation ("INPUT", "STRU", "Extracting H(R) and S(R)") and a real run of version 3.10, whose
//! `istate.info` the eigenvalues reproduce. docs/formats.md says what is read.

mod csr;
mod log;
mod stru;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use num_complex::Complex64;

use crate::blocks::{Collector, Orbitals};
use crate::deeph::matrix::BlockMatrix;
use crate::deeph::validate::Limits;
use crate::error::{Error, Result, Rule};
use crate::files;
use crate::import::{Found, Imported};
use crate::orbital_order::Code;

/// Rydberg in eV, as ABACUS itself has it.
const RYDBERG: f64 = 13.605698;
/// Bohr in angstrom, as ABACUS itself has it.
const BOHR: f64 = 0.529177;

const HAMILTONIAN: [&str; 2] = ["data-HR-sparse_SPIN0.csr", "data-HR-sparse_SPIN1.csr"];
const OVERLAP: &str = "data-SR-sparse_SPIN0.csr";
const LOGS: [&str; 2] = ["running_scf.log", "running_nscf.log"];

/// The largest INPUT, STRU or log that is read: 256 MiB.
const MAX_TEXT: u64 = 256 << 20;
/// How far S may be from spinless in a run with spin-orbit coupling: the digits of the file.
const SPINLESS: f64 = 1e-7;

/// Whether this is the folder of a run, or its folder of results `OUT.*`.
pub fn is_folder(folder: &Path) -> bool {
    has_matrix(folder) || !results(folder).is_empty()
}

fn has_matrix(folder: &Path) -> bool {
    [HAMILTONIAN[0], OVERLAP].iter().any(|name| folder.join(name).is_file())
}

/// The folders `OUT.*` of a run that have matrices.
fn results(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("OUT."));
    let mut found: Vec<PathBuf> = named.map(|entry| entry.path()).filter(|path| has_matrix(path)).collect();
    found.sort_unstable();
    found
}

/// Reads a run: `folder` is that of INPUT and STRU, or its folder `OUT.*`.
///
/// Spin: `nspin` 1 gives a spinless record; 2 one with spin blocks, uu and dd; 4 one with all four.
/// Errors: a file that is missing, unreadable, or contradicts itself or the others.
pub fn read(folder: &Path, limits: &Limits) -> Result<Imported> {
    let (run, out) = match results(folder).as_slice() {
        _ if has_matrix(folder) => (folder.join(".."), folder.to_path_buf()),
        [one] => (folder.to_path_buf(), one.clone()),
        [] => {
            let expected = format!("a folder OUT.* with {}", HAMILTONIAN[0]);
            return Err(Error::Missing { path: folder.to_path_buf(), expected });
        }
        several => {
            let expected = "one folder OUT.* with matrices (or the path of one of them)";
            let found = format!("{}", several.len());
            return Err(Error::invalid(Rule::Format, folder, "OUT.*", expected, found));
        }
    };
    let (input_path, input) = input(&out, &run)?;
    let spin = spin(&input_path, &input)?;
    let stru_path = run.join(input.get("stru_file").map_or("STRU", String::as_str));
    let latname = input.get("latname").map(String::as_str);
    let stru = stru::Stru::parse(&files::read_text(&stru_path, "a STRU file", MAX_TEXT)?, latname, &stru_path)?;
    let log_path = LOGS.iter().map(|name| out.join(name)).find(|path| path.is_file());
    let log = match &log_path {
        None => log::Log::default(),
        Some(path) => log::Log::parse(&files::read_text(path, "a log", MAX_TEXT)?, path)?,
    };
    let basis = log_path.as_ref().unwrap_or(&stru_path);
    log.agrees_with(&stru, basis)?;
    let shells = shells(&stru, &log, basis)?;

    let orbitals = Orbitals::new(shells.iter().map(Vec::as_slice), Code::Abacus);
    let orbitals = orbitals.ok_or_else(|| {
        Error::invalid(Rule::OrbitalCount, basis, "shells", "shells that ABACUS has", format!("{shells:?}"))
    })?;
    let hamiltonian = hamiltonian(&out, &orbitals, spin, limits)?;
    let overlap = Some(overlap(&out.join(OVERLAP), &orbitals, spin, limits)?);
    let stated = input.get("nelec").and_then(|text| text.parse::<f64>().ok()).filter(|n| *n > 0.0);
    let (fermi_energy_ev, occupation) = (log.fermi_energy_ev, stated.or(log.electrons));
    let (poscar, spinful) = (stru.poscar, spin != Spin::None);
    Found { poscar, shells, spinful, fermi_energy_ev, occupation, hamiltonian, overlap }.record(folder, basis, limits)
}

/// `nspin` of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spin {
    /// 1.
    None,
    /// 2: H up and H down in two files.
    Collinear,
    /// 4: one complex file, spin the inner index of every orbital.
    Full,
}

fn spin(path: &Path, input: &HashMap<String, String>) -> Result<Spin> {
    let on = |key: &str| input.get(key).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
    match input.get("nspin").map_or("1", String::as_str) {
        "1" if on("noncolin") || on("lspinorb") => Ok(Spin::Full),
        "1" => Ok(Spin::None),
        "2" => Ok(Spin::Collinear),
        "4" => Ok(Spin::Full),
        other => Err(Error::invalid(Rule::Format, path, "nspin", "1, 2 or 4", format!("{other:?}"))),
    }
}

/// The parameters of a run: `INPUT` as the results repeat it in full, else the run's own.
fn input(out: &Path, run: &Path) -> Result<(PathBuf, HashMap<String, String>)> {
    let path = [out.join("INPUT"), run.join("INPUT")].into_iter().find(|path| path.is_file());
    let path = path.unwrap_or_else(|| run.join("INPUT"));
    let text = files::read_text(&path, "an INPUT file", MAX_TEXT)?;
    let mut input = HashMap::new();
    for line in text.lines() {
        let line = stru::without_comment(line);
        if let Some((key, value)) = line.split_once(char::is_whitespace) {
            input.insert(key.to_lowercase(), value.trim().to_string());
        }
    }
    // In other runs the structure of the matrices is not that of STRU.
    match input.get("calculation").map_or("scf", String::as_str) {
        "scf" | "nscf" => Ok((path, input)),
        other => {
            let expected = "scf or nscf, whose matrices belong to the structure in STRU";
            Err(Error::invalid(Rule::Format, &path, "calculation", expected, format!("{other:?}")))
        }
    }
}

/// The shells of each atom, from the log, or from the names of the orbital files.
fn shells(stru: &stru::Stru, log: &log::Log, basis: &Path) -> Result<Vec<Vec<usize>>> {
    let of = |label: &String| {
        let known = log.shells.iter().find(|(name, shells)| name == label && !shells.is_empty());
        known.map(|(_, shells)| shells.clone()).or_else(|| stru.shells(label)).ok_or_else(|| {
            let expected = format!("the number of zeta of {label}, or an orbital file in STRU named like _2s2p1d.orb");
            Error::invalid(Rule::OrbitalCount, basis, "READING ATOM TYPE", expected, "neither")
        })
    };
    stru.labels.iter().map(of).collect()
}

fn hamiltonian(out: &Path, orbitals: &Orbitals, spin: Spin, limits: &Limits) -> Result<BlockMatrix> {
    let path = out.join(HAMILTONIAN[0]);
    match spin {
        Spin::None => {
            let mut h = Collector::<f64>::new(orbitals, 1, &path, limits.max_bytes);
            let add = |cell, row, column, z: Complex64| h.add(cell, (row, 0), (column, 0), z.re * RYDBERG);
            csr::read(&path, orbitals.len(), false, limits.max_bytes, add)?;
            Ok(h.finish())
        }
        Spin::Collinear => {
            let mut h = Collector::<Complex64>::new(orbitals, 2, &path, limits.max_bytes);
            for (s, name) in HAMILTONIAN.iter().enumerate() {
                let add = |cell, row, column, z: Complex64| h.add(cell, (row, s), (column, s), z * RYDBERG);
                csr::read(&out.join(name), orbitals.len(), false, limits.max_bytes, add)?;
            }
            Ok(h.finish())
        }
        Spin::Full => {
            let mut h = Collector::<Complex64>::new(orbitals, 2, &path, limits.max_bytes);
            let add = |cell, row: usize, column: usize, z: Complex64| {
                h.add(cell, (row / 2, row % 2), (column / 2, column % 2), z * RYDBERG)
            };
            csr::read(&path, 2 * orbitals.len(), true, limits.max_bytes, add)?;
            Ok(h.finish())
        }
    }
}

fn overlap(path: &Path, orbitals: &Orbitals, spin: Spin, limits: &Limits) -> Result<BlockMatrix> {
    if spin != Spin::Full {
        let mut s = Collector::<f64>::new(orbitals, 1, path, limits.max_bytes);
        let add = |cell, row, column, z: Complex64| s.add(cell, (row, 0), (column, 0), z.re);
        csr::read(path, orbitals.len(), false, limits.max_bytes, add)?;
        return Ok(s.finish());
    }
    let mut up = Collector::<f64>::new(orbitals, 1, path, limits.max_bytes);
    let mut down = Collector::<f64>::new(orbitals, 1, path, limits.max_bytes);
    let mut between = 0.0_f64;
    let add = |cell, row: usize, column: usize, z: Complex64| {
        between = between.max(z.im.abs());
        match (row % 2, column % 2) {
            (0, 0) => up.add(cell, (row / 2, 0), (column / 2, 0), z.re),
            (1, 1) => down.add(cell, (row / 2, 0), (column / 2, 0), z.re),
            _ => {
                between = between.max(z.re.abs());
                Ok(())
            }
        }
    };
    csr::read(path, 2 * orbitals.len(), true, limits.max_bytes, add)?;
    let (up, down) = (up.finish(), down.finish());
    // An overlap knows no spin: were spin not the inner index of the orbitals, this would show it.
    if between > SPINLESS || !csr::alike(&up, &down, SPINLESS) {
        let expected = "an overlap that is real, equal for both spins and zero between them";
        return Err(Error::invalid(Rule::Format, path, "spin blocks", expected, "another"));
    }
    Ok(up)
}
