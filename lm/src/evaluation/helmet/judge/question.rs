//! What a judge is asked, and the two ways to have its verdict.

use super::Prompts;
use crate::Result;
use crate::evaluation::ask::Asker;
use crate::evaluation::compat::Compat;
use crate::evaluation::request::{Decoding, Request, Response};
use crate::model::chat::Message;

/// A judge's prompts, and how its verdicts are had and read.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Its prompts.
    pub prompts: Prompts,
    /// How a verdict is had.
    pub verdicts: Verdicts,
    /// Mended, a verdict with a number out of its range does not count.
    pub compat: Compat,
}

/// How a verdict is had.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdicts {
    /// The judge writes it, as in the original.
    Written(Decoding),
    /// Of all verdicts that there can be, the one to which the judge gives the largest probability: for models that write
    /// none that parses, on back-ends that tell log-probabilities.
    Likeliest,
}

/// A prompt, and all verdicts that there can be.
pub(super) struct Question {
    pub(super) prompt: String,
    pub(super) verdicts: Vec<String>,
}

impl Judge {
    /// As the original asks: written in at most 4096 tokens; mended, the most probable ones, and in the original at
    /// temperature 0.1.
    pub fn writing(prompts: Prompts, compat: Compat) -> Self {
        let temperature = if compat.is_original() { 0.1 } else { 0.0 };
        let decoding = Decoding { max_tokens: 4096, temperature, ..Decoding::default() };
        Judge { prompts, verdicts: Verdicts::Written(decoding), compat }
    }

    /// The verdicts as texts, in the order of the questions.
    pub(super) fn ask(&self, asker: &mut Asker<'_>, questions: &[Question]) -> Result<Vec<Response>> {
        match &self.verdicts {
            Verdicts::Written(decoding) => {
                let request = |q: &Question| Request::generate(turn(&q.prompt), decoding.clone());
                asker.ask(&questions.iter().map(request).collect::<Vec<_>>())
            }
            Verdicts::Likeliest => {
                let each = |q: &Question| -> Vec<Request> {
                    q.verdicts.iter().map(|verdict| Request::log_likelihood(turn(&q.prompt), verdict)).collect()
                };
                let mut answers = asker.ask(&questions.iter().flat_map(each).collect::<Vec<_>>())?.into_iter();
                let likeliest = |q: &Question| {
                    let sums: Vec<f64> = answers.by_ref().take(q.verdicts.len()).map(|answer| answer.sum()).collect();
                    // Of equals the first.
                    let best = (0..sums.len()).rev().max_by(|a, b| sums[*a].total_cmp(&sums[*b]));
                    Response::Text { text: best.map_or_else(String::new, |best| q.verdicts[best].clone()) }
                };
                Ok(questions.iter().map(likeliest).collect())
            }
        }
    }

    /// The largest number that counts; any does in the original.
    pub(super) fn bound(&self, bound: f64) -> Option<f64> {
        (!self.compat.is_original()).then_some(bound)
    }
}

/// One turn of a user.
fn turn(prompt: &str) -> Vec<Message> {
    vec![Message { role: "user".into(), content: prompt.into() }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::backend::{Backend, Tell};
    use crate::evaluation::helmet::judge::{Answer, Summary, judge_answers, judge_summaries};
    use crate::evaluation::request::Prompt;
    use crate::evaluation::store::Store;
    use std::path::Path;

    /// Prefers what holds a text.
    struct Prefers(&'static str);

    impl Backend for Prefers {
        fn identity(&self) -> &str {
            self.0
        }

        fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
            for (place, request) in requests.iter().enumerate() {
                let Request::LogLikelihood { prompt: Prompt::Chat(turns), continuation } = request else {
                    panic!("{request:?}")
                };
                assert_eq!((turns.len(), turns[0].role.as_str()), (1, "user"));
                let sum = if continuation.contains(self.0) { -1.0 } else { -2.0 };
                tell(place, Response::LogLikelihood { sum, tokens: 1, greedy: false })?;
            }
            Ok(())
        }
    }

    fn judge() -> Judge {
        let texts = [
            ("judge_prompt", "{question} {correct_answers} {parsed_output}"),
            ("fluency_prompt", "{text}"),
            ("recall_prompt", "{keypoints} {summary}"),
            ("precision_prompt", "{expert_summary} {summary}"),
        ];
        let texts = texts.into_iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let prompts = Prompts::new(texts, Path::new("p.toml")).unwrap();
        Judge { verdicts: Verdicts::Likeliest, ..Judge::writing(prompts, Compat::Mended) }
    }

    #[test]
    fn the_likeliest_verdict_is_taken() {
        let summary = Summary {
            output: "One thing. Another thing. A third.".into(),
            keypoints: vec!["a".into(), "b".into()],
            expert: "e".into(),
            book: false,
        };
        for (liked, recall, precision) in [(": 2", 1.0, 2.0 / 3.0), (": 1", 0.5, 1.0 / 3.0), (": 9", 0.0, 0.0)] {
            let (backend, mut store) = (Prefers(liked), Store::in_memory());
            let found =
                judge_summaries(&mut Asker::new(&backend, &mut store), &judge(), std::slice::from_ref(&summary))
                    .unwrap();
            let verdict = found.verdicts[0].unwrap();
            assert_eq!((verdict.recall(), verdict.precision()), (recall, precision), "{liked}");
            assert_eq!(found.unparsable, 0.0);
        }
    }

    #[test]
    fn answers_have_eight_verdicts() {
        let answer = Answer { question: "q".into(), answers: vec!["a".into()], single: true, output: "a".into() };
        let (backend, mut store) = (Prefers("1, \"correctness\": 3"), Store::in_memory());
        let found = judge_answers(&mut Asker::new(&backend, &mut store), &judge(), &[answer.clone(), answer]).unwrap();
        assert_eq!((found.score, store.len()), (Some(3.0), 8));
    }
}
