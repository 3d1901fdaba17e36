//! Running sums over the blocks of H and S, and the statistics they give.

use std::collections::BTreeMap;
use tesseral_datasets::deeph::Record;
use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};
use tesseral_datasets::elements;

use super::{Bin, Group, OnSite, Sizes, Statistics, Values};
use crate::comparison::grid::shell_ranges;
use crate::comparison::tally::pair_name;
use crate::hamiltonian::Basis;
use crate::structure::Crystal;
use crate::{Error, Result};

/// Width of a range of lengths, angstrom.
const RANGE: f64 = 0.25;
/// Bins of the histogram for each power of ten, and its ends.
const BINS_PER_DECADE: f64 = 4.0;
const DECADES: [i32; 2] = [-10, 3];

#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: usize,
    sum: f64,
    squares: f64,
    moduli: f64,
    largest: f64,
}

/// Pairs and moments of H and S.
#[derive(Clone, Copy, Debug, Default)]
struct Both {
    pairs: [usize; 2],
    moments: [Moments; 2],
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Atoms, orbitals, pairs of each structure.
    sizes: Vec<[usize; 3]>,
    /// Shells of each element, and how many elements of H each range of moduli has, on site and between atoms.
    shells: BTreeMap<u32, Vec<usize>>,
    bins: BTreeMap<i64, [usize; 2]>,
    /// By elements and places of the shells.
    orbital_pairs: BTreeMap<(u32, u32, usize, usize), Both>,
    element_pairs: BTreeMap<(u32, u32), Both>,
    ranges: BTreeMap<usize, Both>,
    /// By element and places of the shells: diagonal, others.
    on_site: BTreeMap<(u32, usize, usize), [Moments; 2]>,
}

impl Moments {
    fn add(&mut self, real: f64, modulus: f64) {
        self.count += 1;
        self.sum += real;
        self.squares += real * real;
        self.moduli += modulus;
        self.largest = self.largest.max(modulus);
    }

    fn merge(&mut self, other: &Moments) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.moduli += other.moduli;
        self.largest = self.largest.max(other.largest);
    }

    fn values(&self) -> Option<Values> {
        let count = self.count as f64;
        let mean = self.sum / count;
        let std = (self.squares / count - mean * mean).max(0.0).sqrt();
        let (elements, mean_abs, max_abs) = (self.count, self.moduli / count, self.largest);
        (self.count > 0).then_some(Values { elements, mean, std, mean_abs, max_abs })
    }
}

impl Both {
    fn merge(&mut self, other: &Both) {
        for which in 0..2 {
            self.pairs[which] += other.pairs[which];
            self.moments[which].merge(&other.moments[which]);
        }
    }

    fn group(&self, element_pair: Option<String>, shells: Option<String>, from_to: Option<[f64; 2]>) -> Group {
        let [hamiltonian, overlap] = self.moments.map(|m| m.values());
        let pairs = if hamiltonian.is_some() { self.pairs[0] } else { self.pairs[1] };
        Group { element_pair, shells, from_to, pairs, hamiltonian, overlap }
    }
}

impl Tally {
    pub(super) fn add(&mut self, record: &Record) -> Result<()> {
        let crystal = Crystal::from_poscar(&record.poscar)?;
        let basis = Basis::from_info(&record.info)?;
        for &number in &crystal.species {
            self.shells.entry(number).or_insert(basis.shells(number)?.to_vec());
        }
        let matrices = [record.hamiltonian.as_ref(), record.overlap.as_ref()];
        let pairs = matrices.into_iter().flatten().next().map_or(0, |matrix| matrix.pairs.len());
        self.sizes.push([crystal.len(), record.info.orbits_quantity, pairs]);
        for (which, matrix) in matrices.into_iter().enumerate() {
            let Some(matrix) = matrix else { continue };
            basis.spin_form(matrix, &crystal.species)?;
            (0..matrix.pairs.len()).for_each(|block| self.add_block(which, matrix, block, &crystal));
        }
        Ok(())
    }

