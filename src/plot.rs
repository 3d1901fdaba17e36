//! Pictures as SVG, drawn with plotters, and as PNG made from it; whoever draws one writes the numbers beside it.
//!
//! Modules: [`png`], [`curve`] (training), [`course`] (metrics by step), [`parity`] (predicted against reference), [`bands`],
//! [`dos`], [`heatmap`] and [`distance`] (errors of H by orbital and by length), [`in_context`] (accuracy by number of
//! demonstrations), [`lines`].

pub mod bands;
pub mod course;
pub mod curve;
pub mod decay;
pub mod distance;
pub mod dos;
pub mod heatmap;
pub mod histogram;
pub mod in_context;
pub mod lines;
pub mod parity;
pub mod png;
pub mod recall;

use plotters::coord::Shift;
use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::datasets::files;
use crate::physics::{Error, Result};

/// Colours that stay apart for colour-blind readers (Okabe and Ito, 2008); black first.
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(40, 40, 40),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
];

/// A kind of picture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines and letters, for papers and browsers.
    Svg,
    /// Pixels, twice as many as the SVG says.
    Png,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "svg" => Ok(Format::Svg),
            "png" => Ok(Format::Png),
            other => Err(format!("expected svg or png, found {other}")),
        }
    }
}

impl Format {
    /// The file of a picture without extension: `bands` becomes `bands.svg`.
    pub fn file(self, stem: &Path) -> PathBuf {
        stem.with_extension(match self {
            Format::Svg => "svg",
            Format::Png => "png",
        })
    }
}

/// Font of all texts.
const FONT: &str = "sans-serif";

/// The area that is drawn on.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What plotters answers.
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// Draws a picture of `size` pixels and writes it to `path`, whole or not at all: PNG where its name ends so, else SVG.
fn save(path: &Path, size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<()> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&area)).and_then(|()| Ok(area.present()?))
    };
    drawn.map_err(|reason| Error::Io { path: path.into(), source: std::io::Error::other(reason.to_string()) })?;
    let bytes = match path.extension().is_some_and(|e| e == "png") {
        true => png::from_svg(&svg, path)?,
        false => svg.into_bytes(),
    };
    Ok(files::write_atomic(path, |w| w.write_all(&bytes))?)
}

/// The legend of a chart.
fn legend<'a, X: Ranged, Y: Ranged>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Drawn {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .legend_area_size(32)
        .margin(12)
        .label_font((FONT, 15))
        .draw()?;
    Ok(())
}

/// The range of finite `values`, widened by `share` on both sides; 0 to 1 where there is none.
fn range(values: impl IntoIterator<Item = f64>, share: f64) -> std::ops::Range<f64> {
    let (low, high) = values
        .into_iter()
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let margin = if high > low { share * (high - low) } else { 0.5 * high.abs().max(1e-9) };
    low - margin..high + margin
}

/// A number for an axis: powers of ten where plain digits get long.
fn tick(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e5).contains(&size) {
        format!("{value:.0e}")
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_ticks_of_awkward_numbers() {
        assert_eq!(range([], 0.1), 0.0..1.0);
        assert_eq!(range([f64::NAN, 2.0, 4.0], 0.5), 1.0..5.0);
        assert!(range([3.0], 0.1).contains(&3.0));
        assert_eq!(["0", "0.25", "1e-5", "12"], [0.0, 0.25, 1e-5, 12.0].map(tick)[..]);
    }
}
