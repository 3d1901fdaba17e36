//! Error against time, from the run folders that training writes.

use plotters::prelude::*;
use serde_json::Value;
use std::io::Write;
use std::path::Path;

use super::{COLOURS, FONT, legend, save, tick};
use crate::datasets::files;
use crate::physics::{Error, Result};

/// The course of one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// What the legend says.
    pub name: String,
    /// Seconds and error of the training steps, meV, averaged in groups: root of a squared loss, or the absolute one.
    pub training: Vec<(f64, f64)>,
    /// Seconds and mean absolute error of the validations, meV.
    pub validation: Vec<(f64, f64)>,
}

/// Most points of a training curve; the rest is averaged, so that pictures stay small.
const MOST_POINTS: usize = 400;

impl Curve {
    /// Reads `metrics.jsonl` of a stage folder, and `timing.jsonl` for the seconds; `start` is added to them.
    /// Without timing the step takes the place of the time. `squared`: the training loss is in eV^2, else in eV.
    ///
    /// # Errors
    /// A missing file, a line that is no object.
    pub fn read(stage: &Path, name: &str, start: f64, squared: bool) -> Result<Self> {
        let metrics = lines(&stage.join("metrics.jsonl"))?;
        let timing = stage.join("timing.jsonl");
        let seconds: Vec<f64> = if timing.is_file() {
            lines(&timing)?.iter().map(|line| line["seconds"].as_f64().unwrap_or(0.0)).collect()
        } else {
            vec![1.0; metrics.len()]
        };
        let mut curve = Curve { name: name.into(), ..Curve::default() };
        let mut time = start;
        for (line, seconds) in metrics.iter().zip(seconds.iter().chain(std::iter::repeat(&0.0))) {
            time += seconds;
            if let Some(loss) = line["validation"].as_f64() {
                curve.validation.push((time, 1e3 * loss));
            } else if let Some(loss) = line["loss"].as_f64() {
                curve.training.push((time, loss));
            }
        }
        curve.training = averaged(&curve.training);
        curve.training.iter_mut().for_each(|point| point.1 = 1e3 * if squared { point.1.sqrt() } else { point.1 });
        Ok(curve)
    }

    /// Seconds of the last point.
    pub fn end(&self) -> f64 {
        self.training.iter().chain(&self.validation).map(|point| point.0).fold(0.0, f64::max)
    }
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
    let parse = |(n, line): (usize, &str)| {
        serde_json::from_str::<Value>(line).map_err(|e| Error::Mismatch {
            what: format!("{}: line {}", path.display(), n + 1),
            expected: "a JSON object".into(),
            found: e.to_string(),
        })
    };
    text.lines().enumerate().map(parse).collect()
}

fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let (time, loss) = part.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (time / part.len() as f64, loss / part.len() as f64)
    };
    points.chunks(group).map(mean).collect()
}

/// Writes the points as a table: curve, kind, seconds, error in meV.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_csv(path: &Path, curves: &[Curve]) -> Result<()> {
    Ok(files::write_atomic(path, |w| {
        writeln!(w, "curve,kind,seconds,error_mev")?;
        for curve in curves {
            for (kind, points) in [("training", &curve.training), ("validation", &curve.validation)] {
                points.iter().try_for_each(|(x, y)| writeln!(w, "{},{kind},{x},{y}", curve.name))?;
            }
        }
        Ok(())
    })?)
}

/// Draws the curves on a logarithmic axis: training thin, validation bold with dots. `path` is the SVG.
///
/// # Errors
/// No positive loss at all, a folder that cannot be written.
pub fn draw(path: &Path, curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|c| c.training.iter().chain(&c.validation));
    let positive = || points().map(|p| p.1).filter(|loss| loss.is_finite() && *loss > 0.0);
    let (low, high) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    if low > high {
        let (expected, found) = ("at least one positive loss".into(), "none".into());
        return Err(Error::Mismatch { what: "loss curves".into(), expected, found });
    }
    let end = points().map(|p| p.0).fold(0.0, f64::max).max(1e-9);
    save(path, (860, 520), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(18)
            .x_label_area_size(48)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..end * 1.02, (low * 0.7..high * 1.4).log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_desc("seconds of training")
            .y_desc("error of H (meV): validation MAE bold, training loss thin")
            .x_label_formatter(&|x| tick(*x))
            .y_label_formatter(&|y| tick(*y))
            .y_labels(8)
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        for (k, curve) in curves.iter().enumerate() {
            let colour = COLOURS[k % COLOURS.len()];
            let usable = |p: &&(f64, f64)| p.1.is_finite() && p.1 > 0.0;
            let training = curve.training.iter().filter(usable).copied();
            chart.draw_series(LineSeries::new(training, colour.mix(0.35).stroke_width(1)))?;
            let validation: Vec<(f64, f64)> = curve.validation.iter().filter(usable).copied().collect();
            chart
                .draw_series(LineSeries::new(validation.iter().copied(), colour.stroke_width(2)))?
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
            if validation.len() <= 60 {
                chart.draw_series(validation.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
            }
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_draws_and_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{\"step\":1,\"loss\":4.0}\n{\"step\":2,\"loss\":2.0}\n{\"step\":2,\"validation\":3.0}\n";
        std::fs::write(folder.path().join("metrics.jsonl"), text).unwrap();
        let curve = Curve::read(folder.path(), "stage 1", 10.0, true).unwrap();
        assert_eq!(curve.training, [(11.0, 2e3), (12.0, 1e3 * 2.0_f64.sqrt())]);
        assert_eq!((curve.validation.as_slice(), curve.end()), ([(13.0, 3e3)].as_slice(), 13.0));
        let picture = folder.path().join("loss.svg");
        draw(&picture, &[curve]).unwrap();
        assert!(std::fs::read_to_string(picture).unwrap().contains("stage 1"));
        assert!(draw(&folder.path().join("none.svg"), &[]).is_err());
        assert!(!folder.path().join("none.svg").exists());
    }
}
