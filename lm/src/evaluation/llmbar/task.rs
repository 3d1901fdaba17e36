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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::backend::{Backend, Tell};
    use crate::evaluation::request::{Prompt, Request, Response};
    use crate::evaluation::store::Store;

    /// Prefers the place shown first a little, and "good" more.
    struct Judge;

    impl Backend for Judge {
        fn identity(&self) -> &str {
            "judge"
        }

        fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()> {
            for (place, request) in requests.iter().enumerate() {
                let (turns, name) = match request {
                    Request::Generate { prompt: Prompt::Chat(turns), .. } => (turns, ""),
                    Request::LogLikelihood { prompt: Prompt::Chat(turns), continuation } => {
                        assert_eq!(turns.last().unwrap().content, "Output (");
                        (turns, continuation.as_str())
                    }
                    other => panic!("{other:?}"),
                };
                let (first, second) = turns[0].content.split_once('|').unwrap();
                let good = |text: &str| f64::from(u8::from(text.contains("good")));
                let odds = good(first) - good(second) + 0.1;
                let response = match name {
                    "" => Response::Text { text: format!("Output ({})", if odds > 0.0 { "a" } else { "b" }) },
                    name => {
                        let sum = if name == "a" { odds } else { 0.0 };
                        Response::LogLikelihood { sum, tokens: 1, greedy: false }
                    }
                };
                tell(place, response)?;
            }
            Ok(())
        }
    }

    const MODULE: &str = r#"{"prompt": "comparison/x.txt", "model_name": "m", "generate_kwargs": {"max_new_tokens": 5},
        "parsing": {"1": "Output \\(a\\)", "2": "Output \\(b\\)"}}"#;
    const DATA: &str = r#"[{"input": "i", "output_1": "good one", "output_2": "bad", "label": 1},
        {"input": "i", "output_1": "bad", "output_2": "bad too", "label": 2}]"#;

    fn open(rest: Value) -> (tempfile::TempDir, Result<LlmBar>) {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("config/GPT-4/Vanilla.json", &format!("[{MODULE}]"));
        write("config/GPT-4/CoT.json", &format!("[{MODULE}]").replace("\\\\)", "\\\\) is better."));
        write("prompts/comparison/x.txt", "<|im_start|>user\n{output_1}|{output_2}\n<|im_end|>");
        write("Natural/dataset.json", DATA);
        let mut options = json!({"dataset": folder.path().join("Natural"), "evaluators": folder.path()});
        options.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        let options: Options = serde_json::from_value(options).unwrap();
        let task = LlmBar::open(options);
        (folder, task)
    }

    fn scores(rest: Value) -> Vec<Scores> {
        let (_folder, task) = open(rest);
        let task = task.unwrap();
        let mut store = Store::in_memory();
        let samples = task.run(&mut Asker::new(&Judge, &mut store), None).unwrap();
        assert_eq!(task.overall(&samples).len(), 2);
        samples.into_iter().map(|sample| sample.scores).collect()
    }

    #[test]
    fn text_and_log_probability_verdicts_are_scored() {
        for verdict in ["text", "log-probability"] {
            let found = scores(json!({"verdict": verdict}));
            let of = |name: &str| [found[0][name], found[1][name]];
            // Where nothing is good, the place decides.
            assert_eq!(of("accuracy"), [1.0, 0.5], "{verdict}");
            assert_eq!(of("agreement"), [1.0, 0.0]);
            assert_eq!(of("prefers_first_shown"), [0.5, 1.0]);
            assert_eq!(of("prefers_longer"), [1.0, 0.5]);
        }
        let averaged = scores(json!({"verdict": "averaged-log-probability"}));
        assert_eq!(averaged[0]["accuracy"], 1.0);
        // Both orders lean to their first place alike: no winner.
        assert_eq!((averaged[1]["unparsed"], averaged[1]["agreement"]), (1.0, 0.0));
        let original = scores(json!({"verdict": "averaged-log-probability", "compat": "original"}));
        assert_eq!(original[1]["agreement"], 1.0);
    }

    #[test]
    fn a_task_says_on_what_it_depends() {
        let (_folder, task) = open(json!({}));
        let task = task.unwrap();
        assert_eq!(task.name(), "llmbar/Natural/Vanilla");
        let files = task.describe()["files"].as_object().unwrap().len();
        assert_eq!(files, 3);
        let mut store = Store::in_memory();
        let samples = task.run(&mut Asker::new(&Judge, &mut store), Some(1)).unwrap();
        assert_eq!((samples.len(), samples[0].requests.len(), &samples[0].target), (1, 2, &json!("1")));
        assert_eq!(samples[0].parsed["winners"], json!(["1", "1"]));
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        let message = open(json!({"strategy": "CoT", "verdict": "log-probability"})).1.unwrap_err().to_string();
        assert!(message.starts_with("verdict: expected text for a strategy that explains or rates (CoT)"), "{message}");
        let unknown = json!({"dataset": "d", "evaluators": "e", "stratgy": "CoT"});
        let message = serde_json::from_value::<Options>(unknown).unwrap_err().to_string();
        assert!(message.contains("unknown field `stratgy`"), "{message}");
    }
}
