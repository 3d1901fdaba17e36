//! Accuracy by number of demonstrations, one line a kind of label, one panel a model or task.

use plotters::prelude::*;
use std::path::Path;

use super::{COLOURS, FONT, legend, save, tick};
use crate::physics::Result;

/// One kind of label.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Demonstrations, accuracy, standard error (not drawn where it is not a number).
    pub points: Vec<(usize, f64, f64)>,
}

/// One model or task.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Its name.
    pub name: String,
    /// Accuracy of a guess, drawn as a grey line.
    pub chance: f64,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// Width and height of a panel, pixels.
const SIZE: (u32, u32) = (330, 360);

/// Draws the panels beside each other. Numbers of demonstrations stand at equal distances. `path` is the SVG or PNG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, panels: &[Panel]) -> Result<()> {
    let lines = || panels.iter().flat_map(|panel| &panel.lines);
    let mut counts: Vec<usize> = lines().flat_map(|line| line.points.iter().map(|point| point.0)).collect();
    counts.sort_unstable();
    counts.dedup();
    let place = |count: usize| counts.partition_point(|c| *c < count) as f64;
    let mut names: Vec<&str> = Vec::new();
    for line in lines().filter(|line| !line.points.is_empty()) {
        if !names.contains(&line.name.as_str()) {
            names.push(&line.name);
        }
    }
    let colour = |name: &str| COLOURS[names.iter().position(|n| *n == name).unwrap_or(0) % COLOURS.len()];
    let end = counts.len().max(2) as f64 - 0.7;
    let width = SIZE.0 * panels.len().max(1) as u32;
    save(path, (width, SIZE.1), |area| {
        for (number, (panel, area)) in panels.iter().zip(area.split_evenly((1, panels.len().max(1)))).enumerate() {
            let mut chart = ChartBuilder::on(&area)
                .margin(12)
                .caption(&panel.name, (FONT, 16))
                .x_label_area_size(42)
                .y_label_area_size(48)
                .build_cartesian_2d(-0.3..end, 0.0..1.02)?;
            let label = |x: &f64| {
                let near = (x - x.round()).abs() < 1e-6;
                counts.get(x.round() as usize).filter(|_| near).map_or(String::new(), usize::to_string)
            };
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .bold_line_style(RGBColor(225, 225, 225))
                .x_desc("demonstrations")
                .y_desc(if number == 0 { "accuracy" } else { "" })
                .x_label_formatter(&label)
                .y_label_formatter(&|y| tick(*y))
                .x_labels(counts.len().max(2))
                .y_labels(6)
                .label_style((FONT, 14))
                .axis_desc_style((FONT, 15))
                .draw()?;
            let guess = [(-0.3, panel.chance), (end, panel.chance)];
            chart.draw_series(LineSeries::new(guess, RGBColor(150, 150, 150).stroke_width(1)))?;
            for line in panel.lines.iter().filter(|line| !line.points.is_empty()) {
                let colour = colour(&line.name);
                let points = || line.points.iter().map(|(count, share, error)| (place(*count), *share, *error));
                let path = LineSeries::new(points().map(|(x, y, _)| (x, y)), colour.stroke_width(2));
                let drawn = chart.draw_series(path)?;
                if number == 0 {
                    drawn
                        .label(line.name.as_str())
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3)));
                }
                chart.draw_series(points().map(|(x, y, _)| Circle::new((x, y), 3, colour.filled())))?;
                let bars = points().filter(|(_, _, error)| error.is_finite());
                let bar = |(x, y, error)| PathElement::new([(x, y - error), (x, y + error)], colour.stroke_width(1));
                chart.draw_series(bars.map(bar))?;
            }
            if number == 0 && !names.is_empty() {
                legend(&mut chart, SeriesLabelPosition::LowerRight)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_every_panel_and_none() {
        let folder = tempfile::tempdir().unwrap();
        let line = |name: &str| Line { name: name.into(), points: vec![(4, 0.5, 0.05), (32, 0.9, f64::NAN)] };
        let panel = |name: &str| Panel { name: name.into(), chance: 0.5, lines: vec![line("gold"), line("letter")] };
        let path = folder.path().join("i.svg");
        draw(&path, &[panel("small"), panel("large")]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            ["small", "large", "gold", "letter", "demonstrations", "accuracy"].iter().all(|part| text.contains(part))
        );
        draw(&folder.path().join("none.svg"), &[]).unwrap();
    }
}
