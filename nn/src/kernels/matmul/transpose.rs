//! A matrix written down transposed. Element by element that costs as much as some of the products it is for; with AVX in f32
//! it goes by squares of eight rows and columns.

use super::{View, ViewMut};
use crate::kernels::Real;

/// Side of a square.
const SIDE: usize = 8;

/// `to = from^T`. Rows of both are contiguous.
///
/// # Panics
/// When the shapes do not fit: a bug of the caller.
pub(crate) fn transpose<T: Real>(from: View<T>, to: &mut ViewMut<T>) {
    let [rows, columns] = from.shape;
    assert!(to.shape == [columns, rows], "{:?} -> {:?}", from.shape, to.shape);
    if rows > 0 && columns > 0 {
        // SAFETY: the view was checked against its slice, which is borrowed mutably.
        unsafe { transpose_to(from, to.data.as_mut_ptr().add(to.offset), to.strides[0]) }
    }
}

/// As [`transpose`] to rows at `to`, `stride` elements apart, which may be uninitialised.
///
/// # Safety
/// All of them are there, may be written by this thread alone, and are not in the view.
pub(super) unsafe fn transpose_to<T: Real>(from: View<T>, to: *mut T, stride: usize) {
    let [rows, columns] = from.shape;
    assert!(from.strides[1] == 1, "rows of {:?}", from.strides);
    #[cfg(target_arch = "x86_64")]
    if T::DTYPE == candle_core::DType::F32 && std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: T is f32 and the machine has AVX-512; the view was checked against its slice.
        return unsafe {
            let source = from.data.as_ptr().add(from.offset);
            avx512::transpose([rows, columns], source.cast(), from.strides[0], to.cast(), stride);
        };
    }
    let squares = if by_squares::<T>() { [rows, columns].map(|n| n / SIDE * SIDE) } else { [0, 0] };
    #[cfg(target_arch = "x86_64")]
    for column in (0..squares[1]).step_by(SIDE) {
        // Down the columns: what is written is contiguous, and lines that are read are read again soon.
        for row in (0..squares[0]).step_by(SIDE) {
            // SAFETY: T is f32 and the machine has AVX; the square lies in the view, which was checked against its slice, and
            // in what the caller promises.
            unsafe {
                let source = from.data.as_ptr().add(from.offset + row * from.strides[0] + column);
                square(source.cast(), from.strides[0], to.add(column * stride + row).cast(), stride);
            }
        }
    }
    for row in 0..rows {
        let first = if row < squares[0] { squares[1] } else { 0 };
        if first == columns {
            continue;
        }
        let line = &from.data[from.offset + row * from.strides[0]..][..columns];
        for (column, x) in line.iter().enumerate().skip(first) {
            // SAFETY: the caller's promise.
            unsafe { to.add(column * stride + row).write(*x) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn by_squares<T: Real>() -> bool {
    T::DTYPE == candle_core::DType::F32 && std::arch::is_x86_feature_detected!("avx")
}

#[cfg(not(target_arch = "x86_64"))]
fn by_squares<T: Real>() -> bool {
    false
}

/// Eight rows of eight.
///
/// SAFETY: all of them are at the pointers, rows as far apart as the strides tell.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn square(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::{
        _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
        _mm256_unpacklo_ps,
    };
    // SAFETY: the caller's promise.
    let r: [_; SIDE] = std::array::from_fn(|k| unsafe { _mm256_loadu_ps(from.add(k * from_stride)) });
    // Pairs of rows, then fours, inside each half; then the halves.
    let pair = |k: usize| [_mm256_unpacklo_ps(r[k], r[k + 1]), _mm256_unpackhi_ps(r[k], r[k + 1])];
    let four = |k: usize| {
        let (a, b) = (pair(k), pair(k + 2));
        [
            _mm256_shuffle_ps::<0x44>(a[0], b[0]),
            _mm256_shuffle_ps::<0xee>(a[0], b[0]),
            _mm256_shuffle_ps::<0x44>(a[1], b[1]),
            _mm256_shuffle_ps::<0xee>(a[1], b[1]),
        ]
    };
    let (upper, lower) = (four(0), four(4));
    for k in 0..4 {
        // SAFETY: the caller's promise.
        unsafe {
            _mm256_storeu_ps(to.add(k * to_stride), _mm256_permute2f128_ps::<0x20>(upper[k], lower[k]));
            _mm256_storeu_ps(to.add((k + 4) * to_stride), _mm256_permute2f128_ps::<0x31>(upper[k], lower[k]));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __mmask16, _mm512_castpd_ps, _mm512_castps_pd, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_setzero_ps,
        _mm512_shuffle_f32x4, _mm512_unpackhi_pd, _mm512_unpackhi_ps, _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };

    /// Side of a square.
    const SIDE: usize = 16;

    /// SAFETY: all rows are at the pointers, as far apart as the strides tell.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn transpose(
        [rows, columns]: [usize; 2],
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        for column in (0..columns).step_by(SIDE) {
            let wide = SIDE.min(columns - column);
            // Down the columns: what is written is contiguous, and lines that are read are read again soon.
            for row in (0..rows).step_by(SIDE) {
                let high = SIDE.min(rows - row);
                // SAFETY: rows and columns that are not there are not touched.
                unsafe {
                    let (from, to) = (from.add(row * from_stride + column), to.add(column * to_stride + row));
                    match wide == SIDE && high == SIDE {
                        true => square::<true>([SIDE, SIDE], from, from_stride, to, to_stride),
                        false => square::<false>([high, wide], from, from_stride, to, to_stride),
                    }
                }
            }
        }
    }

    /// SAFETY: as [`transpose`], of at most sixteen rows and columns.
    #[inline(never)] // inside a loop, compilers keep 32 addresses at hand, and these nowhere but in memory
    #[target_feature(enable = "avx512f")]
    unsafe fn square<const FULL: bool>(
        [rows, columns]: [usize; 2],
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        let mask = |n: usize| -> __mmask16 { if FULL { u16::MAX } else { u16::MAX >> (SIDE - n) } };
        let mut r = [_mm512_setzero_ps(); SIDE];
        for (k, r) in r.iter_mut().enumerate() {
            if FULL || k < rows {
                // SAFETY: the caller's promise.
                *r = unsafe { _mm512_maskz_loadu_ps(mask(columns), from.add(k * from_stride)) };
            }
        }
        // Pairs of rows, then fours, inside each quarter of a register; then the quarters.
        let four = |k: usize| {
            let low = |k: usize| _mm512_castps_pd(_mm512_unpacklo_ps(r[k], r[k + 1]));
            let high = |k: usize| _mm512_castps_pd(_mm512_unpackhi_ps(r[k], r[k + 1]));
            [
                _mm512_castpd_ps(_mm512_unpacklo_pd(low(k), low(k + 2))),
                _mm512_castpd_ps(_mm512_unpackhi_pd(low(k), low(k + 2))),
                _mm512_castpd_ps(_mm512_unpacklo_pd(high(k), high(k + 2))),
                _mm512_castpd_ps(_mm512_unpackhi_pd(high(k), high(k + 2))),
            ]
        };
        let (a, b, c, d) = (four(0), four(4), four(8), four(12));
        let mut out = [_mm512_setzero_ps(); SIDE];
        for k in 0..4 {
            let even = [_mm512_shuffle_f32x4::<0x88>(a[k], b[k]), _mm512_shuffle_f32x4::<0x88>(c[k], d[k])];
            let odd = [_mm512_shuffle_f32x4::<0xdd>(a[k], b[k]), _mm512_shuffle_f32x4::<0xdd>(c[k], d[k])];
            out[k] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
            out[k + 4] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
            out[k + 8] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
            out[k + 12] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
        }
        for (k, out) in out.iter().enumerate() {
            if FULL || k < columns {
                // SAFETY: the caller's promise.
                unsafe { _mm512_mask_storeu_ps(to.add(k * to_stride), mask(rows), *out) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_element_in_its_place<T: Real>() {
        for [rows, columns] in [[0, 3], [1, 1], [7, 9], [8, 8], [17, 40], [192, 25]] {
            let (gap, start) = (3, 5);
            let stride = columns + gap;
            let from: Vec<T> = (0..start + rows * stride).map(|k| T::of(k as f64)).collect();
            let mut to = vec![-T::one(); start + columns * (rows + gap)];
            let view = View::rows(&from, [rows, columns], stride, start);
            transpose(view, &mut ViewMut::rows(&mut to, [columns, rows], rows + gap, start));
            for (k, x) in to.iter().enumerate() {
                let place = k.checked_sub(start).map(|k| [k / (rows + gap), k % (rows + gap)]);
                match place.filter(|place| place[1] < rows && place[0] < columns) {
                    Some([i, j]) => assert!(*x == from[start + j * stride + i], "{rows} {columns}: {i} {j}"),
                    None => assert!(*x == -T::one(), "{rows} {columns}: {k} was written"),
                }
            }
        }
    }

    /// Machines with AVX-512 take other squares.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn squares_of_eight() {
        if !std::arch::is_x86_feature_detected!("avx") {
            return;
        }
        let (from_stride, to_stride) = (SIDE + 3, SIDE + 5);
        let from: Vec<f32> = (0..SIDE * from_stride).map(|k| k as f32).collect();
        let mut to = vec![-1.0; SIDE * to_stride];
        // SAFETY: just looked; eight rows of eight are there on both sides.
        unsafe { square(from.as_ptr(), from_stride, to.as_mut_ptr(), to_stride) };
        for (k, x) in to.into_iter().enumerate() {
            let (i, j) = (k / to_stride, k % to_stride);
            assert_eq!(x, if j < SIDE { from[j * from_stride + i] } else { -1.0 }, "{i} {j}");
        }
    }

    #[test]
    fn in_both_precisions() {
        every_element_in_its_place::<f32>();
        every_element_in_its_place::<f64>();
    }
}
