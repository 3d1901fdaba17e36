//! LLMBar (arXiv 2310.07641): judges of instruction following, judged.
//!
//! A judge is shown an instruction and two outputs, once in each order, and says which one is better; people have said
//! so before. Prompts and settings are those of the benchmark's own `LLMEvaluator/evaluators` folder, read when they are
//! needed.
//!
//! Modules, each using only those above it: [`winner`] (which output, which order), [`dataset`] (the pairs), [`parse`]
//! (completions read), [`prompt`] (files of prompts), [`rendering`] (turns written out for models without a template),
//! [`config`] (files of settings), [`outcome`] (what a judge said, as the benchmark stores it), [`strategy`] (what is
//! asked, and after what), [`verdict`] (winners by log-probability), [`judge`] (a strategy run), [`statistics`],
//! [`stored`] (folders of results), [`replay`] (stored results computed again), [`bias`] (what winners lean to), and
//! [`task`].

pub mod bias;
pub mod config;
pub mod dataset;
pub mod judge;
pub mod outcome;
pub mod parse;
pub mod prompt;
pub mod rendering;
pub mod replay;
pub mod statistics;
pub mod stored;
pub mod strategy;
pub mod task;
pub mod verdict;
pub mod winner;

#[cfg(test)]
mod golden;

/// How results differ from those of the original code, one sentence each.
pub const DEVIATIONS: &[&str] = &[
    "A prompt is split into turns before it is filled, so that text of an example cannot open a turn; the original \
     splits the filled text (kept by compat = original).",
    "Two completions without a winner do not agree; the original counts them as agreement (kept by compat = original).",
    "Kappa takes winners as they are, a missing one as a class of its own; the original turns every winner but 1 into \
     0 and compares that with labels 1 and 2 (kept by compat = original).",
    "Ratings of which one is no integer have no winner; the original says output 1 in the given order and output 2 in \
     the other (kept by compat = original).",
    "No token is favoured or avoided: the original adds 7 to the logits of the tokens of \"Output (a)\" and \"Output \
     (b)\" and -100 to eleven evasive ones, for OpenAI models only.",
    "Generation is greedy unless a temperature is configured; the original leaves Llama-2 and Falcon to the defaults of \
     their checkpoints.",
    "Turns are written out by the back-end's own chat template; the original writes Llama-2, Falcon and PaLM prompts \
     itself (the module rendering has these).",
    "Equal requests are asked once, and examples are asked in waves, a module at a time; the original asks one call \
     after the other.",
];
