//! `info.json` of a DeepH folder: sizes, spin, Fermi level and the orbitals of each element.
//! Format: DeepH-pack's unified layout (docs/formats.md).

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result, Rule};
use crate::{elements, files};

/// The largest `info.json` that is read: 16 MiB.
const MAX_BYTES: u64 = 16 << 20;
/// The highest angular momentum of an orbital that is accepted.
const MAX_L: u64 = 12;

/// The contents of `info.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Number of atoms in the cell.
    pub atoms_quantity: usize,
    /// Number of orbitals in the cell, spin not counted.
    pub orbits_quantity: usize,
    /// Whether S is the identity (and no overlap file is needed).
    pub orthogonal_basis: bool,
    /// Whether H has spin blocks `[[uu, ud], [du, dd]]`; the overlap never has.
    pub spinful: bool,
    /// Fermi energy, eV; `None` where it is unknown (null).
    pub fermi_energy_ev: Option<f64>,
    /// For each element, in file order, the angular momenta of its shells in basis order.
    pub elements_orbital_map: Vec<(String, Vec<usize>)>,
    /// Number of electrons in the cell, both spins.
    pub occupation: Option<f64>,
    /// All other keys, written back as they are.
    pub other: Map<String, Value>,
}

impl Info {
    /// Reads a file. Errors: [`Error::Missing`], [`Error::Io`], and those of [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&files::read_text(path, "an info.json file", MAX_BYTES)?, path)
    }

    /// Parses a text; `path` is for the messages only.
    ///
    /// Errors: [`Error::Invalid`] with the key at fault.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut keys = Keys::parse(text, path)?;
        let info = Info {
            atoms_quantity: keys.required("atoms_quantity", "a positive integer", positive)?,
            orbits_quantity: keys.required("orbits_quantity", "a positive integer", positive)?,
            orthogonal_basis: keys.optional("orthogonal_basis", "true or false", Value::as_bool)?.unwrap_or(false),
            spinful: keys.required("spinful", "true or false", Value::as_bool)?,
            fermi_energy_ev: keys.optional("fermi_energy_eV", "a number or null", Value::as_f64)?,
            elements_orbital_map: orbital_map(&mut keys)?,
            occupation: keys
                .optional("occupation", "a number that is not negative", |v| v.as_f64().filter(|n| *n >= 0.0))?,
            other: keys.map,
        };
        Ok(info)
    }

    /// The angular momenta of an element's shells, in basis order; `None` for an element the file does not have.
    pub fn shells(&self, symbol: &str) -> Option<&[usize]> {
        self.elements_orbital_map.iter().find(|(s, _)| s == symbol).map(|(_, shells)| shells.as_slice())
    }

    /// The number of orbitals of an element, spin not counted.
    pub fn orbitals(&self, symbol: &str) -> Option<usize> {
        self.shells(symbol).map(orbitals_of)
    }

    /// The file's text: the known keys first, then all others.
    pub fn to_json(&self) -> Value {
        let shells = self.elements_orbital_map.iter().map(|(s, l)| (s.clone(), json!(l)));
        let mut value = json!({
            "atoms_quantity": self.atoms_quantity,
            "orbits_quantity": self.orbits_quantity,
            "orthogonal_basis": self.orthogonal_basis,
            "spinful": self.spinful,
            "fermi_energy_eV": self.fermi_energy_ev,
            "elements_orbital_map": shells.collect::<Map<_, _>>(),
        });
        if let Some(map) = value.as_object_mut() {
            if let Some(occupation) = self.occupation {
                map.insert("occupation".into(), json!(occupation));
            }
            map.extend(self.other.clone());
        }
        value
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write_atomic(path, |w| writeln!(w, "{}", self.to_json()))
    }
}

/// The number of orbitals in shells of these angular momenta: the sum of 2 l + 1.
pub fn orbitals_of(shells: &[usize]) -> usize {
    shells.iter().map(|l| 2 * l + 1).sum()
}

