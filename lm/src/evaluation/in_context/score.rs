//! From answers to numbers.

use super::template::strip;
use crate::evaluation::compat::Compat;
use serde::Serialize;
use std::collections::BTreeMap;

/// The place of the greatest log-likelihood; of equal ones the first, and none where one is not a number.
pub fn choose(sums: &[f64]) -> Option<usize> {
    if sums.iter().any(|sum| sum.is_nan()) {
        return None;
    }
    (0..sums.len()).reduce(|best, k| if sums[k] > sums[best] { k } else { best })
}

/// What is said of one generated answer: 0 or 1 each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Generated {
    /// Equals the right label.
    pub accuracy: f64,
    /// Is a label.
    pub valid_output: f64,
}

/// Judges a generated answer by equality. `answer` is its first line, `response` all of it; `labels` are those in
/// use, which for the original are the natural words always, also where abstract ones are shown.
///
/// The original writes answers to a table and reads it again, where an answer that looks like a number, or like a
/// missing value, or is empty, is taken from the response instead.
pub fn generated(right: &str, answer: &str, response: &str, labels: &[&str], compat: Compat) -> Generated {
    let first_line =
        |text: &str| strip(text).split('\n').next().map(|line| strip(line).to_string()).unwrap_or_default();
    let kept = strip(answer);
    let (right, found) = if compat.is_original() {
        let lost = kept.is_empty() || reads_as_no_text(answer);
        let found = if lost { first_line(&read_again(response)) } else { kept.into() };
        (read_again(right), found)
    } else {
        let found = if kept.is_empty() { first_line(response) } else { first_line(answer) };
        (right.to_string(), found)
    };
    let share = |yes: bool| f64::from(u8::from(yes));
    Generated { accuracy: share(found == right), valid_output: share(labels.contains(&found.as_str())) }
}

/// Texts that pandas reads as a missing value.
const MISSING: &[&str] = &[
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Whether a column with this text alone is not one of texts.
fn reads_as_no_text(text: &str) -> bool {
    let truth = ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word));
    truth || MISSING.contains(&text) || text.trim_matches(' ').parse::<f64>().is_ok()
}

/// A cell of a table as a text, after it was written and read: whole numbers lose their zeros in front, missing values
/// are "nan".
fn read_again(text: &str) -> String {
    if MISSING.contains(&text) {
        return "nan".into();
    }
    text.trim_matches(' ').parse::<i64>().map_or_else(|_| text.into(), |number| number.to_string())
}

/// Mean and population standard deviation of each number over episodes, for the numbers that all of them have.
pub fn average(episodes: &[BTreeMap<String, f64>]) -> BTreeMap<String, (f64, f64)> {
    let Some(first) = episodes.first() else { return BTreeMap::new() };
    let spread = |name: &String| {
        let values = episodes.iter().map(|episode| episode.get(name).copied()).collect::<Option<Vec<f64>>>()?;
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        Some((name.clone(), (mean, variance.sqrt())))
    };
    first.keys().filter_map(spread).collect()
}

/// Mean of values that fall into groups, and its standard error from the spread of the groups' means: values of one
/// group hang together (the same example asked with several templates). Not a number for fewer than two groups.
pub fn clustered(values: impl IntoIterator<Item = (usize, f64)>) -> (f64, f64) {
    let mut groups: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for (group, value) in values {
        let entry = groups.entry(group).or_default();
        *entry = (entry.0 + value, entry.1 + 1.0);
    }
    let (sum, count) = groups.values().fold((0.0, 0.0), |all, one| (all.0 + one.0, all.1 + one.1));
    let (mean, number) = (sum / count, groups.len() as f64);
    // Residuals of sums, not of means: groups need not be equally large.
    let squares: f64 = groups.values().map(|(sum, n)| (sum - n * mean).powi(2)).sum();
    let error = if number < 2.0 { f64::NAN } else { (squares * number / (number - 1.0)).sqrt() / count };
    (mean, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_is_chosen_and_no_number_chooses_nothing() {
        assert_eq!(choose(&[-3.0, -1.0, -1.0]), Some(1));
        assert_eq!(choose(&[f64::NEG_INFINITY, -9.0]), Some(1));
        assert_eq!(choose(&[-1.0, f64::NAN]), None);
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn numbers_and_missing_values_go_through_the_table_as_in_the_original() {
        let judge = |right, answer, response, compat| generated(right, answer, response, &["0", "1", "None"], compat);
        let one = Generated { accuracy: 1.0, valid_output: 1.0 };
        assert_eq!(judge("1", "1", "1", Compat::Mended), one);
        assert_eq!(judge("1", "1", "0", Compat::Original).accuracy, 0.0);
        assert_eq!(judge("None", "None", "None", Compat::Mended), one);
        assert_eq!(judge("1", "", " 1\nmore", Compat::Mended), one);
        assert_eq!(judge("1", "01", "01", Compat::Original).accuracy, 1.0);
        assert_eq!(judge("1", "01", "01", Compat::Mended).accuracy, 0.0);
    }

    #[test]
    fn standard_errors_count_groups_not_values() {
        let (mean, error) = clustered((0..100).map(|k| (k, f64::from(u8::from(k % 2 == 0)))));
        assert!((mean - 0.5).abs() < 1e-12 && (error - (0.25f64 / 99.0).sqrt()).abs() < 1e-12, "{error}");
        // Each value four times: no more is known.
        let (_, again) = clustered((0..400).map(|k| (k / 4, f64::from(u8::from((k / 4) % 2 == 0)))));
        assert!((again - error).abs() < 1e-12);
        assert!(clustered([(0, 1.0)]).1.is_nan());
        let unlike = [BTreeMap::from([("a".to_string(), 1.0)]), BTreeMap::from([("b".to_string(), 1.0)])];
        assert!(average(&unlike).is_empty() && average(&[]).is_empty());
    }
}
