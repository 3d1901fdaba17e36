//! Long context (ProLong, arXiv 2410.02660): positions that reach farther, data that needs them, and whether they help.
//!
//! Modules: [`positions`] (the base of rotary angles), [`recall`] (facts asked for at a distance, for models trained from
//! nothing), [`text_recall`] (the same as text), [`perplexity`] (by length of context).

pub mod perplexity;
pub mod positions;
pub mod recall;
pub mod text_recall;
