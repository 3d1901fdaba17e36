//! Column order (m, slot, channel) of features: for each order m one panel, in it the slots that have this m, in each
//! slot its channels. What keeps m is then a matrix product on a panel.
//!
//! Inside a panel, slots of natural parity (-1)^l come before the others: with harmonics of the edge direction, even
//! l1 + l2 + l3 couples like with like at equal m, odd couples unlike at opposite m.

use super::irreps::{Irreps, is_natural, offsets};
use super::sparse_map::SparseMap;

/// The columns of one order m.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Panel {
    /// First column.
    pub start: usize,
    /// Channels of natural and of unnatural parity.
    pub widths: [usize; 2],
}

impl Panel {
    /// First column of the natural (0) or unnatural (1) part.
    pub fn part(&self, class: usize) -> usize {
        self.start + if class == 1 { self.widths[0] } else { 0 }
    }
}

/// Where each component of [`Irreps`] is.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    irreps: Irreps,
    dim: usize,
    lmax: usize,
    panels: Vec<Panel>,
    columns: Vec<Vec<usize>>,
}

impl Layout {
    /// The layout of these irreps; slots are kept as given.
    pub fn new(irreps: &Irreps) -> Self {
        let lmax = irreps.lmax().unwrap_or(0) as usize;
        let terms = irreps.terms();
        let mut columns: Vec<Vec<usize>> = terms.iter().map(|t| vec![0; t.ir.dim()]).collect();
        let mut panels = Vec::with_capacity(2 * lmax + 1);
        let mut next = 0;
        for m in -(lmax as i64)..=lmax as i64 {
            let mut panel = Panel { start: next, widths: [0, 0] };
            for class in [0, 1] {
                for (slot, term) in terms.iter().enumerate() {
                    let l = i64::from(term.ir.l);
                    if m.abs() <= l && is_natural(term.ir) == (class == 0) {
                        columns[slot][(m + l) as usize] = next;
                        next += term.mul;
                        panel.widths[class] += term.mul;
                    }
                }
            }
            panels.push(panel);
        }
        Layout { irreps: irreps.clone(), dim: next, lmax, panels, columns }
    }

    /// The irreps, slot after slot.
    pub fn irreps(&self) -> &Irreps {
        &self.irreps
    }

    /// Number of columns.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Largest degree.
    pub fn lmax(&self) -> usize {
        self.lmax
    }

    /// The panel of order m; an empty one beyond the largest degree.
    pub fn panel(&self, m: i64) -> Panel {
        let index = m + self.lmax as i64;
        usize::try_from(index).ok().and_then(|k| self.panels.get(k).copied()).unwrap_or_default()
    }

    /// First column of a slot at order m = -l..l, index m + l.
    pub fn columns(&self, slot: usize) -> &[usize] {
        &self.columns[slot]
    }

    /// Column of a slot's first channel at order m, counted from its part of the panel.
    pub fn column_in_part(&self, slot: usize, m: i64) -> usize {
        let irrep = self.irreps.terms()[slot].ir;
        let class = usize::from(!is_natural(irrep));
        self.columns[slot][(m + i64::from(irrep.l)) as usize] - self.panel(m).part(class)
    }

    /// The permutation to e3nn's order (slot, channel, m).
    pub fn to_e3nn(&self) -> SparseMap {
        let starts = offsets(&self.irreps);
        let mut triplets = Vec::with_capacity(self.dim());
        for (slot, term) in self.irreps.terms().iter().enumerate() {
            for (index, column) in self.columns[slot].iter().enumerate() {
                for channel in 0..term.mul {
                    triplets.push((starts[slot] + channel * term.ir.dim() + index, column + channel, 1.0));
                }
            }
        }
        SparseMap::new(self.dim(), self.dim(), triplets)
    }

    /// The permutation to e3nn's order of `irreps`, of which these are the sorted and simplified ones: `[rows, dim]` to
    /// `[rows, dim]`.
    pub fn to_e3nn_of(&self, irreps: &Irreps) -> SparseMap {
        let starts = offsets(irreps);
        let mut triplets = Vec::with_capacity(self.dim());
        for (slot, term) in self.irreps.terms().iter().enumerate() {
            let mut channel = 0;
            for (own, start) in irreps.terms().iter().zip(&starts).filter(|(own, _)| own.ir == term.ir) {
                for (index, column) in self.columns[slot].iter().enumerate() {
                    let element = |c: usize| (start + c * own.ir.dim() + index, column + channel + c, 1.0);
                    triplets.extend((0..own.mul).map(element));
                }
                channel += own.mul;
            }
        }
        SparseMap::new(self.dim(), self.dim(), triplets)
    }

    /// The permutation from e3nn's order.
    pub fn from_e3nn(&self) -> SparseMap {
        self.to_e3nn().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_hold_natural_slots_first() {
        let layout = Layout::new(&"2x0e+3x1e+1x1o".parse().unwrap());
        assert_eq!(layout.panel(-1), Panel { start: 0, widths: [1, 3] });
        assert_eq!(layout.panel(0), Panel { start: 4, widths: [3, 3] });
        assert_eq!(layout.columns(1), [1, 7, 11]);
        assert_eq!(layout.columns(2), [0, 6, 10]);
        assert_eq!(layout.column_in_part(1, 1), 0);
        assert_eq!(layout.panel(2), Panel::default());
    }
}
