//! Errors between orbitals as a map of colours on a logarithmic scale.

use plotters::prelude::*;
use std::path::Path;

use super::{FONT, save, tick};
use crate::physics::Result;

/// A matrix whose rows and columns come in named groups (shells).
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap<'a> {
    /// What stands above it.
    pub title: String,
    /// Names of the groups of rows, from the top, with their sizes.
    pub rows: &'a [(String, usize)],
    /// Names of the groups of columns, from the left, with their sizes.
    pub columns: &'a [(String, usize)],
    /// `[row][column]`, not negative.
    pub values: &'a [Vec<f64>],
}

/// Anchors of the colours from low to high: dark blue, teal, yellow; they differ in lightness too.
const SCALE: [[f64; 3]; 5] =
    [[48.0, 30.0, 80.0], [52.0, 85.0, 140.0], [33.0, 145.0, 140.0], [120.0, 200.0, 90.0], [250.0, 230.0, 60.0]];
/// Decades of the scale.
const DECADES: f64 = 2.0;
/// Steps of the colour bar.
const STEPS: i32 = 120;
/// Side of the picture without margins, pixels.
const SIDE: i32 = 520;

/// The colour of a share from 0 to 1.
pub(super) fn colour(share: f64) -> RGBColor {
    let place = share.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let (low, part) = ((place as usize).min(SCALE.len() - 2), place.fract());
    let part = if place >= (SCALE.len() - 1) as f64 { 1.0 } else { part };
    let [red, green, blue] =
        std::array::from_fn(|c| (SCALE[low][c] + part * (SCALE[low + 1][c] - SCALE[low][c])).round() as u8);
    RGBColor(red, green, blue)
}

/// Draws a map; the scale ends at `top` and spans two decades, so that maps with one `top` can be compared. `legend`
/// says what the colours are. `path` is the SVG or PNG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, map: &Heatmap<'_>, legend: &str, top: f64) -> Result<()> {
    let (rows, columns) = (map.values.len().max(1), map.values.first().map_or(1, Vec::len).max(1));
    let cell = (f64::from(SIDE) / rows.max(columns) as f64).max(1.0);
    let (left, above) = (70, 60);
    let (width, height) = ((cell * columns as f64) as i32, (cell * rows as f64) as i32);
    let share = |value: f64| if value > 0.0 && top > 0.0 { 1.0 + (value / top).log10() / DECADES } else { 0.0 };
    save(path, ((left + width + 150) as u32, (above + height.max(200) + 40) as u32), |area| {
        let text = (FONT, 15).into_font();
        area.draw(&Text::new(map.title.as_str(), (left, 14), (FONT, 20).into_font()))?;
        let at = |index: usize, origin: i32| origin + (index as f64 * cell) as i32;
        for (r, values) in map.values.iter().enumerate() {
            for (c, value) in values.iter().enumerate() {
                let corners = [(at(c, left), at(r, above)), (at(c + 1, left), at(r + 1, above))];
                area.draw(&Rectangle::new(corners, colour(share(*value)).filled()))?;
            }
        }
        let line = WHITE.mix(0.6).stroke_width(1);
        let mut first = 0;
        for (name, size) in map.rows {
            let (begin, end) = (at(first, above), at(first + size, above));
            area.draw(&Text::new(name.as_str(), (left - 34, (begin + end) / 2 - 8), text.clone()))?;
            area.draw(&PathElement::new([(left, begin), (left + width, begin)], line))?;
            first += size;
        }
        first = 0;
        for (name, size) in map.columns {
            let (begin, end) = (at(first, left), at(first + size, left));
            area.draw(&Text::new(name.as_str(), ((begin + end) / 2 - 8, above - 20), text.clone()))?;
            area.draw(&PathElement::new([(begin, above), (begin, above + height)], line))?;
            first += size;
        }
        let (bar, length) = (left + width + 30, height.max(200));
        for step in 0..STEPS {
            let [high, low] = [step, step + 1].map(|s| above + length * s / STEPS);
            let fill = colour(1.0 - f64::from(step) / f64::from(STEPS)).filled();
            area.draw(&Rectangle::new([(bar, high), (bar + 18, low)], fill))?;
        }
        for decade in 0..=DECADES as i32 {
            let y = above + length * decade / DECADES as i32;
            area.draw(&Text::new(tick(top / 10_f64.powi(decade)), (bar + 26, y - 8), text.clone()))?;
        }
        area.draw(&Text::new(legend, (bar - 24, above + length + 14), text))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_span_the_scale() {
        assert_eq!(colour(-1.0), RGBColor(48, 30, 80));
        assert_eq!(colour(1.0), RGBColor(250, 230, 60));
        assert_eq!(colour(0.5), RGBColor(33, 145, 140));
    }

    #[test]
    fn draws_maps_of_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let values = vec![vec![1.0, 0.1, 0.01, 0.0], vec![0.5; 4]];
        let groups = |sizes: &[usize]| sizes.iter().map(|n| (format!("s{n}"), *n)).collect::<Vec<_>>();
        let (rows, columns) = (groups(&[1, 1]), groups(&[1, 3]));
        let map = Heatmap { title: "C-H".into(), rows: &rows, columns: &columns, values: &values };
        draw(&folder.path().join("m.svg"), &map, "error (meV)", 1.0).unwrap();
        let text = std::fs::read_to_string(folder.path().join("m.svg")).unwrap();
        assert!(text.contains("C-H") && text.contains("error (meV)"));
        let empty = Heatmap { title: "none".into(), rows: &[], columns: &[], values: &[] };
        draw(&folder.path().join("e.svg"), &empty, "", 0.0).unwrap();
    }
}
