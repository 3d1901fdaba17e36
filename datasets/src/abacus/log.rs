//! What ABACUS's log tells: shells of each species, geometry as the run saw it, Fermi energy, electrons.

use std::path::Path;

use super::stru::Stru;
use crate::error::{Error, Result, Rule};

/// How far log and STRU may differ: the log's digits of lattice vectors (6) and of coordinates (10).
const DIGITS: [f64; 2] = [1e-5, 1e-7];

/// The largest number of shells of one angular momentum, and the highest one.
const MAX: (usize, usize) = (100, 12);

/// A log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Of each species its label and shells.
    pub(super) shells: Vec<(String, Vec<usize>)>,
    /// Lattice vectors in units of the lattice constant.
    lattice: Vec<[f64; 3]>,
    /// Whether coordinates are fractional, and those of the atoms; Cartesian ones in units of the lattice constant.
    coordinates: (bool, Vec<[f64; 3]>),
    /// The last Fermi energy, eV.
    pub(super) fermi_energy_ev: Option<f64>,
    /// The number of electrons.
    pub(super) electrons: Option<f64>,
}

impl Log {
    /// Parses a text. What a log does not tell stays empty.
    ///
    /// Errors: [`Error::Invalid`] with the line of a number that is none.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut log = Log::default();
        let mut lines = text.lines().enumerate();
        while let Some((k, line)) = lines.next() {
            let invalid = |expected: &str| {
                let found = format!("{:?}", line.trim().chars().take(60).collect::<String>());
                Error::invalid(Rule::Format, path, format!("line {}", k + 1), expected, found)
            };
            let value = || line.rsplit(['=', ':']).next().unwrap_or_default().trim().trim_end_matches("eV").trim_end();
            let number =
                |expected: &str| value().parse().ok().filter(|x: &f64| x.is_finite()).ok_or_else(|| invalid(expected));
            if line.contains("atom label =") {
                log.shells.push((value().to_string(), Vec::new()));
            } else if line.contains("number of zeta =") && line.trim_start().starts_with("L=") {
                let l = line.trim_start().trim_start_matches("L=").split(',').next().and_then(|l| l.parse().ok());
                let count = value().parse::<usize>().ok().filter(|count| *count <= MAX.0);
                match (l.filter(|l: &usize| *l <= MAX.1), count, log.shells.last_mut()) {
                    (Some(l), Some(count), Some((_, shells))) => shells.extend(std::iter::repeat_n(l, count)),
                    _ => return Err(invalid("\"L=.., number of zeta = ..\" of an atom type")),
                }
            } else if line.contains("Lattice vectors:") && log.lattice.is_empty() {
                let rows = lines.clone().take(3).map_while(|(_, line)| three(line.split_whitespace()));
                log.lattice = rows.collect();
            } else if line.contains("COORDINATES") && (line.contains("UNIT =") || line.contains("DIRECT")) {
                if log.coordinates.1.is_empty() {
                    // Rows begin with the name of an atom: tauc_Mo1, taud_S2.
                    let rows = lines.clone().skip(1).map(|(_, line)| line.split_whitespace());
                    let rows = rows.map_while(|mut words| words.next()?.starts_with("tau").then(|| three(words))?);
                    log.coordinates = (line.contains("DIRECT"), rows.collect());
                }
            } else if line.trim_start().starts_with("EFERMI =") {
                log.fermi_energy_ev = Some(number("\"EFERMI = .. eV\"")?);
            } else if line.contains("AUTOSET number of electrons") {
                log.electrons = Some(number("the number of electrons")?);
            }
        }
        Ok(log)
    }

    /// Checks that the run saw the structure of STRU: lattice, number of atoms, positions. What the log does not tell
    /// is not checked.
    pub(super) fn agrees_with(&self, stru: &Stru, path: &Path) -> Result<()> {
        let poscar = &stru.poscar;
        let far = |field: String, found: &[f64; 3], known: [f64; 3], digits: f64| {
            let scale = known.iter().fold(1.0_f64, |scale, x| scale.max(x.abs()));
            let near = found.iter().zip(known).all(|(a, b)| (a - b).abs() <= digits * scale);
            let expected = format!("{known:?}, as STRU has it");
            if near { Ok(()) } else { Err(Error::invalid(Rule::Format, path, field, expected, format!("{found:?}"))) }
        };
        let scaled = |v: &[f64; 3]| v.map(|x| x / stru.constant);
        for (i, (found, known)) in self.lattice.iter().zip(&poscar.lattice).enumerate() {
            far(format!("lattice vector {}", i + 1), found, scaled(known), DIGITS[0])?;
        }
        let (fractional, rows) = &self.coordinates;
        if !rows.is_empty() && rows.len() != poscar.atoms() {
            let expected = format!("the {} atoms of STRU", poscar.atoms());
            return Err(Error::invalid(Rule::Format, path, "COORDINATES", expected, rows.len().to_string()));
        }
        for (k, (row, known)) in rows.iter().zip(&poscar.positions).enumerate() {
            let cartesian = |v: &[f64; 3]| {
                std::array::from_fn(|x| (0..3).map(|a| v[a] * poscar.lattice[a][x]).sum::<f64>() / stru.constant)
            };
            let found = if *fractional { cartesian(row) } else { *row };
            far(format!("position of atom {}", k + 1), &found, scaled(known), DIGITS[1])?;
        }
        Ok(())
    }
}

