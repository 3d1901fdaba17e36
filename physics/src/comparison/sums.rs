//! Running sums of errors over matrix elements, and the figures they give.
//!
//! Definitions: docs/conventions.md, "Gauge and metrics". The relative error e |H| / (|H|^2 + e^2 + 1e-10) is
//! DeepH-dock's: e / |H| where the error e is small, and never above one half.

use serde::{Deserialize, Serialize};

/// Keeps the relative error of two zeros finite, eV^2.
const RELATIVE_FLOOR: f64 = 1e-10;

/// Sums over some matrix elements: the errors as predicted, and after mu S is taken off where S is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    magnitude: f64,
    raw: Part,
    fixed: Part,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    count: usize,
    sum: f64,
    squares: f64,
    relative: f64,
    largest: f64,
}

/// What a set of matrix elements says about a prediction. The gauge-fixed figures are absent where no overlap is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Matrix elements compared; a complex one counts once, by its modulus.
    pub elements: usize,
    /// Mean |H|, the error of predicting zero, meV.
    pub mean_abs_mev: f64,
    /// Mean |dH|, meV.
    pub mae_mev: f64,
    /// Root of the mean |dH|^2, meV.
    pub rmse_mev: f64,
    /// Mean of e |H| / (|H|^2 + e^2 + 1e-10 eV^2), e = |dH|.
    pub relative: f64,
    /// Largest |dH|, meV.
    pub max_mev: f64,
    /// Mean |dH - mu S|, mu of each structure, meV.
    pub mae_gauge_fixed_mev: Option<f64>,
    /// Root of the mean |dH - mu S|^2, meV.
    pub rmse_gauge_fixed_mev: Option<f64>,
    /// As `relative` with e = |dH - mu S|.
    pub relative_gauge_fixed: Option<f64>,
    /// Largest |dH - mu S|, meV.
    pub max_gauge_fixed_mev: Option<f64>,
}

impl Sums {
    /// Adds one element: |dH|, |dH - mu S| if known, and |H|, eV.
    pub fn add(&mut self, raw: f64, fixed: Option<f64>, magnitude: f64) {
        self.magnitude += magnitude;
        self.raw.add(raw, magnitude);
        if let Some(fixed) = fixed {
            self.fixed.add(fixed, magnitude);
        }
    }

    /// Adds the elements of `other`.
    pub fn merge(&mut self, other: &Sums) {
        self.magnitude += other.magnitude;
        self.raw.merge(&other.raw);
        self.fixed.merge(&other.fixed);
    }

    /// The error that counts: gauge-fixed where overlaps are known, else as predicted; mean, meV.
    pub fn mae_mev(&self) -> f64 {
        if self.fixed.count > 0 { self.fixed.mae() } else { self.raw.mae() }
    }

    /// The figures; zeros where there is no element.
    pub fn figures(&self) -> Figures {
        let fixed = (self.fixed.count > 0).then_some(self.fixed);
        Figures {
            elements: self.raw.count,
            mean_abs_mev: 1e3 * mean(self.magnitude, self.raw.count),
            mae_mev: self.raw.mae(),
            rmse_mev: self.raw.rmse(),
            relative: mean(self.raw.relative, self.raw.count),
            max_mev: 1e3 * self.raw.largest,
            mae_gauge_fixed_mev: fixed.map(|part| part.mae()),
            rmse_gauge_fixed_mev: fixed.map(|part| part.rmse()),
            relative_gauge_fixed: fixed.map(|part| mean(part.relative, part.count)),
            max_gauge_fixed_mev: fixed.map(|part| 1e3 * part.largest),
        }
    }
}

impl Part {
    fn add(&mut self, error: f64, magnitude: f64) {
        self.count += 1;
        self.sum += error;
        self.squares += error * error;
        self.relative += error * magnitude / (magnitude * magnitude + error * error + RELATIVE_FLOOR);
        // Not f64::max: a NaN must be seen.
        if error > self.largest || error.is_nan() {
            self.largest = error;
        }
    }

    fn merge(&mut self, other: &Part) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.relative += other.relative;
        if other.largest > self.largest || other.largest.is_nan() {
            self.largest = other.largest;
        }
    }

    fn mae(&self) -> f64 {
        1e3 * mean(self.sum, self.count)
    }

    fn rmse(&self) -> f64 {
        1e3 * mean(self.squares, self.count).sqrt()
    }
}

fn mean(sum: f64, count: usize) -> f64 {
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn sums_of_parts_are_the_sums_of_the_whole() {
        let elements = [(0.1, Some(0.05), 2.0), (0.3, Some(0.0), 0.0), (0.0, Some(0.4), 1.0)];
        let (mut whole, mut first, mut second) = (Sums::default(), Sums::default(), Sums::default());
        for (n, (raw, fixed, size)) in elements.into_iter().enumerate() {
            whole.add(raw, fixed, size);
            if n == 0 { &mut first } else { &mut second }.add(raw, fixed, size);
        }
        first.merge(&second);
        assert_eq!(first, whole);
        let figures = whole.figures();
        assert_eq!((figures.elements, figures.max_mev, figures.max_gauge_fixed_mev), (3, 300.0, Some(400.0)));
        assert_relative_eq!(figures.mae_gauge_fixed_mev.unwrap_or(0.0), 150.0, epsilon = 1e-10);
        assert_relative_eq!(figures.relative, (0.2 / (4.01 + 1e-10)) / 3.0, epsilon = 1e-12);
    }

    #[test]
    fn without_overlap_there_is_no_gauge_fixed_figure() {
        let mut sums = Sums::default();
        sums.add(0.2, None, 1.0);
        assert_eq!((sums.mae_mev(), sums.figures().mae_gauge_fixed_mev), (200.0, None));
        sums.add(f64::NAN, None, 1.0);
        assert!(sums.figures().max_mev.is_nan());
        assert_eq!(Sums::default().figures().mae_mev, 0.0);
    }
}
