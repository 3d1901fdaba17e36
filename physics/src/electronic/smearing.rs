//! Smeared steps: how much of a state is filled when its energy is `x` widths below the Fermi level.
//!
//! Fermi and Dirac; a Gaussian; and the "cold" step of Marzari, Vanderbilt, De Vita and Payne, Phys. Rev. Lett. 82, 3296
//! (1999), whose free energy has no second-order term in the width, but which overfills (up to 1.2) below the level.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use serde::{Deserialize, Serialize};

/// The shape of the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Smearing {
    /// 1 / (1 + e^-x): electrons at the temperature width / k_B.
    #[default]
    FermiDirac,
    /// (1 + erf x) / 2.
    Gaussian,
    /// (1 + erf y) / 2 + e^(-y^2) / sqrt(2 pi), y = x - 1 / sqrt 2.
    Cold,
}

impl Smearing {
    /// The filling, 0 to about 1, of a state `x` = (E_F - e) / width below the level.
    pub fn filling(self, x: f64) -> f64 {
        match self {
            Self::FermiDirac => 1.0 / (1.0 + (-x).exp()),
            Self::Gaussian => step(x),
            Self::Cold => {
                let y = x - FRAC_1_SQRT_2;
                step(y) + (-y * y).exp() / (2.0 * PI).sqrt()
            }
        }
    }
}

/// (1 + erf x) / 2, to rounding and, in the lower tail, to a relative 1e-13.
pub(super) fn step(x: f64) -> f64 {
    let upper = upper_tail(x.abs());
    if x < 0.0 { upper } else { 1.0 - upper }
}

/// erfc(x) / 2 for x >= 0: the power series of erf near 0, else the continued fraction of erfc (Abramowitz and Stegun
/// 7.1.5 and 7.1.14).
fn upper_tail(x: f64) -> f64 {
    let gauss = (-x * x).exp() / PI.sqrt();
    if x < 2.0 {
        // erf x = 2 / sqrt pi e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!, all terms positive.
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while term > sum * 1e-17 {
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        0.5 - gauss * sum
    } else {
        // sqrt pi e^(x^2) erfc x = 1 / (x + (1/2) / (x + 1 / (x + (3/2) / ...))), from the inside.
        let fraction = (1..=60).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
        gauss / (2.0 * fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn the_step_is_the_error_function() {
        // erfc from tables (Abramowitz and Stegun, table 7.1 and 7.3).
        let table = [
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (1.999, 0.004_698_443_348_629_487),
            (2.0, 0.004_677_734_981_047_266),
            (3.0, 2.209_049_699_858_544e-5),
            (5.0, 1.537_459_794_428_035e-12),
        ];
        for (x, erfc) in table {
            assert_relative_eq!(2.0 * step(-x), erfc, max_relative = 1e-12);
            assert_relative_eq!(step(x) + step(-x), 1.0, epsilon = 1e-15);
        }
    }

    #[test]
    fn steps_run_from_empty_to_full() {
        for smearing in [Smearing::FermiDirac, Smearing::Gaussian, Smearing::Cold] {
            assert!(smearing.filling(-60.0) < 1e-15);
            assert_relative_eq!(smearing.filling(60.0), 1.0, epsilon = 1e-15);
            assert!(smearing.filling(-1e300) == 0.0 && smearing.filling(1e300) == 1.0);
        }
        assert_relative_eq!(Smearing::FermiDirac.filling(0.0), 0.5);
        assert_relative_eq!(Smearing::Gaussian.filling(0.0), 0.5);
    }
}
