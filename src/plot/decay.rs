//! Lines over a length on a logarithmic axis: how H and S, or errors of H, decay with distance.

use plotters::prelude::*;
use std::path::Path;

use super::{COLOURS, FONT, legend, save, tick};
use crate::physics::Result;

/// A line and its name.
pub type Line = (String, Vec<(f64, f64)>);

/// Draws the lines; points that are not positive are left out. `unit` names the vertical axis. `path` is the SVG or PNG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, lines: &[Line], unit: &str) -> Result<()> {
    let usable = |point: &&(f64, f64)| point.1.is_finite() && point.1 > 0.0;
    let values = || lines.iter().flat_map(|(_, points)| points.iter().filter(usable));
    let (low, high) = values().fold((f64::INFINITY, 0.0), |(low, high), p| (p.1.min(low), p.1.max(high)));
    // Room for the legend above. Matrices of zeros have nothing to show but the axes.
    let (low, high) = if low > high { (0.1, 1.0) } else { (low / 2.0, high * (high / low).powf(0.2).max(2.0)) };
    let end = values().map(|p| p.0).fold(0.5, f64::max);
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
            .x_desc("distance of the atoms (angstrom)")
            .y_desc(unit)
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .y_labels(8)
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        for (k, (name, points)) in lines.iter().enumerate() {
            let colour = COLOURS[k % COLOURS.len()];
            let points = || points.iter().filter(usable).copied();
            chart
                .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
                .label(name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lines_and_none() {
        let folder = tempfile::tempdir().unwrap();
        let lines = [("mean |H|".to_string(), vec![(1.0, 10.0), (2.0, 0.1), (3.0, 0.0)]), ("S".into(), vec![])];
        draw(&folder.path().join("d.svg"), &lines, "eV").unwrap();
        assert!(std::fs::read_to_string(folder.path().join("d.svg")).unwrap().contains("mean |H|"));
        draw(&folder.path().join("none.svg"), &[], "eV").unwrap();
    }
}
