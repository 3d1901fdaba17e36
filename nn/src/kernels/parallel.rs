//! Fork and join for kernels, on a pool of this crate (pool.rs).
//!
//! A region of 50 microseconds is worth splitting. rayon is for coarse work (k points, structures).
//! `RAYON_NUM_THREADS` sets both.

use super::pool;
pub use super::pool::threads;
use smallvec::SmallVec;
use std::sync::{Mutex, PoisonError};

/// Tasks of a region that need no memory of the heap: regions follow each other within microseconds.
const FEW: usize = 16;

/// Runs `body` on every task; the order is not defined. A region inside another one runs on its thread alone.
pub fn for_each<T: Send>(tasks: impl IntoIterator<Item = T>, body: impl Fn(T) + Sync) {
    if threads() == 1 {
        return tasks.into_iter().for_each(body);
    }
    let tasks: SmallVec<[Mutex<Option<T>>; FEW]> = tasks.into_iter().map(|t| Mutex::new(Some(t))).collect();
    pool::run(tasks.len(), &|k| {
        let task = tasks[k].lock().unwrap_or_else(PoisonError::into_inner).take();
        task.into_iter().for_each(&body);
    });
}

/// Runs both, side by side unless this is inside a region.
pub fn both<A: FnOnce() + Send, B: FnOnce() + Send>(a: A, b: B) {
    enum Either<A, B> {
        First(A),
        Second(B),
    }
    for_each([Either::First(a), Either::Second(b)], |either| match either {
        Either::First(a) => a(),
        Either::Second(b) => b(),
    });
}

/// `body` of every item, in order.
pub fn map<T: Sync, R: Send>(items: &[T], body: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    for_each(items.iter().zip(results.iter_mut()), |(item, result)| *result = Some(body(item)));
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_task_once_in_its_place() {
        let mut out = vec![0; 1000];
        super::for_each(out.iter_mut().enumerate(), |(k, x)| *x += k + 1);
        assert!(out.iter().enumerate().all(|(k, x)| *x == k + 1));
        assert_eq!(super::map(&out, |x| x * 2)[999], 2000);
        let (mut a, mut b) = (0, 0);
        super::both(|| a = 1, || b = 2);
        assert_eq!((a, b), (1, 2));
    }
}
