//! Hamiltonians of structures without one.

use crate::Result;
use crate::hamiltonian::symmetry::hermitised;
use crate::model::Model;
use crate::sample::{Sample, unflatten};
use candle_core::{DType, Tensor};
use tesseral_datasets::deeph::Record;
use tesseral_datasets::deeph::matrix::BlockMatrix;

/// The Hamiltonian of the last stage, hermitian, on the atom pairs of the record (those of S, or of H where only that
/// is there), eV.
///
/// # Errors
/// An element that the model does not know, no pairs, or a pair whose reverse is missing.
pub fn predict(model: &Model, record: &Record) -> Result<BlockMatrix> {
    let mut stages = predict_stages(model, record)?;
    match stages.pop() {
        Some((_, h)) => Ok(h),
        None => Err(crate::Error::Mismatch {
            what: "model".into(),
            expected: "at least stage 1".into(),
            found: "no stage".into(),
        }),
    }
}

/// As [`predict`] for every stage, in order.
///
/// # Errors
/// As there.
pub fn predict_stages(model: &Model, record: &Record) -> Result<Vec<(&'static str, BlockMatrix)>> {
    let sample = model.sample(record, false)?;
    let to_matrix =
        |(name, blocks): (&'static str, Tensor)| Ok((name, hermitised(&block_matrix(model, &sample, &blocks)?)?));
    model.stages(&sample)?.into_iter().map(to_matrix).collect()
}

/// Flat blocks `[E, columns]` as a matrix in the order of the pairs that the sample was made from.
///
/// # Errors
/// Blocks of another sample.
pub fn block_matrix(model: &Model, sample: &Sample, blocks: &Tensor) -> Result<BlockMatrix> {
    let flat: Vec<f64> = blocks.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    unflatten(&flat, &sample.graph, &model.basis, &model.targets)
}
