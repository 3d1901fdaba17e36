//! Evaluation: requests to a model, the tasks that make them of data, and the numbers that come of the answers.
//!
//! Modules, each using only those above it: [`request`] (what a model is asked), [`compat`] (quirks of original code),
//! [`metrics`] (of texts and rankings), [`backend`] (who answers),
//! [`store`] (answers kept, one line each), [`ask`] (requests answered from the store or a back-end), [`task`], [`report`]; then the
//! benchmarks, which do not know each other: [`helmet`], [`llmbar`], [`alce`] (with [`entailment`]), [`in_context`];
//! last [`tasks`], which makes tasks of files.

pub mod alce;
pub mod ask;
pub mod backend;
pub mod compat;
pub mod entailment;
pub mod helmet;
pub mod in_context;
pub mod llmbar;
pub mod metrics;
pub mod report;
pub mod request;
pub mod store;
pub mod task;
pub mod tasks;
