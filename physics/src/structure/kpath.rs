//! Paths through reciprocal space: read from DeepH `K_PATH` or DeePTB band files, or the usual path of the crystal's
//! lattice.
//!
//! Modules, each using only those above it: [`bravais`], [`symmetry`], `band_config`.
//!
//! A line `n kx ky kz kx ky kz L1 L2` is a segment of `n` points, both ends included; a point that two segments
//! share is listed twice, as DeepH-dock does, so that band files line up.

use std::f64::consts::TAU;
use std::path::Path;

use nalgebra::Vector3;
use serde::{Deserialize, Serialize};

mod band_config;
pub mod bravais;
pub mod symmetry;

use super::{Crystal, Lattice};
use crate::{Error, Result};

/// Most points that one segment may have; a larger number in a file is a mistake.
const MOST_POINTS: usize = 1_000_000;

/// How far a strained cell may be from the ideal angle and still count as hexagonal or rectangular.
const ANGLE_TOLERANCE: f64 = 5.0 * std::f64::consts::PI / 180.0;

/// How much longer a2 may be than a1, relative, in a strained hexagonal cell.
const LENGTH_TOLERANCE: f64 = 0.1;

/// A straight piece of a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// First point, fractional.
    pub from: [f64; 3],
    /// Last point, fractional.
    pub to: [f64; 3],
    /// Names of the two ends.
    pub labels: [String; 2],
    /// Points, both ends included; at least 2.
    pub points: usize,
}

/// A path of straight segments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KPath {
    /// The segments in order.
    pub segments: Vec<Segment>,
}

