//! A task: data, the requests it makes of them, and the scores of the answers.

use super::ask::Asker;
use super::request::{Request, Response};
use crate::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A score of one sample, or of a task, by its name.
pub type Scores = BTreeMap<String, f64>;

/// One example with what was asked, answered and scored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Names the example in its data.
    pub id: String,
    /// The example, as far as a reader of the results needs it.
    pub document: Value,
    /// Requests in the order asked.
    pub requests: Vec<Request>,
    /// Their answers.
    pub responses: Vec<Response>,
    /// What was made of the answers (a winner, a ranking, a text), null where they do not parse.
    pub parsed: Value,
    /// The right answer.
    pub target: Value,
    /// Scores; a metric that does not apply to the sample is absent. Each is averaged over the samples that have it.
    pub scores: Scores,
}

/// Data and scoring of one benchmark, or part of one.
pub trait Task {
    /// Name in results.
    fn name(&self) -> &str;

    /// Goes up whenever scores of the same answers change.
    fn version(&self) -> u32 {
        1
    }

    /// Everything on which the scores depend but the model: options, files with their SHA-256, deviations from the
    /// original.
    fn describe(&self) -> Value;

    /// Asks and scores. At most `limit` samples, the first ones.
    ///
    /// # Errors
    /// Those of the back-end; data that cannot be used.
    fn run(&self, asker: &mut Asker<'_>, limit: Option<usize>) -> Result<Vec<Sample>>;

    /// Scores of all samples together that are no mean over samples.
    fn overall(&self, _samples: &[Sample]) -> Scores {
        Scores::new()
    }
}
