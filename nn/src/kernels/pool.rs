//! A pool of threads for regions of some microseconds: workers watch for work for a while before they sleep, and the
//! caller never waits for a worker that has not begun.
//!
//! rayon's workers sleep and cost more to wake than most regions last. candle's pool waits for all of its workers at the
//! end of every region, so one that the operating system has put aside (another job on its core) holds the caller up
//! for a time slice, hundreds of times a train step. Here the caller takes what no worker has taken.
//!
//! Each thread has a share of the numbers of a region, the same part of every region, and takes from others when it is
//! done: rows that one operation leaves in a core's cache are read there by the next.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a worker without work keeps watching: longer than what lies between two regions of a train step.
const WATCH: Duration = Duration::from_micros(200);
/// Looks between two glances at the clock.
const LOOKS: u32 = 64;

/// The low half of the state counts the workers inside a job.
const INSIDE: u64 = (1 << 32) - 1;
/// Workers may join.
const OPEN: u64 = 1 << 32;
/// From here on the state counts jobs.
const NEXT: u64 = 1 << 33;

/// A region: `body(k)` for each k below `count`.
#[derive(Clone, Copy)]
struct Job {
    body: *const (dyn Fn(usize) + Sync),
    count: usize,
    panic: *const Mutex<Option<Box<dyn Any + Send>>>,
}

struct Worker {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

/// The next number of a thread's share, in a cache line of its own.
#[repr(align(128))]
struct Share(AtomicUsize);

struct Pool {
    state: AtomicU64,
    /// One for each thread, the caller's first.
    shares: Vec<Share>,
    /// Written by the holder of `caller` while the state is closed and nobody is inside; read by workers inside.
    job: UnsafeCell<Option<Job>>,
    workers: Vec<Worker>,
    caller: Mutex<()>,
}

// SAFETY: `job` is only touched as its comment says, ordered by `state`; what it points to is Sync.
unsafe impl Sync for Pool {}
// SAFETY: the pointers of `job` are only followed inside a region, while what they point to is borrowed by the caller.
unsafe impl Send for Pool {}

thread_local! {
    /// Whether this thread is inside a region: another one inside it runs on this thread alone.
    static INSIDE_REGION: Cell<bool> = const { Cell::new(false) };
}

static POOL: OnceLock<Pool> = OnceLock::new();

fn pool() -> &'static Pool {
    let mut fresh = false;
    let pool = POOL.get_or_init(|| {
        fresh = true;
        let workers = candle_core::utils::get_num_threads().saturating_sub(1);
        let worker = || Worker { asleep: AtomicBool::new(false), thread: OnceLock::new() };
        Pool {
            state: AtomicU64::new(0),
            shares: (0..=workers).map(|_| Share(AtomicUsize::new(0))).collect(),
            job: UnsafeCell::new(None),
            workers: (0..workers).map(|_| worker()).collect(),
            caller: Mutex::new(()),
        }
    });
    if fresh {
        for (k, worker) in pool.workers.iter().enumerate() {
            // A thread that cannot be had is one fewer to share the work.
            let started = thread::Builder::new().name(format!("kernel-{k}")).spawn(move || work(pool, worker, k + 1));
            if let Ok(handle) = started {
                let _ = worker.thread.set(handle.thread().clone());
            }
        }
    }
    pool
}

/// Threads that share a region, the caller included.
pub fn threads() -> usize {
    pool().workers.len() + 1
}

/// Runs `body` for each number below `count`, on this thread and those of the pool; returns when all are done. A panic
/// of `body` goes on here.
pub(super) fn run(count: usize, body: &(dyn Fn(usize) + Sync)) {
    let alone = || (0..count).for_each(body);
    if count <= 1 || INSIDE_REGION.get() {
        return alone();
    }
    let pool = pool();
    // Another thread's region has the workers: this one does not wait for it.
    let _caller = match pool.caller.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
        Err(TryLockError::WouldBlock) => return alone(),
    };
    if pool.workers.is_empty() {
        return alone();
    }
    let panic = Mutex::new(None);
    // SAFETY: only the lifetime is forgotten; `close` below waits for every worker that may follow the pointer.
    let body = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(body) };
    let job = Job { body, count, panic: &raw const panic };
    pool.open(job);
    pool.wake(count - 1);
    job.take_part(&pool.shares, 0);
    pool.close();
    if let Some(cause) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(cause);
    }
}

impl Job {
    /// Where the share of a thread begins, or ends that of the one before.
    fn boundary(&self, threads: usize, thread: usize) -> usize {
        self.count * thread / threads
    }

