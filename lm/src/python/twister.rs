//! MT19937 (Matsumoto and Nishimura 1998), the engine under Python's `random` and NumPy's `RandomState`.

const WORDS: usize = 624;
const SHIFT: usize = 397;

/// State of the generator.
#[derive(Clone, Debug)]
pub(crate) struct Twister {
    words: [u32; WORDS],
    position: usize,
}

impl Twister {
    /// The authors' `init_genrand`.
    pub(crate) fn from_seed(seed: u32) -> Self {
        let mut words = [seed; WORDS];
        let mut last = seed;
        for (place, word) in (0u32..).zip(words.iter_mut()).skip(1) {
            last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(place);
            *word = last;
        }
        Twister { words, position: WORDS }
    }

    /// The authors' `init_by_array`; an empty key counts as `[0]`.
    pub(crate) fn from_key(key: &[u32]) -> Self {
        let key = if key.is_empty() { &[0] } else { key };
        let mut twister = Twister::from_seed(19_650_218);
        let words = &mut twister.words;
        let (mut i, mut j) = (1, 0);
        for _ in 0..key.len().max(WORDS) {
            let last = words[i - 1];
            words[i] =
                (words[i] ^ (last ^ (last >> 30)).wrapping_mul(1_664_525)).wrapping_add(key[j]).wrapping_add(j as u32);
            i += 1;
            if i == WORDS {
                words[0] = words[WORDS - 1];
                i = 1;
            }
            j = (j + 1) % key.len();
        }
        for _ in 1..WORDS {
            let last = words[i - 1];
            words[i] = (words[i] ^ (last ^ (last >> 30)).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i += 1;
            if i == WORDS {
                words[0] = words[WORDS - 1];
                i = 1;
            }
        }
        words[0] = 0x8000_0000;
        twister
    }

    fn refill(&mut self) {
        for i in 0..WORDS {
            let joined = (self.words[i] & 0x8000_0000) | (self.words[(i + 1) % WORDS] & 0x7fff_ffff);
            let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.words[i] = self.words[(i + SHIFT) % WORDS] ^ (joined >> 1) ^ twist;
        }
        self.position = 0;
    }

    /// The next 32 bits.
    pub(crate) fn next_u32(&mut self) -> u32 {
        if self.position >= WORDS {
            self.refill();
        }
        let mut word = self.words[self.position];
        self.position += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// Uniform in `[0, 1)` with 53 bits, from two words.
    pub(crate) fn next_f64(&mut self) -> f64 {
        let high = f64::from(self.next_u32() >> 5);
        let low = f64::from(self.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}
