//! POSCAR, VASP's structure file (vasp.at/wiki/POSCAR), in and out.
//!
//! Read: scale of one positive number (factor), one negative number (cell volume in cubic angstrom) or three positive
//! numbers (factors of x, y, z); Direct or Cartesian; the line "Selective dynamics" and whatever follows the three
//! numbers of a coordinate line (flags, labels) are skipped. The VASP 4 form without element symbols is refused.

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::elements;
use crate::error::{Error, Result, Rule};
use crate::files;

/// The largest POSCAR that is read: 256 MiB, some million atoms.
const MAX_BYTES: u64 = 256 << 20;

/// A structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Poscar {
    /// The first line.
    pub comment: String,
    /// Lattice vectors as rows, angstrom.
    pub lattice: [[f64; 3]; 3],
    /// `[N]` element symbols, one per atom.
    pub symbols: Vec<String>,
    /// `[N]` Cartesian positions, angstrom, not wrapped into the cell.
    pub positions: Vec<[f64; 3]>,
}

impl Poscar {
    /// Reads a file. Errors: [`Error::Missing`], [`Error::Io`], and those of [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&files::read_text(path, "a POSCAR file", MAX_BYTES)?, path)
    }

    /// Parses a text; `path` is for the messages only.
    ///
    /// Errors: [`Error::Invalid`] with the line at fault.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut lines = Lines { lines: text.lines(), number: 0, path };
        let comment = lines.next("a comment")?.trim_end().to_string();
        let scale = lines.numbers("the scale: 1 or 3 numbers", |n| n == 1 || n == 3)?;
        let at_scale = lines.number;
        let mut lattice = [[0.0; 3]; 3];
        for row in &mut lattice {
            let values = lines.numbers("3 components of a lattice vector, in angstrom", |n| n == 3)?;
            row.copy_from_slice(&values);
        }
        let scale = factors(&scale, &lattice).ok_or_else(|| {
            let expected = "1 positive number, 1 negative number (the volume) or 3 positive ones";
            Error::invalid(Rule::Format, path, format!("line {at_scale}"), expected, format!("{scale:?}"))
        })?;
        for row in &mut lattice {
            (0..3).for_each(|x| row[x] *= scale[x]);
        }
        let volume = determinant(&lattice).abs();
        if !(volume > 1e-9 && volume.is_finite()) {
            let expected = "lattice vectors that span a volume";
            return Err(Error::invalid(Rule::Format, path, "lines 3-5", expected, format!("{volume} cubic angstrom")));
        }

        let species: Vec<String> = lines.next("element symbols")?.split_whitespace().map(String::from).collect();
        if species.is_empty() || species.iter().any(|s| elements::atomic_number(s).is_none()) {
            let unknown = species.iter().find(|s| elements::atomic_number(s).is_none());
            let found = unknown.map_or("none".to_string(), |s| shown(s));
            return Err(lines.invalid("element symbols", found));
        }
        let line = lines.next("the number of atoms of each element")?;
        let counts: Option<Vec<usize>> = line.split_whitespace().map(|w| w.parse().ok().filter(|n| *n > 0)).collect();
        let counts = counts
            .filter(|c| c.len() == species.len())
            .ok_or_else(|| lines.invalid(format!("{} positive numbers of atoms", species.len()), shown(line)))?;

        let mut mode = lines.next("Direct or Cartesian")?;
        if mode.trim_start().starts_with(['s', 'S']) {
            mode = lines.next("Direct or Cartesian")?;
        }
        let direct = match mode.trim_start().chars().next() {
            Some('c' | 'C' | 'k' | 'K') => false,
            Some('d' | 'D') => true,
            _ => return Err(lines.invalid("Direct or Cartesian", shown(mode))),
        };
        let (mut symbols, mut positions) = (Vec::new(), Vec::new());
        for (symbol, &count) in species.iter().zip(&counts) {
            for _ in 0..count {
                let line = lines.next("the coordinates of an atom")?;
                let words: Vec<&str> = line.split_whitespace().take(3).collect();
                let values = parse_numbers(&words).filter(|v| v.len() == 3);
                let v = values.ok_or_else(|| lines.invalid("3 coordinates of an atom", shown(line)))?;
                let position: [f64; 3] = match direct {
                    true => std::array::from_fn(|x| (0..3).map(|a| v[a] * lattice[a][x]).sum()),
                    false => std::array::from_fn(|x| v[x] * scale[x]),
                };
                if !position.iter().all(|x| x.is_finite()) {
                    return Err(lines.invalid("3 coordinates of an atom", "a position beyond all numbers"));
                }
                positions.push(position);
                symbols.push(symbol.clone());
            }
        }
        Ok(Poscar { comment, lattice, symbols, positions })
    }

    /// The number of atoms.
    pub fn atoms(&self) -> usize {
        self.symbols.len()
    }

    /// Writes the file, whole or not at all. Atoms keep their order: equal neighbours become one group.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write_atomic(path, |w| write!(w, "{self}"))
    }
}

/// Cartesian, scale 1, every number with the shortest digits that read back to the same bits.
impl fmt::Display for Poscar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.comment.replace(['\n', '\r'], " "))?;
        writeln!(f, "1.0")?;
        for [x, y, z] in &self.lattice {
            writeln!(f, "  {x:?} {y:?} {z:?}")?;
        }
        let groups: Vec<&[String]> = self.symbols.chunk_by(|a, b| a == b).collect();
        let line = |word: &dyn Fn(&&[String]) -> String| groups.iter().map(word).collect::<Vec<_>>().join(" ");
        writeln!(f, "{}", line(&|group| group[0].clone()))?;
        writeln!(f, "{}", line(&|group| group.len().to_string()))?;
        writeln!(f, "Cartesian")?;
        self.positions.iter().try_for_each(|[x, y, z]| writeln!(f, "  {x:?} {y:?} {z:?}"))
    }
}

