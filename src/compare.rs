//! Error analysis of predictions: pairs folders, compares, writes tables and pictures; what `physics compare` does.
//!
//! Modules: [`pairing`], [`tables`], [`shards`].

pub mod pairing;
pub mod shards;
pub mod tables;

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

use crate::nn::train::Observer;
use crate::physics::Result;
use crate::physics::comparison::{self, Case, Comparison, Options};
use crate::plot::heatmap::Heatmap;
use crate::plot::parity::{self, Parity};
use crate::plot::{Format, distance, heatmap};
use crate::report::{create_folder, write_json};
use pairing::Pairing;

/// Points of the parity plot.
const PARITY_POINTS: usize = 4000;
/// Most pairs of elements that are drawn; the tables have all.
const MOST_HEATMAPS: usize = 16;

/// A comparison of folders.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// All errors.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// References without prediction, by name.
    pub without_prediction: Vec<String>,
    /// Predictions without reference, by name.
    pub without_reference: Vec<String>,
}

/// What to compare and how; as JSON it says what the parts of a sharded run belong to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Structures with known H, or folders of them.
    pub references: Vec<PathBuf>,
    /// Predictions: folders, folders of them, or files.
    pub predictions: Vec<PathBuf>,
    /// What is compared; `counting.parity` is set by the number of structures.
    pub options: Options,
    /// Pictures to draw.
    pub formats: Vec<Format>,
}

impl Task {
    /// Compares all predictions with the references of the same name.
    ///
    /// # Errors
    /// As [`pairing::pair`], [`pairing::read`] and [`comparison::compare`].
    pub fn compare(&self, observer: &mut dyn Observer) -> Result<Report> {
        let pairing = pairing::pair(&self.references, &self.predictions)?;
        let load = |number: usize| self.read(&pairing, number);
        let comparison = comparison::compare(pairing.pairs.len(), load, &self.options(&pairing), observer)?;
        Ok(Self::report(comparison, pairing))
    }

    fn read(&self, pairing: &Pairing, number: usize) -> Result<Case> {
        let (reference, source) = &pairing.pairs[number];
        pairing::read(reference, source, self.options.spectrum.is_some_and(|spectrum| spectrum.electrons.is_none()))
    }

    fn options(&self, pairing: &Pairing) -> Options {
        let mut options = self.options;
        options.counting.parity = PARITY_POINTS.div_ceil(pairing.pairs.len().max(1));
        options
    }

    fn report(comparison: Comparison, pairing: Pairing) -> Report {
        let (without_prediction, without_reference) = (pairing.without_prediction, pairing.without_reference);
        Report { comparison, without_prediction, without_reference }
    }
}

/// Writes `comparison.json`, the tables and the pictures into `out`. Returns the files.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(report: &Report, out: &Path, formats: &[Format]) -> Result<Vec<PathBuf>> {
    create_folder(out)?;
    write_json(&out.join("comparison.json"), report)?;
    let mut files = vec![out.join("comparison.json")];
    files.extend(tables::write(&report.comparison, out)?);
    let errors = &report.comparison.errors;
    // The gauge-fixed values where there are some: mu alone would hide all else.
    let points = errors.parity.iter().map(|p| [p.reference_ev, p.gauge_fixed_ev.unwrap_or(p.predicted_ev)]).collect();
    let fixed = errors.parity.iter().any(|p| p.gauge_fixed_ev.is_some());
    let series = [Parity { name: if fixed { "gauge fixed" } else { "as predicted" }.into(), points }];
    let mut maps = errors.maps.iter().collect::<Vec<_>>();
    let worst = |name: &str| errors.by_element_pair.iter().position(|pair| pair.element_pair == name);
    maps.sort_by_key(|map| worst(&map.element_pair));
    let top = above(maps.iter().flat_map(|map| map.mae_mev.iter().flatten()).copied().fold(0.0, f64::max));
    for format in formats {
        let mut file = |stem: &str| {
            files.push(format.file(&out.join(stem)));
            files[files.len() - 1].clone()
        };
        parity::draw(&file("parity"), &series)?;
        distance::draw(&file("distance"), &errors.by_distance)?;
        for map in maps.iter().take(MOST_HEATMAPS) {
            let map = Heatmap {
                title: map.element_pair.clone(),
                rows: &map.rows,
                columns: &map.columns,
                values: &map.mae_mev,
            };
            heatmap::draw(&file(&format!("orbitals-{}", map.title)), &map, "error of H (meV)", top)?;
        }
    }
    Ok(files)
}

/// The next of 1, 2, 5, 10, .. that is not below `value`.
fn above(value: f64) -> f64 {
    if !(value.is_finite() && value > 0.0) {
        return 1.0;
    }
    let decade = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * decade).find(|step| *step >= value).unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        assert_eq!([0.0, 0.7, 2.0, 31.0].map(above), [1.0, 1.0, 2.0, 50.0]);
    }
}
