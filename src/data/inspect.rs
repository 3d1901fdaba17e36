//! What there is in a folder of structures.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::datasets::deeph::{self, Layout, ReadOptions};
use crate::datasets::error::Result;

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
