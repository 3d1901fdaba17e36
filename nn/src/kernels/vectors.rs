//! Vectors of sixteen numbers, in the registers of the machine. For kernels that compilers do not find their way through:
//! they take loops over the sixteen apart and put them together again otherwise.

#[cfg(target_arch = "x86_64")]
mod avx;

use super::Real;
#[cfg(target_arch = "x86_64")]
pub use avx::{Avx2, Avx512};

/// Numbers of a vector.
pub const LANES: usize = 16;

/// How a machine computes with vectors of `T`. Whoever has one may use its instructions.
pub trait Vectors<T: Real>: Copy {
    /// [`LANES`] numbers.
    type Vector: Copy;
    /// The same number everywhere.
    fn splat(self, x: T) -> Self::Vector;
    /// From memory.
    fn load(self, x: &[T; LANES]) -> Self::Vector;
    /// To memory.
    fn store(self, v: Self::Vector, to: &mut [T; LANES]);
    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b`.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a b + c`, rounded once.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
}

/// Vectors as arrays, which compilers put into registers as well as they can.
#[derive(Clone, Copy)]
pub struct Portable;

impl<T: Real> Vectors<T> for Portable {
    type Vector = [T; LANES];
    #[inline(always)]
    fn splat(self, x: T) -> [T; LANES] {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[T; LANES]) -> [T; LANES] {
        *x
    }
    #[inline(always)]
    fn store(self, v: [T; LANES], to: &mut [T; LANES]) {
        *to = v;
    }
    #[inline(always)]
    fn add(self, mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
        for lane in 0..LANES {
            a[lane] += b[lane];
        }
        a
    }
    #[inline(always)]
    fn sub(self, mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
        for lane in 0..LANES {
            a[lane] -= b[lane];
        }
        a
    }
    #[inline(always)]
    fn mul(self, mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
        for lane in 0..LANES {
            a[lane] *= b[lane];
        }
        a
    }
    #[inline(always)]
    fn mul_add(self, a: [T; LANES], b: [T; LANES], mut c: [T; LANES]) -> [T; LANES] {
        for lane in 0..LANES {
            c[lane] = a[lane].mul_add(b[lane], c[lane]);
        }
        c
    }
}
