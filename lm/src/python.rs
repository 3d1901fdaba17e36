//! Random generators of Python and NumPy, bit for bit, and Python's ideas of spaces and words.
//!
//! Benchmarks draw their examples, and ProLong's data loader part of its mixture, with `random` or `numpy.random`; the same
//! prompts and mixtures need the same draws.

pub mod mersenne;
pub mod numpy;
pub mod text;
mod twister;

use tesseral_datasets::files::sha256;

/// A seed below 2^31 that depends on a text alone: its SHA-256, read as one big-endian number, modulo 2^31.
pub fn text_seed(text: &str) -> u32 {
    let digits = sha256(text.as_bytes());
    // The last eight of 64 hexadecimal digits are the low 32 bits.
    digits.get(56..).and_then(|low| u32::from_str_radix(low, 16).ok()).unwrap_or_default() & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::metrics::golden;

    #[test]
    fn golden_seeds_of_texts() {
        let Some(file) = golden::file("helmet/rng.json") else { return };
        for case in file["hashes"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(u64::from(text_seed(text)), case["sha256_mod_2^31"].as_u64().unwrap(), "{text:?}");
        }
    }
}
