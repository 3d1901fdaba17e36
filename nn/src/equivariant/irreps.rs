//! Irreps of O(3) (from the `e3nn` crate) and the selection rules that networks are built with.

pub use e3nn::{Irrep, Irreps, MulIrrep, Parity};

/// Which of the two published e3nn conventions the algebra follows. They differ in the overall sign of some
/// Clebsch-Gordan tensors and in the normalisation of paths, so a checkpoint belongs to one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Convention {
    /// e3nn 0.3.5, which the published DeepH-E3 pins: each path is normalised by its own fan-in.
    #[default]
    #[serde(rename = "0.3.5")]
    V035,
    /// e3nn 0.6: paths into a slot share the total fan-in.
    #[serde(rename = "0.6")]
    V06,
}

/// `[[mul, l, p]]`, `p` = 1 or -1, as irreps.
pub fn from_triples(triples: &[[i64; 3]]) -> Irreps {
    let parity = |p: i64| if p < 0 { Parity::Odd } else { Parity::Even };
    Irreps::new(
        triples.iter().map(|t| MulIrrep { mul: t[0] as usize, ir: Irrep::new(t[1] as u32, parity(t[2])) }).collect(),
    )
}

/// Terms of `a` followed by those of `b`, not merged.
pub fn concat(parts: &[&Irreps]) -> Irreps {
    Irreps::new(parts.iter().flat_map(|irreps| irreps.terms().iter().copied()).collect())
}

/// Whether `c` occurs in `a x b`.
pub fn couples(a: Irrep, b: Irrep, c: Irrep) -> bool {
    a.p.times(b.p) == c.p && a.l.abs_diff(b.l) <= c.l && c.l <= a.l + b.l
}

/// Whether the parity is that of the spherical harmonics, (-1)^l.
pub fn is_natural(irrep: Irrep) -> bool {
    irrep.p == Parity::of_spherical_harmonic(irrep.l)
}

/// The order of e3nn for PyTorch: by degree, odd before even (0o 0e 1o 1e ...); stable. Returns the sorted terms and
/// the position in `irreps` of each.
pub fn sort(irreps: &Irreps) -> (Irreps, Vec<usize>) {
    let mut order: Vec<usize> = (0..irreps.terms().len()).collect();
    order.sort_by_key(|&i| (irreps.terms()[i].ir.l, irreps.terms()[i].ir.p.sign()));
    (Irreps::new(order.iter().map(|&i| irreps.terms()[i]).collect()), order)
}

/// First column of each slot in e3nn's order, and the total at the end: `[slots + 1]`.
pub fn offsets(irreps: &Irreps) -> Vec<usize> {
    let mut offsets = vec![0];
    for term in irreps.terms() {
        offsets.push(offsets[offsets.len() - 1] + term.dim());
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_comes_before_even() {
        let irreps: Irreps = "2x1e+3x0e+1x1o+4x0o".parse().unwrap();
        let (sorted, order) = sort(&irreps);
        assert_eq!(sorted.to_string(), "4x0o+3x0e+1x1o+2x1e");
        assert_eq!(order, [3, 1, 2, 0]);
    }
}
