//! Rows of scores to rows of weights, for one block of keys.

use crate::kernels::vectorised;

/// Stands for "no key yet" and for hidden keys: below every score, and finite.
pub(super) const LOWEST: f64 = -1e30;

vectorised! {
    /// Turns scores `[rows, n]` into `exp(score - top)` of the running maximum `top`, zero from `reach[row]` on; brings `top` and
    /// `sum` of each row up to date and leaves in `shrink` the factor for what was summed with the maximum before.
    pub(super) fn weigh<T>(scores: &mut [T], n: usize, reach: &[usize], top: &mut [T], sum: &mut [T], shrink: &mut [T]) {
        const LANES: usize = 16;
        for (r, row) in scores.chunks_exact_mut(n).enumerate() {
            let (seen, hidden) = row.split_at_mut(reach[r].min(n));
            hidden.fill(T::zero());
            let mut tops = [top[r]; LANES];
            let chunks = seen.chunks_exact(LANES);
            let rest = chunks.remainder().iter().fold(top[r], |a, b| if *b > a { *b } else { a });
            for chunk in chunks {
                for k in 0..LANES {
                    tops[k] = if chunk[k] > tops[k] { chunk[k] } else { tops[k] };
                }
            }
            let new = tops.iter().fold(rest, |a, b| if *b > a { *b } else { a });
            shrink[r] = (top[r] - new).exp();
            top[r] = new;
            let mut parts = [T::zero(); LANES];
            let mut chunks = seen.chunks_exact_mut(LANES);
            for chunk in &mut chunks {
                for k in 0..LANES {
                    chunk[k] = (chunk[k] - new).weight();
                    parts[k] += chunk[k];
                }
            }
            let mut total = T::zero();
            for x in chunks.into_remainder() {
                *x = (*x - new).weight();
                total += *x;
            }
            sum[r] = sum[r] * shrink[r] + total + parts.iter().copied().sum::<T>();
        }
    }
}

vectorised! {
    /// Scores to weights `exp(score - log_sum)`, and products `dy v` to gradients of the scores, `weight (product - mean)`.
    pub(super) fn reweigh<T>(scores: &mut [T], products: &mut [T], n: usize, reach: &[usize], log_sums: &[T], means: &[T]) {
        for (r, (p, d)) in scores.chunks_exact_mut(n).zip(products.chunks_exact_mut(n)).enumerate() {
            let seen = reach[r].min(n);
            p[seen..].fill(T::zero());
            d[seen..].fill(T::zero());
            let (log_sum, mean) = (log_sums[r], means[r]);
            for (p, d) in p[..seen].iter_mut().zip(&mut d[..seen]) {
                *p = (*p - log_sum).weight();
                *d = *p * (*d - mean);
            }
        }
    }
}