impl KPath {
    /// Read a DeepH `K_PATH` file, or the path inside a DeePTB band configuration (a file whose first character is `{`;
    /// `kpath` as ABACUS points, named pairs, or lines as in `K_PATH`).
    ///
    /// # Errors
    /// The file cannot be read, or as [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parse lines `n kx ky kz kx ky kz L1 L2`, or the JSON of a band configuration; `name` stands for the text in errors. Empty lines and lines that
    /// begin with `#` are skipped.
    ///
    /// # Errors
    /// A line with another number of fields, a number that is none, fewer than 2 points, no segment at all.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        if text.trim_start().starts_with('{') {
            return band_config::parse(text, name);
        }
        let mut segments = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.is_empty() || fields[0].starts_with('#') {
                continue;
            }
            let wrong = |expected: &str| Error::Mismatch {
                what: format!("{name}: line {}", number + 1),
                expected: expected.into(),
                found: format!("`{}`", line.trim()),
            };
            let [points, numbers @ .., first, last] = fields.as_slice() else {
                return Err(wrong("`n kx ky kz kx ky kz L1 L2`"));
            };
            let points = points.parse().ok().filter(|n| (2..=MOST_POINTS).contains(n));
            let points = points.ok_or_else(|| wrong(&format!("2 to {MOST_POINTS} points")))?;
            let numbers: Vec<f64> =
                numbers.iter().filter_map(|n| n.parse().ok()).filter(|n: &f64| n.is_finite()).collect();
            let &[a, b, c, d, e, f] = numbers.as_slice() else {
                return Err(wrong("six finite numbers between the count and the two labels"));
            };
            let labels = [(*first).to_owned(), (*last).to_owned()];
            segments.push(Segment { from: [a, b, c], to: [d, e, f], labels, points });
        }
        if segments.is_empty() {
            return Err(Error::Mismatch {
                what: name.into(),
                expected: "at least one segment".into(),
                found: "none".into(),
            });
        }
        Ok(Self { segments })
    }

    /// Straight segments between named corners, about `points` points in all, shared out by length.
    pub fn through(lattice: &Lattice, corners: &[(&str, [f64; 3])], points: usize) -> Self {
        let lengths: Vec<f64> = corners.windows(2).map(|w| length(lattice, w[0].1, w[1].1)).collect();
        let total: f64 = lengths.iter().sum();
        let segments = corners.windows(2).zip(&lengths).map(|(ends, length)| {
            let share = if total > 0.0 { length / total } else { 0.0 };
            let points = ((points as f64 * share).round() as usize).max(2);
            let labels = [ends[0].0.to_owned(), ends[1].0.to_owned()];
            Segment { from: ends[0].1, to: ends[1].1, labels, points }
        });
        Self { segments: segments.collect() }
    }

    /// Pieces of straight segments, with a jump from each piece to the next, about `points` points in all, shared out by
    /// length. Segments without length (points that coincide in a special lattice) are left out.
    pub fn through_pieces(lattice: &Lattice, pieces: &[Vec<(&str, [f64; 3])>], points: usize) -> Self {
        let of = |piece: &Vec<(&str, [f64; 3])>| {
            piece.windows(2).map(|ends| length(lattice, ends[0].1, ends[1].1)).sum::<f64>()
        };
        let total: f64 = pieces.iter().map(of).sum();
        let through = |piece: &Vec<(&str, [f64; 3])>| {
            let mut corners = piece.clone();
            corners.dedup_by(|next, corner| length(lattice, corner.1, next.1) < 1e-9);
            Self::through(lattice, &corners, (points as f64 * of(piece) / total).round() as usize).segments
        };
        Self { segments: pieces.iter().flat_map(through).collect() }
    }

    /// The usual path of the Bravais lattice of the crystal's space group (Setyawan and Curtarolo 2010, see
    /// [`bravais`]), about `points` points in all, in the cell given: primitive, conventional, a supercell or turned.
    ///
    /// # Errors
    /// No symmetry can be found, see [`symmetry::Symmetry::of`].
    pub fn from_symmetry(crystal: &Crystal, points: usize) -> Result<Self> {
        Ok(symmetry::Symmetry::of(crystal)?.path(&crystal.lattice, points))
    }

    /// The usual path of whatever repeats along the `dispersive` axes: [`Self::from_symmetry`] for a bulk crystal,
    /// [`Self::two_dimensional`] for a layer whose vacuum is along a3, GAMMA-X(-S-Y-GAMMA) for other layers and chains,
    /// GAMMA alone (twice) for a molecule.
    ///
    /// # Errors
    /// As [`Self::from_symmetry`].
    pub fn usual(crystal: &Crystal, dispersive: [bool; 3], points: usize) -> Result<Self> {
        let gamma = ("GAMMA", [0.0; 3]);
        let half = |axes: &[usize]| std::array::from_fn(|axis| if axes.contains(&axis) { 0.5 } else { 0.0 });
        let axes: Vec<usize> = (0..3).filter(|&axis| dispersive[axis]).collect();
        Ok(match axes.as_slice() {
            [_, _, _] => return Self::from_symmetry(crystal, points),
            [0, 1] => Self::two_dimensional(&crystal.lattice, points),
            &[first, second] => {
                let corners = [("X", half(&[first])), ("S", half(&[first, second])), ("Y", half(&[second]))];
                Self::through(&crystal.lattice, &[&[gamma], &corners[..], &[gamma]].concat(), points)
            }
            &[axis] => Self::through(&crystal.lattice, &[gamma, ("X", half(&[axis]))], points),
            _ => Self::through(&crystal.lattice, &[gamma, gamma], 2),
        })
    }

    /// The usual path of a layer whose vacuum is along a3: Gamma-M-K-Gamma where a1 and a2 are (within 5 degrees and
    /// 10 percent, for strained cells) a hexagonal pair at 60 or 120 degrees, else Gamma-X-S-Y-Gamma.
    pub fn two_dimensional(lattice: &Lattice, points: usize) -> Self {
        let gamma = ("GAMMA", [0.0, 0.0, 0.0]);
        let ([first, second, _], angle) = (lattice.lengths(), lattice.angles()[2]);
        let near = |ideal: f64| (angle - ideal).abs() < ANGLE_TOLERANCE;
        let equal = (first - second).abs() < LENGTH_TOLERANCE * first.max(second);
        let (third, middle) = (1.0 / 3.0, ("M", [0.5, 0.0, 0.0]));
        if equal && near(TAU / 3.0) {
            Self::through(lattice, &[gamma, middle, ("K", [third, third, 0.0]), gamma], points)
        } else if equal && near(TAU / 6.0) {
            // b1 and b2 are at 120 degrees here, so the corner next to M = b1 / 2 is (2 b1 + b2) / 3.
            Self::through(lattice, &[gamma, middle, ("K", [2.0 * third, third, 0.0]), gamma], points)
        } else {
            let corners = [gamma, ("X", [0.5, 0.0, 0.0]), ("S", [0.5, 0.5, 0.0]), ("Y", [0.0, 0.5, 0.0]), gamma];
            Self::through(lattice, &corners, points)
        }
    }

    /// All points in order, fractional; ends of segments are repeated.
    pub fn points(&self) -> Vec<[f64; 3]> {
        let along = |s: &Segment| {
            let (from, to, last) = (s.from, s.to, (s.points.max(2) - 1) as f64);
            (0..s.points.max(2)).map(move |n| std::array::from_fn(|i| from[i] + (to[i] - from[i]) * n as f64 / last))
        };
        self.segments.iter().flat_map(along).collect()
    }

    /// Distance along the path of each of [`Self::points`]: sum of |dk B| / 2 pi, inverse angstrom.
    pub fn distances(&self, lattice: &Lattice) -> Vec<f64> {
        let mut distances = Vec::new();
        let mut start = 0.0;
        for segment in &self.segments {
            let (points, step) = (segment.points.max(2), length(lattice, segment.from, segment.to));
            distances.extend((0..points).map(|n| start + step * n as f64 / (points - 1) as f64));
            start += step;
        }
        distances
    }

    /// Where the corners are on the axis of [`Self::distances`], with their names; where a path jumps, `A|B`.
    pub fn ticks(&self, lattice: &Lattice) -> Vec<(f64, String)> {
        let mut ticks: Vec<(f64, String)> = Vec::new();
        let mut start = 0.0;
        for segment in &self.segments {
            match ticks.last_mut() {
                Some((_, name)) if *name != segment.labels[0] => *name = format!("{name}|{}", segment.labels[0]),
                Some(_) => {}
                None => ticks.push((start, segment.labels[0].clone())),
            }
            start += length(lattice, segment.from, segment.to);
            ticks.push((start, segment.labels[1].clone()));
        }
        ticks
    }
}

