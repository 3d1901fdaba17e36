//! The order and signs of the components of a shell in each code, against m = -l..l: the one table of all readers.
//!
//! Ours: real spherical harmonics without the Condon-Shortley phase, m = -l..l (docs/conventions.md).
//!
//! | code | order in a shell | sign |
//! |---|---|---|
//! | OpenMX, legacy DeepH | p = x, y, z; d = z2, x2-y2, xy, xz, yz; f = z3, xz2, yz2, z(x2-y2), xyz, x(x2-3y2), y(3x2-y2) | + |
//! | ABACUS | m = 0, 1, -1, 2, -2, .. | (-1)^m |
//! | SIESTA | m = -l..l | (-1)^m |
//! | DeePTB, unified DeepH | m = -l..l | + |
//!
//! Sources: OpenMX's manual and DeepH-E3's data; ABACUS's documentation, "Basis set"; SIESTA's manual, the column
//! codes of ORB_INDX, with the Condon-Shortley phase; each confirmed by eigenvalues or overlaps of real files.

/// A code with its own order of the components of a shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// OpenMX, and legacy DeepH folders whatever their source.
    OpenMx,
    /// ABACUS, numerical atomic orbitals.
    Abacus,
    /// SIESTA.
    Siesta,
    /// DeePTB, and unified DeepH folders: m = -l..l itself.
    DeePtb,
}

/// Where one of our orbitals is in a code's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Its index there.
    pub index: usize,
    /// Our function is this times the code's: 1 or -1.
    pub sign: f64,
}

impl Code {
    /// For each orbital of an atom in our order its place in the code's; shells keep their places.
    /// `None` when the code has no such shell: OpenMX ends at f.
    pub fn places(self, shells: &[usize]) -> Option<Vec<Place>> {
        let mut places = Vec::new();
        for &l in shells {
            let start = places.len();
            for m in -(l as i64)..=l as i64 {
                let (index, sign) = self.place(l, m)?;
                places.push(Place { index: start + index, sign });
            }
        }
        Some(places)
    }

    /// Index and sign of the component m of a shell l.
    fn place(self, l: usize, m: i64) -> Option<(usize, f64)> {
        let k = (m + l as i64) as usize; // m >= -l
        let phase = if m % 2 == 0 { 1.0 } else { -1.0 };
        let alternating = (2 * m.unsigned_abs() as usize) - usize::from(m > 0);
        match self {
            Code::OpenMx => openmx_places(l).map(|places| (places[k], 1.0)),
            Code::Abacus => Some((alternating, phase)),
            Code::Siesta => Some((k, phase)),
            Code::DeePtb => Some((k, 1.0)),
        }
    }
}

/// For each m = -l..l its place in OpenMX's shell; `None` beyond f, which OpenMX does not have.
fn openmx_places(l: usize) -> Option<&'static [usize]> {
    match l {
        0 => Some(&[0]),
        1 => Some(&[1, 2, 0]),
        2 => Some(&[2, 4, 0, 3, 1]),
        3 => Some(&[6, 4, 2, 0, 1, 3, 5]),
        _ => None,
    }
}

/// For each orbital of an atom in our order its index in OpenMX's, whose signs agree; shells keep their places.
/// `None` when a shell is beyond f.
pub fn openmx_order(shells: &[usize]) -> Option<Vec<usize>> {
    Some(Code::OpenMx.places(shells)?.into_iter().map(|place| place.index).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shell of a code, named in our order with signs.
    fn named(code: Code, names: &[&str]) -> Vec<String> {
        let places = code.places(&[names.len() / 2]).unwrap();
        let sign = |place: &Place| if place.sign > 0.0 { "" } else { "-" };
        places.iter().map(|place| format!("{}{}", sign(place), names[place.index])).collect()
    }

    #[test]
    fn places_are_permutations() {
        for code in [Code::OpenMx, Code::Abacus, Code::Siesta, Code::DeePtb] {
            for l in 0..=3 {
                let mut indices: Vec<usize> = code.places(&[l]).unwrap().iter().map(|place| place.index).collect();
                indices.sort_unstable();
                assert_eq!(indices, (0..2 * l + 1).collect::<Vec<_>>(), "{code:?} {l}");
            }
        }
        assert_eq!(openmx_order(&[0, 1, 0]).unwrap(), [0, 2, 3, 1, 4]);
        assert_eq!(openmx_order(&[4]), None);
    }

    #[test]
    fn places_name_the_same_functions() {
        let (p, d) = (["y", "z", "x"], ["xy", "yz", "z2", "xz", "x2-y2"]);
        assert_eq!(named(Code::OpenMx, &["x", "y", "z"]), p);
        assert_eq!(named(Code::OpenMx, &["z2", "x2-y2", "xy", "xz", "yz"]), d);
        // ABACUS's functions, as its documentation names them: p = z, -x, -y; d = z2, -xz, -yz, x2-y2, xy.
        assert_eq!(named(Code::Abacus, &["z", "-x", "-y"]), ["--y", "z", "--x"]);
        assert_eq!(named(Code::Abacus, &["z2", "-xz", "-yz", "x2-y2", "xy"]), ["xy", "--yz", "z2", "--xz", "x2-y2"]);
        assert_eq!(named(Code::Siesta, &["-y", "z", "-x"]), ["--y", "z", "--x"]);
        assert_eq!(named(Code::DeePtb, &p), p);
        let f: Vec<usize> = Code::Abacus.places(&[3]).unwrap().iter().map(|place| place.index).collect();
        assert_eq!(f, [6, 4, 2, 0, 1, 3, 5]);
    }
}
