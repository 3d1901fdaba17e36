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

vectorised! {
    /// `to = D from` (or `D^T from`), slot by slot; added to what is there with `add`.
    pub(super) fn rotate<T>(turns: &[Turn], d: &[T], transpose: bool, add: bool, from: &[T], to: &mut [T]) {
        for turn in turns {
            let d = &d[turn.start..];
            match turn.l {
                0 => {
                    let (a, b) = (turn.from[0], turn.to[0]);
                    let (x, y) = (&from[a..a + turn.channels], &mut to[b..b + turn.channels]);
                    match add {
                        true => y.iter_mut().zip(x).for_each(|(y, x)| *y += *x),
                        false => y.copy_from_slice(x),
                    }
                }
                1 => rotate_slot::<T, 3>(turn, d, transpose, add, from, to),
                2 => rotate_slot::<T, 5>(turn, d, transpose, add, from, to),
                3 => rotate_slot::<T, 7>(turn, d, transpose, add, from, to),
                4 => rotate_slot::<T, 9>(turn, d, transpose, add, from, to),
                5 => rotate_slot::<T, 11>(turn, d, transpose, add, from, to),
                6 => rotate_slot::<T, 13>(turn, d, transpose, add, from, to),
                l => rotate_any(turn, 2 * l + 1, d, transpose, add, from, to),
            }
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
fn rotate_slot<T: Real, const N: usize>(turn: &Turn, d: &[T], transpose: bool, add: bool, from: &[T], to: &mut [T]) {
    let (Some(columns), Some(rows), Some(d)) =
        (turn.from.first_chunk::<N>(), turn.to.first_chunk::<N>(), d.as_chunks::<N>().0.first_chunk::<N>())
    else {
        debug_assert!(false, "a slot of {N} orders has as many columns, and its D as many rows");
        return;
    };
    let mut c = 0;
    while c < turn.channels {
        c += match (turn.channels - c, transpose) {
            (16.., true) => rotate_lanes::<T, N, 16, true>([columns, rows], c, d, add, from, to),
            (16.., false) => rotate_lanes::<T, N, 16, false>([columns, rows], c, d, add, from, to),
            (8.., true) => rotate_lanes::<T, N, 8, true>([columns, rows], c, d, add, from, to),
            (8.., false) => rotate_lanes::<T, N, 8, false>([columns, rows], c, d, add, from, to),
            (_, true) => rotate_lanes::<T, N, 1, true>([columns, rows], c, d, add, from, to),
            (_, false) => rotate_lanes::<T, N, 1, false>([columns, rows], c, d, add, from, to),
        };
    }
}

/// `LANES` adjacent channels from `c` on; returns their number.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "unrolled, which keeps the numbers in registers")]
fn rotate_lanes<T: Real, const N: usize, const LANES: usize, const TRANSPOSE: bool>(
    [columns, rows]: [&[usize; N]; 2],
    c: usize,
    d: &[[T; N]; N],
    add: bool,
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
        if add {
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