/// |dk B| / 2 pi between two fractional points, inverse angstrom.
fn length(lattice: &Lattice, from: [f64; 3], to: [f64; 3]) -> f64 {
    (lattice.reciprocal().tr_mul(&(Vector3::from(to) - Vector3::from(from)))).norm() / TAU
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    const TEXT: &str = "50 0 0 0 0.5 0 0 GAMMA M\n\n30 0.5 0 0 0.3333333333 0.3333333333 0 M K\n";

    fn hexagonal(angle: f64) -> Lattice {
        let (sin, cos) = angle.to_radians().sin_cos();
        Lattice::from_rows(&[[2.46, 0.0, 0.0], [2.50 * cos, 2.50 * sin, 0.0], [0.0, 0.0, 12.0]]).unwrap()
    }

    #[test]
    fn file_lines_become_segments() {
        let path = KPath::parse(TEXT, "K_PATH").unwrap();
        let points = path.points();
        assert_eq!(points.len(), 80);
        assert_eq!(points[0], [0.0; 3]);
        assert_eq!(points[49], [0.5, 0.0, 0.0]);
        assert_eq!(points[50], points[49]);
        let lattice = hexagonal(120.0);
        let distances = path.distances(&lattice);
        assert_eq!(distances.len(), 80);
        assert_relative_eq!(distances[49], lattice.reciprocal().row(0).norm() / TAU / 2.0, epsilon = 1e-12);
        assert_relative_eq!(distances[50], distances[49]);
        assert_eq!(path.ticks(&lattice).len(), 3);
    }

    #[test]
    fn wrong_lines_are_named() {
        for wrong in ["", "1 0 0 0 1 0 0 A B", "5 0 0 0 1 0 A B", "5 0 0 x 1 0 0 A B", "five 0 0 0 1 0 0 A B"] {
            assert!(KPath::parse(wrong, "K_PATH").unwrap_err().to_string().starts_with("K_PATH"), "{wrong}");
        }
    }

    #[test]
    fn hexagonal_cells_turn_at_the_zone_corner() {
        // K is as far from Gamma as the corner of the zone of the (slightly strained) lattice: a local maximum of the
        // distance to the nearest reciprocal vector.
        for angle in [58.5, 60.0, 118.7, 120.0] {
            let lattice = hexagonal(angle);
            let path = KPath::two_dimensional(&lattice, 100);
            assert_eq!(path.segments.len(), 3);
            let corner = path.segments[1].to;
            let to = |g: [f64; 3]| length(&lattice, g, corner);
            let mut nearest: Vec<f64> =
                (-1..=1).flat_map(|i| (-1..=1).map(move |j| [f64::from(i), f64::from(j), 0.0])).map(to).collect();
            nearest.sort_by(f64::total_cmp);
            assert_relative_eq!(nearest[0], nearest[2], max_relative = 0.05);
            assert!((path.points().len() as i64 - 100).abs() < 3);
        }
    }

    #[test]
    fn other_cells_get_the_rectangular_path() {
        let lattice = Lattice::from_rows(&[[2.46, 0.01, 0.0], [0.02, 4.24, 0.0], [0.0, 0.0, 12.0]]).unwrap();
        let path = KPath::two_dimensional(&lattice, 60);
        let names: Vec<String> = path.ticks(&lattice).into_iter().map(|tick| tick.1).collect();
        assert_eq!(names, ["GAMMA", "X", "S", "Y", "GAMMA"]);
    }
}