fn three<'a>(words: impl Iterator<Item = &'a str>) -> Option<[f64; 3]> {
    let numbers: Option<Vec<f64>> = words.take(3).map(|w| w.parse().ok().filter(|x: &f64| x.is_finite())).collect();
    <[f64; 3]>::try_from(numbers?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "  atom label = S\n  L=0, number of zeta = 2\n  L=1, number of zeta = 1\n number of atom = 1\n\
        CARTESIAN COORDINATES ( UNIT = 2.0 Bohr ).\n atom x y z\ntauc_S1  0.1 0.2 0.3 0 0\n\n\
        Lattice vectors: (Cartesian coordinate: in unit of a_0)\n +1 +0 +0\n +0 +1 +0\n +0 +0 +1\n\
        AUTOSET number of electrons:  = 26\n EFERMI = -1 eV\n EFERMI = -2.5 eV\n";
    const STRU: &str =
        "ATOMIC_SPECIES\nS 1 x\nLATTICE_CONSTANT\n2\nATOMIC_POSITIONS\nCartesian\nS\n0\n1\n0.1 0.2 0.3\n";

    #[test]
    fn reads_what_there_is_and_compares() {
        let path = Path::new("log");
        let log = Log::parse(LOG, path).unwrap();
        assert_eq!(log.shells, [("S".to_string(), vec![0, 0, 1])]);
        assert_eq!((log.fermi_energy_ev, log.electrons), (Some(-2.5), Some(26.0)));
        let stru = Stru::parse(STRU, Some("sc"), path).unwrap();
        log.agrees_with(&stru, path).unwrap();
        for (from, to, message) in [
            ("0.1 0.2 0.3 0 0", "0.1 0.2 0.4 0 0", "position of atom 1"),
            ("+0 +1 +0", "+0 +1 +1", "lattice vector 2"),
            ("tauc_S1", "tauc_S1 0 0 0\ntauc_S2", "COORDINATES: expected the 1 atoms of STRU, found 2"),
        ] {
            let other = Log::parse(&LOG.replace(from, to), path).unwrap();
            let text = other.agrees_with(&stru, path).unwrap_err().to_string();
            assert!(text.contains(message), "{text}");
        }
        let text = Log::parse(&LOG.replace("-2.5 eV", "nan eV"), path).unwrap_err().to_string();
        assert!(text.contains("log: line 15: expected \"EFERMI = .. eV\", found"), "{text}");
    }
}
