//! The path of a crystal's Bravais lattice, found from its space group and mapped back to the cell that was given.
//!
//! moyo standardises the crystal: its conventional cell has the vectors A P, A those of the given cell (columns) and P
//! the `std_linear` it reports. So k' = P^T k along the conventional reciprocal vectors, and k = P^-T k' gives the points
//! of the table in the given cell, be it primitive, conventional, a supercell, or turned.

use moyo::MoyoDataset;
use moyo::base::{Cell, Lattice as MoyoLattice, Position};
use nalgebra::{Matrix3, Vector3};

use super::KPath;
use super::bravais::Bravais;
use crate::structure::{Crystal, Lattice};
use crate::{Error, Result};

/// How far atoms may be from a symmetric place, angstrom; relaxed structures are seldom better.
const TOLERANCE: f64 = 1e-3;

/// The lattice of a crystal's space group, and the matrix that takes its points to the given cell.
#[derive(Clone, Debug)]
pub struct Symmetry {
    /// Number of the space group, 1 to 230.
    pub space_group: i32,
    /// Its short Hermann-Mauguin symbol.
    pub symbol: String,
    /// Bravais lattice.
    pub bravais: Bravais,
    /// k of the given cell = `to_given` times the point of [`Bravais::table`].
    pub to_given: Matrix3<f64>,
}

impl Symmetry {
    /// Find the space group.
    ///
    /// # Errors
    /// A crystal without atoms, or one in which no symmetry can be found (atoms on top of each other).
    pub fn of(crystal: &Crystal) -> Result<Self> {
        let failed = |found: String| Error::Mismatch {
            what: "symmetry of the crystal".into(),
            expected: format!("a space group within {TOLERANCE} angstrom"),
            found,
        };
        if crystal.is_empty() {
            return Err(failed("no atom".into()));
        }
        let positions = crystal.positions.iter().map(|r| {
            let f = crystal.lattice.fractional(r);
            Position::new(f[0], f[1], f[2])
        });
        let numbers = crystal.species.iter().map(|&number| number as i32).collect();
        let cell = Cell::new(MoyoLattice::from_basis(crystal.lattice.to_rows()), positions.collect(), numbers);
        let found = MoyoDataset::with_default(&cell, TOLERANCE).map_err(|error| failed(format!("{error:?}")))?;
        let kind = found.pearson_symbol.get(..2).unwrap_or_default();
        let reduced = matches!(kind, "mC" | "mS" | "aP");
        let linear = if reduced { found.prim_std_linear } else { found.std_linear };
        let linear = Matrix3::from_fn(|row, column| linear[(row, column)]);
        // Rows are the vectors of the conventional cell, in the given cell's orientation.
        let mut vectors = (crystal.lattice.rows().transpose() * linear).transpose();
        let bravais = table_order(kind, found.hm_symbol.starts_with('A'), &mut vectors)
            .ok_or_else(|| failed(format!("Pearson symbol `{}`", found.pearson_symbol)))?;
        // k . R is the same in all bases: k_given = A vectors^-1 k' with rows of vectors on both sides.
        let inverse = vectors.try_inverse().ok_or_else(|| failed("a cell without volume".into()))?;
        let to_given = crystal.lattice.rows() * inverse;
        Ok(Self { space_group: found.number, symbol: found.hm_symbol, bravais, to_given })
    }

    /// The usual path, about `points` points in all, shared out by length; `lattice` is the given cell.
    pub fn path(&self, lattice: &Lattice, points: usize) -> KPath {
        let (places, route) = self.bravais.table();
        let place = |name: &str| {
            let k = places.iter().find(|point| point.0 == name).map_or([0.0; 3], |point| point.1);
            let k: [f64; 3] = (self.to_given * Vector3::from(k)).into();
            // Rounding of the change of cell, so that the high-symmetry points stay exact in files and phases.
            k.map(|x| if (x * 24.0 - (x * 24.0).round()).abs() < 1e-9 { (x * 24.0).round() / 24.0 } else { x })
        };
        let pieces: Vec<Vec<(&str, [f64; 3])>> =
            route.split('|').map(|piece| piece.split_whitespace().map(|name| (name, place(name))).collect()).collect();
        KPath::through_pieces(lattice, &pieces, points)
    }
}

/// Which table, with the conventional vectors (rows) brought into its order; `a_centred` says which face of an `oS`
/// cell is centred (C else).
fn table_order(kind: &str, a_centred: bool, vectors: &mut Matrix3<f64>) -> Option<Bravais> {
    let sorted = |vectors: &mut Matrix3<f64>, axes: &[usize]| {
        let mut rows: Vec<_> = axes.iter().map(|&axis| vectors.row(axis).into_owned()).collect();
        rows.sort_by(|a, b| a.norm().total_cmp(&b.norm()));
        axes.iter().zip(rows).for_each(|(&axis, row)| vectors.set_row(axis, &row));
    };
    let found = match kind {
        "cP" => Bravais::Cubic,
        "cF" => Bravais::FaceCentredCubic,
        "cI" => Bravais::BodyCentredCubic,
        "tP" => Bravais::Tetragonal,
        "tI" => Bravais::BodyCentredTetragonal(vectors.row(0).norm(), vectors.row(2).norm()),
        "hP" => Bravais::Hexagonal,
        "oP" | "oF" | "oI" => {
            sorted(vectors, &[0, 1, 2]);
            let [a, b, c] = [0, 1, 2].map(|axis| vectors.row(axis).norm());
            match kind {
                "oP" => Bravais::Orthorhombic,
                "oF" => Bravais::FaceCentredOrthorhombic(a, b, c),
                _ => Bravais::BodyCentredOrthorhombic(a, b, c),
            }
        }
        "oS" | "oC" | "oA" => {
            if a_centred {
                vectors.swap_rows(0, 2);
            }
            sorted(vectors, &[0, 1]);
            Bravais::BaseCentredOrthorhombic(vectors.row(0).norm(), vectors.row(1).norm())
        }
        "hR" => {
            let primitive = (vectors.row(0) * 2.0 + vectors.row(1) + vectors.row(2)) / 3.0;
            let next = (-vectors.row(0) + vectors.row(1) + vectors.row(2)) / 3.0;
            Bravais::Rhombohedral(primitive.transpose().angle(&next.transpose()))
        }
        "mP" => {
            // b is the unique axis of the standard setting, a that of the table.
            vectors.swap_rows(0, 1);
            sorted(vectors, &[1, 2]);
            if vectors.row(1).dot(&vectors.row(2)) < 0.0 {
                let turned = -vectors.row(2);
                vectors.set_row(2, &turned);
            }
            let (b, c) = (vectors.row(1).transpose(), vectors.row(2).transpose());
            Bravais::Monoclinic(b.norm(), c.norm(), b.angle(&c))
        }
        "mC" | "mS" | "aP" => Bravais::Reduced,
        _ => return None,
    };
    Some(found)
}
