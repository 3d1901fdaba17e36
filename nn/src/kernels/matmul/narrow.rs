//! Products in f32 of few rows or columns, whose factors are read where they lie: a general product first rearranges them,
//! which takes long beside such a product itself. Only a transposed second factor is written down, piece by piece. For
//! AVX-512; elsewhere none fits.

use super::View;
use super::transpose::transpose_to;
use crate::kernels::Real;
use std::mem::MaybeUninit;

/// Most columns.
const COLUMNS: usize = 256;
/// Most rows of many columns.
const ROWS: usize = 1024;
/// Fewest rows for which a transposed factor is written down.
const FEW: usize = 2;

/// Columns that go together: four registers of them, times the rows that go together, leave few of the 32 unused.
const PANEL: usize = 64;
/// Depth of a slice: so much of a panel stays in a first-level cache of 48 KiB.
const DEPTH: usize = 128;

/// Whether [`multiply`] is for this product.
pub(super) fn fits<T: Real>(a: &View<T>, b: &View<T>) -> bool {
    let (rows, columns) = (a.shape[0], b.shape[1]);
    let small = columns <= PANEL || (columns <= COLUMNS && rows <= ROWS);
    let readable = b.strides[1] == 1 || (b.strides[0] == 1 && rows >= FEW);
    T::DTYPE == candle_core::DType::F32 && small && readable && wide_registers()
}

#[cfg(target_arch = "x86_64")]
fn wide_registers() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
}

#[cfg(not(target_arch = "x86_64"))]
fn wide_registers() -> bool {
    false
}

/// `c = scale * a b`, or `c += scale * a b` when `accumulate`; rows of `c` are `stride` apart.
///
/// # Safety
/// [`fits`] holds, with one row and column at least; `b` has as many rows as `a` columns; all elements of `c` may be written by this thread alone, and lie in
/// neither view.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "nothing fits there"))]
pub(super) unsafe fn multiply<T: Real>(a: View<T>, b: View<T>, c: *mut T, stride: usize, scale: f64, accumulate: bool) {
    #[cfg(target_arch = "x86_64")]
    {
        let whole = x86::Product {
            rows: a.shape[0],
            depth: a.shape[1],
            columns: b.shape[1],
            a: a.data.as_ptr().wrapping_add(a.offset).cast(),
            a_strides: a.strides,
            b: b.data.as_ptr().wrapping_add(b.offset).cast(),
            b_stride: b.strides[0],
            c: c.cast(),
            c_stride: stride,
            scale: scale as f32,
            accumulate,
        };
        // SAFETY: `fits` found the type to be f32 and the machine to have AVX-512.
        unsafe {
            if b.strides[1] != 1 {
                whole.run_in_parts(|part, [slice, panel]| transposed_part(part, b.part(0, &slice).part(1, &panel)));
            } else if whole.columns <= PANEL && whole.depth <= DEPTH {
                whole.run();
            } else {
                whole.run_in_parts(|part, _| part.run());
            }
        }
    }
}

