//! What the matrices of a set look like: sizes of H and S by elements, orbitals and distance, and on-site energies.
//!
//! Values of blocks between two atoms are counted once where the elements differ (the block of the lighter one's row),
//! for the reverse block is the adjoint. In a spinful basis both spins of an orbital are one.

mod tally;

use rayon::prelude::*;
use serde::Serialize;
use std::path::PathBuf;
use tesseral_datasets::deeph::{self, ReadOptions};
use tesseral_nn::train::Observer;

use crate::{Error, Result};
use tally::Tally;

/// Some matrix elements: eV for H, 1 for S.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Values {
    /// How many.
    pub elements: usize,
    /// Mean of their real parts.
    pub mean: f64,
    /// Standard deviation of their real parts.
    pub std: f64,
    /// Mean modulus.
    pub mean_abs: f64,
    /// Largest modulus.
    pub max_abs: f64,
}

/// Fewest, mean and most of something, a structure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sizes {
    /// Fewest.
    pub least: usize,
    /// Mean.
    pub mean: f64,
    /// Most.
    pub most: usize,
}

/// H and S of some blocks between atoms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Such as `Mo-S`; absent where all elements are in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_pair: Option<String>,
    /// Such as `s1-p2`: letter of the degree, place among the shells of that degree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shells: Option<String>,
    /// Range of the distance of the atoms, angstrom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_to: Option<[f64; 2]>,
    /// Pairs of atoms of H, or of S where there is no H.
    pub pairs: usize,
    /// H, eV.
    pub hamiltonian: Option<Values>,
    /// S.
    pub overlap: Option<Values>,
}

/// On-site blocks of H between two shells of an element.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnSite {
    /// The element.
    pub element: String,
    /// Such as `s1-p2`.
    pub shells: String,
    /// The diagonal of a shell with itself, eV: its energy, and how much that varies.
    pub diagonal: Option<Values>,
    /// All other elements, eV.
    pub others: Option<Values>,
}

/// How many elements of H have a modulus in a range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// log10 of the ends, eV.
    pub log10: [f64; 2],
    /// Elements of on-site blocks.
    pub on_site: usize,
    /// Elements of blocks between atoms.
    pub between: usize,
}

/// Statistics of a set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Structures.
    pub structures: usize,
    /// Atoms of a structure.
    pub atoms: Sizes,
    /// Orbitals of a structure, spin not counted.
    pub orbitals: Sizes,
    /// Ordered pairs of a structure, on-site ones included.
    pub pairs: Sizes,
    /// By elements, between atoms.
    pub by_element_pair: Vec<Group>,
    /// By elements and shells, between atoms.
    pub by_orbital_pair: Vec<Group>,
    /// By distance, between atoms.
    pub by_distance: Vec<Group>,
    /// On-site blocks of H.
    pub on_site: Vec<OnSite>,
    /// Moduli of H; exact zeros are not in it.
    pub histogram: Vec<Bin>,
}

/// Reads the structures in parallel, as many at a time as there are threads, and sums up.
///
/// # Errors
/// No structure, the first that does not read, an element with other shells than before.
pub fn of(folders: &[PathBuf], observer: &mut dyn Observer) -> Result<Statistics> {
    let mut all = Tally::default();
    for (done, part) in folders.chunks(rayon::current_num_threads()).enumerate() {
        let read = |folder: &PathBuf| -> Result<Tally> {
            let mut tally = Tally::default();
            tally.add(&deeph::read(folder, &ReadOptions::present(folder))?)?;
            Ok(tally)
        };
        let tallies: Vec<Result<Tally>> = part.par_iter().map(read).collect();
        tallies.into_iter().try_for_each(|tally| all.merge(tally?))?;
        observer.on_progress(done * rayon::current_num_threads() + part.len(), folders.len(), "structures");
    }
    if folders.is_empty() {
        let (expected, found) = ("at least one structure".into(), "none".into());
        return Err(Error::Mismatch { what: "statistics".into(), expected, found });
    }
    Ok(all.statistics())
}
