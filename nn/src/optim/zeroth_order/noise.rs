//! Directions that are never stored: each element of z is a function of (key, step, probe, parameter, place), made again
//! wherever it is needed.
//!
//! Philox4x32-10 (Salmon et al. 2011, SC11, "Parallel random numbers: as easy as 1, 2, 3") gives four words a counter;
//! Box and Muller (1958) turn two words into two normal numbers. All in f32 with plain additions and products in a fixed
//! order, so that every machine, vector width and number of threads draws the same bits.

use crate::kernels::{Real, vectorised};
use crate::rng::Streams;
use rand::RngCore;

/// Which direction of a run, and which parameter of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Steps before this one.
    pub step: u64,
    /// Number of the direction within its step.
    pub probe: u32,
    /// Number of the parameter, in name order.
    pub parameter: u32,
}

/// Where directions come from.
pub trait Directions: Sync {
    /// Written into saved runs: equal texts make equal directions.
    fn identity(&self) -> String;

    /// Elements `start ..` of a direction; `start` is a multiple of [`TILE`].
    fn fill<T: Real>(&self, place: Place, start: usize, z: &mut [T]);
}

/// Elements that are drawn together.
pub const TILE: usize = 64;
const LANES: usize = TILE / 4;

/// Independent standard normal numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normal {
    key: [u32; 2],
}

impl Normal {
    /// Keyed by the stream of this name.
    pub fn new(streams: Streams) -> Self {
        let mut stream = streams.stream("zeroth-order", &[]);
        Normal { key: [stream.next_u32(), stream.next_u32()] }
    }
}

impl Directions for Normal {
    fn identity(&self) -> String {
        format!("philox4x32-10/box-muller-f32/v1:{:08x}{:08x}", self.key[1], self.key[0])
    }

    fn fill<T: Real>(&self, place: Place, start: usize, z: &mut [T]) {
        // The counter: block of four words, parameter, step, probe and the high bits of the step.
        let high = place.probe ^ ((place.step >> 32) as u32).rotate_left(16);
        let counter = [(start / 4) as u32, place.parameter, place.step as u32, high];
        let whole = z.len() / TILE * TILE;
        let (tiles, rest) = z.split_at_mut(whole);
        normal(self.key, counter, tiles);
        if !rest.is_empty() {
            let mut tile = [T::zero(); TILE];
            let [block, others @ ..] = counter;
            normal(self.key, [block.wrapping_add((whole / 4) as u32), others[0], others[1], others[2]], &mut tile);
            rest.copy_from_slice(&tile[..rest.len()]);
        }
    }
}

vectorised! {
    /// Whole tiles. Word w of lane l of a tile is word w of the block l of the tile, and makes its element 16 w + l.
    fn normal<T>(key: [u32; 2], counter: [u32; 4], z: &mut [T]) {
        for (number, tile) in z.chunks_exact_mut(TILE).enumerate() {
            let first = counter[0].wrapping_add((number * LANES) as u32);
            let mut words = [[0; LANES], [counter[1]; LANES], [counter[2]; LANES], [counter[3]; LANES]];
            for (lane, word) in words[0].iter_mut().enumerate() {
                *word = first.wrapping_add(lane as u32);
            }
            philox(key, &mut words);
            // Arrays of known length: loops over parts of the tile were not made into vectors.
            let mut drawn = [[0.0_f32; LANES]; 4];
            for half in [0, 2] {
                let (u, v) = (words[half], words[half + 1]);
                for lane in 0..LANES {
                    (drawn[half][lane], drawn[half + 1][lane]) = box_muller(u[lane], v[lane]);
                }
            }
            for (z, x) in tile.iter_mut().zip(drawn.as_flattened()) {
                *z = T::of(f64::from(*x));
            }
        }
    }
}

