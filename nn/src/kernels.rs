//! What every layer is made of on the CPU: matrix products over strided views, vectorised loops, and the adapter
//! that turns a forward and a backward function over slices into a differentiable candle operation.

mod bundle;
pub(crate) mod lanes;
pub mod matmul;
pub mod memory;
pub mod operation;
pub mod parallel;
mod pool;
pub mod real;
pub mod reverse;
pub mod rows;
pub(crate) mod sums;
pub mod vectors;

pub use matmul::{View, ViewMut};
pub use operation::{Array, Operation, apply};
pub use real::Real;
pub(crate) use real::vectorised;
pub use reverse::{backward, backward_from};
