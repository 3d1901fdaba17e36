//! The order in which training samples are seen.

use crate::rng::Streams;
use rand::seq::SliceRandom;

/// Every sample once an epoch, each epoch in an order of its own that is a function of (seed, epoch) alone, so the
/// state is two numbers.
#[derive(Clone, Debug)]
pub struct Sampler {
    streams: Streams,
    samples: usize,
    epoch: u64,
    cursor: usize,
    order: Vec<usize>,
}

impl Sampler {
    /// A sampler that continues at `cursor` of `epoch` (0, 0 at the start).
    pub fn new(streams: Streams, samples: usize, epoch: u64, cursor: usize) -> Self {
        let mut sampler = Sampler { streams, samples, epoch, cursor: cursor.min(samples), order: Vec::new() };
        sampler.shuffle();
        sampler
    }

    fn shuffle(&mut self) {
        self.order = self.order_of(self.epoch);
    }

    fn order_of(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples).collect();
        order.shuffle(&mut self.streams.stream("sampler", &[epoch]));
        order
    }

    /// What [`Self::next_sample`] will give, and the epoch of it.
    pub fn peek(&self) -> Option<(usize, u64)> {
        match self.order.get(self.cursor) {
            Some(sample) => Some((*sample, self.epoch)),
            None => self.order_of(self.epoch + 1).first().map(|sample| (*sample, self.epoch + 1)),
        }
    }

    /// The next sample; a new epoch begins when all were seen. `None` only when there are no samples.
    pub fn next_sample(&mut self) -> Option<usize> {
        if self.cursor >= self.samples {
            self.epoch += 1;
            self.cursor = 0;
            self.shuffle();
        }
        let sample = self.order.get(self.cursor).copied();
        self.cursor += 1;
        sample
    }

    /// Epoch of the next sample's predecessor: epochs begun before this one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Samples seen in this epoch.
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// Number of samples of an epoch.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Whole epochs seen.
    pub fn finished_epochs(&self) -> u64 {
        self.epoch + u64::from(self.samples > 0 && self.cursor >= self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_once_an_epoch_in_changing_order_and_resumable() {
        let mut sampler = Sampler::new(Streams::new(5), 7, 0, 0);
        let mut next = || {
            let (peeked, epoch) = sampler.peek().unwrap();
            assert_eq!((sampler.next_sample(), sampler.epoch()), (Some(peeked), epoch));
            peeked
        };
        let seen: Vec<usize> = (0..21).map(|_| next()).collect();
        for epoch in seen.chunks(7) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..7).collect::<Vec<_>>());
        }
        assert_ne!(seen[..7], seen[7..14]);
        assert_eq!(sampler.finished_epochs(), 3);
        let mut walked = Sampler::new(Streams::new(5), 7, 0, 0);
        for expected in &seen {
            let mut resumed = Sampler::new(Streams::new(5), 7, walked.epoch(), walked.cursor());
            assert_eq!(resumed.next_sample(), Some(*expected));
            walked.next_sample();
        }
        let mut empty = Sampler::new(Streams::new(5), 0, 0, 0);
        assert_eq!((empty.peek(), empty.next_sample()), (None, None));
    }
}
