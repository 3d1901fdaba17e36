//! Loops over the channels of a slot. Slots have 8 or 16 channels more often than 64: a plain loop would be unrolled for more
//! than there are, and do these one by one.

use super::Real;

const LANES: usize = 8;

/// `y = f(a, b, y)`, element by element, for slices of one length; inside functions that are vectorised.
#[inline(always)]
pub(crate) fn update<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T, T) -> T) {
    let ((a, a_rest), (b, b_rest), (y, y_rest)) =
        (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), y.as_chunks_mut::<LANES>());
    for ((a, b), y) in a.iter().zip(b).zip(y) {
        for lane in 0..LANES {
            y[lane] = f(a[lane], b[lane], y[lane]);
        }
    }
    for ((a, b), y) in a_rest.iter().zip(b_rest).zip(y_rest) {
        *y = f(*a, *b, *y);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_element_once() {
        for n in [0, 1, 7, 8, 9, 31] {
            let (a, b): (Vec<f64>, Vec<f64>) = (0..n).map(|k| (f64::from(k), 0.5 * f64::from(k))).unzip();
            let mut y = vec![1.0; n as usize];
            super::update(&a, &b, &mut y, |a, b, y| a * b + y);
            assert!(y.iter().enumerate().all(|(k, y)| *y == 0.5 * (k * k) as f64 + 1.0));
        }
    }
}
