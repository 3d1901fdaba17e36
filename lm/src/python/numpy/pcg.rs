//! PCG64 (O'Neill 2014: XSL-RR 128/64), seeded through O'Neill's `seed_seq_fe` as NumPy's `SeedSequence` has it.

use super::Bits;

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

#[derive(Clone, Debug)]
pub(super) struct Pcg64 {
    state: u128,
    increment: u128,
    /// High half of the last word of which only the low half was given out.
    spare: Option<u32>,
}

impl Pcg64 {
    pub(super) fn new(seed: u64) -> Self {
        let words = seed_words(seed);
        let word = |place: usize| u128::from(words[place]);
        let increment = (((word(2) << 64) | word(3)) << 1) | 1;
        let mut pcg = Pcg64 { state: 0, increment, spare: None };
        pcg.step();
        pcg.state = pcg.state.wrapping_add((word(0) << 64) | word(1));
        pcg.step();
        pcg
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    pub(super) fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Uniform in `0..=top` by Lemire's multiplication.
    pub(super) fn at_most(&mut self, top: u64) -> u64 {
        match u32::try_from(top) {
            Ok(0) => 0,
            Ok(u32::MAX) => u64::from(self.next_u32()),
            Ok(top) => {
                let count = top + 1;
                let threshold = (u32::MAX - top) % count;
                loop {
                    let product = u64::from(self.next_u32()) * u64::from(count);
                    if product as u32 >= threshold {
                        return product >> 32;
                    }
                }
            }
            Err(_) if top == u64::MAX => self.next_u64(),
            Err(_) => {
                let count = top + 1;
                let threshold = (u64::MAX - top) % count;
                loop {
                    let product = u128::from(self.next_u64()) * u128::from(count);
                    if product as u64 >= threshold {
                        return (product >> 64) as u64;
                    }
                }
            }
        }
    }
}

impl Bits for Pcg64 {
    fn next_u64(&mut self) -> u64 {
        self.step();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn next_u32(&mut self) -> u32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let word = self.next_u64();
        self.spare = Some((word >> 32) as u32);
        word as u32
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`.
fn seed_words(seed: u64) -> [u64; 4] {
    let mut constant = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let mut value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        value = value.wrapping_mul(constant);
        value ^ (value >> 16)
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hash);
    for source in 0..pool.len() {
        for target in (0..pool.len()).filter(|&target| target != source) {
            let mixed =
                pool[target].wrapping_mul(0xca01_f9dd).wrapping_sub(hash(pool[source]).wrapping_mul(0x4973_f715));
            pool[target] = mixed ^ (mixed >> 16);
        }
    }
    let mut constant = 0x8b51_f9dd_u32;
    let mut output = |value: u32| {
        let mut value = value ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        value = value.wrapping_mul(constant);
        u64::from(value ^ (value >> 16))
    };
    let [a, b, c, d] = pool;
    [(a, b), (c, d), (a, b), (c, d)].map(|(low, high)| output(low) | (output(high) << 32))
}
