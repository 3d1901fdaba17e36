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
