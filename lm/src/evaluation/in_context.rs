//! What in-context learning learns (Pan et al. 2023, arXiv 2305.09731): recognising a task, or learning it.
//!
//! Modules, each using only those above it: [`template`], [`dataset`], [`labels`], [`demonstrations`], [`prompt`],
//! [`score`], [`experiment`] with [`task`], [`report`]; and apart from them [`synthetic`], a world in which a small model is
//! trained to do both.

pub mod dataset;
pub mod demonstrations;
pub mod experiment;
pub mod labels;
pub mod prompt;
pub mod report;
pub mod score;
pub mod synthetic;
pub mod task;
pub mod template;

#[cfg(test)]
mod golden;

/// How numbers differ from the original's, one sentence each.
pub const DEVIATIONS: &[&str] = &[
    "The whole label is scored by its log-likelihood; the original compares one token, so that longer labels are never right.",
    "What is scored begins with the blank that demonstrations have before labels; the original always puts one space.",
    "Abstract symbols are distinct; the original has the backslash twice and can give it to two classes.",
    "Slips of templates are mended: doubled and missing blanks, 'a atheist', and premise and hypothesis exchanged.",
    "A generated answer is valid if it is a label in use; the original always asks for natural ones.",
    "Generated answers that read as numbers or missing values are kept; the original takes the response instead.",
    "Each class has as many demonstrations as any other, but for the rest; the original guarantees the rounded share.",
    "Each class is asked as often as any other, of all rows; the original takes the first 500 rows as they are.",
    "Demonstrations and labels are seeded, the same demonstrations in every mode and template; the original's are not.",
    "A prompt longer than the model's context is refused; the original drops demonstrations at random.",
];
