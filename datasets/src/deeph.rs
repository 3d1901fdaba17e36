//! DeepH folders
pub mod matrix;
