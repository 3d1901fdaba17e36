//! Scores by the length of the prompt and the depth of the answer, for tables and plots.

use crate::evaluation::report::mean;
use crate::evaluation::task::Sample;
use serde::Serialize;
use serde_json::Value;

/// The samples of one length and one depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Length that was asked for, tokens; absent where none was.
    pub length: Option<f64>,
    /// Depth of the answer, by the data.
    pub depth: Option<f64>,
    /// Mean of the score.
    pub mean: f64,
    /// Standard error of the mean; absent for one sample.
    pub error: Option<f64>,
    /// Samples that have the score.
    pub samples: usize,
}

/// By what samples are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Length.
    Length,
    /// Depth.
    Depth,
    /// Both.
    LengthAndDepth,
}

/// Length and depth.
type Key = (Option<f64>, Option<f64>);

/// Means of a metric over groups of samples, in rising order of length and depth. Length and depth are `length` and
/// `depth` of a sample's document.
pub fn breakdown(samples: &[Sample], metric: &str, by: By) -> Vec<Cell> {
    let number = |sample: &Sample, field: &str| sample.document.get(field).and_then(Value::as_f64);
    let mut groups: Vec<(Key, Vec<f64>)> = Vec::new();
    for sample in samples {
        let Some(score) = sample.scores.get(metric) else { continue };
        let length = number(sample, "length").filter(|_| by != By::Depth);
        let depth = number(sample, "depth").filter(|_| by != By::Length);
        match groups.iter_mut().find(|(key, _)| *key == (length, depth)) {
            Some((_, scores)) => scores.push(*score),
            None => groups.push(((length, depth), vec![*score])),
        }
    }
    let order = |value: &Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
    groups.sort_by(|((l, d), _), ((m, e), _)| order(l).total_cmp(&order(m)).then(order(d).total_cmp(&order(e))));
    let cell = |((length, depth), scores): (Key, Vec<f64>)| {
        let found = mean(&scores)?;
        Some(Cell { length, depth, mean: found.value, error: found.standard_error, samples: found.samples })
    };
    groups.into_iter().filter_map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::task::Scores;
    use serde_json::json;

    fn sample(length: usize, depth: Option<usize>, score: f64) -> Sample {
        Sample {
            id: String::new(),
            document: json!({"length": length, "depth": depth}),
            requests: Vec::new(),
            responses: Vec::new(),
            parsed: Value::Null,
            target: Value::Null,
            scores: Scores::from([("m".into(), score)]),
        }
    }

    #[test]
    fn samples_are_grouped_and_ordered() {
        let samples = [
            sample(1024, Some(5), 1.0),
            sample(512, Some(0), 1.0),
            sample(512, Some(5), 0.0),
            sample(512, Some(0), 0.0),
        ];
        let both = breakdown(&samples, "m", By::LengthAndDepth);
        let keys: Vec<_> = both.iter().map(|cell| (cell.length.unwrap(), cell.depth.unwrap(), cell.mean)).collect();
        assert_eq!(keys, [(512.0, 0.0, 0.5), (512.0, 5.0, 0.0), (1024.0, 5.0, 1.0)]);
        assert_eq!(both[0].error, Some(0.5));
        let lengths = breakdown(&samples, "m", By::Length);
        assert_eq!((lengths.len(), lengths[0].samples, lengths[0].depth), (2, 3, None));
        assert!((lengths[0].mean - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(breakdown(&samples, "m", By::Depth).len(), 2);
        assert!(breakdown(&samples, "other", By::Depth).is_empty());
    }
}
