//! The samples of a task, judged.

use super::{Answer, Judge, Summary, SummaryVerdict, judge_answers, judge_summaries};
use crate::evaluation::ask::Asker;
use crate::evaluation::helmet::dataset::{Book, Dataset, Kind};
use crate::evaluation::task::Sample;
use crate::{Error, Result};
use serde_json::Value;

/// The data set of a task that was described so ([`Task::describe`](crate::evaluation::task::Task::describe)), where it is
/// one that is judged.
pub fn judged(description: &Value) -> Option<Dataset> {
    let dataset = Dataset::named(description["options"]["dataset"].as_str()?).ok()?;
    matches!(dataset.kind, Kind::Story | Kind::Cases | Kind::Book(Book::Summary)).then_some(dataset)
}

/// Judges the samples of a task of stories (`gpt-4-score`, 0 to 3) or summaries (`gpt-4-recall`, `gpt-4-precision`,
/// `gpt-4-fluency`, `gpt-4-f1`, 0 to 1), and adds those scores. `judge_unparsable` is 1 where the verdict does not parse;
/// the sample then has no other of these scores. The names are the original's, whatever model judges.
///
/// # Errors
/// Those of the prompts and the back-end; [`Error::Config`] for a data set that is not judged, and for summaries without
/// key points.
pub fn judge_samples(asker: &mut Asker<'_>, judge: &Judge, dataset: &Dataset, samples: &mut [Sample]) -> Result<()> {
    match dataset.kind {
        Kind::Story => {
            let answers = samples.iter().map(answer).collect::<Vec<_>>();
            let found = judge_answers(asker, judge, &answers)?;
            for (sample, verdict) in samples.iter_mut().zip(found.verdicts) {
                tell(sample, verdict.map(|verdict| vec![("gpt-4-score", verdict.score())]));
            }
            Ok(())
        }
        Kind::Cases | Kind::Book(Book::Summary) => {
            let book = dataset.kind != Kind::Cases;
            let summaries = samples.iter().map(|sample| summary(sample, book)).collect::<Result<Vec<_>>>()?;
            let found = judge_summaries(asker, judge, &summaries)?;
            for (sample, verdict) in samples.iter_mut().zip(found.verdicts) {
                tell(sample, verdict.as_ref().map(scores));
            }
            Ok(())
        }
        _ => {
            let what = format!("expected narrativeqa, multi_lexsum or infbench_sum_eng, found {:?}", dataset.name);
            Err(Error::config("dataset", what))
        }
    }
}

fn scores(verdict: &SummaryVerdict) -> Vec<(&'static str, f64)> {
    vec![
        ("gpt-4-recall", verdict.recall()),
        ("gpt-4-precision", verdict.precision()),
        ("gpt-4-fluency", verdict.fluency),
        ("gpt-4-f1", verdict.f1()),
    ]
}

fn tell(sample: &mut Sample, scores: Option<Vec<(&'static str, f64)>>) {
    // Of a judge before this one.
    sample.scores.retain(|name, _| !name.starts_with("gpt-4-"));
    let unparsable = f64::from(u8::from(scores.is_none()));
    sample.scores.insert("judge_unparsable".into(), unparsable);
    for (name, score) in scores.into_iter().flatten() {
        sample.scores.insert(name.into(), score);
    }
}

/// What the model wrote, as it was scored.
fn output(sample: &Sample) -> String {
    text(&sample.document, "output").unwrap_or_default()
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(String::from)
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(value));
    list.iter().filter_map(Value::as_str).map(String::from).collect()
}

fn answer(sample: &Sample) -> Answer {
    Answer {
        question: text(&sample.document, "question").unwrap_or_default(),
        answers: texts(&sample.target),
        single: sample.target.is_string(),
        output: output(sample),
    }
}

fn summary(sample: &Sample, book: bool) -> Result<Summary> {
    let keypoints = sample.document.get("keypoints").map(texts).ok_or_else(|| {
        Error::config("keypoints", format!("expected key points of summary {:?}, found none", sample.id))
    })?;
    let answers = texts(&sample.target);
    let expert = if book { answers.into_iter().next() } else { text(&sample.document, "summary/long") };
    Ok(Summary { output: output(sample), keypoints, expert: expert.unwrap_or_default(), book })
}