/// A part of a product whose `b`, at most [`DEPTH`] times [`PANEL`], has contiguous columns.
///
/// SAFETY: all but `b` as the part is to have it.
#[cfg(target_arch = "x86_64")]
unsafe fn transposed_part<T: Real>(part: x86::Product, b: View<T>) {
    let mut space = [const { MaybeUninit::<f32>::uninit() }; DEPTH * PANEL];
    let by_rows = space.as_mut_ptr().cast::<f32>();
    // SAFETY: the rows of a panel fit, and the type is f32.
    unsafe {
        transpose_to(b.t(), by_rows.cast::<T>(), PANEL);
        x86::Product { b: by_rows, b_stride: PANEL, ..part }.run();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{DEPTH, PANEL};
    use std::arch::x86_64::{
        __mmask16, _mm512_add_ps, _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps,
        _mm512_setzero_ps,
    };
    use std::ops::Range;

    /// Numbers in a register.
    const LANES: usize = 16;

    pub(super) struct Product {
        pub(super) rows: usize,
        pub(super) depth: usize,
        pub(super) columns: usize,
        pub(super) a: *const f32,
        pub(super) a_strides: [usize; 2],
        pub(super) b: *const f32,
        pub(super) b_stride: usize,
        pub(super) c: *mut f32,
        pub(super) c_stride: usize,
        pub(super) scale: f32,
        pub(super) accumulate: bool,
    }

    impl Product {
        /// Panel by panel, slice by slice of the depth: `run` gets each part, and the ranges of depth and columns.
        pub(super) fn run_in_parts(&self, run: impl Fn(Product, [Range<usize>; 2])) {
            let panels = self.columns.div_ceil(PANEL);
            let width = self.columns.div_ceil(panels).next_multiple_of(LANES);
            let slices = self.depth.div_ceil(DEPTH).max(1);
            for first in (0..self.columns).step_by(width) {
                for slice in 0..slices {
                    let [start, end] = [slice, slice + 1].map(|k| self.depth * k / slices);
                    let part = Product {
                        depth: end - start,
                        columns: width.min(self.columns - first),
                        a: self.a.wrapping_add(start * self.a_strides[1]),
                        b: self.b.wrapping_add(start * self.b_stride + first),
                        c: self.c.wrapping_add(first),
                        accumulate: self.accumulate || slice > 0,
                        ..*self
                    };
                    let columns = first..first + part.columns;
                    run(part, [start..end, columns]);
                }
            }
        }

        /// # Safety
        /// The pointers lead to the elements that sizes and strides tell of, at most 64 columns.
        #[target_feature(enable = "avx512f")]
        pub(super) unsafe fn run(&self) {
            // SAFETY: the caller's promise. As many rows at a time as fill most of the 32 registers.
            unsafe {
                match self.columns.div_ceil(LANES) {
                    1 if self.depth == 8 => self.shallow::<8>(),
                    1 if self.depth == 16 => self.shallow::<16>(),
                    1 => self.all::<16, 15, 1>(),
                    2 => self.all::<12, 11, 2>(),
                    3 => self.all::<8, 7, 3>(),
                    _ => self.all::<6, 5, 4>(),
                }
            }
        }

        /// All rows, `MANY` or `FEWER`, one less, at a time; `V` registers hold the columns.
        #[target_feature(enable = "avx512f")]
        unsafe fn all<const MANY: usize, const FEWER: usize, const V: usize>(&self) {
            let mut row = 0;
            // So many blocks that all have one of these heights, if there are as many rows.
            let short = self.rows.div_ceil(MANY) * MANY - self.rows;
            let even = self.rows >= short * FEWER;
            // SAFETY: the rows are there.
            unsafe {
                while even && row < short * FEWER {
                    self.block::<FEWER, V>(row);
                    row += FEWER;
                }
                while row + MANY <= self.rows {
                    self.block::<MANY, V>(row);
                    row += MANY;
                }
                while V == 1 && row + 8 <= self.rows {
                    self.block::<8, V>(row);
                    row += 8;
                }
                while row + 4 <= self.rows {
                    self.block::<4, V>(row);
                    row += 4;
                }
                while row < self.rows {
                    self.block::<1, V>(row);
                    row += 1;
                }
            }
        }

        /// All rows, of at most 16 columns: `b`, of `K` rows, stays in registers.
        #[target_feature(enable = "avx512f")]
        unsafe fn shallow<const K: usize>(&self) {
            let mask: __mmask16 = u16::MAX >> (LANES - self.columns);
            // SAFETY: as in `block`.
            unsafe {
                let mut b = [_mm512_setzero_ps(); K];
                for (k, b) in b.iter_mut().enumerate() {
                    *b = _mm512_maskz_loadu_ps(mask, self.b.add(k * self.b_stride));
                }
                let scale = _mm512_set1_ps(self.scale);
                for row in 0..self.rows {
                    let (a, c) = (self.a.add(row * self.a_strides[0]), self.c.add(row * self.c_stride));
                    // Two sums, so that one need not wait for the other.
                    let mut sums = [_mm512_setzero_ps(); 2];
                    for k in 0..K {
                        sums[k % 2] = _mm512_fmadd_ps(_mm512_set1_ps(*a.add(k * self.a_strides[1])), b[k], sums[k % 2]);
                    }
                    let before = match self.accumulate {
                        true => _mm512_maskz_loadu_ps(mask, c),
                        false => _mm512_setzero_ps(),
                    };
                    let sum = _mm512_add_ps(sums[0], sums[1]);
                    _mm512_mask_storeu_ps(c, mask, _mm512_fmadd_ps(scale, sum, before));
                }
            }
        }

        /// `R` rows from `row` on: their sums stay in registers.
        #[inline]
        #[target_feature(enable = "avx512f")]
        #[allow(clippy::needless_range_loop, reason = "the compiler unrolls these, which keeps the sums in registers")]
        unsafe fn block<const R: usize, const V: usize>(&self, row: usize) {
            let last: __mmask16 = u16::MAX >> (LANES * V - self.columns);
            let mask = |v: usize| if v + 1 < V { u16::MAX } else { last };
            // SAFETY: the rows are there, and masked columns are not touched. Only pointers that nobody follows, those behind
            // the last step of the depth, may lead elsewhere.
            unsafe {
                let (mut a, mut b) = (self.a.wrapping_add(row * self.a_strides[0]), self.b);
                let mut sums = [[_mm512_setzero_ps(); V]; R];
                for _ in 0..self.depth {
                    let mut of_b = [_mm512_setzero_ps(); V];
                    for v in 0..V {
                        of_b[v] = _mm512_maskz_loadu_ps(mask(v), b.add(LANES * v));
                    }
                    for r in 0..R {
                        let x = _mm512_set1_ps(*a.add(r * self.a_strides[0]));
                        for v in 0..V {
                            sums[r][v] = _mm512_fmadd_ps(x, of_b[v], sums[r][v]);
                        }
                    }
                    (a, b) = (a.wrapping_add(self.a_strides[1]), b.wrapping_add(self.b_stride));
                }
                let scale = _mm512_set1_ps(self.scale);
                for r in 0..R {
                    for v in 0..V {
                        let c = self.c.add((row + r) * self.c_stride + LANES * v);
                        let before = match self.accumulate {
                            true => _mm512_maskz_loadu_ps(mask(v), c),
                            false => _mm512_setzero_ps(),
                        };
                        _mm512_mask_storeu_ps(c, mask(v), _mm512_fmadd_ps(scale, sums[r][v], before));
                    }
                }
            }
        }
    }
}
