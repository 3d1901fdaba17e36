//! Training: what is reported, what is saved, and the loop itself.
//!
//! Modules, each using only those above it: [`observer`], [`files`], [`checkpoint`], [`metrics`], [`sampler`],
//! [`gradcheck`], [`ahead`], [`trainer`].

pub mod ahead;
pub mod checkpoint;
pub mod files;
pub mod gradcheck;
pub mod metrics;
pub mod observer;
pub mod sampler;
pub mod trainer;

pub use ahead::Ahead;
pub use checkpoint::Checkpoint;
pub use observer::{Event, Observer, Silent};
pub use sampler::Sampler;
pub use trainer::{NonFinitePolicy, StepContext, Summary, Task, TrainConfig, Trainer, Validation};

use crate::{Error, Result};

/// Stack for [`on_large_stack`]: only the pages that are touched cost memory.
pub const LARGE_STACK: usize = 256 << 20;

/// Runs `work` on a thread with a stack of [`LARGE_STACK`] bytes and waits for it.
///
/// candle's backward pass walks the operation graph by recursion, so a deep graph overflows the usual 8 MiB (2 MiB on
/// other threads). Models and parameters are not shared between threads: build them inside `work`.
///
/// # Errors
/// [`Error::Io`] when the thread cannot be started. A panic in `work` goes on in the caller.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("train".into())
            .stack_size(LARGE_STACK)
            .spawn_scoped(scope, work)
            .map_err(|source| Error::Io { path: "thread with a large stack".into(), source })?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}