    /// Does numbers until none is left, those of thread `own` first. Never unwinds.
    fn take_part(&self, shares: &[Share], own: usize) {
        INSIDE_REGION.set(true);
        // SAFETY: the caller of `run` keeps both alive until every thread has left the job.
        let (body, panic) = unsafe { (&*self.body, &*self.panic) };
        let result = catch_unwind(AssertUnwindSafe(|| {
            for thread in (own..shares.len()).chain(0..own) {
                let end = self.boundary(shares.len(), thread + 1);
                loop {
                    let k = shares[thread].0.fetch_add(1, Ordering::Relaxed);
                    if k >= end {
                        break;
                    }
                    body(k);
                }
            }
        }));
        if let Err(cause) = result {
            shares.iter().for_each(|share| share.0.store(self.count, Ordering::Relaxed));
            panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
        }
        INSIDE_REGION.set(false);
    }
}

impl Pool {
    fn open(&self, job: Job) {
        // SAFETY: the state is closed and nobody is inside (`close` saw to that), so no worker reads it.
        unsafe { *self.job.get() = Some(job) };
        for (thread, share) in self.shares.iter().enumerate() {
            share.0.store(job.boundary(self.shares.len(), thread), Ordering::Relaxed);
        }
        let old = self.state.load(Ordering::Relaxed);
        self.state.store((old & !(OPEN | INSIDE)).wrapping_add(NEXT) | OPEN, Ordering::SeqCst);
    }

    /// Wakes sleepers, at most as many as there is work for.
    fn wake(&self, most: usize) {
        for worker in self.workers.iter().take(most) {
            if worker.asleep.swap(false, Ordering::SeqCst)
                && let Some(thread) = worker.thread.get()
            {
                thread.unpark();
            }
        }
    }

    /// Lets nobody in any more and waits for those inside.
    fn close(&self) {
        self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0_u32;
        while self.state.load(Ordering::Acquire) & INSIDE != 0 {
            looks += 1;
            // A worker that is still inside may need this very core.
            if looks.is_multiple_of(1 << 12) { thread::yield_now() } else { std::hint::spin_loop() }
        }
    }

    /// The job at hand, entered, unless it is `last` again or none is open.
    fn enter(&self, last: u64) -> Option<(u64, Job)> {
        let state = self.state.load(Ordering::SeqCst);
        let number = state & !(OPEN | INSIDE);
        if state & OPEN == 0 || number == last {
            return None;
        }
        self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // SAFETY: this thread is counted as inside, so the caller has not left and does not write.
        unsafe { *self.job.get() }.map(|job| (number, job))
    }

    fn leave(&self) {
        self.state.fetch_sub(1, Ordering::Release);
    }
}

/// The life of a worker, of the threads number `thread`.
fn work(pool: &Pool, own: &Worker, thread: usize) {
    let mut last = 0;
    loop {
        if let Some((number, job)) = watch(pool, last) {
            job.take_part(&pool.shares, thread);
            pool.leave();
            last = number;
            continue;
        }
        own.asleep.store(true, Ordering::SeqCst);
        // Work that came before the caller could see this thread asleep.
        let state = pool.state.load(Ordering::SeqCst);
        if state & OPEN == 0 || state & !(OPEN | INSIDE) == last {
            thread::park();
        }
        own.asleep.store(false, Ordering::SeqCst);
    }
}

/// Looks for a new job for a while.
fn watch(pool: &Pool, last: u64) -> Option<(u64, Job)> {
    let start = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if let Some(found) = pool.enter(last) {
                return Some(found);
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > WATCH {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(n: usize) -> usize {
        let total = AtomicUsize::new(0);
        run(n, &|k| {
            total.fetch_add(k + 1, Ordering::Relaxed);
        });
        total.into_inner()
    }

    #[test]
    fn every_number_once_over_many_regions_and_callers() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20_000).for_each(|k| assert_eq!(sum(k % 37), (k % 37) * (k % 37 + 1) / 2)));
            }
        });
    }

    #[test]
    fn sleeping_workers_wake() {
        for _ in 0..5 {
            thread::sleep(3 * WATCH);
            assert_eq!(sum(1000), 500_500);
        }
    }

    #[test]
    fn regions_nest() {
        let total = AtomicUsize::new(0);
        run(8, &|_| {
            total.fetch_add(sum(8), Ordering::Relaxed);
        });
        assert_eq!(total.into_inner(), 8 * 36);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        for _ in 0..20 {
            let region = || run(100, &|k| assert!(k != 63, "number 63"));
            let cause = catch_unwind(AssertUnwindSafe(region)).unwrap_err();
            let text = cause.downcast_ref::<&str>().map(|t| t.to_string()).or(cause.downcast_ref::<String>().cloned());
            assert_eq!(text.as_deref(), Some("number 63"));
            assert_eq!(sum(100), 5050);
        }
    }
}
