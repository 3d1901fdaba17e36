//! The Wigner-Eckart map between irreps and blocks of shells (DeepH-E3, e3TensorDecomp).
//!
//! Without spin, for a target (l1, l2): `H_ab = sum_l sum_m C^{l1 l2 l}_{abm} y_lm`, l = |l1 - l2|..l1 + l2, with
//! Clebsch-Gordan tensors of norm 1. With spin, each l comes as l x 0 and l x 1: `h_{m,n} = sum_k C^{l 1 l'}_{mnk} y_k`
//! is a vector n in spin space, and `H^s_ab = sum_{l m j} C^{l1 l2 l}_{abm} h_{mj} M_{sj}` with the Pauli matrices
//! (1, y, z, x) / sqrt 2 as columns of M and s = uu, ud, du, dd.

use super::targets::Targets;
use tesseral_nn::equivariant::clebsch_gordan::wigner_3j;
use tesseral_nn::equivariant::irreps::{Convention, Irrep, Irreps, MulIrrep, Parity};
use tesseral_nn::equivariant::sparse_map::SparseMap;

/// Irreps of the whole output, one channel a slot: per target l ascending, with spin first all l x 0 then each l x 1;
/// with spin, real parts then imaginary parts.
pub fn output_irreps(targets: &Targets) -> Irreps {
    let mut slots = Vec::new();
    for target in targets.list() {
        let [l1, l2] = target.degrees.map(|l| l as u32);
        let parity = if (l1 + l2) % 2 == 0 { Parity::Even } else { Parity::Odd };
        let mut push = |l: u32| slots.push(MulIrrep { mul: 1, ir: Irrep::new(l, parity) });
        (l1.abs_diff(l2)..=l1 + l2).for_each(&mut push);
        if targets.spinful() {
            (l1.abs_diff(l2)..=l1 + l2).for_each(|l| (l.abs_diff(1)..=l + 1).for_each(&mut push));
        }
    }
    if targets.spinful() {
        slots.extend(slots.clone());
    }
    Irreps::new(slots)
}

/// Pauli matrices over sqrt 2: M[s][j] as (real, imaginary), s = uu, ud, du, dd and j = 0, y, z, x.
const PAULI: [[(f64, f64); 4]; 4] = {
    const H: f64 = std::f64::consts::FRAC_1_SQRT_2;
    const O: (f64, f64) = (0.0, 0.0);
    [[(H, 0.0), O, (H, 0.0), O], [O, (0.0, -H), O, (H, 0.0)], [O, (0.0, H), O, (H, 0.0)], [(H, 0.0), O, (-H, 0.0), O]]
};

/// Where `y_{l m}` of a target enters its block before spin is resolved: (y column, l-component h (l, m, j), value).
struct Coupled {
    y: usize,
    l: u32,
    m: usize,
    j: usize,
    value: f64,
}

/// The columns of one target in the order of [`output_irreps`], starting at `y`; returns the next free column.
fn coupled(l1: u32, l2: u32, spinful: bool, y: &mut usize, convention: Convention) -> Vec<Coupled> {
    let mut list = Vec::new();
    let degrees = l1.abs_diff(l2)..=l1 + l2;
    for l in degrees.clone() {
        for m in 0..2 * l as usize + 1 {
            list.push(Coupled { y: *y, l, m, j: 0, value: 1.0 });
            *y += 1;
        }
    }
    if spinful {
        for l in degrees {
            for total in l.abs_diff(1)..=l + 1 {
                for (m, n, k, value) in wigner_3j(l, 1, total, convention).non_zero() {
                    list.push(Coupled { y: *y + k, l, m, j: n + 1, value });
                }
                *y += 2 * total as usize + 1;
            }
        }
    }
    list
}

/// The map from the output irreps (e3nn's order) to the flat vector of [`Targets`] (shells in m = -l..l order).
pub fn to_blocks(targets: &Targets, convention: Convention) -> SparseMap {
    let width = targets.width();
    let half = output_irreps(targets).dim() / if targets.spinful() { 2 } else { 1 };
    let (mut triplets, mut y) = (Vec::new(), 0);
    for target in targets.list() {
        let [l1, l2] = target.degrees.map(|l| l as u32);
        for c in coupled(l1, l2, targets.spinful(), &mut y, convention) {
            for (a, b, _, w) in wigner_3j(l1, l2, c.l, convention).non_zero().filter(|e| e.2 == c.m) {
                let element = target.start + a * (2 * l2 as usize + 1) + b;
                if !targets.spinful() {
                    triplets.push((element, c.y, w * c.value));
                    continue;
                }
                for (s, row) in PAULI.iter().enumerate() {
                    let (re, im) = row[c.j];
                    // (re + i im)(y_re + i y_im), real parts in the first 4 width columns.
                    let (real, imaginary) = (s * width + element, (4 + s) * width + element);
                    let v = w * c.value;
                    for (out, column, factor) in
                        [(real, c.y, re), (real, half + c.y, -im), (imaginary, c.y, im), (imaginary, half + c.y, re)]
                    {
                        if factor != 0.0 {
                            triplets.push((out, column, v * factor));
                        }
                    }
                }
            }
        }
    }
    SparseMap::new(output_irreps(targets).dim(), targets.columns(), triplets)
}

/// The inverse of [`to_blocks`]: the map is orthogonal up to a factor for each irrep, which its own columns give
/// (1 / (2l + 1) without spin).
pub fn to_irreps(targets: &Targets, convention: Convention) -> SparseMap {
    let forward = to_blocks(targets, convention);
    let mut norms = vec![0.0; forward.shape().0];
    for (_, column, value) in forward.triplets() {
        norms[column] += value * value;
    }
    let scaled = forward.triplets().into_iter().map(|(row, column, v)| (column, row, v / norms[column])).collect();
    SparseMap::new(forward.shape().1, forward.shape().0, scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_both_ways() {
        for spinful in [false, true] {
            for convention in [Convention::V035, Convention::V06] {
                let targets = Targets::from_shells(&[vec![0, 1, 2], vec![0, 3]], spinful);
                let (forward, back) = (to_blocks(&targets, convention), to_irreps(&targets, convention));
                assert_eq!(forward.shape().0, forward.shape().1);
                for composed in [forward.then(&back), back.then(&forward)] {
                    for (row, column, value) in composed.triplets() {
                        let expected = f64::from(u8::from(row == column));
                        assert!((value - expected).abs() < 1e-13, "{row} {column} {value}");
                    }
                }
            }
        }
    }
}
