//! The one accumulator of Hamiltonian errors: by element pair, orbital pair, distance and structure.
//!
//! `evaluate` (a model on known structures) and `compare` (two folders) both add structures to it. A tally of a single
//! structure is small, so many can be made in parallel and merged in their order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tesseral_datasets::deeph::Record;
use tesseral_datasets::deeph::matrix::{AtomPair, BlockMatrix};
use tesseral_datasets::elements;

use super::difference::{Difference, elements_of, modulus, real_part};
use super::grid::{self, Grid, orbital_name};
use super::report::*;
use super::sums::Sums;
use crate::hamiltonian::basis::Basis;
use crate::hamiltonian::{gauge, symmetry};
use crate::structure::Crystal;
use crate::{Error, Result};

/// Width of a range of lengths, angstrom.
const RANGE: f64 = 0.5;
/// A block whose overlap is nowhere above this is left out under the mask (DeepH-dock's bound).
const MASK: f64 = 1e-10;

/// How to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counting {
    /// Leave out blocks of different sites whose overlap is nowhere above 1e-10 (and those that S lacks).
    pub overlap_mask: bool,
    /// Elements of each structure that are kept for the parity plot.
    pub parity: usize,
}

/// Errors of any number of structures; as JSON it can be kept and merged later.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// By ordered pair of elements, each pair of single orbitals; spins pooled.
    #[serde(with = "grid::listed")]
    grids: BTreeMap<(u32, u32), Grid>,
    ranges: BTreeMap<usize, Sums>,
    structures: Vec<(String, Option<f64>, Sums)>,
    largest: [Option<Extreme>; 2],
    parity: Vec<ParityElement>,
}

