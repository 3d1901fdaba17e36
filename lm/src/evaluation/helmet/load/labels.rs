//! Labels by many examples (TREC, BANKING77, CLINC150, NLU).

use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::dataset::Labelling;
use crate::evaluation::helmet::example::{Example, Unit};
use crate::evaluation::helmet::sampling::{Sampling, alike, balanced, label_numbers, pick, seed_of, shuffled};
use crate::{Error, Result};

pub(super) fn examples(
    task: &Labelling,
    name: &str,
    mut tests: Vec<Row>,
    mut train: Vec<Row>,
    sampling: &Sampling,
) -> Result<Vec<Example>> {
    // NLU comes in one piece: a tenth of it is the test.
    if train.is_empty() && name.contains("nlu") {
        let order = shuffled(tests.len(), sampling.seed);
        let mut parts = pick(tests, order.into_iter());
        train = parts.split_off(parts.len().div_ceil(10));
        tests = parts;
    }
    if train.is_empty() {
        return Err(Error::config("demos", "expected a file of training rows, found none"));
    }
    let label = |row: &Row| row.integer(if row.get(task.field).is_some() { task.field } else { "label" });
    let labels: Vec<i64> = train.iter().map(label).collect::<Result<_>>()?;
    if let Some(samples) = sampling.samples.filter(|samples| tests.len() > *samples) {
        let order = shuffled(tests.len(), sampling.seed);
        tests = pick(tests, order.into_iter());
        // Each row once at most, where there are enough of each label; else as often as it is drawn.
        let labels: Vec<i64> = tests.iter().map(label).collect::<Result<_>>()?;
        let drawn = balanced(&labels, samples, sampling.seed)?;
        tests = drawn.into_iter().filter_map(|place| tests.get(place).cloned()).collect();
    }
    let highest = labels.iter().copied().max().unwrap_or(0);
    let count = task.labels.unwrap_or(usize::try_from(highest).unwrap_or(0) + 1);
    let names = if task.natural { names(&train, &labels)? } else { Vec::new() };
    let one = |(place, row): (usize, &Row)| {
        let text = row.text("text")?;
        let seed = seed_of(text, sampling.seed);
        let demos = match task.balance {
            true => balanced(&labels, task.shots, seed.into())?,
            false => alike(train.len(), task.shots, seed)?,
        };
        let numbers = if task.natural { Vec::new() } else { label_numbers(count, seed) };
        let shown = |row: &Row, label: i64| {
            let place = usize::try_from(label).unwrap_or(usize::MAX);
            let found = match task.natural {
                true => names.get(place).and_then(Clone::clone),
                false => numbers.get(place).map(usize::to_string),
            };
            found.ok_or_else(|| row.wrong(task.field, &format!("a label from 0 to {}, with a name", count - 1)))
        };
        let unit = |place: &usize| {
            let (row, label) = train.get(*place).zip(labels.get(*place)).ok_or_else(|| missing(*place))?;
            let text = format!("{}\nlabel: {}", row.text("text")?, shown(row, *label)?);
            Ok(Unit { text, keep: false, judged: None })
        };
        Ok(Example {
            id: super::id(row, place),
            question: text.into(),
            units: demos.iter().map(unit).collect::<Result<_>>()?,
            around: ["", "\n\n", ""],
            answers: vec![shown(row, label(row)?)?],
            single: true,
            ..Example::default()
        })
    };
    tests.iter().enumerate().map(one).collect()
}

/// The name of each label that occurs.
fn names(train: &[Row], labels: &[i64]) -> Result<Vec<Option<String>>> {
    let mut names: Vec<Option<String>> = Vec::new();
    for (row, label) in train.iter().zip(labels) {
        let wrong = || row.wrong("label", "a label from 0 to 65535");
        let place = usize::try_from(*label).ok().filter(|place| *place < 1 << 16).ok_or_else(wrong)?;
        if names.len() <= place {
            names.resize(place + 1, None);
        }
        if names[place].is_none() {
            names[place] = Some(row.text("label_name")?.into());
        }
    }
    Ok(names)
}

fn missing(place: usize) -> Error {
    Error::config("demos", format!("expected a row {place}, found none"))
}
