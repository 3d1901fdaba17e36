//! How far stage 1 is from hermitian: the irreps of `H_ji(-R)^dagger - H_ij(R)`.
//!
//! Exact Hamiltonians have none, so it shows stage 2 the size and the direction of a part of the error. It turns as H
//! does, and needs the edge that runs back.

use crate::Result;
use crate::hamiltonian::targets::Targets;
use crate::hamiltonian::wigner_eckart::to_irreps;
use crate::model::geometry::Geometry;
use candle_core::Tensor;
use tesseral_nn::equivariant::irreps::Convention;
use tesseral_nn::equivariant::sparse_map::SparseMap;

/// The constant maps behind it. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Mismatch {
    adjoint: SparseMap,
    to_irreps: SparseMap,
}

impl Mismatch {
    /// For these targets.
    pub fn new(targets: &Targets, convention: Convention) -> Self {
        Mismatch { adjoint: adjoint(targets), to_irreps: to_irreps(targets, convention) }
    }

    /// From `blocks` `[E, columns]`, eV: `[E, dim]` in e3nn's order of the output irreps, eV; zero for an edge without its reverse.
    ///
    /// # Errors
    /// Blocks of another basis or structure.
    pub fn of(&self, blocks: &Tensor, geometry: &Geometry) -> Result<Tensor> {
        let own: Vec<u32> = (0..geometry.reverse.len() as u32).collect();
        let back: Vec<u32> = geometry.reverse.iter().zip(&own).map(|(r, own)| r.map_or(*own, |r| r as u32)).collect();
        let known: Vec<f64> = geometry.reverse.iter().map(|r| f64::from(u8::from(r.is_some()))).collect();
        let blocks = blocks.detach();
        let known = Tensor::from_vec(known, (own.len(), 1), blocks.device())?.to_dtype(blocks.dtype())?;
        let adjoint = self.adjoint.apply(&blocks.index_select(&Tensor::new(back, blocks.device())?, 0)?)?;
        Ok(self.to_irreps.apply(&(adjoint - &blocks)?.broadcast_mul(&known)?)?)
    }
}

/// The adjoint of flat targets: rows and columns exchanged, spins exchanged, imaginary parts negated.
fn adjoint(targets: &Targets) -> SparseMap {
    let (partner, width) = (targets.transposed(), targets.width());
    let components: Vec<(usize, usize, f64)> = if targets.spinful() {
        // uu, ud, du, dd; real parts first.
        let swap = [0, 2, 1, 3];
        (0..8).map(|c| (c, swap[c % 4] + c / 4 * 4, if c < 4 { 1.0 } else { -1.0 })).collect()
    } else {
        vec![(0, 0, 1.0)]
    };
    let mut triplets = Vec::new();
    for (target, other) in targets.list().iter().zip(&partner) {
        let ([l1, l2], other) = (target.degrees, targets.list()[*other]);
        for (to, from, sign) in &components {
            for a in 0..2 * l1 + 1 {
                for b in 0..2 * l2 + 1 {
                    let row = to * width + target.start + a * (2 * l2 + 1) + b;
                    triplets.push((row, from * width + other.start + b * (2 * l1 + 1) + a, *sign));
                }
            }
        }
    }
    SparseMap::new(targets.columns(), targets.columns(), triplets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjoint_of_the_adjoint_is_the_identity() {
        for spinful in [false, true] {
            let targets = Targets::from_shells(&[vec![0, 1, 2], vec![0, 0, 1]], spinful);
            let twice = adjoint(&targets).then(&adjoint(&targets));
            assert!(twice.triplets().iter().all(|(a, b, v)| a == b && *v == 1.0));
            assert_eq!(twice.triplets().len(), targets.columns());
        }
    }
}