impl Tally {
    /// Adds the errors of `prediction` against the Hamiltonian of `record`, gauge-fixed with its overlap where it has
    /// one (an orthogonal basis has the unit matrix).
    ///
    /// # Errors
    /// A record without Hamiltonian, a pair of it that the prediction lacks or has in another shape, an overlap of
    /// other shapes.
    pub fn add(&mut self, record: &Record, prediction: &BlockMatrix, counting: Counting) -> Result<()> {
        let reference = record.hamiltonian.as_ref().ok_or_else(|| Error::Structure {
            structure: record.id.clone(),
            what: "hamiltonian.h5: expected a Hamiltonian to compare with, found none".into(),
        })?;
        let crystal = Crystal::from_poscar(&record.poscar)?;
        let basis = Basis::from_info(&record.info)?;
        basis.spin_form(reference, &crystal.species)?;
        let unit = (record.overlap.is_none() && record.info.orthogonal_basis)
            .then(|| gauge::unit_overlap(&basis, &crystal.species))
            .transpose()?;
        let overlap = record.overlap.as_ref().or(unit.as_ref());
        let difference = Difference::new(prediction, reference, overlap)?;
        let counted = match overlap.filter(|_| counting.overlap_mask) {
            Some(overlap) => with_overlap(reference, overlap)?,
            None => vec![true; reference.pairs.len()],
        };
        let mut all = Sums::default();
        for (block, pair) in reference.pairs.iter().enumerate().filter(|(block, _)| counted[*block]) {
            let species = [3, 4].map(|end| crystal.species[pair[end] as usize]);
            let grid = match self.grids.entry((species[0], species[1])) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let shells = [basis.shells(species[0])?.to_vec(), basis.shells(species[1])?.to_vec()];
                    entry.insert(Grid::new(shells))
                }
            };
            if grid.shells[0] != basis.shells(species[0])? || grid.shells[1] != basis.shells(species[1])? {
                let (expected, found) = (format!("{:?} as before", grid.shells), format!("{:?}", basis.elements()));
                return Err(Error::Mismatch { what: format!("{}: shells", record.id), expected, found });
            }
            let sums = grid.add(&difference, block, reference.shapes[block]);
            let length = crystal.displacement([pair[0], pair[1], pair[2]], pair[3] as usize, pair[4] as usize).norm();
            let range = if length < 1e-8 { 0 } else { 1 + (length / RANGE) as usize };
            self.ranges.entry(range).or_default().merge(&sums);
            all.merge(&sums);
        }
        self.find_largest(record, &crystal, &basis, &difference, &counted);
        self.take_parity(&difference, counting.parity);
        self.structures.push((record.id.clone(), difference.mu_ev, all));
        Ok(())
    }

    /// Adds all structures of `other`, behind those that are here.
    ///
    /// # Errors
    /// Other shells of the same element.
    pub fn merge(&mut self, other: Tally) -> Result<()> {
        for (key, grid) in other.grids {
            match self.grids.get_mut(&key) {
                None => {
                    self.grids.insert(key, grid);
                }
                Some(here) if here.shells == grid.shells => {
                    here.sums.iter_mut().zip(&grid.sums).for_each(|(a, b)| a.merge(b));
                }
                Some(here) => {
                    let what = format!("shells of {}", pair_name(key));
                    let (expected, found) = (format!("{:?}", here.shells), format!("{:?}", grid.shells));
                    return Err(Error::Mismatch { what, expected, found });
                }
            }
        }
        for (range, sums) in other.ranges {
            self.ranges.entry(range).or_default().merge(&sums);
        }
        for (here, there) in self.largest.iter_mut().zip(other.largest) {
            if there.as_ref().map_or(0.0, |x| x.error_mev) > here.as_ref().map_or(0.0, |x| x.error_mev) {
                *here = there;
            }
        }
        self.structures.extend(other.structures);
        self.parity.extend(other.parity);
        Ok(())
    }

    /// mu of the structure that was added last, eV.
    pub fn last_mu_ev(&self) -> Option<f64> {
        self.structures.last().and_then(|structure| structure.1)
    }

    /// The report.
    pub fn errors(&self) -> MatrixErrors {
        let pooled = |sums: &mut dyn Iterator<Item = &Sums>| {
            sums.fold(Sums::default(), |mut all, sums| {
                all.merge(sums);
                all
            })
        };
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let pairs: Vec<Sums> = self.grids.values().map(|grid| pooled(&mut grid.sums.iter())).collect();
        let worst = |a: &Sums, b: &Sums| b.mae_mev().total_cmp(&a.mae_mev());

        let mut by_element_pair: Vec<(String, Sums)> =
            self.grids.keys().map(|key| pair_name(*key)).zip(pairs.iter().copied()).collect();
        by_element_pair.sort_by(|a, b| worst(&a.1, &b.1));
        let mut by_orbital_pair: Vec<(String, String, Sums)> = Vec::new();
        for (key, grid) in &self.grids {
            by_orbital_pair.extend(grid.by_shells().into_iter().map(|(name, sums)| (pair_name(*key), name, sums)));
        }
        by_orbital_pair.sort_by(|a, b| worst(&a.2, &b.2));
        let mut structures = self.structures.clone();
        structures.sort_by(|a, b| worst(&a.2, &b.2));
        MatrixErrors {
            figures: pooled(&mut self.structures.iter().map(|structure| &structure.2)).figures(),
            orbital_average_mev: mean(
                self.grids.values().flat_map(|grid| &grid.sums).map(Sums::mae_mev).collect::<Vec<_>>(),
            ),
            element_pair_average_mev: mean(pairs.iter().map(Sums::mae_mev).collect()),
            largest: self.largest[0].clone(),
            largest_gauge_fixed: self.largest[1].clone(),
            by_element_pair: by_element_pair
                .into_iter()
                .map(|(element_pair, sums)| ElementPairError { element_pair, figures: sums.figures() })
                .collect(),
            by_orbital_pair: by_orbital_pair
                .into_iter()
                .map(|(element_pair, shells, sums)| OrbitalPairError { element_pair, shells, figures: sums.figures() })
                .collect(),
            by_distance: self
                .ranges
                .iter()
                .map(|(range, sums)| DistanceError {
                    from: RANGE * range.saturating_sub(1) as f64,
                    to: RANGE * *range as f64,
                    figures: sums.figures(),
                })
                .collect(),
            by_structure: structures
                .into_iter()
                .map(|(structure, mu_ev, sums)| StructureError {
                    structure,
                    mu_mev: mu_ev.map(|mu| 1e3 * mu),
                    figures: sums.figures(),
                })
                .collect(),
            maps: self.grids.iter().map(|(key, grid)| grid.map(pair_name(*key))).collect(),
            parity: self.parity.clone(),
        }
    }

    fn find_largest(
        &mut self,
        record: &Record,
        crystal: &Crystal,
        basis: &Basis,
        difference: &Difference<'_>,
        counted: &[bool],
    ) {
        for (largest, errors) in self.largest.iter_mut().zip([Some(&difference.raw), difference.fixed.as_ref()]) {
            let Some(errors) = errors else { continue };
            let blocks = (0..errors.pairs.len()).filter(|block| counted[*block]);
            let places = blocks.flat_map(|block| elements_of(errors, block).map(move |place| (block, place)));
            let found = places.max_by(|a, b| modulus(errors, a.1).total_cmp(&modulus(errors, b.1)));
            let Some((block, place)) = found else { continue };
            let error_mev = 1e3 * modulus(errors, place);
            if largest.as_ref().is_some_and(|here| here.error_mev >= error_mev) {
                continue;
            }
            let pair: AtomPair = errors.pairs[block];
            let species = [3, 4].map(|end| crystal.species[pair[end] as usize]);
            let width = errors.shapes[block][1];
            let offset = place - errors.boundaries[block];
            let orbital = |end: usize, index: usize| {
                let shells = basis.shells(species[end]).unwrap_or_default();
                orbital_name(shells, index, errors.shapes[block][end])
            };
            let reference_ev = real_part(difference.reference, place);
            *largest = Some(Extreme {
                structure: record.id.clone(),
                pair,
                element_pair: pair_name((species[0], species[1])),
                orbitals: format!("{}, {}", orbital(0, offset / width), orbital(1, offset % width)),
                distance: crystal.displacement([pair[0], pair[1], pair[2]], pair[3] as usize, pair[4] as usize).norm(),
                reference_ev,
                predicted_ev: reference_ev + real_part(errors, place),
                error_mev,
            });
        }
    }

    fn take_parity(&mut self, difference: &Difference<'_>, most: usize) {
        if most == 0 {
            return;
        }
        let count = difference.reference.entries.len();
        for place in (0..count).step_by(count.div_ceil(most).max(1)) {
            let reference_ev = real_part(difference.reference, place);
            self.parity.push(ParityElement {
                reference_ev,
                predicted_ev: reference_ev + real_part(&difference.raw, place),
                gauge_fixed_ev: difference.fixed.as_ref().map(|fixed| reference_ev + real_part(fixed, place)),
            });
        }
    }
}

/// For each block of `reference` whether it counts under the mask.
fn with_overlap(reference: &BlockMatrix, overlap: &BlockMatrix) -> Result<Vec<bool>> {
    let places = symmetry::places(overlap)?;
    let counts = |pair: &AtomPair| {
        let onsite = pair[..3] == [0, 0, 0] && pair[3] == pair[4];
        onsite || places.get(pair).is_some_and(|&k| elements_of(overlap, k).any(|place| modulus(overlap, place) > MASK))
    };
    Ok(reference.pairs.iter().map(counts).collect())
}

/// `O-H`.
pub(crate) fn pair_name((first, second): (u32, u32)) -> String {
    let name = |number| elements::symbol(number).map_or_else(|| number.to_string(), str::to_owned);
    format!("{}-{}", name(first), name(second))
}
