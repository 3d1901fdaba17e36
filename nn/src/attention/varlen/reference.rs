//! The definition of attention, one query, head and key at a time, and its gradient.

use super::{Heads, Segments};

/// Weights of a query and head over the keys of its segment.
fn weights(q: &[f64], k: &[f64], segments: &Segments, heads: Heads, s: usize, row: usize, head: usize) -> Vec<f64> {
    let (d, keys) = (heads.width, &segments.pairs()[s].1);
    let (group, reach) = (heads.queries / heads.keys, segments.reach(s, row));
    let q = &q[row * heads.queries * d + head * d..][..d];
    let visible = |place: usize| place < reach && segments.mask(keys.clone()).is_none_or(|mask| mask[place]);
    let score = |(place, key): (usize, usize)| {
        let k = &k[key * heads.keys * d + head / group * d..][..d];
        let product: f64 = q.iter().zip(k).map(|(q, k)| q * k).sum();
        if visible(place) { (heads.scale * product).exp() } else { 0.0 }
    };
    let mut weights: Vec<f64> = keys.clone().enumerate().map(score).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= if sum > 0.0 { sum } else { 1.0 });
    weights
}

/// Value, and gradients of q, k, v for the cotangent `dy`.
pub(crate) fn attention(
    [q, k, v]: [&[f64]; 3],
    dy: &[f64],
    segments: &Segments,
    heads: Heads,
) -> (Vec<f64>, [Vec<f64>; 3]) {
    let (d, group) = (heads.width, heads.queries / heads.keys);
    let (mut y, mut dq) = (vec![0.0; q.len()], vec![0.0; q.len()]);
    let (mut dk, mut dv) = (vec![0.0; k.len()], vec![0.0; v.len()]);
    for (s, (queries, keys)) in segments.pairs().iter().enumerate() {
        for row in queries.clone() {
            for head in 0..heads.queries {
                let at = row * heads.queries * d + head * d;
                let key_at = |key: usize| key * heads.keys * d + head / group * d;
                let weights = weights(q, k, segments, heads, s, row, head);
                let mut dots = Vec::new();
                for (key, w) in keys.clone().zip(&weights) {
                    (0..d).for_each(|c| y[at + c] += w * v[key_at(key) + c]);
                    dots.push((0..d).map(|c| dy[at + c] * v[key_at(key) + c]).sum::<f64>());
                }
                let mean: f64 = dots.iter().zip(&weights).map(|(d, w)| d * w).sum();
                for ((key, w), dot) in keys.clone().zip(&weights).zip(&dots) {
                    let ds = heads.scale * w * (dot - mean);
                    for c in 0..d {
                        dq[at + c] += ds * k[key_at(key) + c];
                        dk[key_at(key) + c] += ds * q[at + c];
                        dv[key_at(key) + c] += w * dy[at + c];
                    }
                }
            }
        }
    }
    (y, [dq, dk, dv])
}
