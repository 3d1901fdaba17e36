//! Lists as multisets, and maps by word.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A map by word or number of word. Its hash is made for short keys and does not defend against chosen ones.
pub(super) type WordMap<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;

/// Eight bytes at a time by a multiplication.
#[derive(Clone, Copy, Debug)]
pub(super) struct WordHasher(u64);

impl Default for WordHasher {
    fn default() -> Self {
        WordHasher(0x243f_6a88_85a3_08d3)
    }
}

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        for &eight in whole {
            self.write_u64(u64::from_le_bytes(eight));
        }
        if !rest.is_empty() {
            self.write_u64(rest.iter().fold(0, |number, &byte| (number << 8) | u64::from(byte)));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        // Both halves of the product, so that every bit counts for every other.
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How many items two lists have in common, each counted as often as it stands in both; and the lengths of the lists.
pub(super) fn common<T: Hash + Eq>(
    one: impl Iterator<Item = T>,
    other: impl Iterator<Item = T>,
) -> (usize, usize, usize) {
    let mut left: WordMap<T, usize> = WordMap::default();
    let mut length_one = 0;
    for item in one {
        *left.entry(item).or_default() += 1;
        length_one += 1;
    }
    let (mut length_other, mut common) = (0, 0);
    for item in other {
        length_other += 1;
        if let Some(left) = left.get_mut(&item).filter(|left| **left > 0) {
            *left -= 1;
            common += 1;
        }
    }
    (common, length_one, length_other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_stands_in_both() {
        assert_eq!(common([3, 1, 3, 3, 2].iter(), [3, 3, 4, 1].iter()), (3, 5, 4));
        assert_eq!(common(["a"].iter(), [].iter()), (0, 1, 0));
    }

    #[test]
    fn hashes_of_words_spread() {
        let hashes = (0..4096).map(|number| {
            let mut hasher = WordHasher::default();
            format!("word{number}").hash(&mut hasher);
            hasher.finish() % 4096
        });
        let places: std::collections::HashSet<u64> = hashes.collect();
        // Thrown at random, 63 of 100 places are met.
        assert!(places.len() > 2300, "{}", places.len());
    }
}
