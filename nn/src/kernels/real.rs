//! The two floating-point types that kernels are written for: f32 to train, f64 to test.

#[cfg(target_arch = "x86_64")]
use super::vectors::{Avx2, Avx512, Portable, Vectors};
use candle_core::WithDType;
use std::ops::Neg;

/// f32 or f64, with the elementary functions that the kernels need.
pub trait Real: WithDType + Neg<Output = Self> + std::iter::Sum {
    /// Vectors on a machine with AVX-512.
    #[cfg(target_arch = "x86_64")]
    type Widest: Vectors<Self>;
    /// Vectors on a machine with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    type Wide: Vectors<Self>;
    /// What computes with them.
    ///
    /// # Safety
    /// The machine has AVX-512F.
    #[cfg(target_arch = "x86_64")]
    unsafe fn widest() -> Self::Widest;
    /// What computes with them.
    ///
    /// # Safety
    /// The machine has AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    unsafe fn wide() -> Self::Wide;
    /// e^x. In f32 a polynomial that compilers vectorise (relative error below 2e-7); in f64 the library function.
    fn exp(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// `self * factor + summand`, rounded once: one instruction in functions that are vectorised.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Error function. In f32 a formula that compilers vectorise (absolute error below 5e-7).
    fn erf(self) -> Self;
    /// Rounds an f64.
    fn of(x: f64) -> Self;
    /// The one of two copies of the same numbers that has this type.
    fn pick<'a>(single: &'a [f32], double: &'a [f64]) -> &'a [Self];
    /// e^x, or zero where that is below 1e-20: a weight of no consequence, whose products would be subnormal numbers, which
    /// cost a hundred times as much.
    #[inline(always)]
    fn weight(self) -> Self {
        // Written so that NaN passes through.
        if self < Self::of(-46.0) { Self::zero() } else { self.exp() }
    }
    /// 1 / (1 + e^-x).
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::one() / (Self::one() + (-self).exp())
    }
}

impl Real for f64 {
    #[cfg(target_arch = "x86_64")]
    type Widest = Portable;
    #[cfg(target_arch = "x86_64")]
    type Wide = Portable;
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn widest() -> Portable {
        Portable
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn wide() -> Portable {
        Portable
    }
    #[inline(always)]
    fn exp(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        f64::mul_add(self, factor, summand)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    fn erf(self) -> Self {
        candle_core::cpu::erf::erf_f64(self)
    }
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    fn pick<'a>(_: &'a [f32], double: &'a [f64]) -> &'a [Self] {
        double
    }
}

impl Real for f32 {
    #[cfg(target_arch = "x86_64")]
    type Widest = Avx512;
    #[cfg(target_arch = "x86_64")]
    type Wide = Avx2;
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn widest() -> Avx512 {
        // SAFETY: the caller's promise.
        unsafe { Avx512::new() }
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn wide() -> Avx2 {
        // SAFETY: the caller's promise.
        unsafe { Avx2::new() }
    }
    #[inline(always)]
    fn exp(self) -> Self {
        // Cody-Waite reduction x = k ln2 + r with |r| <= ln2 / 2; adding 1.5 * 2^23 rounds to the integer k and
        // leaves it in the low mantissa bits, so that no conversion blocks vectorisation.
        const ROUND: f32 = 12_582_912.0;
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        // Not `clamp`: NaN must pass through.
        let x = if self > 88.0 { 88.0 } else { self };
        let x = if x < -87.0 { -87.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let k = shifted - ROUND;
        let r = (x - k * LN2_HIGH) - k * LN2_LOW;
        let p = 1.0 / 720.0 + r * (1.0 / 5040.0);
        let p = 1.0 / 120.0 + r * p;
        let p = 1.0 / 24.0 + r * p;
        let p = 1.0 / 6.0 + r * p;
        let p = 0.5 + r * p;
        let p = 1.0 + r * (1.0 + r * p);
        p * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        f32::mul_add(self, factor, summand)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f32::tanh(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        // Abramowitz and Stegun 7.1.26.
        let x = self.abs();
        let t = 1.0 / (1.0 + 0.327_591_1 * x);
        let p = 1.061_405_4 * t - 1.453_152;
        let p = ((p * t + 1.421_413_8) * t - 0.284_496_74) * t + 0.254_829_6;
        (1.0 - p * t * Real::exp(-x * x)).copysign(self)
    }
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    fn pick<'a>(single: &'a [f32], _: &'a [f64]) -> &'a [Self] {
        single
    }
}

/// Defines a function that runs compiled for the widest vector instructions of the machine it is on: AVX-512, AVX2 with
/// FMA, or what the build is for. The body sees its arguments only. One with a second type, of [`Vectors`], gets those of the
/// machine as its first argument.
macro_rules! vectorised {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$t:ident>($($arg:ident: $type:ty),* $(,)?) $body:block) => {
        $crate::kernels::vectorised! {
            $(#[$meta])* $vis fn $name<$t, V>(_vectors: V, $($arg: $type),*) $body
        }
    };
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$t:ident, $v:ident>($vectors:ident: $_v:ident, $($arg:ident: $type:ty),* $(,)?) $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "the body can capture nothing")]
        $vis fn $name<$t: $crate::kernels::Real>($($arg: $type),*) {
            #[inline(always)]
            fn plain<$t: $crate::kernels::Real, $v: $crate::kernels::vectors::Vectors<$t>>(
                $vectors: $v,
                $($arg: $type),*
            ) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma")]
                fn avx512<$t: $crate::kernels::Real>($($arg: $type),*) {
                    // SAFETY: only a machine with these features gets here.
                    plain(unsafe { $t::widest() }, $($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2<$t: $crate::kernels::Real>($($arg: $type),*) {
                    // SAFETY: as above.
                    plain(unsafe { $t::wide() }, $($arg),*)
                }
                let wide = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
                let widest = std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512cd");
                if wide && widest {
                    // SAFETY: this machine was just found to have the features that the function is compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if wide {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($crate::kernels::vectors::Portable, $($arg),*)
        }
    };
}
pub(crate) use vectorised;

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn single_precision_exponential() {
        for i in -8700..=8800 {
            let x = i as f32 * 0.01;
            let (found, expected) = (Real::exp(x) as f64, (x as f64).exp());
            assert!((found / expected - 1.0).abs() < 2e-7, "exp({x}): {found} instead of {expected}");
        }
        assert!(Real::exp(f32::NAN).is_nan());
        assert!(Real::exp(-1e9f32) < 1e-37);
    }

    #[test]
    fn single_precision_error_function() {
        for i in -600..=600 {
            let x = i as f32 * 0.01;
            let (found, expected) = (f64::from(Real::erf(x)), Real::erf(f64::from(x)));
            assert!((found - expected).abs() < 5e-7, "erf({x}): {found} instead of {expected}");
        }
        assert!((Real::erf(0.5f64) - 0.520_499_877_813_046_5).abs() < 1e-15);
        assert!(Real::erf(f32::NAN).is_nan());
    }

    #[test]
    fn a_weight_is_an_exponential_or_nothing() {
        assert_eq!(Real::weight(-45.0_f32), Real::exp(-45.0_f32));
        assert_eq!((Real::weight(-47.0_f32), Real::weight(-1e30_f32)), (0.0, 0.0));
        assert!(Real::weight(f32::NAN).is_nan());
    }
}
