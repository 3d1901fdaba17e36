//! ABACUS's structure file STRU: species, orbital files, lattice, positions.

use std::path::Path;

use super::BOHR;
use crate::error::{Error, Result, Rule};
use crate::import::element_of;
use crate::poscar::{Poscar, determinant};

/// The letters of l = 0, 1, ..
const LETTERS: &str = "spdfgh";

/// A structure as a run has it.
#[derive(Debug)]
pub(super) struct Stru {
    /// Lattice, elements, positions; atoms in the order of the file, which is that of the matrices.
    pub(super) poscar: Poscar,
    /// The label of each atom.
    pub(super) labels: Vec<String>,
    /// Of each species its label and orbital file.
    orbital_files: Vec<(String, String)>,
    /// The lattice constant, angstrom.
    pub(super) constant: f64,
}

/// A line less its comment, trimmed.
pub(super) fn without_comment(line: &str) -> &str {
    let cut = [line.find('#'), line.find("//")].into_iter().flatten().min();
    line[..cut.unwrap_or(line.len())].trim()
}

const SECTIONS: [&str; 8] = [
    "ATOMIC_SPECIES",
    "NUMERICAL_ORBITAL",
    "NUMERICAL_DESCRIPTOR",
    "PAW_FILES",
    "LATTICE_CONSTANT",
    "LATTICE_VECTORS",
    "LATTICE_PARAMETERS",
    "ATOMIC_POSITIONS",
];

/// Lines that carry something, with their numbers.
type Section<'a> = Vec<(usize, &'a str)>;

