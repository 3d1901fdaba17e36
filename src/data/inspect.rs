//! What there is in a folder of structures.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::screen::table;
use crate::datasets::deeph::matrix::BlockMatrix;
use crate::datasets::deeph::{self, Layout, ReadOptions, Record};
use crate::datasets::error::Result;

/// Structures on the screen; the JSON has all.
const MOST_LINES: usize = 20;

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
    /// Each structure, in the order of the folders.
    pub list: Vec<Inspection>,
}

/// What there is in one structure.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Its name.
    pub structure: String,
    /// `unified` or `legacy`.
    pub layout: &'static str,
    /// Elements with their numbers of atoms, in file order: `Mo1 S2`.
    pub formula: String,
    /// Atoms in the cell.
    pub atoms: usize,
    /// Orbitals in the cell, spin not counted.
    pub orbitals: usize,
    /// Pairs of atoms, of H or else of S.
    pub pairs: Option<usize>,
    /// Longest |r_ij| of them, angstrom.
    pub longest_pair: Option<f64>,
    /// Whether H has spin blocks.
    pub spinful: bool,
    /// Files that are there: `H`, `S`, `H S`.
    pub matrices: String,
    /// Fermi level of info.json, eV.
    pub fermi_ev: Option<f64>,
    /// Electrons in the cell.
    pub electrons: Option<f64>,
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
        list: Vec::with_capacity(folders.len()),
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
        let one = inspection(&record, layout);
        if let (Some(pairs), Some(longest)) = (one.pairs, one.longest_pair) {
            widen(&mut found.pairs, pairs);
            found.longest_pair = found.longest_pair.max(longest);
        }
        found.list.push(one);
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

fn inspection(record: &Record, layout: &'static str) -> Inspection {
    let (info, symbols) = (&record.info, &record.poscar.symbols);
    let matrix = record.hamiltonian.as_ref().or(record.overlap.as_ref());
    let longest = |matrix: &BlockMatrix| {
        matrix.pairs.iter().filter_map(|pair| distance(&record.poscar, pair)).fold(0.0, f64::max)
    };
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for symbol in symbols {
        match counts.iter_mut().find(|(known, _)| known == symbol) {
            Some((_, count)) => *count += 1,
            None => counts.push((symbol, 1)),
        }
    }
    let has = [("H", record.hamiltonian.is_some()), ("S", record.overlap.is_some())];
    Inspection {
        structure: record.id.clone(),
        layout,
        formula: counts.iter().map(|(symbol, count)| format!("{symbol}{count}")).collect::<Vec<_>>().join(" "),
        atoms: info.atoms_quantity,
        orbitals: info.orbits_quantity,
        pairs: matrix.map(|matrix| matrix.pairs.len()),
        longest_pair: matrix.map(longest),
        spinful: info.spinful,
        matrices: has.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect::<Vec<_>>().join(" "),
        fermi_ev: info.fermi_energy_ev,
        electrons: info.occupation,
    }
}

impl Inspected {
    /// The sums, then a line for each structure.
    pub fn screen(&self) -> String {
        let plural = if self.structures == 1 { "" } else { "s" };
        let mut text = format!("{} structure{plural}", self.structures);
        for (layout, count) in &self.layouts {
            text += &format!(", {count} {layout}");
        }
        text += &format!(
            "; {} with H ({} elements, largest {:.4} eV), {} spinful\n",
            self.with_hamiltonian, self.hamiltonian_elements, self.largest_h_ev, self.spinful
        );
        for (element, variants) in &self.elements {
            let shells = |shells: &Vec<usize>| {
                let letters =
                    shells.iter().map(|l| b"spdfghijklmno".get(*l).map_or('?', |b| char::from(*b)).to_string());
                letters.collect::<Vec<_>>().join(" ")
            };
            let variants: Vec<String> = variants.iter().map(shells).collect();
            text += &format!("{element}: {}\n", variants.join(" | "));
        }
        let head =
            ["structure", "formula", "atoms", "orbitals", "pairs", "longest A", "matrices", "Fermi eV", "electrons"];
        let number = |x: Option<f64>, digits: usize| x.map_or("-".into(), |x| format!("{x:.digits$}"));
        let row = |one: &Inspection| {
            vec![
                one.structure.clone(),
                one.formula.clone(),
                one.atoms.to_string(),
                one.orbitals.to_string(),
                one.pairs.map_or("-".into(), |n| n.to_string()),
                number(one.longest_pair, 3),
                one.matrices.clone() + if one.spinful { " spinful" } else { "" },
                number(one.fermi_ev, 4),
                number(one.electrons, 1),
            ]
        };
        let mut rows = vec![head.map(String::from).to_vec()];
        rows.extend(self.list.iter().take(MOST_LINES).map(row));
        text += &format!("\n{}", table(&rows));
        let more = self.list.len().saturating_sub(MOST_LINES);
        if more > 0 {
            text += &format!("... and {more} more (--json has all)\n");
        }
        text
    }
}

/// |r_ij| of a pair, angstrom; `None` for atoms that the structure does not have.
fn distance(poscar: &crate::datasets::poscar::Poscar, pair: &deeph::matrix::AtomPair) -> Option<f64> {
    let atom = |n: i64| poscar.positions.get(usize::try_from(n).ok()?);
    let (first, second) = (atom(pair[3])?, atom(pair[4])?);
    let component =
        |x: usize| second[x] - first[x] + (0..3).map(|axis| pair[axis] as f64 * poscar.lattice[axis][x]).sum::<f64>();
    Some((0..3).map(|x| component(x).powi(2)).sum::<f64>().sqrt())
}
