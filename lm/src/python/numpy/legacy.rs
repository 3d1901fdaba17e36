//! `numpy.random.RandomState`, which `numpy.random.seed` sets.

use super::{Bits, fits, masked, span};
use crate::Result;
use crate::python::twister::Twister;
use std::ops::Range;

/// Same draws as the functions of `numpy.random` after `numpy.random.seed(seed)`.
#[derive(Clone, Debug)]
pub struct RandomState {
    twister: Twister,
}

impl Bits for Twister {
    fn next_u32(&mut self) -> u32 {
        Twister::next_u32(self)
    }

    fn next_u64(&mut self) -> u64 {
        (u64::from(Twister::next_u32(self)) << 32) | u64::from(Twister::next_u32(self))
    }
}

impl RandomState {
    /// As `numpy.random.seed(seed)`.
    pub fn new(seed: u32) -> Self {
        RandomState { twister: Twister::from_seed(seed) }
    }

    /// Uniform in `[0, 1)`.
    pub fn random(&mut self) -> f64 {
        self.twister.next_f64()
    }

    /// One integer of the range, as `randint(low, high)`.
    ///
    /// # Errors
    /// An empty range.
    pub fn randint(&mut self, range: Range<i64>) -> Result<i64> {
        let top = span(&range)?;
        Ok(range.start.wrapping_add(masked(top, &mut self.twister) as i64))
    }

    /// Shuffles from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = masked(last as u64, &mut self.twister) as usize;
            items.swap(last, other);
        }
    }

    /// `0..length` shuffled.
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
        let mut places = self.permutation(population);
        places.truncate(count);
        Ok(places)
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
            let (seed, length) = (case["seed"].as_u64().unwrap() as u32, case["n"].as_u64().unwrap() as usize);
            let places = json!(RandomState::new(seed).permutation(length));
            assert_eq!(places, case["np_RandomState_permutation"], "seed {seed}");
            let chosen = json!(RandomState::new(seed).choice(20, 5).unwrap());
            assert_eq!(chosen, case["np_RandomState_choice_20_5_noreplace"], "seed {seed}");
        }
    }

    #[test]
    fn golden_of_mezo() {
        let Some(file) = golden::file("mezo/sampling.json") else { return };
        for case in file["sample_subset"].as_array().unwrap() {
            let (seed, length) = (case["seed"].as_u64().unwrap() as u32, case["n"].as_u64().unwrap() as usize);
            let mut index = RandomState::new(seed).permutation(length);
            index.truncate(case["k"].as_u64().unwrap() as usize);
            assert_eq!(json!(index), case["index"]);
        }
        for (key, top) in [("per_eval_icl_seeds_seed0", 10_000), ("zo_seeds_np_seed0", 1_000_000_000)] {
            let expected = file[key].as_array().unwrap();
            let mut state = RandomState::new(0);
            for number in expected {
                assert_eq!(json!(state.randint(0..top).unwrap()), *number, "{key}");
            }
        }
    }

    #[test]
    fn as_numpy_says() {
        let mut state = RandomState::new(12);
        assert_eq!(state.random(), 0.15416284237967237);
        assert_eq!(state.randint(0..1 << 40).unwrap(), 579276786941);
        assert_eq!(state.randint(-3..10).unwrap(), -2);
    }

    #[test]
    fn too_much_is_an_error() {
        let error = RandomState::new(1).choice(2, 3).unwrap_err().to_string();
        assert_eq!(error, "choice: expected at most 2 items without replacement, found 3");
        assert!(RandomState::new(1).randint(4..4).is_err());
    }
}
