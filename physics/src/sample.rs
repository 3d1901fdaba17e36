//! One structure as the network sees it: graph, geometry and, where H is known, labels.

use crate::graph::CrystalGraph;
use crate::hamiltonian::basis::Basis;
use crate::hamiltonian::targets::Targets;
use crate::model::geometry::{Geometry, GeometryOptions};
use crate::structure::crystal::Crystal;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use num_complex::Complex64;
use tesseral_datasets::deeph::Record;
use tesseral_datasets::deeph::matrix::{AtomPair, BlockMatrix, Entries};
use tesseral_nn::layers::loss::{Power, summed_error};

/// A structure ready for training or prediction.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name of the structure.
    pub id: String,
    /// Its graph, edges in the network's order.
    pub graph: CrystalGraph,
    /// What the network reads.
    pub geometry: Geometry,
    /// `[E, columns]` flat targets of H, eV; `None` for a prediction.
    pub label: Option<Tensor>,
    /// `[E, columns]` 1 where the pair of elements has the target; `None` when all have all.
    pub mask: Option<Tensor>,
    /// Matrix elements that exist (a complex one counts once).
    pub elements: f64,
    complex: bool,
}

impl Sample {
    /// From a record: edges from H where it is there and wanted, else from S.
    ///
    /// # Errors
    /// [`Error::Structure`] for an element or a shell that the model does not know, or no pairs.
    pub fn new(
        record: &Record,
        basis: &Basis,
        targets: &Targets,
        options: &GeometryOptions,
        with_label: bool,
        dtype: DType,
    ) -> Result<Self> {
        let structure = |what: String| Error::Structure { structure: record.id.clone(), what };
        let crystal = Crystal::from_poscar(&record.poscar)?;
        let theirs = Basis::from_info(&record.info)?;
        for (number, shells) in theirs.elements() {
            let known = basis.elements().iter().find(|(n, _)| n == number);
            if known.is_some_and(|(_, known)| known != shells) || theirs.spinful() != basis.spinful() {
                let found = format!("{shells:?}, spinful {}", theirs.spinful());
                let expected = format!("{:?}, spinful {}", known.map(|k| &k.1), basis.spinful());
                return Err(structure(format!("basis of Z = {number}: the model has {expected}, info.json {found}")));
            }
        }
        let hamiltonian = record.hamiltonian.as_ref().filter(|_| with_label);
        if with_label && hamiltonian.is_none() {
            return Err(structure("hamiltonian.h5 is needed and not there".into()));
        }
        let pairs = hamiltonian.or(record.overlap.as_ref()).or(record.hamiltonian.as_ref()).map(|m| &m.pairs);
        let pairs = pairs.ok_or_else(|| structure("overlap.h5 is needed for the list of atom pairs".into()))?;
        let elements: Vec<u32> = basis.elements().iter().map(|(n, _)| *n).collect();
        let graph = CrystalGraph::new(&record.id, &crystal, pairs, &elements)?;
        let geometry = Geometry::new(&graph, options, dtype)?;
        let (mask_values, elements) = mask(&graph, targets);
        let shape = (graph.edges.len(), targets.columns());
        let tensor = |v: Vec<f64>| -> Result<Tensor> { Ok(Tensor::from_vec(v, shape, &Device::Cpu)?.to_dtype(dtype)?) };
        let label = hamiltonian.map(|h| tensor(flatten(h, &graph, basis, targets)?)).transpose()?;
        let mask = if mask_values.iter().all(|m| *m == 1.0) { None } else { Some(tensor(mask_values)?) };
        Ok(Sample { id: record.id.clone(), graph, geometry, label, mask, elements, complex: targets.spinful() })
    }

    /// `[E, columns]` H - label, eV, zero where a pair of elements has no such target.
    ///
    /// # Errors
    /// No label, or blocks of another basis.
    pub fn difference(&self, blocks: &Tensor) -> Result<Tensor> {
        let difference = (blocks - self.label()?)?;
        Ok(match &self.mask {
            Some(mask) => (difference * mask)?,
            None => difference,
        })
    }

    /// Mean over the matrix elements that exist of |H - label|^2, eV^2 (DeepH-E3's loss).
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub fn squared_error(&self, blocks: &Tensor) -> Result<Tensor> {
        self.error(blocks, Power::Squared)
    }

    /// Mean over the matrix elements that exist of |H - label|, eV; of a complex element the two parts are added.
    ///
    /// # Errors
    /// As [`Self::difference`].
    pub fn absolute_error(&self, blocks: &Tensor) -> Result<Tensor> {
        self.error(blocks, Power::Absolute)
    }

    fn error(&self, blocks: &Tensor, power: Power) -> Result<Tensor> {
        Ok(summed_error(blocks, self.label()?, self.mask.as_ref(), power, 1.0 / self.elements)?)
    }

    fn label(&self) -> Result<&Tensor> {
        self.label.as_ref().ok_or_else(|| Error::Structure {
            structure: self.id.clone(),
            what: "no Hamiltonian to compare with".into(),
        })
    }

    /// Whether the blocks are complex.
    pub fn is_complex(&self) -> bool {
        self.complex
    }
}

