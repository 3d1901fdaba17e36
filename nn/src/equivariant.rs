//! O(3)-equivariant algebra: irreps, tables, and the differentiable maps between features.
//!
//! Features are tensors `[rows, dim]`. Outside this module their columns are in e3nn's order (slot, channel, m); the
//! maps here work in [`layout::Layout`] order (m, slot, channel), where everything that keeps m is a plain matrix
//! product. Axes are the physical x, y, z with z polar; components run m = -l..l without Condon-Shortley phase, which
//! is what e3nn computes when it is fed (y, z, x).
//!
//! Modules, each using only those above it: [`irreps`], [`clebsch_gordan`], [`spherical_harmonics`], [`wigner`],
//! [`layout`], [`sparse_map`], [`linear`], [`tensor_product`], [`frame`], [`so2`], [`gate`], [`norm`],
//! [`mixture`].

pub mod clebsch_gordan;
pub mod frame;
pub mod gate;
pub mod irreps;
pub mod layout;
pub mod linear;
pub mod mixture;
pub mod norm;
mod slot_map;
pub mod so2;
pub mod sparse_map;
pub mod spherical_harmonics;
pub mod tensor_product;
pub mod wigner;

pub use irreps::{Irrep, Irreps, MulIrrep, Parity};
pub use layout::Layout;
