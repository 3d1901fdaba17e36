//! Summaries, judged for fluency, for the key points they hold, and for what they say that an expert's does not.

use super::prompts::Prompts;
use super::question::{Judge, Question};
use super::verdict::{number, parse_summary_verdict};
use crate::Result;
use crate::evaluation::ask::Asker;
use crate::evaluation::metrics::sentences::split;
use crate::evaluation::request::Response;
use crate::python::text::strip;

/// A summary to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What the model wrote.
    pub output: String,
    /// What a good summary holds.
    pub keypoints: Vec<String>,
    /// A good summary.
    pub expert: String,
    /// Whether it is of a book; else of a law case.
    pub book: bool,
}

/// What the judge found in three answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SummaryVerdict {
    /// 0 or 1.
    pub fluency: f64,
    /// Key points.
    pub recall_total: f64,
    /// Key points that are in the summary.
    pub recall_found: f64,
    /// Sentences of the summary.
    pub precision_total: f64,
    /// Sentences that the expert's summary supports.
    pub precision_found: f64,
}

impl SummaryVerdict {
    /// Share of the key points that are found; 0 where there are none.
    pub fn recall(&self) -> f64 {
        ratio(self.recall_found, self.recall_total)
    }

    /// Share of the sentences that are supported; 0 where there are none.
    pub fn precision(&self) -> f64 {
        ratio(self.precision_found, self.precision_total)
    }

    /// Fluency times the harmonic mean of recall and precision.
    pub fn f1(&self) -> f64 {
        let (recall, precision) = (self.recall(), self.precision());
        self.fluency * ratio(2.0 * recall * precision, recall + precision)
    }
}

/// The ratio; 0 where there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The verdicts on a list of summaries.
#[derive(Clone, Debug, PartialEq)]
pub struct Summaries {
    /// Each; `None` where one of the judge's three texts does not parse.
    pub verdicts: Vec<Option<SummaryVerdict>>,
    /// What the judge wrote: fluency, recall, precision of each.
    pub responses: Vec<Response>,
    /// Share of the summaries with a verdict that does not parse.
    pub unparsable: f64,
}

