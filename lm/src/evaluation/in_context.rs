//! What in-context learning learns (Pan et al. 2023, arXiv 2305.09731): recognising a task, or learning it.
//!
//! Modules, each using only those above it: [`template`], [`dataset`], [`labels`], [`demonstrations`], [`prompt`], [`score`],
//! [`experiment`] with [`task`]; and apart from them [`synthetic`], a world in which a small model is trained to do both.

pub mod dataset;
pub mod demonstrations;
pub mod experiment;
pub mod labels;
pub mod prompt;
pub mod score;
pub mod synthetic;
pub mod task;
pub mod template;

#[cfg(test)]
mod golden;

/// How numbers differ from the original's, one sentence each.
pub const DEVIATIONS: &[&str] = &[
    "The whole label is scored by its log-likelihood; the original compares one token with the label, so that longer labels are never right.",
    "What is scored begins with the blank that stands before labels in demonstrations; the original always puts one space.",
    "Abstract symbols are distinct; the original has the backslash twice and can give it to two classes.",
    "Slips of templates are mended: two blanks, missing newlines and blanks, 'a atheist', and premise and hypothesis exchanged.",
    "A generated answer is valid if it is one of the labels in use; the original always asks for natural ones, and loses answers that read as numbers or missing values.",
    "Demonstrations are as many of each class as of any other, the rest spread over classes; the original guarantees each class the rounded share.",
    "Examples asked are as many of each class as of any other, drawn from all rows; the original takes the first 500 rows as they are.",
    "Demonstrations and labels are seeded, the same demonstrations in every mode and template; the original's are not seeded.",
    "A prompt longer than the model's context is refused; the original drops demonstrations at random.",
];
