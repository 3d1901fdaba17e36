//! `numpy.random.default_rng`.

use super::pcg::Pcg64;
use super::{fits, masked, span};
use crate::Result;
use std::collections::HashSet;
use std::ops::Range;

/// Same draws as `numpy.random.default_rng(seed)`.
#[derive(Clone, Debug)]
pub struct Generator {
    pcg: Pcg64,
}

impl Generator {
    /// As `default_rng(seed)`.
    pub fn new(seed: u64) -> Self {
        Generator { pcg: Pcg64::new(seed) }
    }

    /// Uniform in `[0, 1)`.
    pub fn random(&mut self) -> f64 {
        self.pcg.next_f64()
    }

    /// One integer of the range, as `integers(low, high)`.
    ///
    /// # Errors
    /// An empty range.
    pub fn integers(&mut self, range: Range<i64>) -> Result<i64> {
        let top = span(&range)?;
        Ok(range.start.wrapping_add(self.pcg.at_most(top) as i64))
    }

    /// Shuffles from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = masked(last as u64, &mut self.pcg) as usize;
            items.swap(last, other);
        }
    }

    /// The shuffle inside of `choice`, which draws otherwise: only the items from `first` on get their final place.
    fn shuffle_tail(&mut self, items: &mut [usize], first: usize) {
        for last in (first..items.len()).rev() {
            let other = self.pcg.at_most(last as u64) as usize;
            items.swap(last, other);
        }
    }

    /// `0..length` shuffled; this is also the order of `datasets.Dataset.shuffle(seed)`.
    pub fn permutation(&mut self, length: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..length).collect();
        self.shuffle(&mut places);
        places
    }

    /// As `choice(population, count, replace=False)`: different numbers below `population`.
    ///
    /// # Errors
    /// `count` above `population`.
    pub fn choice(&mut self, population: usize, count: usize) -> Result<Vec<usize>> {
        fits(population, count)?;
        // NumPy's own rule: a large part of a large population by a partial shuffle, else Floyd's algorithm.
        if population > 10_000 && count > population / 50 {
            let mut places: Vec<usize> = (0..population).collect();
            self.shuffle_tail(&mut places, (population - count).max(1));
            return Ok(places.split_off(population - count));
        }
        let mut seen = HashSet::with_capacity(count);
        let mut chosen = Vec::with_capacity(count);
        for top in population - count..population {
            let mut value = self.pcg.at_most(top as u64) as usize;
            if !seen.insert(value) {
                value = top;
                seen.insert(top);
            }
            chosen.push(value);
        }
        self.shuffle_tail(&mut chosen, 1);
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;
    use serde_json::json;

    #[test]
    fn golden_vectors() {
        let Some(file) = golden::file("helmet/rng.json") else { return };
        let cases = file["numpy_default_rng_permutation"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let (seed, length) = (case["seed"].as_u64().unwrap(), case["n"].as_u64().unwrap() as usize);
            let places = json!(Generator::new(seed).permutation(length));
            assert_eq!(places, case["np_default_rng_permutation"], "seed {seed}");
            assert_eq!(places, case["datasets_shuffle"], "seed {seed}");
        }
    }

    #[test]
    fn as_numpy_says() {
        let mut generator = Generator::new((1 << 40) + 7);
        assert_eq!(generator.random(), 0.829812891829413);
        assert_eq!(generator.integers(-3..10).unwrap(), 4);
        assert_eq!(generator.integers(0..1 << 40).unwrap(), 169094680324);
        assert_eq!(generator.choice(30, 6).unwrap(), [2, 21, 13, 6, 24, 18]);
        let many = generator.choice(20_000, 401).unwrap();
        assert_eq!(many.len(), 401);
        assert_eq!(many[..6], [15254, 16574, 1986, 9968, 14367, 16266]);
        assert_eq!(generator.choice(20_000, 5).unwrap(), [838, 10397, 4120, 13858, 2888]);
    }

    #[test]
    fn too_much_is_an_error() {
        let error = Generator::new(1).choice(2, 3).unwrap_err().to_string();
        assert_eq!(error, "choice: expected at most 2 items without replacement, found 3");
        assert!(Generator::new(1).integers(4..4).is_err());
    }
}