/// 1 for each flat element that a pair of elements has; and how many (complex ones once).
fn mask(graph: &CrystalGraph, targets: &Targets) -> (Vec<f64>, f64) {
    let (width, columns) = (targets.width(), targets.columns());
    let mut values = vec![0.0; graph.edges.len() * columns];
    for ([i, j], row) in graph.ends().into_iter().zip(values.chunks_exact_mut(columns)) {
        targets.for_each_element(graph.species[i], graph.species[j], |k, _, _| {
            row.iter_mut().skip(k).step_by(width).for_each(|v| *v = 1.0);
        });
    }
    let count = values.iter().sum::<f64>() / if targets.spinful() { 2.0 } else { 1.0 };
    (values, count)
}

/// Calls `f(flat column of the real part, row, column)` for every element of the block of edge `k`, spin included;
/// the imaginary part is `4 width` columns further.
fn for_each_element(
    graph: &CrystalGraph,
    basis: &Basis,
    targets: &Targets,
    k: usize,
    mut f: impl FnMut(usize, usize, usize),
) {
    let [i, j] = [3, 4].map(|end| graph.species[graph.edges[k].pair[end] as usize]);
    let [rows, columns] = [i, j].map(|s| orbitals(basis, s));
    let spins = if targets.spinful() { 4 } else { 1 };
    targets.for_each_element(i, j, |element, a, b| {
        for s in 0..spins {
            f(s * targets.width() + element, (s / 2) * rows + a, (s % 2) * columns + b);
        }
    });
}

fn orbitals(basis: &Basis, species: usize) -> usize {
    basis.elements()[species].1.iter().map(|l| 2 * l + 1).sum()
}

/// Flat targets `[E, columns]` of a Hamiltonian stored in the order the graph was made from.
///
/// # Errors
/// [`Error::Mismatch`] for blocks of another shape or kind.
pub fn flatten(h: &BlockMatrix, graph: &CrystalGraph, basis: &Basis, targets: &Targets) -> Result<Vec<f64>> {
    let columns = targets.columns();
    let mut flat = vec![0.0; graph.edges.len() * columns];
    for (k, (edge, row)) in graph.edges.iter().zip(flat.chunks_exact_mut(columns)).enumerate() {
        let [i, j] = [3, 4].map(|end| graph.species[edge.pair[end] as usize]);
        let spins = if targets.spinful() { 2 } else { 1 };
        let expected = [i, j].map(|s| spins * orbitals(basis, s));
        let start = h.boundaries.get(edge.stored).copied().unwrap_or(usize::MAX);
        let range = start..start.saturating_add(expected[0] * expected[1]);
        let mismatch = || Error::Mismatch {
            what: format!("block of pair {:?}", edge.pair),
            expected: format!("{expected:?}, {}", if spins == 2 { "complex" } else { "real" }),
            found: format!("{:?}", h.shapes.get(edge.stored)),
        };
        if h.shapes.get(edge.stored) != Some(&expected) || range.end > h.entries.len() {
            return Err(mismatch());
        }
        match &h.entries {
            Entries::Real(v) if spins == 1 => {
                for_each_element(graph, basis, targets, k, |c, a, b| row[c] = v[range.start + a * expected[1] + b]);
            }
            Entries::Complex(v) if spins == 2 => {
                for_each_element(graph, basis, targets, k, |c, a, b| {
                    let z = v[range.start + a * expected[1] + b];
                    (row[c], row[c + 4 * targets.width()]) = (z.re, z.im);
                });
            }
            _ => return Err(mismatch()),
        }
    }
    Ok(flat)
}

/// The Hamiltonian of flat targets, blocks in the order the graph was made from.
///
/// # Errors
/// [`Error::Mismatch`] when `flat` is not `[E, columns]`.
pub fn unflatten(flat: &[f64], graph: &CrystalGraph, basis: &Basis, targets: &Targets) -> Result<BlockMatrix> {
    let columns = targets.columns();
    if flat.len() != graph.edges.len() * columns {
        return Err(Error::Mismatch {
            what: "flat Hamiltonian".into(),
            expected: format!("{} x {columns} numbers", graph.edges.len()),
            found: flat.len().to_string(),
        });
    }
    let spins = if targets.spinful() { 2 } else { 1 };
    let mut pairs: Vec<AtomPair> = vec![[0; 5]; graph.edges.len()];
    let mut shapes = vec![[0; 2]; graph.edges.len()];
    for edge in &graph.edges {
        pairs[edge.stored] = edge.pair;
        shapes[edge.stored] = [3, 4].map(|end| spins * orbitals(basis, graph.species[edge.pair[end] as usize]));
    }
    let boundaries = BlockMatrix::boundaries_of(&shapes);
    let total = boundaries[boundaries.len() - 1];
    let (mut real, mut complex) = (Vec::new(), Vec::new());
    if spins == 1 {
        real.resize(total, 0.0)
    } else {
        complex.resize(total, Complex64::default())
    }
    for (k, (edge, row)) in graph.edges.iter().zip(flat.chunks_exact(columns)).enumerate() {
        let (start, width) = (boundaries[edge.stored], shapes[edge.stored][1]);
        for_each_element(graph, basis, targets, k, |c, a, b| {
            let place = start + a * width + b;
            if spins == 1 {
                real[place] = row[c];
            } else {
                complex[place] = Complex64::new(row[c], row[c + 4 * targets.width()]);
            }
        });
    }
    let entries = if spins == 1 { Entries::Real(real) } else { Entries::Complex(complex) };
    Ok(BlockMatrix { pairs, shapes, boundaries, entries })
}
