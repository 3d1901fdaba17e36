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
    /// `a / b`.
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// e^x, as close as [`Real::exp`].
    fn exp(self, x: Self::Vector) -> Self::Vector;
    /// 1 / (1 + e^-x).
    #[inline(always)]
    fn sigmoid(self, x: Self::Vector) -> Self::Vector {
        let one = self.splat(T::one());
        self.div(one, self.add(one, self.exp(self.sub(self.splat(T::zero()), x))))
    }
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
    #[inline(always)]
    fn div(self, mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
        for lane in 0..LANES {
            a[lane] /= b[lane];
        }
        a
    }
    #[inline(always)]
    fn exp(self, mut x: [T; LANES]) -> [T; LANES] {
        for x in &mut x {
            *x = Real::exp(*x);
        }
        x
    }
}

/// `y = f(x, y)` for all of some slices of one length. `f` is marked to be inlined where it is written: then it is compiled
/// for the instructions of its caller.
#[inline(always)]
pub(crate) fn update<T: Real, V: Vectors<T>, const N: usize, const M: usize>(
    v: V,
    x: [&[T]; N],
    mut y: [&mut [T]; M],
    f: impl Fn([V::Vector; N], [V::Vector; M]) -> [V::Vector; M],
) {
    let length = y.first().map_or(0, |y| y.len());
    let mut first = 0;
    while first + LANES <= length {
        let (mut of_x, mut of_y) = ([v.splat(T::zero()); N], [v.splat(T::zero()); M]);
        for (of_x, x) in of_x.iter_mut().zip(x) {
            *of_x = load(v, x, first);
        }
        for (of_y, y) in of_y.iter_mut().zip(&y) {
            *of_y = load(v, y, first);
        }
        for (y, of_y) in y.iter_mut().zip(f(of_x, of_y)) {
            if let Some(y) = y[first..].first_chunk_mut() {
                v.store(of_y, y);
            }
        }
        first += LANES;
    }
    if first < length {
        let (mut of_x, mut of_y) = ([v.splat(T::zero()); N], [v.splat(T::zero()); M]);
        for (of_x, x) in of_x.iter_mut().zip(x) {
            *of_x = load(v, x, first);
        }
        for (of_y, y) in of_y.iter_mut().zip(&y) {
            *of_y = load(v, y, first);
        }
        for (y, of_y) in y.into_iter().zip(f(of_x, of_y)) {
            let mut padded = [T::zero(); LANES];
            v.store(of_y, &mut padded);
            y[first..].copy_from_slice(&padded[..length - first]);
        }
    }
}

/// From number `first` on, with zeros behind the end.
#[inline(always)]
fn load<T: Real, V: Vectors<T>>(v: V, x: &[T], first: usize) -> V::Vector {
    match x[first..].first_chunk() {
        Some(x) => v.load(x),
        None => {
            let mut padded = [T::zero(); LANES];
            padded[..x.len() - first].copy_from_slice(&x[first..]);
            v.load(&padded)
        }
    }
}