impl Summaries {
    /// Mean over the verdicts that parse; `None` without any (the original crashes).
    pub fn mean(&self, of: impl Fn(&SummaryVerdict) -> f64) -> Option<f64> {
        let values: Vec<f64> = self.verdicts.iter().flatten().map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// Asks a judge three questions about each summary: fluency, recall, precision.
///
/// # Errors
/// Those of the prompts and the back-end.
pub fn judge_summaries(asker: &mut Asker<'_>, judge: &Judge, summaries: &[Summary]) -> Result<Summaries> {
    let mut all = Vec::new();
    for summary in summaries {
        all.extend(questions(&judge.prompts, summary)?);
    }
    let responses = judge.ask(asker, &all)?;
    let verdict = |(summary, said): (&Summary, &[Response])| verdict(summary, said, judge);
    let verdicts: Vec<_> = summaries.iter().zip(responses.chunks(3)).map(verdict).collect();
    let unparsable = verdicts.iter().filter(|verdict| verdict.is_none()).count();
    let unparsable = unparsable as f64 / verdicts.len().max(1) as f64;
    Ok(Summaries { verdicts, responses, unparsable })
}

fn questions(prompts: &Prompts, summary: &Summary) -> Result<[Question; 3]> {
    let name = |name: &str| if summary.book { format!("{name}_book") } else { name.to_string() };
    let output = strip(&summary.output);
    let numbered = summary.keypoints.iter().enumerate().map(|(place, point)| format!("{}. {point}", place + 1));
    let keypoints = numbered.collect::<Vec<_>>().join("\n");
    let sentences = split(output).len();
    let fluency = [("text", output)];
    let recall = [("keypoints", keypoints.as_str()), ("summary", output)];
    let precision = [("expert_summary", summary.expert.as_str()), ("summary", output)];
    let question =
        |kind: &str, fields: &[(&str, &str)], most: usize, verdict: &dyn Fn(usize) -> String| -> Result<Question> {
            let prompt = prompts.render(&name(kind), fields)?;
            Ok(Question { prompt, verdicts: (0..=most).map(verdict).collect() })
        };
    Ok([
        question("fluency_prompt", &fluency, 1, &|n| format!("{{\"fluency\": {n}}}"))?,
        question("recall_prompt", &recall, summary.keypoints.len(), &|n| format!("{{\"recall\": {n}}}"))?,
        question("precision_prompt", &precision, sentences, &|n| {
            format!("{{\"precision\": {n}, \"sentence_count\": {sentences}}}")
        })?,
    ])
}

fn verdict(summary: &Summary, said: &[Response], judge: &Judge) -> Option<SummaryVerdict> {
    let [fluency, recall, precision] = said else { return None };
    let [fluency, recall, precision] = [fluency, recall, precision].map(|said| parse_summary_verdict(said.text()));
    let (fluency, recall, precision) = (fluency?, recall?, precision?);
    let recall_total = summary.keypoints.len() as f64;
    let precision_total = number(&precision, "sentence_count", judge.bound(f64::INFINITY))?;
    Some(SummaryVerdict {
        fluency: number(&fluency, "fluency", judge.bound(1.0))?,
        recall_total,
        recall_found: number(&recall, "recall", judge.bound(recall_total))?,
        precision_total,
        precision_found: number(&precision, "precision", judge.bound(precision_total))?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::golden;
    use super::super::tests::Scripted;
    use super::*;
    use crate::evaluation::compat::Compat;
    use crate::evaluation::store::Store;
    use serde_json::Value;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn judge(
        said: &[&str],
        summaries: &[Summary],
        texts: BTreeMap<String, String>,
        compat: Compat,
    ) -> (Summaries, Vec<String>) {
        let prompts = Prompts::new(texts, Path::new("judge.toml")).unwrap();
        let backend = Scripted::new(said);
        let mut store = Store::in_memory();
        let mut asker = Asker::new(&backend, &mut store);
        let found = judge_summaries(&mut asker, &Judge::writing(prompts, compat), summaries).unwrap();
        (found, backend.prompts())
    }

    #[test]
    fn prompts_and_scores_are_those_of_the_original() {
        let Some(file) = golden::file("judge_summ.json") else { return };
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let texts: BTreeMap<String, String> =
            file["prompts"].as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let runs = file["runs"].as_array().unwrap();
        assert!(!runs.is_empty());
        for run in runs {
            let points: BTreeMap<String, Vec<String>> = run["keypoints"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| {
                    let list = row.get("summary/short_keypoints").or(row.get("keypoints")).unwrap();
                    (row["id"].to_string(), list.as_array().unwrap().iter().map(text).collect())
                })
                .collect();
            let summary = |row: &Value| Summary {
                output: text(&row["output"]),
                keypoints: points[&row["id"].to_string()].clone(),
                expert: row.get("summary/long").map_or_else(|| text(&row["answer"][0]), text),
                book: row.get("summary/long").is_none(),
            };
            let summaries: Vec<Summary> = run["rows"].as_array().unwrap().iter().map(summary).collect();
            let said: Vec<&str> =
                run["judge_outputs"].as_array().unwrap().iter().map(|said| said.as_str().unwrap_or_default()).collect();
            let (found, asked) = judge(&said, &summaries, texts.clone(), Compat::Original);
            let tails = run["prompt_tails"].as_array().unwrap();
            assert_eq!(asked.len(), tails.len());
            for (asked, tail) in asked.iter().zip(tails) {
                assert!(asked.ends_with(tail.as_str().unwrap()), "{tail}");
            }
            for (verdict, expected) in found.verdicts.iter().zip(run["per_item"].as_array().unwrap()) {
                let Some(verdict) = verdict else {
                    assert!(expected.is_null());
                    continue;
                };
                for (name, value) in [
                    ("fluency", verdict.fluency),
                    ("recall_total", verdict.recall_total),
                    ("recall_found", verdict.recall_found),
                    ("precision_total", verdict.precision_total),
                    ("precision_found", verdict.precision_found),
                    ("recall", verdict.recall()),
                    ("precision", verdict.precision()),
                    ("f1", verdict.f1()),
                ] {
                    assert!(golden::close(value, &expected[name]), "{name} {value} {expected}");
                }
            }
            let averaged = &run["averaged"];
            for (name, value) in [
                ("gpt-4-recall", found.mean(SummaryVerdict::recall)),
                ("gpt-4-precision", found.mean(SummaryVerdict::precision)),
                ("gpt-4-fluency", found.mean(|verdict| verdict.fluency)),
                ("gpt-4-f1", found.mean(SummaryVerdict::f1)),
            ] {
                assert!(golden::close(value.unwrap_or(f64::NAN), &averaged[name]), "{name}");
            }
        }
    }

    #[test]
    fn a_summary_with_a_verdict_that_does_not_parse_is_left_out_and_counted() {
        let summary = |output: &str| Summary {
            output: output.into(),
            keypoints: vec!["k".into()],
            expert: "e".into(),
            book: true,
        };
        let names = ["fluency_prompt_book", "recall_prompt_book", "precision_prompt_book"];
        let bodies = ["f {text}", "r {keypoints} {summary}", "p {expert_summary} {summary}"];
        let texts = names.iter().zip(bodies).map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let good = ["{\"fluency\": 1}", "{\"recall\": 1}", "{\"precision\": 1, \"sentence_count\": 2}"];
        let bad = ["{\"fluency\": 1}", "{\"recall\": 2}", "{\"precision\": 1, \"sentence_count\": 2}"];
        let said = [good, bad].concat();
        let summaries = [summary("a"), summary("b")];
        let (found, asked) = judge(&said, &summaries, texts, Compat::Mended);
        assert_eq!(asked[..3], ["f a", "r 1. k a", "p e a"]);
        assert_eq!(found.unparsable, 0.5);
        assert!((found.mean(SummaryVerdict::f1).unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }
}
