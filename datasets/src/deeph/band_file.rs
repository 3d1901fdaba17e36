//! `band.h5`, `dos.h5`: bands and density of states as DeepH-pack and DeepH-dock write and plot them (docs/formats.md).
//!
//! Energies in these files are measured from the Fermi level. That of `band.h5` is moved first: where the bands leave a
//! gap it goes to its middle.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result, Rule};
use crate::hdf5::{self, Column, Values};

/// A number of occupied bands counts as a state of its own when more than this share of the points has it (divided by
/// the number of such states): a band that touches the level at a few points makes no metal.
const SIGNIFICANT_SHARE: f64 = 0.05;

/// A straight piece of a path: points, ends (fractional), names of the ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Points, both ends included.
    pub points: usize,
    /// Fractional k of the ends.
    pub ends: [[f64; 3]; 2],
    /// Their names.
    pub labels: [String; 2],
}

/// What `band.h5` holds.
#[derive(Clone, Debug, PartialEq)]
pub struct BandFile {
    /// Reciprocal vectors as rows, inverse angstrom, 2 pi included.
    pub reciprocal: [[f64; 3]; 3],
    /// Whether the bands hold one electron each.
    pub spinful: bool,
    /// Fermi level on the scale of `energies_ev`.
    pub fermi_ev: f64,
    /// The path.
    pub path: Vec<Piece>,
    /// `[K]` fractional points.
    pub points: Vec<[f64; 3]>,
    /// `[K]` distance along the path, inverse angstrom (without 2 pi).
    pub distances: Vec<f64>,
    /// `[pieces + 1]` distances of the ends of the pieces.
    pub corners: Vec<f64>,
    /// `[K][bands]` ascending eigenvalues, eV, not shifted; of the shortest list's length everywhere.
    pub energies_ev: Vec<Vec<f64>>,
}

/// The Fermi level as DeepH resets it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResetLevel {
    /// Middle of the gap, or the level given, eV.
    pub fermi_ev: f64,
    /// Width of the gap, eV; 0 for a metal.
    pub gap_ev: f64,
    /// Whether the number of occupied bands changes along the path.
    pub is_metal: bool,
}

/// DeepH's rule: an insulator has one number of occupied bands at (nearly) all points; its level goes to mid-gap.
pub fn reset_level(energies_ev: &[Vec<f64>], fermi_ev: f64) -> ResetLevel {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for energies in energies_ev {
        *counts.entry(energies.iter().filter(|&&e| e < fermi_ev).count()).or_default() += 1;
    }
    let least = ((SIGNIFICANT_SHARE * energies_ev.len() as f64 / counts.len().max(1) as f64) as usize).max(1);
    let is_metal = counts.len() > 1 && counts.values().filter(|&&points| points > least).count() != 1;
    let metal = ResetLevel { fermi_ev, gap_ev: 0.0, is_metal };
    if is_metal {
        return metal;
    }
    // The highest band that is occupied anywhere, and the next.
    let (Some(&occupied), bands) = (counts.keys().last(), energies_ev.iter().map(Vec::len).min().unwrap_or(0)) else {
        return metal;
    };
    if occupied == 0 || occupied >= bands {
        return metal;
    }
    let top = energies_ev.iter().map(|e| e[occupied - 1]).fold(f64::NEG_INFINITY, f64::max);
    let bottom = energies_ev.iter().map(|e| e[occupied]).fold(f64::INFINITY, f64::min);
    ResetLevel { fermi_ev: (top + bottom) / 2.0, gap_ev: bottom - top, is_metal }
}

impl BandFile {
    /// Writes the file, whole or not at all.
    ///
    /// Errors: lists of different lengths, no point, no band, a file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let (points, pieces) = (self.points.len(), self.path.len());
        let bands = self.energies_ev.iter().map(Vec::len).min().unwrap_or(0);
        let lengths = [self.distances.len(), self.energies_ev.len(), self.path.iter().map(|p| p.points).sum()];
        if lengths != [points; 3] || bands == 0 || self.corners.len() != pieces + 1 {
            let expected = "distances, energies and pieces of the same points, and at least one band";
            let found = format!("{points} points, {lengths:?}, {bands} bands, {} corners", self.corners.len());
            return Err(Error::invalid(Rule::Size, path, "band_data", expected, found));
        }
        let level = reset_level(&self.energies_ev, self.fermi_ev);
        let shifted = (0..bands).flat_map(|band| self.energies_ev.iter().map(move |e| e[band] - level.fermi_ev));
        let one = |value: f64| Values::Real(vec![value]);
        let count = |value: usize| Values::Integer(vec![value as i64]);
        let flat = |rows: &[[f64; 3]]| Values::Real(rows.iter().flatten().copied().collect());
        let ends: Vec<[f64; 3]> = self.path.iter().flat_map(|piece| piece.ends).collect();
        let labels = self.path.iter().flat_map(|piece| piece.labels.clone()).collect();
        let densities = self.path.iter().map(|piece| piece.points as i64).collect();
        hdf5::write(
            path,
            &[
                Column::new("rlv", [3, 3], flat(&self.reciprocal)),
                Column::new("spinful", [], Values::Boolean(vec![self.spinful])),
                Column::new("band_quantity", [], count(bands)),
                Column::new("fermi_energy_before_shift_eV", [], one(level.fermi_ev)),
                Column::new("fermi_energy_eV", [], one(0.0)),
                Column::new("k_path_quantity", [], count(pieces)),
                Column::new("k_path_density_list", [pieces], Values::Integer(densities)),
                Column::new("hsk_vector_list", [pieces, 2, 3], flat(&ends)),
                Column::new("hsk_symbol_list", [pieces, 2], Values::Text(labels)),
                Column::new("kpoints_quantity", [], count(points)),
                Column::new("kpoints_frac_list", [points, 3], flat(&self.points)),
                Column::new("kpoints_distance_list", [points], Values::Real(self.distances.clone())),
                Column::new("hsk_distance_list", [pieces + 1], Values::Real(self.corners.clone())),
                Column::new("band_data", [bands, points], Values::Real(shifted.collect())),
                Column::new("band_gap", [], one(level.gap_ev)),
                Column::new("is_metal", [], Values::Boolean(vec![level.is_metal])),
            ],
        )
    }
}

