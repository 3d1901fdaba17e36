//! Counts in bins as bars, several series behind each other.

use plotters::prelude::*;
use std::path::Path;

use super::{COLOURS, FONT, legend, save, tick};
use crate::physics::Result;

/// Bars of one kind: ends of the bin, count.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// What the legend says.
    pub name: String,
    /// Bins from left to right.
    pub bins: Vec<([f64; 2], f64)>,
}

/// Draws the bars; `x` and `y` name the axes. `path` is the SVG or PNG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, series: &[Bars], x: &str, y: &str) -> Result<()> {
    let bins = || series.iter().flat_map(|bars| &bars.bins);
    let (low, high) =
        bins().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (ends, _)| (low.min(ends[0]), high.max(ends[1])));
    let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
    let top = bins().map(|bin| bin.1).fold(0.0, f64::max);
    let top = if top > 0.0 { 1.08 * top } else { 1.0 };
    save(path, (860, 520), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(18)
            .x_label_area_size(48)
            .y_label_area_size(80)
            .build_cartesian_2d(low..high, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc(x)
            .y_desc(y)
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        for (k, bars) in series.iter().enumerate() {
            let colour = COLOURS[(1 + k) % COLOURS.len()];
            let bar = |(ends, count): &([f64; 2], f64)| {
                Rectangle::new([(ends[0], 0.0), (ends[1], *count)], colour.mix(0.55).filled())
            };
            // Less than a pixel is no rectangle.
            let visible = bars.bins.iter().filter(|(_, count)| *count > top / 400.0);
            chart
                .draw_series(visible.map(bar))?
                .label(bars.name.as_str())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 20, y + 5)], colour.mix(0.55).filled()));
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_bars_and_none() {
        let folder = tempfile::tempdir().unwrap();
        let bars = Bars { name: "on-site".into(), bins: vec![([-2.0, -1.0], 5.0), ([-1.0, 0.0], 9.0)] };
        draw(&folder.path().join("h.svg"), &[bars], "log10", "elements").unwrap();
        assert!(std::fs::read_to_string(folder.path().join("h.svg")).unwrap().contains("on-site"));
        draw(&folder.path().join("none.svg"), &[], "", "").unwrap();
    }
}
