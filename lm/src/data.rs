//! Training data: documents, packed rows, mixtures, batches.
//!
//! Modules, each using only those above it: [`rows`], [`packing`], [`sft`], [`documents`] (of files), [`prepare`]
//! (documents to folders of rows), [`mixing`], [`collate`].

pub mod collate;
pub mod documents;
pub mod mixing;
pub mod packing;
pub mod prepare;
pub mod rows;
pub mod sft;
