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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation against the same one number by number.
    fn equals_single_numbers<T: Real, V: Vectors<T>>(v: V, tolerance: f64) {
        let close = |found: T, expected: f64, least: f64| {
            let found = found.to_f64();
            assert!((found - expected).abs() <= tolerance * expected.abs().max(least), "{found} instead of {expected}");
        };
        let [a, b, c] = [0.3, 1.7, 2.9].map(|f: f64| std::array::from_fn(|k| T::of((k as f64 * f).sin() + 1.5)));
        let [va, vb, vc] = [&a, &b, &c].map(|x| v.load(x));
        let results = [
            (v.splat(T::of(0.75)), [0.75; LANES]),
            (v.add(va, vb), std::array::from_fn(|k| a[k].to_f64() + b[k].to_f64())),
            (v.sub(va, v.mul(vb, vc)), std::array::from_fn(|k| a[k].to_f64() - b[k].to_f64() * c[k].to_f64())),
            (v.mul_add(va, vb, vc), std::array::from_fn(|k| a[k].to_f64() * b[k].to_f64() + c[k].to_f64())),
            (v.div(va, vb), std::array::from_fn(|k| a[k].to_f64() / b[k].to_f64())),
            (v.sigmoid(va), std::array::from_fn(|k| 1.0 / (1.0 + (-a[k].to_f64()).exp()))),
        ];
        for (found, expected) in results {
            let mut numbers = [T::zero(); LANES];
            v.store(found, &mut numbers);
            numbers.into_iter().zip(expected).for_each(|(found, expected)| close(found, expected, 1.0));
        }
        for first in (-86..70).step_by(LANES) {
            let x: [T; LANES] = std::array::from_fn(|k| T::of((first + k as i32) as f64 * 0.999));
            let mut found = [T::zero(); LANES];
            v.store(v.exp(v.load(&x)), &mut found);
            found.into_iter().zip(x).for_each(|(found, x)| close(found, x.to_f64().exp(), 0.0));
        }
        let mut limits = [T::of(f64::NAN); LANES];
        (limits[1], limits[2]) = (T::of(-1e9), T::of(1e9));
        v.store(v.exp(v.load(&limits)), &mut limits);
        assert!(limits[0].to_f64().is_nan() && limits[1].to_f64() < 1e-37 && limits[2].to_f64() > 1e37);
    }

    #[test]
    fn every_kind_of_vector_computes_as_numbers_do() {
        equals_single_numbers::<f64, _>(Portable, 1e-15);
        equals_single_numbers::<f32, _>(Portable, 1e-6);
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected;
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: just looked.
                equals_single_numbers::<f32, _>(unsafe { Avx2::new() }, 1e-6);
            }
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: just looked.
                equals_single_numbers::<f32, _>(unsafe { Avx512::new() }, 1e-6);
            }
        }
    }

    #[test]
    fn slices_of_every_length_are_updated_whole() {
        for n in [0, 1, 15, 16, 17, 40] {
            let x: Vec<f64> = (0..n).map(f64::from).collect();
            let (mut y, mut z) = (vec![1.0; n as usize], vec![2.0; n as usize]);
            update(Portable, [&x], [&mut y, &mut z], |[x], [y, z]| [Portable.add(x, y), Portable.mul(x, z)]);
            assert!((0..x.len()).all(|k| y[k] == k as f64 + 1.0 && z[k] == 2.0 * k as f64), "{n}: {y:?} {z:?}");
        }
    }
}