/// The determinant of a lattice: its signed volume.
pub(crate) fn determinant(m: &[[f64; 3]; 3]) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

fn factors(scale: &[f64], lattice: &[[f64; 3]; 3]) -> Option<[f64; 3]> {
    match *scale {
        [s] if s > 0.0 => Some([s; 3]),
        [volume] if volume < 0.0 => {
            let s = (-volume / determinant(lattice).abs()).cbrt();
            s.is_finite().then_some([s; 3])
        }
        [x, y, z] if x > 0.0 && y > 0.0 && z > 0.0 => Some([x, y, z]),
        _ => None,
    }
}

/// Finite numbers; `None` when a word is not one.
fn parse_numbers(words: &[&str]) -> Option<Vec<f64>> {
    words.iter().map(|word| word.parse().ok().filter(|x: &f64| x.is_finite())).collect()
}

/// A word or line of a hostile file, short enough for a message.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    format!("{cut:?}")
}

/// The lines of the file and where we are.
struct Lines<'a> {
    lines: std::str::Lines<'a>,
    number: usize,
    path: &'a Path,
}

impl<'a> Lines<'a> {
    fn next(&mut self, expected: &str) -> Result<&'a str> {
        self.number += 1;
        self.lines.next().ok_or_else(|| self.invalid(expected, "the end of the file"))
    }

    /// All numbers of a line; what follows the first word that is not one is a remark.
    fn numbers(&mut self, expected: &str, count: impl Fn(usize) -> bool) -> Result<Vec<f64>> {
        let line = self.next(expected)?;
        let words: Vec<&str> = line.split_whitespace().take_while(|w| w.parse::<f64>().is_ok()).take(4).collect();
        parse_numbers(&words).filter(|v| count(v.len())).ok_or_else(|| self.invalid(expected, shown(line)))
    }

    fn invalid(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        let rule = Rule::Format;
        Error::invalid(rule, self.path, format!("line {}", self.number), expected, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATER: &str =
        "water\n1.0\n 10 0 0\n 0 10 0\n 0 0 10\nO H\n1 2\nCartesian\n 0.1 0.2 0.3 O\n 1 2 3 H\n 4 5 6\n";

    fn parse(text: &str) -> Result<Poscar> {
        Poscar::parse(text, Path::new("POSCAR"))
    }

    #[test]
    fn cartesian_with_labels() {
        let water = parse(WATER).unwrap();
        assert_eq!(water.symbols, ["O", "H", "H"]);
        assert_eq!(water.positions, [[0.1, 0.2, 0.3], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        assert_eq!(parse(&water.to_string()).unwrap(), water);
    }

    #[test]
    fn scales() {
        let twice = parse(&WATER.replace("\n1.0\n", "\n2.0 remark\n")).unwrap();
        assert_eq!((twice.lattice[1], twice.positions[1]), ([0.0, 20.0, 0.0], [2.0, 4.0, 6.0]));
        let three = parse(&WATER.replace("\n1.0\n", "\n1 2 3\n")).unwrap();
        assert_eq!((three.lattice[2], three.positions[1]), ([0.0, 0.0, 30.0], [1.0, 4.0, 9.0]));
        let volume = parse(&WATER.replace("\n1.0\n", "\n-8000\n")).unwrap();
        assert!((volume.lattice[0][0] - 20.0).abs() < 1e-12);
        for bad in ["0", "1 2", "-1 1 1", "nan", "x"] {
            let text = parse(&WATER.replace("\n1.0\n", &format!("\n{bad}\n"))).unwrap_err().to_string();
            assert!(text.contains("POSCAR: line 2: expected"), "{text}");
        }
    }

    #[test]
    fn direct_and_selective_dynamics() {
        let text = WATER.replace("Cartesian", "Selective dynamics\ndirect").replace("1 2 3 H", "0.5 0.25 1 T T F");
        let water = parse(&text).unwrap();
        assert_eq!(water.positions[1], [5.0, 2.5, 10.0]);
    }

    #[test]
    fn groups_are_kept_in_order() {
        let mut water = parse(WATER).unwrap();
        water.symbols = ["H", "O", "H"].map(String::from).to_vec();
        let text = water.to_string();
        assert!(text.contains("\nH O H\n1 1 1\n"), "{text}");
        assert_eq!(parse(&text).unwrap(), water);
    }

    #[test]
    fn every_mistake_names_its_line() {
        let cases = [
            ("O H\n1 2", "1 2", "line 6: expected element symbols, found \"1\""),
            ("O H", "O Xx", "line 6: expected element symbols, found \"Xx\""),
            ("1 2\nC", "1\nC", "line 7: expected 2 positive numbers of atoms, found \"1\""),
            ("1 2\nC", "1 -2\nC", "line 7: expected 2 positive numbers of atoms"),
            ("1 2\nC", "1 99999999999\nC", "line 12: expected the coordinates of an atom, found the end of the file"),
            ("Cartesian", "Elsewhere", "line 8: expected Direct or Cartesian, found \"Elsewhere\""),
            ("4 5 6", "4 5", "line 11: expected 3 coordinates of an atom, found \" 4 5\""),
            ("4 5 6", "4 5 nan", "line 11: expected 3 coordinates"),
            (" 0 10 0", " 0 10", "line 4: expected 3 components of a lattice vector"),
            (" 0 10 0", " 10 0 0", "lines 3-5: expected lattice vectors that span a volume, found 0 cubic angstrom"),
        ];
        for (from, to, message) in cases {
            let text = parse(&WATER.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(text.contains(&format!("POSCAR: {message}")), "{text}");
        }
    }
}
