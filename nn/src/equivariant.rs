//! equivariant
