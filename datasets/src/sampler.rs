//! The order of the samples of each epoch: a function of (seed, epoch), the same for every number of ranks.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A place in the endless sequence of samples, counted over all ranks, so that it outlives a change of their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Epochs completed.
    pub epoch: u64,
    /// Samples of this epoch that were taken.
    pub index: u64,
}

/// An endless iterator over sample indices, epoch after epoch; resumes anywhere through its [`Cursor`].
///
/// Rank r of w takes every w-th sample from the r-th on. All ranks step together: where the last round of an epoch is
/// short, the ranks left over take samples from the epoch's beginning ([`Self::shard`] does not).
#[derive(Clone, Debug)]
pub struct EpochSampler {
    samples: usize,
    seed: u64,
    rank: usize,
    world: usize,
    cursor: Cursor,
    order: Vec<usize>,
}

impl EpochSampler {
    /// The sequence over `samples` samples, for a single process.
    pub fn new(samples: usize, seed: u64) -> Self {
        let order = order(samples, seed, 0);
        EpochSampler { samples, seed, rank: 0, world: 1, cursor: Cursor::default(), order }
    }

    /// The part of it that rank `rank` of `world` sees; `world` is at least 1, and `rank` is taken modulo it.
    pub fn sharded(mut self, rank: usize, world: usize) -> Self {
        self.world = world.max(1);
        self.rank = rank % self.world;
        self
    }

    /// Where the next step begins.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Continues from a saved cursor.
    pub fn seek(&mut self, cursor: Cursor) {
        if cursor.epoch != self.cursor.epoch {
            self.order = order(self.samples, self.seed, cursor.epoch);
        }
        self.cursor = cursor;
        self.roll();
    }

    /// The samples of an epoch that belong to this rank, each once over all ranks, without moving the cursor.
    pub fn shard(&self, epoch: u64) -> Vec<usize> {
        order(self.samples, self.seed, epoch).into_iter().skip(self.rank).step_by(self.world).collect()
    }

    /// Steps of one epoch: samples over ranks, rounded up.
    pub fn steps_per_epoch(&self) -> usize {
        self.samples.div_ceil(self.world)
    }

    /// Begins the next epoch when this one is used up.
    fn roll(&mut self) {
        if self.samples > 0 && self.cursor.index >= self.samples as u64 {
            self.cursor = Cursor { epoch: self.cursor.epoch.saturating_add(1), index: 0 };
            self.order = order(self.samples, self.seed, self.cursor.epoch);
        }
    }
}

impl Iterator for EpochSampler {
    type Item = usize;

    /// The next sample of this rank; `None` only when there are no samples at all.
    fn next(&mut self) -> Option<usize> {
        if self.samples == 0 {
            return None;
        }
        let place = (self.cursor.index as usize + self.rank) % self.samples;
        let sample = self.order[place];
        self.cursor.index += self.world as u64;
        self.roll();
        Some(sample)
    }
}

fn order(samples: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..samples).collect();
    order.shuffle(&mut stream(seed, "sampler", &[epoch]));
    order
}

/// ChaCha8 keyed by SHA-256 of (seed, length of the name, name, counters), all little-endian: the same construction
/// as the named streams of the training side, so that one seed rules a whole run.
pub(crate) fn stream(seed: u64, name: &str, counters: &[u64]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name.as_bytes());
    counters.iter().for_each(|counter| hash.update(counter.to_le_bytes()));
    ChaCha8Rng::from_seed(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_another_permutation() {
        let epochs: Vec<Vec<usize>> = {
            let mut sampler = EpochSampler::new(10, 3);
            (0..3).map(|_| sampler.by_ref().take(10).collect()).collect()
        };
        for (epoch, taken) in epochs.iter().enumerate() {
            let mut sorted = taken.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
            assert_eq!(*taken, EpochSampler::new(10, 3).shard(epoch as u64));
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_ne!(epochs[0], EpochSampler::new(10, 4).shard(0));
    }

    #[test]
    fn resumes_at_every_step() {
        let all: Vec<usize> = EpochSampler::new(7, 1).take(30).collect();
        for stop in 0..20 {
            let mut first = EpochSampler::new(7, 1);
            assert_eq!(first.by_ref().take(stop).collect::<Vec<_>>(), all[..stop]);
            let saved = serde_json::to_string(&first.cursor()).unwrap();
            let mut second = EpochSampler::new(7, 1);
            second.seek(serde_json::from_str(&saved).unwrap());
            assert_eq!(second.take(10).collect::<Vec<_>>(), all[stop..stop + 10]);
        }
    }

    #[test]
    fn ranks_share_each_epoch() {
        for world in 1..=8 {
            let mut all: Vec<usize> =
                (0..world).flat_map(|r| EpochSampler::new(11, 5).sharded(r, world).shard(2)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..11).collect::<Vec<_>>());
            // Lockstep: after one epoch of steps every rank is at the start of the next.
            for rank in 0..world {
                let mut sampler = EpochSampler::new(11, 5).sharded(rank, world);
                let steps = sampler.steps_per_epoch();
                assert_eq!(sampler.by_ref().take(steps).count(), steps);
                assert_eq!(sampler.cursor(), Cursor { epoch: 1, index: 0 });
            }
        }
        assert_eq!(EpochSampler::new(0, 1).next(), None);
    }
}
