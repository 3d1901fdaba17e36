//! Packed rows to the flat batch that a model reads.
