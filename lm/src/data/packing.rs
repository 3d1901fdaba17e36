//! Documents into rows of a fixed length.
