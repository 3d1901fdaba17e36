//! Error and size of H against the length of the pair.

use std::path::Path;

use super::decay;
use crate::physics::Result;
use crate::physics::comparison::report::DistanceError;

/// Draws the mean error (gauge-fixed where that is known) and mean |H| of each range on a logarithmic axis; on-site
/// blocks stand at 0. `path` is the SVG or PNG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, ranges: &[DistanceError]) -> Result<()> {
    let middle = |range: &DistanceError| (range.from + range.to) / 2.0;
    let error = |range: &DistanceError| range.figures.mae_gauge_fixed_mev.unwrap_or(range.figures.mae_mev);
    let fixed = ranges.iter().any(|range| range.figures.mae_gauge_fixed_mev.is_some());
    let line = |name: &str, value: &dyn Fn(&DistanceError) -> f64| {
        (name.to_owned(), ranges.iter().map(|range| (middle(range), value(range))).collect())
    };
    let lines = [
        line("mean |H|", &|range| range.figures.mean_abs_mev),
        line(if fixed { "error, gauge fixed" } else { "error" }, &error),
    ];
    decay::draw(path, &lines, "meV")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physics::comparison::sums::Sums;

    #[test]
    fn draws_ranges_and_none() {
        let folder = tempfile::tempdir().unwrap();
        let range = |k: f64| {
            let mut sums = Sums::default();
            sums.add(1e-3 / k, Some(1e-4 / k), 1.0 / k);
            DistanceError { from: k - 0.5, to: k, figures: sums.figures() }
        };
        draw(&folder.path().join("d.svg"), &[range(0.5), range(1.0), range(4.5)]).unwrap();
        assert!(std::fs::read_to_string(folder.path().join("d.svg")).unwrap().contains("gauge fixed"));
        draw(&folder.path().join("none.svg"), &[]).unwrap();
    }
}
