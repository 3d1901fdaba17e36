//! Training data: documents, packed rows, mixtures, batches.
//!
//! Modules, each using only those above it: [`rows`], [`packing`], [`sft`], [`mixing`], [`collate`].

pub mod collate;
pub mod mixing;
pub mod packing;
pub mod rows;
pub mod sft;
