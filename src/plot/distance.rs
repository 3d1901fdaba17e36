//! Error and size of H against the length of the pair.

use plotters::prelude::*;
use std::path::Path;

use super::{COLOURS, FONT, save, tick};
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
    let drawable = |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
        points.into_iter().filter(|point| point.1.is_finite() && point.1 > 0.0).collect()
    };
    let fixed = ranges.iter().any(|range| range.figures.mae_gauge_fixed_mev.is_some());
    let series = [
        ("mean |H|", drawable(ranges.iter().map(|r| (middle(r), r.figures.mean_abs_mev)).collect())),
        (
            if fixed { "error, gauge fixed" } else { "error" },
            drawable(ranges.iter().map(|r| (middle(r), error(r))).collect()),
        ),
    ];
    let values = || series.iter().flat_map(|(_, points)| points).map(|point| point.1);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    // Room for the legend above. Equal Hamiltonians of zero have nothing to show but the axes.
    let (low, high) = if low > high { (0.1, 1.0) } else { (low / 2.0, high * (high / low).powf(0.2).max(2.0)) };
    let end = ranges.iter().map(|range| range.to).fold(0.5, f64::max);
    save(path, (860, 520), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(18)
            .x_label_area_size(48)
            .y_label_area_size(70)
            .build_cartesian_2d(-0.02 * end..end * 1.02, (low..high).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("length of the pair (angstrom)")
            .y_desc("meV")
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .y_labels(8)
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        for ((name, points), colour) in series.iter().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.9))
            .border_style(RGBColor(200, 200, 200))
            .legend_area_size(32)
            .margin(12)
            .label_font((FONT, 15))
            .draw()?;
        Ok(())
    })
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
