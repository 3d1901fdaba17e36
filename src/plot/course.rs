//! Metrics of validations by optimiser step, one panel for each group of names, from the `metrics.jsonl` of a run.

use plotters::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

use super::{COLOURS, FONT, legend, save, tick};
use crate::physics::{Error, Result};

/// A panel.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    /// What its axis says.
    pub title: &'static str,
    /// Metrics whose names begin so, each a line named by the rest.
    pub solid: &'static str,
    /// The same, drawn thin: what a line of the same name should be.
    pub thin: Option<&'static str>,
}

/// Sparsities with their targets, gaps and weights of the domains.
pub const PRUNING: [Panel; 3] = [
    Panel { title: "expected sparsity (thin: target)", solid: "sparsity_", thin: Some("target_") },
    Panel { title: "loss above the reference (nats)", solid: "gap_", thin: None },
    Panel { title: "weight of the domain", solid: "weight_", thin: None },
];

type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// Width and height of a panel, pixels.
const SIZE: (u32, u32) = (400, 360);

/// Draws the panels beside each other. `path` is the SVG or PNG; `metrics` the run's `metrics.jsonl`.
///
/// # Errors
/// Metrics that cannot be read, a folder that cannot be written.
pub fn draw(path: &Path, metrics: &Path, panels: &[Panel]) -> Result<()> {
    let text = std::fs::read_to_string(metrics).map_err(|source| Error::Io { path: metrics.into(), source })?;
    let rows: Vec<serde_json::Map<String, Value>> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let size = (SIZE.0 * panels.len().max(1) as u32, SIZE.1);
    save(path, size, |area| {
        for (panel, area) in panels.iter().zip(area.split_evenly((1, panels.len().max(1)))) {
            let (solid, thin) =
                (lines(&rows, panel.solid), panel.thin.map(|name| lines(&rows, name)).unwrap_or_default());
            let points = || solid.values().chain(thin.values()).flatten().filter(|p| p.1.is_finite());
            let fold = |start: f64, pick: fn(f64, f64) -> f64| points().map(|p| p.1).fold(start, pick);
            let (low, high) = (fold(0.0, f64::min), fold(1e-3, f64::max));
            let end = points().map(|p| p.0).fold(1.0, f64::max);
            let margin = 0.05 * (high - low);
            let mut chart = ChartBuilder::on(&area)
                .margin(12)
                .caption(panel.title, (FONT, 16))
                .x_label_area_size(42)
                .y_label_area_size(52)
                .build_cartesian_2d(0.0..end, low - margin..high + margin)?;
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .bold_line_style(RGBColor(225, 225, 225))
                .x_desc("steps")
                .x_label_formatter(&|x| tick(*x))
                .y_label_formatter(&|y| tick(*y))
                .x_labels(6)
                .y_labels(6)
                .label_style((FONT, 14))
                .axis_desc_style((FONT, 15))
                .draw()?;
            for (k, (name, points)) in solid.iter().enumerate() {
                let colour = COLOURS[k % COLOURS.len()];
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                    .label(name.as_str())
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3)));
                let target = thin.get(name).map(Vec::as_slice).unwrap_or_default();
                chart.draw_series(LineSeries::new(target.iter().copied(), colour.mix(0.5).stroke_width(1)))?;
            }
            if !solid.is_empty() {
                legend(&mut chart, SeriesLabelPosition::UpperRight)?;
            }
        }
        Ok(())
    })
}

/// Step and value of every metric whose name begins so, by the rest of the name.
fn lines(rows: &[serde_json::Map<String, Value>], prefix: &str) -> Lines {
    let mut lines = Lines::new();
    for row in rows {
        let Some(step) = row.get("step").and_then(Value::as_f64) else { continue };
        for (name, value) in row.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value.as_f64()?))) {
            lines.entry(name.into()).or_default().push((step, value));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_a_group_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = folder.path().join("metrics.jsonl");
        let text = "{\"step\":1,\"loss\":4.0}\n{\"step\":1,\"validation\":3.0,\"sparsity_head\":0.1,\"target_head\":0.2,\
            \"weight_wiki\":0.5,\"gap_wiki\":-0.1}\n";
        std::fs::write(&metrics, text).unwrap();
        let path = folder.path().join("p.svg");
        draw(&path, &metrics, &PRUNING).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(["head", "wiki", "weight of the domain"].iter().all(|part| text.contains(part)));
        assert!(draw(&folder.path().join("q.svg"), &folder.path().join("none"), &PRUNING).is_err());
    }
}
