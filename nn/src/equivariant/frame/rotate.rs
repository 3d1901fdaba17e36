//! Rotation of features slot by slot, by packed Wigner D matrices.

use crate::equivariant::layout::Layout;
use crate::equivariant::wigner::packed_length;
use crate::kernels::{Real, vectorised};

/// A slot as the rotation kernel needs it: degree, channels, columns by m in source and destination.
#[derive(Debug)]
pub(super) struct Turn {
    l: usize,
    /// Where D_l starts in the packed matrices.
    start: usize,
    channels: usize,
    from: Vec<usize>,
    to: Vec<usize>,
}

/// From all slots of a layout to those of another one, of which `first_slot_of_to` is the first.
pub(super) fn turns(from: &Layout, to: &Layout, first_slot_of_to: usize) -> Vec<Turn> {
    let slots = from.irreps().terms().iter().enumerate();
    slots
        .map(|(s, t)| Turn {
            l: t.ir.l as usize,
            start: if t.ir.l == 0 { 0 } else { packed_length(t.ir.l as usize - 1) },
            channels: t.mul,
            from: from.columns(s).to_vec(),
            to: to.columns(first_slot_of_to + s).to_vec(),
        })
        .collect()
}

/// D of edges that follow each other: packed matrices, so many numbers for each.
#[derive(Clone, Copy)]
pub(super) struct Wigner<'a, T> {
    pub(super) all: &'a [T],
    pub(super) length: usize,
}

impl<'a, T> Wigner<'a, T> {
    #[inline(always)]
    fn of(&self, edge: usize) -> &'a [T] {
        &self.all[edge * self.length..(edge + 1) * self.length]
    }
}

vectorised! {
    /// Fills rows of `width` numbers, those of `edges` on: for each of `turns` the features of one end, of `from_width`, as the
    /// edge sees them.
    pub(super) fn turn_ends<T>(
        turns: &[Vec<Turn>], d: Wigner<T>, edges: &[[usize; 2]], from: &[T], from_width: usize, to: &mut [T], width: usize,
    ) {
        for ((edge, ends), to) in edges.iter().enumerate().zip(to.chunks_exact_mut(width.max(1))) {
            for (turns, node) in turns.iter().zip(ends) {
                let from = &from[node * from_width..(node + 1) * from_width];
                rotate::<T, false, false>(turns, d.of(edge), from, to);
            }
        }
    }
}

vectorised! {
    /// Adds to the features of a node what rows of edges, `from` the first on, hold for it, turned back: for each
    /// `(edge, end)` by the turns of that end, if there are any.
    pub(super) fn add_turned_back<T>(
        turns: &[Vec<Turn>], d: Wigner<T>, ends: &[(usize, usize)], first: usize, from: &[T], width: usize, to: &mut [T],
    ) {
        for &(edge, end) in ends {
            if let Some(turns) = turns.get(end) {
                rotate::<T, true, true>(turns, d.of(edge), &from[(edge - first) * width..][..width], to);
            }
        }
    }
}

vectorised! {
    /// Rows of `width` numbers as edges see them, or the other way.
    pub(super) fn turn_rows<T>(turns: &[Turn], d: Wigner<T>, back: bool, from: &[T], width: usize, to: &mut [T]) {
        let rows = from.chunks_exact(width.max(1)).zip(to.chunks_exact_mut(width.max(1)));
        for (edge, (from, to)) in rows.enumerate() {
            match back {
                true => rotate::<T, true, false>(turns, d.of(edge), from, to),
                false => rotate::<T, false, false>(turns, d.of(edge), from, to),
            }
        }
    }
}

