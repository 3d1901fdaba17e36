//! Finished tasks by length and depth, and as the columns of the averages.

use super::average::{column, reported};
use super::breakdown::{By, Cell, breakdown};
use crate::evaluation::report::Done;
use crate::evaluation::task::{Sample, Scores};
use crate::long_context::recall::Recall;
use serde::Serialize;
use std::fmt::Write;

/// Scores of one data set by length.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// The data set's name in the benchmark.
    pub dataset: String,
    /// Its first reported metric.
    pub metric: String,
    /// By length; `depth` is absent.
    pub lengths: Vec<Cell>,
    /// By length and depth; empty where the data tell no depth.
    pub depths: Vec<Cell>,
    /// Tokens of the prompts with the room for their answers, mean over the samples of each length.
    pub achieved: Vec<Option<f64>>,
}

/// The data set and first metric of a task of HELMET; `None` for other tasks.
fn of(done: &Done) -> Option<(&str, &str)> {
    let metric = done.description["metrics"][0].as_str()?;
    Some((done.description["options"]["dataset"].as_str()?, metric))
}

impl Series {
    /// One for each data set among some tasks, in their order; other tasks are passed over.
    pub fn of(tasks: &[Done]) -> Vec<Self> {
        let mut all: Vec<Series> = Vec::new();
        for (dataset, metric) in tasks.iter().filter_map(of) {
            if all.iter().any(|series| series.dataset == dataset) {
                continue;
            }
            let mine = tasks.iter().filter(|done| of(done).is_some_and(|(other, _)| other == dataset));
            let samples: Vec<Sample> = mine.flat_map(|done| done.samples.clone()).collect();
            let lengths = breakdown(&samples, metric, By::Length);
            let mut depths = breakdown(&samples, metric, By::LengthAndDepth);
            depths.retain(|cell| cell.depth.is_some());
            let achieved = |cell: &Cell| {
                let mine = samples.iter().filter(|sample| sample.document["length"].as_f64() == cell.length);
                let tokens: Vec<f64> = mine.filter_map(|sample| sample.document["tokens"].as_f64()).collect();
                (!tokens.is_empty()).then(|| tokens.iter().sum::<f64>() / tokens.len() as f64)
            };
            let achieved = lengths.iter().map(achieved).collect();
            all.push(Series { dataset: dataset.into(), metric: metric.into(), lengths, depths, achieved });
        }
        all
    }

    /// For a picture by length and depth: the metric in place of the share of right answers. Lengths that are not known are
    /// left out.
    pub fn recalls(&self) -> Vec<Recall> {
        let recall = |cell: &Cell| {
            let mine = self.depths.iter().filter(|other| other.length == cell.length);
            let by_depth: Vec<f64> = mine.map(|other| other.mean).collect();
            let by_depth = if by_depth.is_empty() { vec![cell.mean] } else { by_depth };
            let (length, accuracy, questions) = (cell.length? as usize, cell.mean, cell.samples);
            Some(Recall { length, accuracy, by_depth, loss: f64::NAN, questions })
        };
        self.lengths.iter().filter_map(recall).collect()
    }

    /// Lines for people.
    pub fn table(&self) -> String {
        let mut text = format!("{} {}\n", self.dataset, self.metric);
        for (cell, achieved) in self.lengths.iter().zip(&self.achieved) {
            let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
            let error = cell.error.map_or(String::new(), |error| format!(" +- {error:.3}"));
            let mine = self.depths.iter().filter(|other| other.length == cell.length);
            let depths: Vec<String> = mine.map(|other| format!("{:.2}", other.mean)).collect();
            let (length, achieved) = (number(cell.length), number(achieved.to_owned()));
            let depths = if depths.is_empty() { String::new() } else { format!(", by depth {}", depths.join(" ")) };
            let _ = writeln!(
                text,
                "  {length} tokens (prompts of {achieved}): {:.3}{error}, {} samples{depths}",
                cell.mean, cell.samples
            );
        }
        text
    }
}

/// The reported scores by the columns of the averages. Of several tasks of one column (other lengths) the last holds.
pub fn category_scores(tasks: &[Done]) -> Scores {
    let mut scores = Scores::new();
    for done in tasks {
        let Some((dataset, _)) = of(done) else { continue };
        for (metric, mean) in done.means() {
            if let Some(column) = column(dataset, &metric) {
                scores.insert(column.into(), reported(&metric, mean.value));
            }
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn done(dataset: &str, length: usize, scores: &[(f64, f64)]) -> Done {
        let sample = |(depth, score): &(f64, f64)| Sample {
            id: String::new(),
            document: json!({"length": length, "depth": depth, "tokens": length - 10}),
            requests: Vec::new(),
            responses: Vec::new(),
            parsed: Value::Null,
            target: Value::Null,
            scores: Scores::from([("substring_exact_match".into(), *score)]),
        };
        let description = json!({"metrics": ["substring_exact_match"], "options": {"dataset": dataset}});
        let samples = scores.iter().map(sample).collect();
        Done { name: format!("{dataset}_{length}"), version: 1, description, samples, overall: Scores::new() }
    }

    #[test]
    fn lengths_of_one_data_set_come_together() {
        let tasks = [
            done("json_kv", 512, &[(0.0, 1.0), (1.0, 1.0), (0.0, 0.0), (1.0, 1.0)]),
            done("kilt_nq", 512, &[(0.5, 1.0)]),
            done("json_kv", 1024, &[(0.0, 0.0), (1.0, 1.0)]),
        ];
        let series = Series::of(&tasks);
        assert_eq!(series.len(), 2);
        let found = series[0].recalls();
        assert_eq!((found[0].length, found[0].accuracy, found[0].by_depth.as_slice()), (512, 0.75, &[0.5, 1.0][..]));
        assert_eq!((found[1].length, found[1].accuracy, found[1].by_depth.as_slice()), (1024, 0.5, &[0.0, 1.0][..]));
        assert_eq!(series[0].achieved, [Some(502.0), Some(1014.0)]);
        assert!(
            series[0].table().contains("512 tokens (prompts of 502): 0.750 +- 0.250, 4 samples, by depth 0.50 1.00")
        );
        let scores = category_scores(&tasks);
        assert_eq!(scores.get("json_kv substring_exact_match"), Some(&50.0));
        assert_eq!(scores.get("nq substring_exact_match"), Some(&100.0));
    }
}
