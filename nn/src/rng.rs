//! Named random streams: every random number is a function of (seed, name, counters) and of nothing else.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// The family of streams of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// Streams of this seed.
    pub fn new(seed: u64) -> Self {
        Streams { seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A fresh generator for `(seed, name, counters)`, for example `("rotation", &[step, sample])`.
    /// Equal arguments give equal numbers on every machine; different ones give independent streams.
    pub fn stream(&self, name: &str, counters: &[u64]) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        for counter in counters {
            hash.update(counter.to_le_bytes());
        }
        ChaCha8Rng::from_seed(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn equal_keys_give_equal_numbers_and_different_keys_do_not() {
        let first = |seed: u64, name: &str, counters: &[u64]| Streams::new(seed).stream(name, counters).next_u64();
        assert_eq!(first(1, "a", &[2]), first(1, "a", &[2]));
        let others = [first(2, "a", &[2]), first(1, "b", &[2]), first(1, "a", &[3]), first(1, "a", &[2, 0])];
        let more = [first(1, "a", &[]), first(1, "", &[2]), first(1, "aa", &[2])];
        assert!(others.iter().chain(&more).all(|&number| number != first(1, "a", &[2])));
    }

    // hashlib.sha256(struct.pack("<QQ", 42, 4) + b"test" + struct.pack("<QQ", 1, 2)) keys ChaCha8; the numbers are
    // fixed here so that a change of crate that would change every run is seen.
    #[test]
    fn numbers_are_fixed_for_all_machines_and_versions() {
        let mut stream = Streams::new(42).stream("test", &[1, 2]);
        let numbers: Vec<u64> = (0..3).map(|_| stream.next_u64()).collect();
        assert_eq!(numbers, [7187262601513922409, 11268914852747114250, 8488489620262199747]);
    }
}