/// Ten rounds on `LANES` counters at a time.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "a lane is a column of four arrays")]
fn philox(mut key: [u32; 2], words: &mut [[u32; LANES]; 4]) {
    for _ in 0..10 {
        for lane in 0..LANES {
            let a = 0xD251_1F53_u64 * u64::from(words[0][lane]);
            let b = 0xCD9E_8D57_u64 * u64::from(words[2][lane]);
            words[0][lane] = (b >> 32) as u32 ^ words[1][lane] ^ key[0];
            words[1][lane] = b as u32;
            words[2][lane] = (a >> 32) as u32 ^ words[3][lane] ^ key[1];
            words[3][lane] = a as u32;
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
}

/// Two normal numbers of two words: radius sqrt(-2 ln u) of the upper 24 bits of one, angle of the upper 26 of the other.
#[inline(always)]
fn box_muller(u: u32, v: u32) -> (f32, f32) {
    const UNIT: f32 = 1.0 / (1u32 << 24) as f32;
    let radius = (-2.0 * logarithm(((u >> 8) as i32 as f32 + 0.5) * UNIT)).sqrt();
    // Within a quarter turn, from -1/8 to 1/8 of a turn.
    let t = (((v << 2) >> 8) as i32 as f32 * UNIT - 0.5) * std::f32::consts::FRAC_PI_2;
    let s = t * t;
    let sine = t * (1.0 + s * (-1.0 / 6.0 + s * (1.0 / 120.0 + s * (-1.0 / 5040.0 + s * (1.0 / 362_880.0)))));
    let cosine = 1.0 + s * (-0.5 + s * (1.0 / 24.0 + s * (-1.0 / 720.0 + s * (1.0 / 40_320.0))));
    // Then the quarter that the upper two bits name.
    let (odd, below) = (v & (1 << 30), v & (1 << 31));
    let (x, y) = if odd == 0 { (cosine, sine) } else { (-sine, cosine) };
    let radius = if below == 0 { radius } else { -radius };
    (radius * x, radius * y)
}

/// ln x for x in (0, 1]: x = 2^e m with m from 1/sqrt 2 to sqrt 2, ln m = 2 artanh((m - 1) / (m + 1)).
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    let bits = x.to_bits();
    // Adding the difference of 1 and 1/sqrt 2 carries into the exponent exactly where m would pass sqrt 2.
    let shifted = bits.wrapping_add(0x3F80_0000 - 0x3F35_04F3);
    let exponent = ((shifted >> 23) as i32 - 127) as f32;
    let m = f32::from_bits((shifted & 0x007F_FFFF).wrapping_add(0x3F35_04F3));
    let r = (m - 1.0) / (m + 1.0);
    let s = r * r;
    let series = 2.0 + s * (2.0 / 3.0 + s * (2.0 / 5.0 + s * (2.0 / 7.0 + s * (2.0 / 9.0))));
    r * series + exponent * std::f32::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { step: 3, probe: 1, parameter: 2 };

    #[test]
    fn words_of_philox_are_those_of_its_authors() {
        // Random123, kat_vectors: philox4x32-10.
        for (key, counter, expected) in [
            ([0, 0], [0; 4], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 2], [u32::MAX; 4], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0xa409_3822, 0x299f_31d0],
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            let mut words: [[u32; LANES]; 4] = counter.map(|word: u32| [word; LANES]);
            philox(key, &mut words);
            assert_eq!(words.map(|word| word[5]), expected);
        }
    }

    #[test]
    fn functions_are_exact_to_single_precision() {
        for k in 1..=5000_u32 {
            let x = k as f32 / 5000.0;
            let error = (f64::from(logarithm(x)) - f64::from(x).ln()).abs();
            assert!(error < 3e-7 * f64::from(x).ln().abs().max(0.1), "ln {x}: {error:e}");
        }
        for k in 0..4096_u32 {
            let (u, v) = (k.wrapping_mul(2_654_435_761), k << 20 | 0x80);
            let (a, b) = box_muller(u, v);
            let radius = (-2.0 * ((f64::from(u >> 8) + 0.5) / f64::from(1 << 24)).ln()).sqrt();
            // The angle counts from -1/8 turn.
            let angle = (f64::from(v >> 6) / f64::from(1 << 26) - 0.125) * std::f64::consts::TAU;
            let error = (f64::from(a) - radius * angle.cos()).hypot(f64::from(b) - radius * angle.sin());
            assert!(error < 2e-6, "{k}: {error:e}");
        }
    }

    #[test]
    fn numbers_are_normal_and_differ_from_place_to_place() {
        let normal = Normal::new(Streams::new(1));
        let draw = |place, n| {
            let mut z = vec![0f32; n];
            normal.fill(place, 0, &mut z);
            z
        };
        let z = draw(PLACE, 200_000);
        let moment = |k: i32| z.iter().map(|z| f64::from(*z).powi(k)).sum::<f64>() / z.len() as f64;
        for (k, expected, tolerance) in [(1, 0.0, 0.01), (2, 1.0, 0.015), (3, 0.0, 0.04), (4, 3.0, 0.12)] {
            assert!((moment(k) - expected).abs() < tolerance, "moment {k}: {}", moment(k));
        }
        let beyond = |x: f32| z.iter().filter(|z| z.abs() > x).count() as f64 / z.len() as f64;
        assert!((beyond(1.0) - 0.3173).abs() < 0.004 && (beyond(2.0) - 0.0455).abs() < 0.002);
        let others = [Place { step: 4, ..PLACE }, Place { probe: 0, ..PLACE }, Place { parameter: 3, ..PLACE }];
        for other in others.iter().chain(&[Place { step: PLACE.step + (1 << 32), ..PLACE }]) {
            let w = draw(*other, z.len());
            let product = z.iter().zip(&w).map(|(a, b)| f64::from(a * b)).sum::<f64>() / z.len() as f64;
            assert!(product.abs() < 0.012, "{other:?}: {product}");
        }
        let neighbours = z.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / z.len() as f64;
        assert!(neighbours.abs() < 0.012, "{neighbours}");
    }

    #[test]
    fn an_element_depends_on_its_place_alone() {
        let normal = Normal::new(Streams::new(7));
        let mut whole = vec![0f64; 1000];
        normal.fill(PLACE, 0, &mut whole);
        let mut part = vec![0f32; 333];
        normal.fill(PLACE, 5 * TILE, &mut part);
        assert!(part.iter().zip(&whole[5 * TILE..]).all(|(a, b)| f64::from(*a) == *b));
        // Fixed, so that a change which would break every saved run is seen.
        let first: Vec<u32> = whole[..3].iter().map(|z| (*z as f32).to_bits()).collect();
        assert_eq!(first, FROZEN, "{first:?}");
        assert!(normal.identity().starts_with("philox4x32-10/box-muller-f32/v1:"));
        assert_ne!(normal.identity(), Normal::new(Streams::new(8)).identity());
    }

    const FROZEN: [u32; 3] = [3215547164, 1068783413, 1068256216];
}