/// Writes `dos.h5`: energies from the Fermi level (eV), states per eV and cell, and where the level was (eV).
///
/// Errors: lists of different lengths, a file that cannot be written.
pub fn write_dos(path: &Path, energies_ev: &[f64], states_per_ev: &[f64], fermi_ev: f64) -> Result<()> {
    if energies_ev.len() != states_per_ev.len() {
        let (expected, found) = (energies_ev.len().to_string(), states_per_ev.len().to_string());
        return Err(Error::invalid(Rule::Size, path, "dos_data", expected, found));
    }
    let list = |name, values: &[f64]| Column::new(name, [values.len()], Values::Real(values.to_vec()));
    let level = Column::new("fermi_energy_before_shift", [], Values::Real(vec![fermi_ev]));
    hdf5::write(path, &[list("energy", energies_ev), list("dos_data", states_per_ev), level])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deeph::matrix::Entries;

    fn file() -> BandFile {
        let labels = ["GAMMA".to_string(), "M".to_string()];
        BandFile {
            reciprocal: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            spinful: false,
            fermi_ev: 0.9,
            path: vec![Piece { points: 3, ends: [[0.0; 3], [0.5, 0.0, 0.0]], labels }],
            points: vec![[0.0; 3], [0.25, 0.0, 0.0], [0.5, 0.0, 0.0]],
            distances: vec![0.0, 0.04, 0.08],
            corners: vec![0.0, 0.08],
            energies_ev: vec![vec![-1.0, 2.0], vec![0.0, 3.0], vec![-0.5, 4.0, 5.0]],
        }
    }

    #[test]
    fn the_level_of_an_insulator_goes_to_mid_gap() {
        let level = reset_level(&file().energies_ev, 0.1);
        assert_eq!(level, ResetLevel { fermi_ev: 1.0, gap_ev: 2.0, is_metal: false });
        let crossed: Vec<Vec<f64>> = (0..20).map(|k| vec![-1.0, f64::from(k % 2)]).collect();
        assert_eq!(reset_level(&crossed, 0.5), ResetLevel { fermi_ev: 0.5, gap_ev: 0.0, is_metal: true });
        // All occupied: no band above to measure a gap from.
        assert_eq!(reset_level(&[vec![0.0]], 1.0), ResetLevel { fermi_ev: 1.0, gap_ev: 0.0, is_metal: false });
        // One of a hundred points does not make a metal.
        let mut energies = vec![vec![-1.0, 1.0]; 100];
        energies[7][0] = 0.2;
        assert_eq!(reset_level(&energies, 0.0), ResetLevel { fermi_ev: 0.6, gap_ev: 0.8, is_metal: false });
    }

    #[test]
    fn all_keys_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("band.h5");
        file().write(&path).unwrap();
        let read = hdf5::File::open(&path, hdf5::MAX_BYTES).unwrap();
        assert_eq!(read.names().unwrap().len(), 16);
        let expected = vec![-2.0, -1.0, -1.5, 1.0, 2.0, 3.0];
        assert_eq!(read.elements("band_data").unwrap(), (vec![2, 3], Entries::Real(expected)));
        assert_eq!(read.elements("fermi_energy_before_shift_eV").unwrap(), (vec![], Entries::Real(vec![1.0])));
        assert_eq!(read.integers("band_quantity").unwrap(), (vec![], vec![2]));
        assert_eq!(read.header("hsk_symbol_list").unwrap().0, [1, 2]);
        let short = BandFile { distances: vec![], ..file() };
        assert!(short.write(&path).unwrap_err().to_string().contains("band_data"));
    }

    #[test]
    fn dos_lists_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dos.h5");
        write_dos(&path, &[0.0, 1.0], &[2.0, 3.0], -4.0).unwrap();
        let read = hdf5::File::open(&path, hdf5::MAX_BYTES).unwrap();
        assert_eq!(read.names().unwrap(), ["dos_data", "energy", "fermi_energy_before_shift"]);
        assert!(write_dos(&path, &[0.0], &[], 0.0).is_err());
    }
}
