//! The benchmark as a task: a data set judged with a strategy.

use super::DEVIATIONS;
use super::bias::{Tally, words};
use super::dataset::Dataset;
use super::judge::Judgement;
use super::outcome::Outcome;
use super::statistics::{Judged, Statistics};
use super::strategy::Strategy;
use super::verdict::Verdict;
use super::winner::Winner;
use crate::evaluation::ask::Asker;
use crate::evaluation::compat::Compat;
use crate::evaluation::task::{Sample, Scores, Task};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What to judge, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// File of examples, or a folder with `dataset.json` in it.
    pub dataset: PathBuf,
    /// The benchmark's folder of settings and prompts, `LLMEvaluator/evaluators`.
    pub evaluators: PathBuf,
    /// Whose settings: a folder in `config`.
    #[serde(default = "gpt_4")]
    pub llm: String,
    /// Which strategy: a file in that folder.
    #[serde(default = "vanilla")]
    pub strategy: String,
    /// How comparisons are decided.
    #[serde(default)]
    pub verdict: Verdict,
    /// Whether defects of the original are kept.
    #[serde(default)]
    pub compat: Compat,
}

fn gpt_4() -> String {
    "GPT-4".into()
}

fn vanilla() -> String {
    "Vanilla".into()
}

/// A data set with a strategy.
#[derive(Clone, Debug)]
pub struct LlmBar {
    name: String,
    options: Options,
    dataset: Dataset,
    strategy: Strategy,
}

impl LlmBar {
    /// Reads data, settings and prompts.
    ///
    /// # Errors
    /// Those of [`Dataset::read`] and [`Strategy::open`]; [`Error::Config`] of a verdict that does not go with the
    /// strategy.
    pub fn open(options: Options) -> Result<Self> {
        let dataset = Dataset::read(&options.dataset)?;
        let strategy = Strategy::open(&options.evaluators, &options.llm, &options.strategy)?;
        options.verdict.check(&strategy)?;
        let name = format!("llmbar/{}/{}", dataset.name(), strategy.name);
        Ok(LlmBar { name, options, dataset, strategy })
    }

    /// The examples.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn sample(&self, index: usize, judgement: Judgement) -> Result<Sample> {
        let example = self.dataset.examples.get(index);
        let example = example.ok_or_else(|| Error::config("index", format!("expected an example, found {index}")))?;
        let [first, second] = &example.outputs;
        let judged = Judged { winners: judgement.winners(), label: example.label };
        let mut tally = Tally::default();
        let shown = matches!(judgement.outcomes.last(), Some(Outcome::Comparison(_)));
        tally.count(judged.winners, judged.label, [words(first), words(second)], shown);
        let shares = tally.shares();
        let [as_given, swapped] = judged.correct().map(|right| f64::from(u8::from(right)));
        let agrees = judged.agrees() && (self.options.compat.is_original() || judged.unparsed() == 0);
        let mut scores = Scores::from([
            ("accuracy".into(), (as_given + swapped) / 2.0),
            ("accuracy_as_given".into(), as_given),
            ("accuracy_swapped".into(), swapped),
            ("accuracy_both".into(), as_given * swapped),
            ("agreement".into(), f64::from(u8::from(agrees))),
            ("unparsed".into(), judged.unparsed() as f64 / 2.0),
        ]);
        let leanings = [("prefers_first_shown", shares.first_shown), ("prefers_longer", shares.longer)];
        scores.extend(leanings.into_iter().filter_map(|(name, share)| Some((name.to_string(), share?))));
        Ok(Sample {
            id: index.to_string(),
            document: json!({"input": example.input, "output_1": first, "output_2": second}),
            parsed: json!({"winners": judged.winners, "results": judgement.outcomes}),
            requests: judgement.requests,
            responses: judgement.responses,
            target: json!(judged.label),
            scores,
        })
    }
}

impl Task for LlmBar {
    fn name(&self) -> &str {
        &self.name
    }

    fn describe(&self) -> Value {
        let mut files = self.strategy.files();
        files.insert(self.dataset.path.display().to_string(), self.dataset.sha256.clone());
        json!({"options": self.options, "files": files, "deviations": DEVIATIONS})
    }

    fn run(&self, asker: &mut Asker<'_>, limit: Option<usize>) -> Result<Vec<Sample>> {
        let examples = &self.dataset.examples;
        let examples = examples.get(..limit.unwrap_or(examples.len())).unwrap_or(examples);
        let judgements = self.strategy.judge(asker, examples, self.options.verdict, self.options.compat)?;
        judgements.into_iter().enumerate().map(|(index, judgement)| self.sample(index, judgement)).collect()
    }

    /// Cohen's kappa: of the winners with the labels, mean of both orders, and of the winners of one order with those of
    /// the other.
    fn overall(&self, samples: &[Sample]) -> Scores {
        let winner = |value: &Value| serde_json::from_value::<Option<Winner>>(value.clone()).ok().flatten();
        let judged: Vec<Judged> = samples
            .iter()
            .filter_map(|sample| {
                let winners = &sample.parsed["winners"];
                Some(Judged { winners: [winner(&winners[0]), winner(&winners[1])], label: winner(&sample.target)? })
            })
            .collect();
        let statistics = Statistics::of(&judged);
        let kappa = if self.options.compat.is_original() { statistics.kappa_original } else { statistics.kappa };
        Scores::from([("kappa".into(), kappa.average), ("kappa_agreement".into(), kappa.agreement)])
    }
}
