//! Share of right answers by length of the text and depth of the fact, one panel a model.

use plotters::prelude::*;
use std::path::Path;

use super::heatmap::colour;
use super::{FONT, save};
use crate::lm::long_context::recall::Recall;
use crate::physics::Result;

/// Side of a cell, pixels.
const CELL: i32 = 52;
const LEFT: i32 = 60;
const ABOVE: i32 = 58;

/// Draws panels beside each other: lengths from left to right, depths from the first fact (above) to the last. `path` is
/// the SVG or PNG.
///
/// # Errors
/// A folder that cannot be written.
pub fn draw(path: &Path, panels: &[(&str, &[Recall])]) -> Result<()> {
    let depths = panels.iter().flat_map(|(_, all)| all.iter().map(|r| r.by_depth.len())).max().unwrap_or(1) as i32;
    let width = |all: &[Recall]| LEFT + CELL * all.len().max(3) as i32;
    let total: i32 = panels.iter().map(|(_, all)| width(all)).sum();
    let size = ((total + 20).max(200) as u32, (ABOVE + CELL * depths + 40) as u32);
    save(path, size, |area| {
        let small = (FONT, 14).into_font();
        let mut origin = 0;
        for (name, all) in panels {
            area.draw(&Text::new(*name, (origin + LEFT, 8), (FONT, 17).into_font()))?;
            area.draw(&Text::new("tokens", (origin + 8, 36), small.clone()))?;
            for (c, recall) in all.iter().enumerate() {
                let x = origin + LEFT + CELL * c as i32;
                area.draw(&Text::new(recall.length.to_string(), (x + 6, 36), small.clone()))?;
                for (r, share) in recall.by_depth.iter().enumerate().filter(|(_, share)| share.is_finite()) {
                    let y = ABOVE + CELL * r as i32;
                    let corners = [(x, y), (x + CELL - 2, y + CELL - 2)];
                    area.draw(&Rectangle::new(corners, colour(*share).filled()))?;
                    let ink = if *share > 0.6 { &BLACK } else { &WHITE };
                    let place = (x + 10, y + CELL / 2 - 9);
                    area.draw(&Text::new(format!("{share:.2}"), place, (FONT, 14).into_font().color(ink)))?;
                }
            }
            for (text, row) in [("first", 0), ("last", depths - 1)] {
                area.draw(&Text::new(text, (origin + 14, ABOVE + CELL * row + CELL / 2 - 9), small.clone()))?;
            }
            origin += width(all);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_is_written_into_its_cell() {
        let folder = tempfile::tempdir().unwrap();
        let recall = |length, by_depth: &[f64]| Recall {
            length,
            accuracy: 0.5,
            by_depth: by_depth.to_vec(),
            loss: 1.0,
            questions: 4,
        };
        let all = [recall(33, &[0.25, 1.0]), recall(193, &[f64::NAN, 0.75])];
        let path = folder.path().join("r.svg");
        draw(&path, &[("before", &all), ("after", &all[..1])]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(["before", "after", "193", "0.25", "0.75"].iter().all(|part| text.contains(part)));
        draw(&folder.path().join("e.svg"), &[]).unwrap();
    }
}
