//! Band structures: the reference as lines, predictions as dots on it.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

use super::{COLOURS, FONT, legend, save, tick};
use crate::physics::electronic::BandStructure;
use crate::physics::{Error, Result};
use crate::spectrum::Bands;

/// Draws all bands in `window` (eV, from the Fermi level or, where none is known, from the highest occupied band).
/// Predictions are shifted as in their comparison. `path` is the SVG or PNG.
///
/// # Errors
/// No bands, a folder that cannot be written.
pub fn draw(path: &Path, bands: &Bands, window: [f64; 2]) -> Result<()> {
    let Some(first) = bands.bands.first().filter(|b| !b.distances.is_empty()) else {
        let (expected, found) = ("at least one k point".into(), "none".into());
        return Err(Error::Mismatch { what: "bands".into(), expected, found });
    };
    let top = |occupied: usize| {
        first.energies_ev.iter().filter_map(|e| e.get(occupied.checked_sub(1)?)).copied().fold(f64::MIN, f64::max)
    };
    let (zero, what) = match (first.fermi_ev, first.occupied) {
        (Some(fermi), _) => (fermi, "E - E_F (eV)"),
        (None, Some(occupied)) => (top(occupied), "E - E_VBM (eV)"),
        (None, None) => (0.0, "E (eV)"),
    };
    let end = first.distances.last().copied().unwrap_or(1.0).max(1e-9);
    save(path, (860, 620), |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(&bands.structure, (FONT, 18))
            .margin(18)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end, window[0]..window[1])?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_y_mesh()
            .x_labels(0)
            .y_labels(9)
            .y_desc(what)
            .y_label_formatter(&|y| tick(*y))
            .label_style((FONT, 15))
            .axis_desc_style((FONT, 16))
            .draw()?;
        let grey = RGBColor(190, 190, 190);
        for (distance, _) in &first.ticks {
            chart.draw_series(LineSeries::new([(*distance, window[0]), (*distance, window[1])], grey))?;
        }
        if (window[0]..window[1]).contains(&0.0) {
            chart.draw_series(DashedLineSeries::new([(0.0, 0.0), (end, 0.0)], 5, 5, RGBColor(120, 120, 120).into()))?;
        }
        for (k, (name, structure)) in bands.names.iter().zip(&bands.bands).enumerate() {
            let shift = k.checked_sub(1).and_then(|k| bands.comparisons.get(k)).map_or(0.0, |c| c.shift_ev);
            let colour = COLOURS[k % COLOURS.len()];
            let count = structure.energies_ev.iter().map(Vec::len).min().unwrap_or(0);
            let mut label = Some(name.clone());
            for band in 0..count {
                let energy = |e: &Vec<f64>| e[band] + shift - zero;
                let points = || structure.distances.iter().copied().zip(structure.energies_ev.iter().map(energy));
                if points().all(|(_, y)| y < window[0] || y > window[1]) {
                    continue;
                }
                let drawn = if k == 0 {
                    let points: Vec<(f64, f64)> = points().collect();
                    let lines = unbroken(structure).flat_map(|part| inside(points[part].iter().copied(), window));
                    chart.draw_series(lines.map(|line| PathElement::new(line, colour.stroke_width(2))))?
                } else {
                    let dots = points().filter(|(_, y)| (window[0]..=window[1]).contains(y));
                    chart.draw_series(dots.map(|point| Circle::new(point, 2, colour.filled())))?
                };
                if let Some(label) = label.take() {
                    drawn.label(label).legend(move |(x, y)| {
                        if k == 0 {
                            PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)).into_dyn()
                        } else {
                            Circle::new((x + 12, y), 4, colour.filled()).into_dyn()
                        }
                    });
                }
            }
        }
        let style = TextStyle::from((FONT, 17)).pos(Pos::new(HPos::Center, VPos::Top));
        for (distance, name) in &first.ticks {
            let (x, y) = chart.backend_coord(&(*distance, window[0]));
            area.draw(&Text::new(symbol(name), (x, y + 8), style.clone()))?;
        }
        legend(&mut chart, SeriesLabelPosition::UpperRight)
    })
}

/// The parts of the path between its jumps, where k changes but the distance does not.
fn unbroken(bands: &BandStructure) -> impl Iterator<Item = std::ops::Range<usize>> {
    let jump = |n: &usize| bands.distances[*n] == bands.distances[n - 1] && bands.k[*n] != bands.k[n - 1];
    let mut ends: Vec<usize> = (1..bands.k.len()).filter(jump).collect();
    ends.push(bands.k.len());
    let starts: Vec<usize> = std::iter::once(0).chain(ends.iter().copied()).collect();
    starts.into_iter().zip(ends).map(|(start, end)| start..end)
}

/// The pieces of a line that lie inside the window, cut at its border.
fn inside(points: impl Iterator<Item = (f64, f64)>, window: [f64; 2]) -> Vec<Vec<(f64, f64)>> {
    let points: Vec<(f64, f64)> = points.collect();
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let at = |y: f64| (a.0 + (b.0 - a.0) * (y - a.1) / (b.1 - a.1), y);
        let cut = |from: (f64, f64)| {
            if from.1 < window[0] {
                at(window[0])
            } else if from.1 > window[1] {
                at(window[1])
            } else {
                from
            }
        };
        if a.1.max(b.1) < window[0] || a.1.min(b.1) > window[1] {
            continue;
        }
        let (start, end) = (cut(a), cut(b));
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&start) => piece.push(end),
            _ => pieces.push(vec![start, end]),
        }
    }
    pieces
}

/// Greek letters for the usual names.
fn symbol(name: &str) -> String {
    name.split('|')
        .map(|part| if part.eq_ignore_ascii_case("gamma") || part == "G" { "Γ" } else { part })
        .collect::<Vec<_>>()
        .join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_window() {
        let pieces = inside([(0.0, -2.0), (1.0, 0.0), (2.0, 2.0), (3.0, 0.5)].into_iter(), [-1.0, 1.0]);
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[0], [(0.5, -1.0), (1.0, 0.0), (1.5, 1.0)]);
        assert_eq!(pieces[1][1], (3.0, 0.5));
        assert_eq!(symbol("GAMMA|X"), "Γ|X");
    }

    #[test]
    fn lines_break_where_the_path_jumps() {
        let bands = BandStructure {
            k: vec![[0.0; 3], [0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0; 3]],
            distances: vec![0.0, 1.0, 1.0, 1.0, 2.0],
            ticks: vec![],
            energies_ev: vec![],
            fermi_ev: None,
            occupied: None,
        };
        assert_eq!(unbroken(&bands).collect::<Vec<_>>(), [0..3, 3..5]);
    }
}
