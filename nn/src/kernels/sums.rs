//! Sums over many numbers in f64, the same to the bit for any number of threads.

use super::{Real, parallel, rows, vectorised};
use std::ops::Range;

/// Elements summed by one task. Fixed, so that the sum does not depend on the number of threads.
const CHUNK: usize = 1 << 13;
/// Sums that run side by side: independent additions need not wait for each other.
const LANES: usize = 8;

/// The sum of what `body` gives for each chunk of `0..length`.
pub(crate) fn by_chunks(length: usize, body: impl Fn(Range<usize>) -> f64 + Sync) -> f64 {
    if length <= CHUNK {
        return body(0..length);
    }
    parallel::map(&rows::blocks(CHUNK, length), |chunk| body(chunk.clone())).iter().sum()
}

vectorised! {
    /// Adds up x^2.
    pub(crate) fn add_squares<T>(values: &[T], total: &mut f64) {
        *total += sum(values, #[inline(always)] |sum, x| x.mul_add(x, sum));
    }
}

vectorised! {
    /// Adds up |x|.
    pub(crate) fn add_magnitudes<T>(values: &[T], total: &mut f64) {
        *total += sum(values, #[inline(always)] |sum, x| sum + x.abs());
    }
}

#[inline(always)]
fn sum<T: Real>(values: &[T], add: impl Fn(f64, f64) -> f64) -> f64 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut running = [0.0; LANES];
    for block in blocks {
        for lane in 0..LANES {
            running[lane] = add(running[lane], block[lane].to_f64());
        }
    }
    for (sum, x) in running.iter_mut().zip(rest) {
        *sum = add(*sum, x.to_f64());
    }
    running.iter().sum()
}
