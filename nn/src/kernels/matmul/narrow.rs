//! Products in f32 with few columns, read where they lie: a general product first finds out how to cut itself up and
//! rearranges its factors, which takes longer than such a product itself. For AVX-512; elsewhere none fits.

use super::View;
use crate::kernels::Real;

/// Most columns, and most that a deep product may have: beyond, rows of `b` are better rearranged.
const COLUMNS: usize = 64;
const COLUMNS_IF_DEEP: usize = 32;
/// Depth of a deep product.
const DEEP: usize = 128;

/// Whether [`multiply`] is for this product.
pub(super) fn fits<T: Real>(b: &View<T>) -> bool {
    let [depth, columns] = b.shape;
    let most = if depth > DEEP { COLUMNS_IF_DEEP } else { COLUMNS };
    T::DTYPE == candle_core::DType::F32 && columns <= most && b.strides[1] == 1 && wide_registers()
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
        let product = x86::Product {
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
        unsafe { product.run() }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __mmask16, _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    };

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
        /// # Safety
        /// The pointers lead to the elements that sizes and strides tell of, at most 64 columns.
        #[target_feature(enable = "avx512f")]
        pub(super) unsafe fn run(&self) {
            // SAFETY: the caller's promise. As many rows at a time as fill most of the 32 registers.
            unsafe {
                match self.columns.div_ceil(LANES) {
                    1 => self.all::<12, 1>(),
                    2 => self.all::<12, 2>(),
                    3 => self.all::<8, 3>(),
                    _ => self.all::<6, 4>(),
                }
            }
        }

        /// All rows, `R` at a time; `V` registers hold the columns.
        #[target_feature(enable = "avx512f")]
        unsafe fn all<const R: usize, const V: usize>(&self) {
            let mut row = 0;
            // SAFETY: the rows are there.
            unsafe {
                while row + R <= self.rows {
                    self.block::<R, V>(row);
                    row += R;
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
