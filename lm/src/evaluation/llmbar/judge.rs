//! A strategy run over examples: a wave of requests for each module.

use super::dataset::Example;
use super::outcome::{Answer, Outcome};
use super::strategy::{Kind, Module, Strategy};
use super::verdict::{self, Verdict};
use super::winner::{Order, Winner};
use crate::evaluation::ask::Asker;
use crate::evaluation::compat::Compat;
use crate::evaluation::request::{Prompt, Request, Response};
use crate::python::text::strip;
use crate::{Error, Result};

/// What was asked about one example, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// Module by module; a module that was not needed has none.
    pub outcomes: Vec<Outcome>,
    /// In the order asked.
    pub requests: Vec<Request>,
    /// Their answers.
    pub responses: Vec<Response>,
}

impl Judgement {
    /// Of the last module, in the two orders of [`Order::BOTH`].
    pub fn winners(&self) -> [Option<Winner>; 2] {
        self.outcomes.last().map_or([None; 2], Outcome::winners)
    }
}

impl Strategy {
    /// Judges every example: all requests of a module are asked together, and each example's stay in their order.
    ///
    /// # Errors
    /// Those of the asker; [`Error::Config`] where the strategy cannot be decided so.
    pub fn judge(
        &self,
        asker: &mut Asker<'_>,
        examples: &[Example],
        verdict: Verdict,
        compat: Compat,
    ) -> Result<Vec<Judgement>> {
        verdict.check(self)?;
        let mut judgements = vec![Judgement::default(); examples.len()];
        for module in &self.modules {
            let mut asked = Vec::new();
            for (example, judgement) in examples.iter().zip(&judgements) {
                asked.push(module.requests(example, &judgement.outcomes, verdict, compat)?);
            }
            let mut responses = asker.ask(&asked.concat())?.into_iter();
            for (judgement, requests) in judgements.iter_mut().zip(asked) {
                let responses: Vec<Response> = responses.by_ref().take(requests.len()).collect();
                if !requests.is_empty() {
                    judgement.outcomes.push(module.outcome(&responses, verdict, compat)?);
                }
                judgement.requests.extend(requests);
                judgement.responses.extend(responses);
            }
        }
        Ok(judgements)
    }

    /// Texts of the prompts that led to these outcomes, marks of turns included, in the order asked.
    ///
    /// # Errors
    /// [`Error::Format`] of a prompt that cannot be filled.
    pub fn prompts(&self, example: &Example, outcomes: &[Outcome]) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for (place, module) in self.modules.iter().enumerate() {
            for fields in module.calls(example, outcomes.get(..place).unwrap_or(outcomes)) {
                texts.push(module.template.text(&fields)?);
            }
        }
        Ok(texts)
    }
}

impl Module {
    /// Asks about an example, after what came of the modules before.
    ///
    /// # Errors
    /// [`Error::Format`] of a prompt that cannot be filled.
    pub fn requests(
        &self,
        example: &Example,
        before: &[Outcome],
        verdict: Verdict,
        compat: Compat,
    ) -> Result<Vec<Request>> {
        let mut requests = Vec::new();
        for fields in self.calls(example, before) {
            let turns = self.template.messages(&fields, compat)?;
            match self.kind {
                Kind::Comparison(_) if verdict.is_log_probability() => requests.extend(verdict::requests(&turns)),
                _ => requests.push(Request::generate(Prompt::Chat(turns), self.generation.decoding())),
            }
        }
        Ok(requests)
    }

    /// What the answers to [`Module::requests`] amount to.
    ///
    /// # Errors
    /// [`Error::Config`] where there are not as many answers as were asked for.
    pub fn outcome(&self, responses: &[Response], verdict: Verdict, compat: Compat) -> Result<Outcome> {
        match (&self.kind, responses) {
            (Kind::Auxiliary, [text]) => Ok(Outcome::Auxiliary(strip(text.text()).into())),
            (Kind::Rating, [first, second]) => Ok(Outcome::rated([first, second].map(|r| r.text().into()), compat)),
            (Kind::Comparison(_), [a, b, swapped_a, swapped_b]) => {
                Ok(verdict::decide(verdict, [[a.sum(), b.sum()], [swapped_a.sum(), swapped_b.sum()]]))
            }
            (Kind::Comparison(parser) | Kind::SwapAndSynthesize(parser), [as_given, swapped]) => {
                let answer = |order: Order, response: &Response| {
                    let completion = strip(response.text());
                    let winner = parser.winner(completion).map(|place| order.turn(place));
                    Answer { completion: completion.into(), winner, log_odds: None }
                };
                Ok(Outcome::Comparison([answer(Order::AsGiven, as_given), answer(Order::Swapped, swapped)]))
            }
            _ => Err(Error::config("responses", format!("expected one to each request, found {}", responses.len()))),
        }
    }
}
