//! Screenshot language models (PTP, arXiv 2402.14073): text drawn as an image, patches of it masked, the pixels and the
//! text recovered.
//!
//! Modules, each using only those above it: [`glyphs`] (of fonts, by `outline`), [`render`] (text to image), [`patches`],
//! [`masks`], [`positions`], [`shape`], [`encoder`], [`masked`] (the encoder with its two decoders), [`autoregressive`],
//! [`classifier`], [`text`] (tokens to what is drawn), [`files`], [`training`].

pub mod autoregressive;
pub mod classifier;
pub mod encoder;
pub mod files;
pub mod glyphs;
pub mod masked;
pub mod masks;
mod outline;
pub mod patches;
pub mod positions;
pub mod render;
pub mod shape;
pub mod text;
pub mod training;
