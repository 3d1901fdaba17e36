//! The difference of a prediction and its reference, element by element, before and after the gauge is fixed.

use std::ops::Range;

use tesseral_datasets::deeph::matrix::{BlockMatrix, Entries};

use crate::Result;
use crate::hamiltonian::gauge;

/// One structure: the reference, the prediction, and their difference before and after mu S is taken off.
pub(super) struct Difference<'a> {
    pub(super) reference: &'a BlockMatrix,
    pub(super) raw: BlockMatrix,
    pub(super) fixed: Option<BlockMatrix>,
    pub(super) mu_ev: Option<f64>,
}

impl<'a> Difference<'a> {
    pub(super) fn new(
        prediction: &BlockMatrix,
        reference: &'a BlockMatrix,
        overlap: Option<&BlockMatrix>,
    ) -> Result<Self> {
        let raw = gauge::difference(prediction, reference)?;
        let mu_ev = overlap.map(|overlap| gauge::projection(&raw, overlap)).transpose()?;
        let fixed = overlap.zip(mu_ev).map(|(overlap, mu)| gauge::shifted(&raw, overlap, -mu)).transpose()?;
        Ok(Self { reference, raw, fixed, mu_ev })
    }
}

/// Where the elements of a block stand in `entries`.
pub(super) fn elements_of(matrix: &BlockMatrix, block: usize) -> Range<usize> {
    matrix.boundaries[block]..matrix.boundaries[block + 1]
}

/// Modulus of one element.
pub(super) fn modulus(matrix: &BlockMatrix, place: usize) -> f64 {
    match &matrix.entries {
        Entries::Real(values) => values[place].abs(),
        Entries::Complex(values) => values[place].norm(),
    }
}

/// Real part of one element.
pub(super) fn real_part(matrix: &BlockMatrix, place: usize) -> f64 {
    match &matrix.entries {
        Entries::Real(values) => values[place],
        Entries::Complex(values) => values[place].re,
    }
}