fn orbital_map(keys: &mut Keys<'_>) -> Result<Vec<(String, Vec<usize>)>> {
    let name = "elements_orbital_map";
    let path = keys.path;
    let map = keys.required(name, "an object of element: [l, ..]", |v| v.as_object().cloned())?;
    if map.is_empty() {
        return Err(Error::invalid(Rule::Format, path, name, "at least one element", "none"));
    }
    let entry = |(symbol, value): (&String, &Value)| {
        let field = format!("{name}.{}", symbol.chars().take(20).collect::<String>());
        if elements::atomic_number(symbol).is_none() {
            return Err(Error::invalid(Rule::Symbol, path, field, "an element symbol", "an unknown one"));
        }
        let shells: Option<Vec<usize>> = value
            .as_array()
            .filter(|a| !a.is_empty())
            .and_then(|a| a.iter().map(|l| l.as_u64().filter(|l| *l <= MAX_L).map(|l| l as usize)).collect());
        let shells = shells.ok_or_else(|| {
            let expected = format!("a list of angular momenta from 0 to {MAX_L}");
            Error::invalid(Rule::Format, path, field, expected, shown(value))
        })?;
        Ok((symbol.clone(), shells))
    };
    map.iter().map(entry).collect()
}

fn positive(value: &Value) -> Option<usize> {
    value.as_u64().filter(|n| (1..=u64::from(u32::MAX)).contains(n)).and_then(|n| usize::try_from(n).ok())
}

/// A value of a hostile file, short enough for a message.
fn shown(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// The keys of a JSON object, taken out one by one.
pub(super) struct Keys<'a> {
    pub(super) map: Map<String, Value>,
    path: &'a Path,
}

impl<'a> Keys<'a> {
    pub(super) fn parse(text: &str, path: &'a Path) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|e| {
            let field = format!("line {} column {}", e.line(), e.column());
            Error::invalid(Rule::Format, path, field, "JSON", e.to_string())
        })?;
        match value {
            Value::Object(map) => Ok(Keys { map, path }),
            other => Err(Error::invalid(Rule::Format, path, "file", "a JSON object", shown(&other))),
        }
    }

    /// A key that must be there; `read` returns `None` for a value of the wrong kind.
    pub(super) fn required<T>(&mut self, key: &str, expected: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T> {
        let Some(value) = self.map.shift_remove(key) else {
            return Err(Error::invalid(Rule::Format, self.path, key, expected, "nothing"));
        };
        read(&value).ok_or_else(|| Error::invalid(Rule::Format, self.path, key, expected, shown(&value)))
    }

    /// A key that may be absent or null.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::Null) => {
                self.map.shift_remove(key);
                Ok(None)
            }
            Some(_) => self.required(key, expected, read).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATER: &str = r#"{"atoms_quantity": 3, "orbits_quantity": 23, "orthogonal_basis": false, "spinful": false,
        "fermi_energy_eV": null, "elements_orbital_map": {"O": [0, 0, 1, 1, 2], "H": [0, 0, 1]}, "max_num_neighbors": 7}"#;

    fn parse(text: &str) -> Result<Info> {
        Info::parse(text, Path::new("info.json"))
    }

    #[test]
    fn reads_and_writes_back_every_key() {
        let info = parse(WATER).unwrap();
        assert_eq!((info.atoms_quantity, info.orbits_quantity, info.fermi_energy_ev), (3, 23, None));
        assert_eq!(info.elements_orbital_map[0].0, "O");
        assert_eq!((info.orbitals("O"), info.orbitals("H"), info.orbitals("C")), (Some(13), Some(5), None));
        assert_eq!(info.other["max_num_neighbors"], 7);
        assert_eq!(parse(&info.to_json().to_string()).unwrap(), info);
        let info = Info { occupation: Some(8.0), fermi_energy_ev: Some(-0.1), ..info };
        assert_eq!(parse(&info.to_json().to_string()).unwrap(), info);
    }

    #[test]
    fn every_mistake_names_its_key() {
        let cases = [
            ("3,", "-3,", "atoms_quantity: expected a positive integer, found -3"),
            ("\"orbits_quantity\": 23,", "", "orbits_quantity: expected a positive integer, found nothing"),
            ("\"spinful\": false", "\"spinful\": 0", "spinful: expected true or false, found 0"),
            ("null", "\"x\"", "fermi_energy_eV: expected a number or null, found \"x\""),
            ("\"O\"", "\"Xx\"", "elements_orbital_map.Xx: expected an element symbol, found an unknown one"),
            ("[0, 0, 1]", "[0, 99]", "elements_orbital_map.H: expected a list of angular momenta from 0 to 12, found"),
            ("[0, 0, 1]", "[]", "elements_orbital_map.H: expected a list of angular momenta from 0 to 12, found []"),
            (": 7}", "", "line 2 column 116: expected JSON, found EOF"),
        ];
        for (from, to, message) in cases {
            let text = parse(&WATER.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(text.contains(&format!("info.json: {message}")), "{text}");
        }
        assert!(parse("[1]").unwrap_err().to_string().contains("expected a JSON object, found [1]"));
    }
}
