//! stage 2
