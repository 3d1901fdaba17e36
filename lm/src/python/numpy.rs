//! NumPy's generators: `default_rng` and the legacy `RandomState`.

mod generator;
mod legacy;
mod pcg;

pub use generator::Generator;
pub use legacy::RandomState;

use crate::{Error, Result};

/// NumPy's complaint about a sample without replacement that is larger than the population.
fn fits(population: usize, count: usize) -> Result<()> {
    if count > population {
        let what = format!("expected at most {population} items without replacement, found {count}");
        return Err(Error::config("choice", what));
    }
    Ok(())
}

/// Width of a range less one; an error for an empty one.
fn span(range: &std::ops::Range<i64>) -> Result<u64> {
    if range.is_empty() {
        return Err(Error::config("range", format!("expected a range that is not empty, found {range:?}")));
    }
    Ok((range.end.wrapping_sub(range.start) as u64) - 1)
}

/// Random bits as both engines give them.
trait Bits {
    fn next_u32(&mut self) -> u32;
    fn next_u64(&mut self) -> u64;
}

/// Uniform in `0..=top`: as many bits as `top` has, drawn anew while they are above it.
fn masked(top: u64, bits: &mut impl Bits) -> u64 {
    if top == 0 {
        return 0;
    }
    let mask = u64::MAX >> top.leading_zeros();
    loop {
        let word = if top > u64::from(u32::MAX) { bits.next_u64() } else { u64::from(bits.next_u32()) };
        if word & mask <= top {
            return word & mask;
        }
    }
}
