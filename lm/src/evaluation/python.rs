//! Random generators of Python and NumPy, bit for bit, and Python's ideas of spaces and words.
//!
//! Benchmarks draw their examples with `random` or `numpy.random`; the same prompts need the same draws.

pub mod mersenne;
pub mod numpy;
pub mod text;
mod twister;

use sha2::{Digest, Sha256};

/// A seed below 2^31 that depends on a text alone: its SHA-256, read as one big-endian number, modulo 2^31.
pub fn text_seed(text: &str) -> u32 {
    let digest = Sha256::digest(text.as_bytes());
    let low = digest.iter().rev().take(4).enumerate();
    low.fold(0, |seed, (place, &byte)| seed | (u32::from(byte) << (8 * place))) & 0x7fff_ffff
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
