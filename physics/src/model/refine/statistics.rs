//! Sizes of the inputs of stage 2 and of the corrections it has to make, measured on the training set.
//!
//! All are per slot of irreps, so that scaling commutes with rotations.

use super::edge_components;
use crate::model::covariant::{Covariant, CovariantOutput};
use crate::model::geometry::Geometry;
use crate::model::mismatch::Mismatch;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use tesseral_nn::equivariant::layout::Layout;

/// Width of a distance bin, angstrom.
const BIN: f64 = 0.4;
/// Bins after the first, which is for self-loops; the last takes all longer edges.
const BINS: usize = 24;

/// Root mean squares over the training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// `[node slots]`.
    pub node_rms: Vec<f64>,
    /// `[edge input slots]`.
    pub edge_rms: Vec<f64>,
    /// `[bins + 1][output slots]` of (H - H(1)) as irreps, eV; first self-loops, then by distance.
    pub residual_rms: Vec<Vec<f64>>,
}

/// Running sums of squares of one structure after another.
pub struct Collector {
    node_layout: Layout,
    edge_layout: Layout,
    output_layout: Layout,
    mismatch: Mismatch,
    node: Vec<Sum>,
    edge: Vec<Sum>,
    residual: Vec<Vec<Sum>>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    squares: f64,
    count: f64,
}

impl Sum {
    fn rms(self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt()
    }
}

impl Collector {
    /// For the outputs of this network.
    pub fn new(covariant: &Covariant) -> Self {
        let edge_layout = Layout::new(&super::edge_irreps(covariant));
        let (node_layout, output_layout) = (covariant.node_layout().clone(), covariant.output_layout().clone());
        let sums = |layout: &Layout| vec![Sum::default(); layout.irreps().terms().len()];
        Collector {
            node: sums(&node_layout),
            edge: sums(&edge_layout),
            residual: vec![sums(&output_layout); BINS + 1],
            node_layout,
            edge_layout,
            output_layout,
            mismatch: covariant.mismatch().clone(),
        }
    }

    /// Adds a structure: what stage 1 gave, and the irreps of its label `[E, dim]` in e3nn's order.
    ///
    /// # Errors
    /// Outputs of another network.
    pub fn add(&mut self, output: &CovariantOutput, geometry: &Geometry, label: &Tensor) -> Result<()> {
        let mismatch = self.mismatch.of(&output.blocks, geometry)?;
        let edge = edge_components(output, geometry, mismatch, &self.edge_layout, &self.output_layout)?;
        let residual = self.output_layout.from_e3nn().apply(&(label - &output.irreps)?)?;
        let rows = |t: &Tensor| -> Result<Vec<Vec<f64>>> { Ok(t.to_dtype(DType::F64)?.to_vec2()?) };
        rows(&output.node)?.iter().for_each(|row| accumulate(&mut self.node, &self.node_layout, row));
        rows(&edge)?.iter().for_each(|row| accumulate(&mut self.edge, &self.edge_layout, row));
        for (row, v) in rows(&residual)?.iter().zip(&geometry.vectors) {
            accumulate(&mut self.residual[bin(length(v))], &self.output_layout, row);
        }
        Ok(())
    }

    /// The root mean squares; a bin that no edge fell into takes those of the nearest shorter one that has any.
    pub fn finish(self) -> Statistics {
        let rms = |sums: &[Sum]| sums.iter().map(|s| s.rms().max(1e-6)).collect::<Vec<_>>();
        let mut residual_rms: Vec<Vec<f64>> = Vec::with_capacity(self.residual.len());
        for sums in &self.residual {
            let empty = sums.iter().all(|s| s.count == 0.0);
            let row = match residual_rms.last() {
                Some(previous) if empty => previous.clone(),
                _ => rms(sums),
            };
            residual_rms.push(row);
        }
        Statistics { node_rms: rms(&self.node), edge_rms: rms(&self.edge), residual_rms }
    }
}

fn length(v: &[f64; 3]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn bin(r: f64) -> usize {
    if r < 1e-8 { 0 } else { 1 + ((r / BIN) as usize).min(BINS - 1) }
}

fn accumulate(sums: &mut [Sum], layout: &Layout, row: &[f64]) {
    for (slot, (sum, term)) in sums.iter_mut().zip(layout.irreps().terms()).enumerate() {
        for column in layout.columns(slot) {
            sum.squares += row[*column..column + term.mul].iter().map(|x| x * x).sum::<f64>();
        }
        sum.count += term.dim() as f64;
    }
}

impl Statistics {
    /// One number per slot, mapped by `f`, on all columns of the slot.
    pub fn spread(&self, per_slot: &[f64], layout: &Layout, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut out = vec![0.0; layout.dim()];
        for ((slot, term), value) in layout.irreps().terms().iter().enumerate().zip(per_slot) {
            for column in layout.columns(slot) {
                out[*column..column + term.mul].fill(f(*value));
            }
        }
        out
    }

    /// `[output dim]` expected size of the correction of an edge of length `r`, angstrom; eV.
    pub fn residual_scale(&self, r: f64, layout: &Layout) -> Vec<f64> {
        let row = &self.residual_rms[bin(r).min(self.residual_rms.len() - 1)];
        self.spread(row, layout, |x| x)
    }

    /// # Errors
    /// [`Error::Mismatch`] when the numbers are for other networks.
    pub fn check(&self, covariant: &Covariant) -> Result<()> {
        let expected =
            [covariant.node_layout().irreps().terms().len(), super::edge_irreps(covariant).terms().len(), BINS + 1];
        let found = [self.node_rms.len(), self.edge_rms.len(), self.residual_rms.len()];
        let slots = covariant.output_layout().irreps().terms().len();
        if expected == found && self.residual_rms.iter().all(|row| row.len() == slots) {
            return Ok(());
        }
        Err(Error::Mismatch {
            what: "statistics of stage 2".into(),
            expected: format!("{expected:?} entries"),
            found: format!("{found:?}"),
        })
    }
}
