//! Answers and summaries judged by a model: any back-end, by prompts from a file.
//!
//! The prompts' file is TOML (or JSON) of texts, with `{fields}` and with `{{`, `}}` for braces:
//! - `judge_prompt`: of an answer; fields `question`, `correct_answers`, `parsed_output`. The verdict holds
//!   `{"fluency": 0 or 1, "correctness": 0 to 3}`.
//! - `fluency_prompt`: of a summary; field `text`; the verdict holds `{"fluency": 0 or 1}`.
//! - `recall_prompt`: fields `keypoints`, `summary`; the verdict holds `{"recall": key points found}`.
//! - `precision_prompt`: fields `expert_summary`, `summary`; `{"precision": sentences supported, "sentence_count": all}`.
//! - `fluency_prompt_book`, `recall_prompt_book`, `precision_prompt_book`: the same, for books.
//!
//! The original's own prompts are the texts of these names in its `scripts/eval_gpt4_longqa.py` and
//! `scripts/eval_gpt4_summ.py`.

mod answers;
mod prompts;
mod question;
mod samples;
mod summaries;
mod verdict;

pub use answers::{Answer, AnswerVerdict, Answers, judge_answers};
pub use prompts::Prompts;
pub use question::{Judge, Verdicts};
pub use samples::{judge_samples, judged};
pub use summaries::{Summaries, Summary, SummaryVerdict, judge_summaries};
pub use verdict::{parse_answer_verdict, parse_summary_verdict};

#[cfg(test)]
mod tests {
    use crate::Result;
    use crate::evaluation::backend::{Backend, Tell};
    use crate::evaluation::request::{Prompt, Request, Response};
    use std::cell::RefCell;

    /// Says given texts in turn, and remembers what it was asked.
    pub(super) struct Scripted {
        texts: Vec<String>,
        asked: RefCell<Vec<String>>,
    }

    impl Scripted {
        pub(super) fn new(texts: &[&str]) -> Self {
            Scripted { texts: texts.iter().map(|text| text.to_string()).collect(), asked: RefCell::new(Vec::new()) }
        }

        pub(super) fn prompts(&self) -> Vec<String> {
            self.asked.borrow().clone()
        }
    }

    impl Backend for Scripted {
        fn identity(&self) -> &str {
            "scripted"
        }

        fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
            assert_eq!(requests.len(), self.texts.len());
            for (place, (request, text)) in requests.iter().zip(&self.texts).enumerate() {
                let Request::Generate { prompt: Prompt::Chat(turns), .. } = request else { panic!("{request:?}") };
                self.asked.borrow_mut().push(turns[0].content.clone());
                tell(place, Response::Text { text: text.clone() })?;
            }
            Ok(())
        }
    }
}
