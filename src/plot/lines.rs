//! Lines with dots on linear or logarithmic axes.

use plotters::prelude::*;
use std::path::Path;

use super::{COLOURS, FONT, legend, range, save, tick};
use crate::physics::Result;

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// What the horizontal axis says.
    pub x: String,
    /// What the vertical axis says.
    pub y: String,
    /// Whether both axes are logarithmic; points that are not above zero are left out then.
    pub logarithmic: bool,
    /// Name and points of each line.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Draws a chart. `path` is the SVG or PNG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, chart: &Chart) -> Result<()> {
    let usable =
        |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite() && (!chart.logarithmic || (p.0 > 0.0 && p.1 > 0.0));
    // Logarithmic axes are linear ones of the logarithms, with powers and thirds of them written out.
    let place = |x: f64| if chart.logarithmic { x.log10() } else { x };
    let lines: Vec<(&String, Vec<(f64, f64)>)> = chart
        .lines
        .iter()
        .map(|(name, points)| (name, points.iter().filter(usable).map(|p| (place(p.0), place(p.1))).collect()))
        .collect();
    let all = || lines.iter().flat_map(|(_, points)| points.iter());
    let (across, up) = (range(all().map(|p| p.0), 0.04), range(all().map(|p| p.1), 0.08));
    let written = |x: &f64| tick(if chart.logarithmic { 10f64.powf(*x) } else { *x });
    save(path, (760, 480), |area| {
        let mut drawn = ChartBuilder::on(area)
            .margin(18)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(across.clone(), up.clone())?;
        drawn
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(&chart.x)
            .y_desc(&chart.y)
            .x_label_formatter(&written)
            .y_label_formatter(&written)
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        for (k, (name, points)) in lines.iter().enumerate() {
            let colour = COLOURS[k % COLOURS.len()];
            drawn
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
            drawn.draw_series(points.iter().map(|p| Circle::new(*p, 4, colour.filled())))?;
        }
        legend(&mut drawn, SeriesLabelPosition::UpperRight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_named_and_impossible_points_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let points = vec![(0.0, 1.0), (10.0, 3.0), (1000.0, f64::NAN), (100.0, 30.0)];
        let lines = vec![("first".to_string(), points), ("second".into(), Vec::new())];
        for logarithmic in [false, true] {
            let chart = Chart { x: "tokens".into(), y: "seconds".into(), logarithmic, lines: lines.clone() };
            let path = folder.path().join("l.svg");
            draw(&path, &chart).unwrap();
            let text = std::fs::read_to_string(path).unwrap();
            assert!(["first", "second", "tokens", "seconds"].iter().all(|part| text.contains(part)));
            // Dots: all but the one without a value, and on logarithms not the one at zero.
            assert_eq!(text.matches("<circle").count(), if logarithmic { 2 } else { 3 });
        }
    }
}