/// `to = D from` (or `D^T from`), slot by slot; or that added.
#[inline(always)]
fn rotate<T: Real, const TRANSPOSE: bool, const ADD: bool>(turns: &[Turn], d: &[T], from: &[T], to: &mut [T]) {
    for turn in turns {
        let d = &d[turn.start..];
        match turn.l {
            0 => {
                let (a, b) = (turn.from[0], turn.to[0]);
                let (x, y) = (&from[a..a + turn.channels], &mut to[b..b + turn.channels]);
                match ADD {
                    true => y.iter_mut().zip(x).for_each(|(y, x)| *y += *x),
                    false => y.copy_from_slice(x),
                }
            }
            1 => rotate_slot::<T, 3, TRANSPOSE, ADD>(turn, d, from, to),
            2 => rotate_slot::<T, 5, TRANSPOSE, ADD>(turn, d, from, to),
            3 => rotate_slot::<T, 7, TRANSPOSE, ADD>(turn, d, from, to),
            4 => rotate_slot::<T, 9, TRANSPOSE, ADD>(turn, d, from, to),
            5 => rotate_slot::<T, 11, TRANSPOSE, ADD>(turn, d, from, to),
            6 => rotate_slot::<T, 13, TRANSPOSE, ADD>(turn, d, from, to),
            l => rotate_any(turn, 2 * l + 1, d, TRANSPOSE, ADD, from, to),
        }
    }
}

impl Turn {
    /// The way back.
    pub(super) fn back(&self) -> Turn {
        Turn { from: self.to.clone(), to: self.from.clone(), ..*self }
    }
}

#[inline(always)]
fn rotate_slot<T: Real, const N: usize, const TRANSPOSE: bool, const ADD: bool>(
    turn: &Turn,
    d: &[T],
    from: &[T],
    to: &mut [T],
) {
    let (Some(columns), Some(rows), Some(d)) =
        (turn.from.first_chunk::<N>(), turn.to.first_chunk::<N>(), d.as_chunks::<N>().0.first_chunk::<N>())
    else {
        debug_assert!(false, "a slot of {N} orders has as many columns, and its D as many rows");
        return;
    };
    let mut c = 0;
    while c < turn.channels {
        c += match turn.channels - c {
            16.. => rotate_lanes::<T, N, 16, TRANSPOSE, ADD>([columns, rows], c, d, from, to),
            8.. => rotate_lanes::<T, N, 8, TRANSPOSE, ADD>([columns, rows], c, d, from, to),
            _ => rotate_lanes::<T, N, 1, TRANSPOSE, ADD>([columns, rows], c, d, from, to),
        };
    }
}

/// `LANES` adjacent channels from `c` on; returns their number.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "unrolled, which keeps the numbers in registers")]
fn rotate_lanes<T: Real, const N: usize, const LANES: usize, const TRANSPOSE: bool, const ADD: bool>(
    [columns, rows]: [&[usize; N]; 2],
    c: usize,
    d: &[[T; N]; N],
    from: &[T],
    to: &mut [T],
) -> usize {
    let mut x = [[T::zero(); LANES]; N];
    for j in 0..N {
        x[j].copy_from_slice(&from[columns[j] + c..][..LANES]);
    }
    for k in 0..N {
        let y = &mut to[rows[k] + c..][..LANES];
        let mut sum = [T::zero(); LANES];
        if ADD {
            sum.copy_from_slice(y);
        }
        for j in 0..N {
            let w = if TRANSPOSE { d[j][k] } else { d[k][j] };
            for lane in 0..LANES {
                sum[lane] = w.mul_add(x[j][lane], sum[lane]);
            }
        }
        y.copy_from_slice(&sum);
    }
    LANES
}

/// A slot of any degree.
fn rotate_any<T: Real>(turn: &Turn, n: usize, d: &[T], transpose: bool, add: bool, from: &[T], to: &mut [T]) {
    let (row, column) = if transpose { (1, n) } else { (n, 1) };
    for (k, b) in turn.to.iter().enumerate() {
        for c in 0..turn.channels {
            let mut sum = if add { to[b + c] } else { T::zero() };
            for (j, a) in turn.from.iter().enumerate() {
                sum += d[k * row + j * column] * from[a + c];
            }
            to[b + c] = sum;
        }
    }
}