    /// `which`: 0 for H, 1 for S.
    fn add_block(&mut self, which: usize, matrix: &BlockMatrix, block: usize, crystal: &Crystal) {
        let pair = matrix.pairs[block];
        let (first, second) = (pair[3] as usize, pair[4] as usize);
        let species = [crystal.species[first], crystal.species[second]];
        let on_site = pair[..3] == [0, 0, 0] && first == second;
        let (rows, columns) = (places(&self.shells[&species[0]]), places(&self.shells[&species[1]]));
        let mut all = Both::default();
        let mut by_shells: BTreeMap<(usize, usize), [Moments; 2]> = BTreeMap::new();
        let start = matrix.boundaries[block];
        let width = matrix.shapes[block][1];
        for place in start..matrix.boundaries[block + 1] {
            let (real, modulus) = match &matrix.entries {
                Entries::Real(values) => (values[place], values[place].abs()),
                Entries::Complex(values) => (values[place].re, values[place].norm()),
            };
            let (row, column) = ((place - start) / width, (place - start) % width);
            let shells = (rows[row % rows.len()], columns[column % columns.len()]);
            let other = usize::from(row != column);
            by_shells.entry(shells).or_default()[other].add(real, modulus);
            all.moments[which].add(real, modulus);
            if which == 0 && modulus > 0.0 {
                let bin = (modulus.log10() * BINS_PER_DECADE).floor();
                let [low, high] = DECADES.map(|decade| f64::from(decade) * BINS_PER_DECADE);
                self.bins.entry(bin.clamp(low, high - 1.0) as i64).or_default()[usize::from(!on_site)] += 1;
            }
        }
        if on_site {
            for (shells, moments) in by_shells.iter().filter(|_| which == 0) {
                let here = self.on_site.entry((species[0], shells.0, shells.1)).or_default();
                here.iter_mut().zip(moments).for_each(|(here, there)| here.merge(there));
            }
            return;
        }
        all.pairs[which] = 1;
        let length = crystal.displacement([pair[0], pair[1], pair[2]], first, second).norm();
        self.ranges.entry((length / RANGE) as usize).or_default().merge(&all);
        if species[0] > species[1] {
            return; // the adjoint of a block that is counted
        }
        self.element_pairs.entry((species[0], species[1])).or_default().merge(&all);
        for (shells, [diagonal, others]) in by_shells {
            let mut both = Both { pairs: all.pairs, ..Both::default() };
            both.moments[which].merge(&diagonal);
            both.moments[which].merge(&others);
            self.orbital_pairs.entry((species[0], species[1], shells.0, shells.1)).or_default().merge(&both);
        }
    }

    pub(super) fn merge(&mut self, other: Tally) -> Result<()> {
        for (number, shells) in other.shells {
            let here = self.shells.entry(number).or_insert_with(|| shells.clone());
            if *here != shells {
                let what = format!("shells of {}", elements::symbol(number).unwrap_or("?"));
                let (expected, found) = (format!("{here:?} as before"), format!("{shells:?}"));
                return Err(Error::Mismatch { what, expected, found });
            }
        }
        self.sizes.extend(other.sizes);
        for (bin, counts) in other.bins {
            let here = self.bins.entry(bin).or_default();
            (0..2).for_each(|kind| here[kind] += counts[kind]);
        }
        fn join<K: Ord>(here: &mut BTreeMap<K, Both>, there: BTreeMap<K, Both>) {
            there.into_iter().for_each(|(key, both)| here.entry(key).or_default().merge(&both));
        }
        join(&mut self.orbital_pairs, other.orbital_pairs);
        join(&mut self.element_pairs, other.element_pairs);
        join(&mut self.ranges, other.ranges);
        for (key, moments) in other.on_site {
            let here = self.on_site.entry(key).or_default();
            here.iter_mut().zip(&moments).for_each(|(here, there)| here.merge(there));
        }
        Ok(())
    }

    pub(super) fn statistics(&self) -> Statistics {
        let sizes = |which: usize| {
            let values = || self.sizes.iter().map(|sizes| sizes[which]);
            Sizes {
                least: values().min().unwrap_or(0),
                mean: values().sum::<usize>() as f64 / self.sizes.len().max(1) as f64,
                most: values().max().unwrap_or(0),
            }
        };
        let shell = |number: u32, place: usize| {
            shell_ranges(&self.shells[&number]).nth(place).map_or(String::new(), |(name, _)| name)
        };
        let shells = |a: u32, b: u32, first: usize, second: usize| format!("{}-{}", shell(a, first), shell(b, second));
        let element_pair = |(key, both): (&(u32, u32), &Both)| both.group(Some(pair_name(*key)), None, None);
        let orbital_pair = |(&(a, b, first, second), both): (&(u32, u32, usize, usize), &Both)| {
            both.group(Some(pair_name((a, b))), Some(shells(a, b, first, second)), None)
        };
        let range = |(range, both): (&usize, &Both)| {
            both.group(None, None, Some([RANGE * *range as f64, RANGE * (range + 1) as f64]))
        };
        let on_site = |(&(number, first, second), moments): (&(u32, usize, usize), &[Moments; 2])| {
            let [mut diagonal, mut others] = *moments;
            if first != second {
                others.merge(&diagonal); // equal numbers in two shells are no diagonal
                diagonal = Moments::default();
            }
            OnSite {
                element: elements::symbol(number).unwrap_or("?").into(),
                shells: shells(number, number, first, second),
                diagonal: diagonal.values(),
                others: others.values(),
            }
        };
        let bin = |(bin, counts): (&i64, &[usize; 2])| {
            let log10 = [*bin as f64 / BINS_PER_DECADE, (*bin + 1) as f64 / BINS_PER_DECADE];
            Bin { log10, on_site: counts[0], between: counts[1] }
        };
        Statistics {
            structures: self.sizes.len(),
            atoms: sizes(0),
            orbitals: sizes(1),
            pairs: sizes(2),
            by_element_pair: self.element_pairs.iter().map(element_pair).collect(),
            by_orbital_pair: self.orbital_pairs.iter().map(orbital_pair).collect(),
            by_distance: self.ranges.iter().map(range).collect(),
            on_site: self.on_site.iter().map(on_site).collect(),
            histogram: self.bins.iter().map(bin).collect(),
        }
    }
}

/// For each orbital the place of its shell.
fn places(shells: &[usize]) -> Vec<usize> {
    shells.iter().enumerate().flat_map(|(place, l)| std::iter::repeat_n(place, 2 * l + 1)).collect()
}
