//! Sums of errors between the orbitals of two elements, and the names of orbitals.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tesseral_datasets::deeph::info::orbitals_of;

use super::difference::{Difference, elements_of, modulus};
use super::report::OrbitalMap;
use super::sums::Sums;

/// Sums for each pair of single orbitals, spins pooled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Grid {
    pub(super) shells: [Vec<usize>; 2],
    /// `[rows * columns]`.
    pub(super) sums: Vec<Sums>,
}

impl Grid {
    /// Of two elements with these shells.
    pub(super) fn new(shells: [Vec<usize>; 2]) -> Self {
        let size = shells.iter().map(|shells| orbitals_of(shells)).product();
        Self { shells, sums: vec![Sums::default(); size] }
    }

    /// Adds a block of `shape`; both spins of an orbital are one. Returns the sums of the block.
    pub(super) fn add(&mut self, difference: &Difference<'_>, block: usize, shape: [usize; 2]) -> Sums {
        let (rows, columns) = (orbitals_of(&self.shells[0]), orbitals_of(&self.shells[1]));
        let mut all = Sums::default();
        for (offset, place) in elements_of(difference.reference, block).enumerate() {
            let (row, column) = ((offset / shape[1]) % rows, (offset % shape[1]) % columns);
            let raw = modulus(&difference.raw, place);
            let fixed = difference.fixed.as_ref().map(|fixed| modulus(fixed, place));
            let magnitude = modulus(difference.reference, place);
            all.add(raw, fixed, magnitude);
            self.sums[row * columns + column].add(raw, fixed, magnitude);
        }
        all
    }

    /// `s1-p2` and the sums of the two shells, for all pairs of shells.
    pub(super) fn by_shells(&self) -> Vec<(String, Sums)> {
        let columns = orbitals_of(&self.shells[1]);
        let mut found = Vec::new();
        for (row_name, rows) in shell_ranges(&self.shells[0]) {
            for (column_name, range) in shell_ranges(&self.shells[1]) {
                let mut sums = Sums::default();
                for row in rows.clone() {
                    self.sums[row * columns + range.start..row * columns + range.end]
                        .iter()
                        .for_each(|s| sums.merge(s));
                }
                found.push((format!("{row_name}-{column_name}"), sums));
            }
        }
        found
    }

    /// The mean errors, for pictures.
    pub(super) fn map(&self, element_pair: String) -> OrbitalMap {
        let names = |shells: &[usize]| shell_ranges(shells).map(|(name, range)| (name, range.len())).collect();
        let rows = self.sums.chunks(orbitals_of(&self.shells[1]));
        OrbitalMap {
            element_pair,
            rows: names(&self.shells[0]),
            columns: names(&self.shells[1]),
            mae_mev: rows.map(|row| row.iter().map(Sums::mae_mev).collect()).collect(),
        }
    }
}

/// The grids as a list: JSON has no pairs for keys.
pub(super) mod listed {
    use super::{BTreeMap, Grid, orbitals_of};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Highest l that is accepted, far above any basis.
    const L_MAX: usize = 64;

    pub(in super::super) fn serialize<S>(grids: &BTreeMap<(u32, u32), Grid>, to: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        grids.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D>(from: D) -> Result<BTreeMap<(u32, u32), Grid>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let list = Vec::<((u32, u32), Grid)>::deserialize(from)?;
        for (_, grid) in &list {
            let known = grid.shells.iter().flatten().all(|l| *l <= L_MAX);
            if !known || grid.sums.len() != orbitals_of(&grid.shells[0]) * orbitals_of(&grid.shells[1]) {
                return Err(D::Error::custom("sums: expected one for each pair of orbitals"));
            }
        }
        Ok(list.into_iter().collect())
    }
}

/// `s1`, `s2`, `p1`, .. with the orbitals of each.
pub(crate) fn shell_ranges(shells: &[usize]) -> impl Iterator<Item = (String, Range<usize>)> + '_ {
    let (mut first, mut ranks) = (0, BTreeMap::new());
    shells.iter().map(move |&l| {
        let rank = ranks.entry(l).or_insert(0);
        *rank += 1;
        let letter = b"spdfghijk".get(l).map_or('?', |letter| char::from(*letter));
        let range = first..first + 2 * l + 1;
        first = range.end;
        (format!("{letter}{rank}"), range)
    })
}

/// `p1 m=-1`, in a spinful block of `size` orbitals `p1 m=-1 up`.
pub(super) fn orbital_name(shells: &[usize], index: usize, size: usize) -> String {
    let count = orbitals_of(shells).max(1);
    let spin = match (size == 2 * count, index < count) {
        (false, _) => "",
        (true, true) => " up",
        (true, false) => " down",
    };
    let found = shell_ranges(shells).find(|(_, range)| range.contains(&(index % count)));
    let Some((name, range)) = found else { return index.to_string() };
    let m = (index % count - range.start) as i64 - (range.len() as i64 - 1) / 2;
    format!("{name} m={m}{spin}")
}
