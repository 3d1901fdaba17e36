//! The error report of a predicted Hamiltonian: figures over all elements and by group, as scripts read them.

use serde::{Deserialize, Serialize};

use super::sums::Figures;

/// Errors of a prediction; lists are sorted worst first, but the distances by distance.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MatrixErrors {
    /// Over all elements of all structures.
    #[serde(flatten)]
    pub figures: Figures,
    /// Mean over the pairs of single orbitals (of ordered pairs of elements) of the mean error of each pair;
    /// gauge-fixed where overlaps are known, meV. DeepH-dock's "orbital" average.
    pub orbital_average_mev: f64,
    /// Mean over ordered pairs of elements of the mean error of each; gauge-fixed where overlaps are known, meV.
    pub element_pair_average_mev: f64,
    /// The element with the largest |dH|.
    pub largest: Option<Extreme>,
    /// The element with the largest |dH - mu S|.
    pub largest_gauge_fixed: Option<Extreme>,
    /// By the elements of the two atoms, in their order.
    pub by_element_pair: Vec<ElementPairError>,
    /// By the shells of the two atoms.
    pub by_orbital_pair: Vec<OrbitalPairError>,
    /// On-site first, then by the length of the edge.
    pub by_distance: Vec<DistanceError>,
    /// By structure.
    pub by_structure: Vec<StructureError>,
    /// Errors of single orbitals, for pictures.
    #[serde(skip)]
    pub maps: Vec<OrbitalMap>,
    /// Single elements, evenly taken, for pictures.
    #[serde(skip)]
    pub parity: Vec<ParityElement>,
}

/// Errors between two elements.
#[derive(Clone, Debug, Serialize)]
pub struct ElementPairError {
    /// Such as `O-H`: the rows belong to O.
    pub element_pair: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Errors between two shells.
#[derive(Clone, Debug, Serialize)]
pub struct OrbitalPairError {
    /// Such as `O-H`.
    pub element_pair: String,
    /// Such as `s1-p2`: letter of the degree, place among the shells of that degree.
    pub shells: String,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Errors in a range of lengths.
#[derive(Clone, Debug, Serialize)]
pub struct DistanceError {
    /// From (angstrom); on-site blocks are 0 to 0.
    pub from: f64,
    /// To (angstrom).
    pub to: f64,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Errors of one structure.
#[derive(Clone, Debug, Serialize)]
pub struct StructureError {
    /// Its name.
    pub structure: String,
    /// The mu that was taken off, meV.
    pub mu_mev: Option<f64>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One matrix element that stands out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extreme {
    /// Its structure.
    pub structure: String,
    /// `[R1, R2, R3, i, j]`.
    pub pair: [i64; 5],
    /// Such as `O-H`.
    pub element_pair: String,
    /// Row and column orbital, such as `p1 m=-1, s2 m=0` (spinful with up or down).
    pub orbitals: String,
    /// Length of the pair, angstrom.
    pub distance: f64,
    /// Real part of the reference, eV.
    pub reference_ev: f64,
    /// Real part of the prediction, as predicted or with mu S taken off, eV.
    pub predicted_ev: f64,
    /// Modulus of their difference, meV.
    pub error_mev: f64,
}

/// Mean errors between single orbitals of two elements, spins pooled.
#[derive(Clone, Debug, PartialEq)]
pub struct OrbitalMap {
    /// Such as `O-H`.
    pub element_pair: String,
    /// Names of the row shells with their numbers of orbitals.
    pub rows: Vec<(String, usize)>,
    /// Names of the column shells with their numbers of orbitals.
    pub columns: Vec<(String, usize)>,
    /// `[row][column]`, gauge-fixed where overlaps are known, meV.
    pub mae_mev: Vec<Vec<f64>>,
}

/// One matrix element, eV (real part of a complex one).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParityElement {
    /// Reference.
    pub reference_ev: f64,
    /// As predicted.
    pub predicted_ev: f64,
    /// With mu S taken off, where S is known.
    pub gauge_fixed_ev: Option<f64>,
}
