//! Python's `random.Random` as of CPython 3.11.

use super::twister::Twister;
use crate::{Error, Result};
use std::collections::HashSet;
use std::ops::Range;

/// Same draws as `random.Random(seed)`.
#[derive(Clone, Debug)]
pub struct Random {
    twister: Twister,
}

impl Random {
    /// As `random.seed(seed)`.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        if high == 0 { Self::from_words(&[low]) } else { Self::from_words(&[low, high]) }
    }

    /// As `random.seed(n)` of an integer of any size, given by its 32-bit words, least significant first, without zeros
    /// at the end.
    pub fn from_words(words: &[u32]) -> Self {
        Random { twister: Twister::from_key(words) }
    }

    /// Uniform in `[0, 1)`.
    pub fn random(&mut self) -> f64 {
        self.twister.next_f64()
    }

    /// The next `bits` random bits; of more than 64 the lowest 64.
    pub fn getrandbits(&mut self, bits: u32) -> u64 {
        let mut value = 0;
        let mut place = 0;
        while place < bits {
            let left = bits - place;
            let word = self.twister.next_u32() >> 32u32.saturating_sub(left);
            if place < 64 {
                value |= u64::from(word) << place;
            }
            place += 32;
        }
        value
    }

    /// Uniform in `0..bound`; 0 for a bound of 0.
    pub fn randbelow(&mut self, bound: usize) -> usize {
        if bound == 0 {
            return 0;
        }
        let bits = usize::BITS - bound.leading_zeros();
        loop {
            let value = self.getrandbits(bits) as usize;
            if value < bound {
                return value;
            }
        }
    }

    /// An integer of the range.
    ///
    /// # Errors
    /// An empty range.
    pub fn randrange(&mut self, range: Range<i64>) -> Result<i64> {
        if range.is_empty() {
            return Err(Error::config("range", format!("expected a range that is not empty, found {range:?}")));
        }
        let width = range.end.wrapping_sub(range.start) as usize;
        Ok(range.start.wrapping_add(self.randbelow(width) as i64))
    }

    /// Fisher and Yates's shuffle from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.randbelow(last + 1);
            items.swap(last, other);
        }
    }

    /// Positions of `random.sample`: `count` different ones below `length`, in the order drawn.
    ///
    /// # Errors
    /// `count` above `length`.
    pub fn sample_positions(&mut self, length: usize, count: usize) -> Result<Vec<usize>> {
        if count > length {
            return Err(Error::config("sample", format!("expected at most {length} items, found {count}")));
        }
        // Python guesses whether a set or a copy of the population is smaller, and the draws depend on it.
        let mut set_size = 21;
        if count > 5 {
            set_size += 4usize.saturating_pow(((count * 3) as f64).log(4.0).ceil() as u32);
        }
        if length <= set_size {
            let mut pool: Vec<usize> = (0..length).collect();
            return Ok((0..count)
                .map(|drawn| {
                    let place = self.randbelow(length - drawn);
                    pool.swap_remove(place)
                })
                .collect());
        }
        let mut seen = HashSet::with_capacity(count);
        Ok((0..count)
            .map(|_| {
                loop {
                    let place = self.randbelow(length);
                    if seen.insert(place) {
                        return place;
                    }
                }
            })
            .collect())
    }

    /// As `random.sample(population, count)`.
    ///
    /// # Errors
    /// `count` above the size of the population.
    pub fn sample<T: Clone>(&mut self, population: &[T], count: usize) -> Result<Vec<T>> {
        let positions = self.sample_positions(population.len(), count)?;
        Ok(positions.into_iter().filter_map(|place| population.get(place).cloned()).collect())
    }

    /// One item; `None` of nothing.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() {
            return None;
        }
        let place = self.randbelow(items.len());
        items.get(place)
    }

    /// As `random.choices(items, k=count)`: with replacement, all equally likely.
    ///
    /// # Errors
    /// No items.
    pub fn choices<T: Clone>(&mut self, items: &[T], count: usize) -> Result<Vec<T>> {
        if items.is_empty() {
            return Err(Error::config("choices", "expected at least one item, found none"));
        }
        let length = items.len() as f64;
        let place = |uniform: f64| (uniform * length) as usize;
        Ok((0..count).filter_map(|_| items.get(place(self.random())).cloned()).collect())
    }

    /// Uniform between two numbers.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;
    use serde_json::{Value, json};

    #[test]
    fn golden_vectors() {
        let Some(file) = golden::file("helmet/rng.json") else { return };
        let cases = file["python_random"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let seed = case["seed"].as_u64().unwrap();
            let fresh = || Random::new(seed);
            let mut random = fresh();
            let numbers: Vec<f64> = (0..5).map(|_| random.random()).collect();
            assert_eq!(json!(numbers), case["random5"], "seed {seed}");
            let mut shuffled: Vec<usize> = (0..10).collect();
            fresh().shuffle(&mut shuffled);
            assert_eq!(json!(shuffled), case["shuffle10"], "seed {seed}");
            for (key, length) in [("sample_100_10", 100), ("sample_20_10", 20)] {
                let population: Vec<usize> = (0..length).collect();
                assert_eq!(json!(fresh().sample(&population, 10).unwrap()), case[key], "seed {seed}");
            }
            let mut random = fresh();
            let bits: Vec<u64> = (0..3).map(|_| random.getrandbits(32)).collect();
            assert_eq!(json!(bits), case["getrandbits32x3"], "seed {seed}");
            let mut random = fresh();
            let chosen: Vec<Value> = (0..10).map(|_| json!(random.choice(&[0, 1, 2, 3, 4, 5, 6]).unwrap())).collect();
            assert_eq!(Value::from(chosen), case["choice_of_7_x10"], "seed {seed}");
        }
    }

    #[test]
    fn as_cpython_311_says() {
        let mut random = Random::new((1 << 40) + 7);
        assert_eq!(random.random(), 0.6137037779936511);
        assert_eq!(random.getrandbits(53), 8448144041728693);
        assert_eq!(random.randrange(-5..1000).unwrap(), 962);
        assert_eq!(random.uniform(-2.0, 3.0), 1.1976182226237166);
        assert_eq!(random.choices(&[0, 1, 2, 3, 4, 5, 6, 7, 8], 5).unwrap(), [6, 2, 5, 4, 4]);
        let population: Vec<usize> = (0..2000).collect();
        assert_eq!(random.sample(&population, 6).unwrap(), [743, 805, 907, 920, 1768, 1837]);
    }

    #[test]
    fn too_much_is_an_error() {
        let error = Random::new(1).sample(&[1, 2], 3).unwrap_err().to_string();
        assert_eq!(error, "sample: expected at most 2 items, found 3");
        assert!(Random::new(1).randrange(3..3).unwrap_err().to_string().starts_with("range: "));
        assert!(Random::new(1).choices::<u8>(&[], 1).is_err());
        assert!(Random::new(1).choice::<u8>(&[]).is_none());
    }
}
