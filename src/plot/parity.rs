//! Predicted against reference matrix elements, and their difference.

use plotters::prelude::*;
use std::io::Write;
use std::path::Path;

use super::{COLOURS, FONT, range, save, tick};
use crate::datasets::files;
use crate::physics::Result;

/// The points of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Parity {
    /// What the legend says.
    pub name: String,
    /// Reference and prediction, eV.
    pub points: Vec<[f64; 2]>,
}

/// Writes the points as a table: series, reference, prediction, eV.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_csv(path: &Path, series: &[Parity]) -> Result<()> {
    Ok(files::write_atomic(path, |w| {
        writeln!(w, "series,reference_ev,prediction_ev")?;
        series
            .iter()
            .flat_map(|s| s.points.iter().map(move |p| (s, p)))
            .try_for_each(|(s, p)| writeln!(w, "{},{},{}", s.name, p[0], p[1]))
    })?)
}

/// Most points of a series that are drawn, so that pictures stay small; the table has all.
const MOST_POINTS: usize = 1500;

fn drawn(series: &Parity) -> impl Iterator<Item = &[f64; 2]> {
    series.points.iter().step_by(series.points.len().div_ceil(MOST_POINTS).max(1))
}

/// Draws prediction against reference (left) and their difference in meV (right). `path` is the SVG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, series: &[Parity]) -> Result<()> {
    let all = || series.iter().flat_map(|s| &s.points);
    let energies = range(all().flatten().copied(), 0.05);
    // Rare large errors would press all others onto the line.
    let mut errors: Vec<f64> = all().map(|p| 1e3 * (p[1] - p[0]).abs()).filter(|e| e.is_finite()).collect();
    errors.sort_by(f64::total_cmp);
    let limit = errors.get(errors.len().saturating_sub(1) * 995 / 1000).map_or(1.0, |e| 1.3 * e.max(1e-6));
    save(path, (1100, 520), |area| {
        let (left, right) = area.split_horizontally(540);
        let mut chart = ChartBuilder::on(&left)
            .margin(18)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(energies.clone(), energies.clone())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("H of DFT (eV)")
            .y_desc("H predicted (eV)")
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        let diagonal = [(energies.start, energies.start), (energies.end, energies.end)];
        chart.draw_series(LineSeries::new(diagonal, RGBColor(160, 160, 160)))?;
        for (k, series) in series.iter().enumerate() {
            let colour = COLOURS[1 + k % (COLOURS.len() - 1)];
            let points = drawn(series).map(|p| Circle::new((p[0], p[1]), 2, colour.mix(0.5).filled()));
            chart
                .draw_series(points)?
                .label(series.name.clone())
                .legend(move |(x, y)| Circle::new((x + 12, y), 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.9))
            .border_style(RGBColor(200, 200, 200))
            .legend_area_size(26)
            .margin(12)
            .label_font((FONT, 15))
            .draw()?;
        let mut chart = ChartBuilder::on(&right)
            .margin(18)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(energies.clone(), -limit..limit)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("H of DFT (eV)")
            .y_desc("predicted - DFT (meV)")
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        for (k, series) in series.iter().enumerate() {
            let colour = COLOURS[1 + k % (COLOURS.len() - 1)];
            let inside = drawn(series).map(|p| (p[0], 1e3 * (p[1] - p[0]))).filter(|p| p.1.abs() <= limit);
            chart.draw_series(inside.map(|p| Circle::new(p, 2, colour.mix(0.5).filled())))?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_and_table() {
        let folder = tempfile::tempdir().unwrap();
        let points = (0..50).map(|n| [f64::from(n) - 25.0, f64::from(n) - 25.01]).collect();
        let series = [Parity { name: "stage 1".into(), points }, Parity { name: "empty".into(), points: vec![] }];
        draw(&folder.path().join("p.svg"), &series).unwrap();
        write_csv(&folder.path().join("p.csv"), &series).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("p.csv")).unwrap().lines().count(), 51);
        draw(&folder.path().join("e.svg"), &[]).unwrap();
    }
}