impl Stru {
    /// Parses a text; `latname` is INPUT's name of the lattice, for files without lattice vectors.
    ///
    /// Errors: [`Error::Invalid`] with the line or section at fault.
    pub(super) fn parse(text: &str, latname: Option<&str>, path: &Path) -> Result<Self> {
        let invalid = |rule, field: String, expected: &str, found: &str| {
            let found = format!("{:?}", found.chars().take(60).collect::<String>());
            Error::invalid(rule, path, field, expected, found)
        };
        let mut sections: Vec<(&str, Section<'_>)> = Vec::new();
        for (k, line) in text.lines().enumerate() {
            let line = without_comment(line);
            if SECTIONS.contains(&line) {
                sections.push((line, Vec::new()));
            } else if !line.is_empty() {
                let Some((_, section)) = sections.last_mut() else {
                    return Err(invalid(Rule::Format, format!("line {}", k + 1), "the name of a section", line));
                };
                section.push((k + 1, line));
            }
        }
        let section = |name: &str| sections.iter().find(|(known, _)| *known == name).map(|(_, lines)| lines);
        let required = |name: &str| {
            section(name).ok_or_else(|| Error::invalid(Rule::Format, path, name, "a section of this name", "none"))
        };
        let numbers = |(k, line): &(usize, &str), count: usize, expected: &str| -> Result<Vec<f64>> {
            let words = line.split_whitespace().take(count);
            let numbers: Option<Vec<f64>> = words.map(|w| w.parse().ok().filter(|x: &f64| x.is_finite())).collect();
            let numbers = numbers.filter(|numbers| numbers.len() == count);
            numbers.ok_or_else(|| invalid(Rule::Format, format!("line {k}"), expected, line))
        };

        let first = |name: &str| {
            required(name)?.first().ok_or_else(|| Error::invalid(Rule::Format, path, name, "a line", "none"))
        };
        let constant = numbers(first("LATTICE_CONSTANT")?, 1, "the lattice constant in Bohr")?[0] * BOHR;
        let unit: [[f64; 3]; 3] = match section("LATTICE_VECTORS") {
            Some(lines) if lines.len() >= 3 => {
                let mut rows = [[0.0; 3]; 3];
                for (row, line) in rows.iter_mut().zip(lines) {
                    row.copy_from_slice(&numbers(line, 3, "3 components of a lattice vector")?);
                }
                rows
            }
            _ => {
                let name = latname.unwrap_or("none");
                let parameters = match section("LATTICE_PARAMETERS").and_then(|lines| lines.first()) {
                    Some(line) => numbers(line, line.1.split_whitespace().count(), "numbers")?,
                    None => Vec::new(),
                };
                named_lattice(name, &parameters).ok_or_else(|| {
                    let expected = "3 lattice vectors, or LATTICE_PARAMETERS and a latname in INPUT among sc, fcc, bcc, \
                        hexagonal, st, so";
                    invalid(Rule::Format, "LATTICE_VECTORS".into(), expected, &format!("latname {name}"))
                })?
            }
        };
        let lattice = unit.map(|row| row.map(|x| x * constant));
        if !determinant(&lattice).is_normal() {
            let expected = "lattice vectors that span a volume";
            return Err(invalid(Rule::Format, "LATTICE_VECTORS".into(), expected, "none"));
        }

        let word = |line: &str, n: usize| line.split_whitespace().nth(n).unwrap_or_default().to_string();
        let species: Vec<String> = required("ATOMIC_SPECIES")?.iter().map(|(_, line)| word(line, 0)).collect();
        let orbital_files = section("NUMERICAL_ORBITAL").into_iter().flatten().map(|(_, line)| word(line, 0));
        let orbital_files = species.iter().cloned().zip(orbital_files).collect();

        let mut lines = required("ATOMIC_POSITIONS")?.iter();
        let mut next = |expected: &str| {
            lines.next().ok_or_else(|| {
                Error::invalid(Rule::Format, path, "ATOMIC_POSITIONS", expected, "the end of the section")
            })
        };
        let mode = next("the kind of coordinates")?;
        let scale = match mode.1.split_whitespace().next() {
            Some("Direct") => None,
            Some("Cartesian") => Some(constant),
            Some("Cartesian_angstrom") => Some(1.0),
            Some("Cartesian_au") => Some(BOHR),
            _ => {
                let expected = "Direct, Cartesian, Cartesian_angstrom or Cartesian_au";
                return Err(invalid(Rule::Format, format!("line {}", mode.0), expected, mode.1));
            }
        };
        let (mut labels, mut symbols, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        for _ in &species {
            let (k, line) = next("the label of a species")?;
            let label = word(line, 0);
            let element = element_of(&label).filter(|_| species.contains(&label));
            let element = element.ok_or_else(|| {
                invalid(Rule::Symbol, format!("line {k}"), "a species of ATOMIC_SPECIES, named after an element", line)
            })?;
            next("the magnetism of a species")?;
            let (k, line) = next("the number of atoms")?;
            let count: usize = word(line, 0)
                .parse()
                .map_err(|_| invalid(Rule::Format, format!("line {k}"), "the number of atoms", line))?;
            for _ in 0..count {
                let v = numbers(next("3 coordinates of an atom")?, 3, "3 coordinates of an atom")?;
                positions.push(match scale {
                    Some(scale) => std::array::from_fn(|x| v[x] * scale),
                    None => std::array::from_fn(|x| (0..3).map(|a| v[a] * lattice[a][x]).sum()),
                });
                labels.push(label.clone());
                symbols.push(element.to_string());
            }
        }
        if labels.is_empty() {
            return Err(Error::invalid(Rule::Format, path, "ATOMIC_POSITIONS", "at least one atom", "none"));
        }
        let poscar = Poscar { comment: "from an ABACUS run".into(), lattice, symbols, positions };
        Ok(Stru { poscar, labels, orbital_files, constant })
    }

    /// The shells of a species by the name of its orbital file: "Mo_gga_8au_100Ry_4s2p2d1f.orb".
    pub(super) fn shells(&self, label: &str) -> Option<Vec<usize>> {
        let (_, file) = self.orbital_files.iter().find(|(known, _)| known == label)?;
        let counts = file.rsplit('/').next()?.strip_suffix(".orb")?.rsplit('_').next()?;
        let (mut shells, mut digits) = (Vec::new(), String::new());
        for letter in counts.chars() {
            if letter.is_ascii_digit() {
                digits.push(letter);
                continue;
            }
            let count = digits.parse::<usize>().ok().filter(|count| *count <= 100)?;
            shells.extend(std::iter::repeat_n(LETTERS.find(letter)?, count));
            digits.clear();
        }
        (digits.is_empty() && shells.is_sorted() && !shells.is_empty()).then_some(shells)
    }
}

/// The lattices of `latname` that need no angle, in units of the lattice constant (ABACUS's documentation, "STRU").
fn named_lattice(name: &str, parameters: &[f64]) -> Option<[[f64; 3]; 3]> {
    let diagonal = |y: f64, z: f64| [[1.0, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]];
    Some(match (name, parameters) {
        ("sc", _) => diagonal(1.0, 1.0),
        ("fcc", _) => [[-0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [-0.5, 0.5, 0.0]],
        ("bcc", _) => [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
        ("hexagonal", [c, ..]) => [[1.0, 0.0, 0.0], [-0.5, 3_f64.sqrt() / 2.0, 0.0], [0.0, 0.0, *c]],
        ("st", [c, ..]) => diagonal(1.0, *c),
        ("so", [b, c, ..]) => diagonal(*b, *c),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRU: &str = "ATOMIC_SPECIES\nMo 95.94 Mo.upf\nS1 32 S.upf // lower\nNUMERICAL_ORBITAL\nx/Mo_8au_4s2p2d1f.orb\n\
        S_8au_2s2p1d.orb\nLATTICE_CONSTANT\n2 # Bohr\nLATTICE_PARAMETERS\n12\nATOMIC_POSITIONS\nDirect\nMo\n0.0\n1\n\
        0.5 0 0.25 1 1 1\nS1\n0\n1\n0 0 0\n";

    fn parse(text: &str) -> Result<Stru> {
        Stru::parse(text, Some("hexagonal"), Path::new("STRU"))
    }

    #[test]
    fn reads_species_lattice_and_positions() {
        let stru = parse(STRU).unwrap();
        let a = 2.0 * BOHR;
        assert_eq!(stru.poscar.symbols, ["Mo", "S"]);
        assert_eq!(stru.labels, ["Mo", "S1"]);
        assert!((stru.poscar.lattice[1][0] + a / 2.0).abs() < 1e-15);
        assert_eq!(stru.poscar.positions[0], [0.5 * a, 0.0, 0.25 * 12.0 * a]);
        assert_eq!(stru.shells("Mo").unwrap(), [0, 0, 0, 0, 1, 1, 2, 2, 3]);
        assert_eq!(stru.shells("S1").unwrap(), [0, 0, 1, 1, 2]);
        let text = STRU.replace("LATTICE_PARAMETERS\n12", "LATTICE_VECTORS\n1 0 0\n0 2 0\n0 0 3");
        let own = parse(&text.replace("Direct", "Cartesian_angstrom")).unwrap();
        assert_eq!((own.poscar.lattice[2], own.poscar.positions[0]), ([0.0, 0.0, 3.0 * a], [0.5, 0.0, 0.25]));
    }

    #[test]
    fn every_mistake_names_its_place() {
        let cases = [
            ("ATOMIC_SPECIES", "SPECIES", "line 1: expected the name of a section, found \"SPECIES\""),
            ("2 # Bohr", "x", "line 8: expected the lattice constant in Bohr, found \"x\""),
            ("PARAMETERS\n12", "VECTORS\n1 0 0", "LATTICE_VECTORS: expected 3 lattice vectors, or"),
            ("\n12\n", "\n0\n", "LATTICE_VECTORS: expected lattice vectors that span a volume"),
            ("Direct", "Elsewhere", "line 12: expected Direct, Cartesian"),
            ("0.5 0 0.25", "0.5 nan 0.25", "line 16: expected 3 coordinates of an atom"),
            ("S1\n0\n1", "S2\n0\n1", "line 17: expected a species of ATOMIC_SPECIES"),
            (
                "0\n1\n0 0 0",
                "0\n999999999\n0 0 0",
                "ATOMIC_POSITIONS: expected 3 coordinates of an atom, found the end",
            ),
        ];
        for (from, to, message) in cases {
            let text = parse(&STRU.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(text.contains(&format!("STRU: {message}")), "{text}");
        }
    }
}
