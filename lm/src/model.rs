//! Llama-family models: shape, weights, tokenizer, text in and out.
//!
//! Modules, each using only those above it: [`llama`] (the shape), [`weights`], [`decoder`], [`tokenizer`], [`chat`],
//! [`sampling`], [`generate`].

pub mod chat;
pub mod decoder;
pub mod generate;
pub mod llama;
pub mod sampling;
pub mod tokenizer;
pub mod weights;
