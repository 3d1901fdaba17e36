//! What winners lean to besides quality: the output shown first, and the longer one; and how far judges without a model
//! come.

use super::dataset::Dataset;
use super::stored::{Outcome, Pair, Tree};
use super::winner::{Order, Winner};
use crate::python::text::split;
use crate::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

pub mod baseline;

/// Words of a text, as `str.split` of Python cuts it.
pub fn words(text: &str) -> usize {
    split(text).count()
}

/// Verdicts counted by what they lean to. A verdict is a winner in one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Two for each example.
    pub verdicts: usize,
    /// Without a winner.
    pub unparsed: usize,
    /// With a winner, where two outputs were shown (not rated alone).
    pub shown: usize,
    /// Of these, for the output shown first.
    pub first_shown: usize,
    /// With a winner, on outputs of unequal numbers of words.
    pub uneven: usize,
    /// Of these, for the longer output.
    pub longer: usize,
    /// On pairs whose better output is the longer one.
    pub longer_better: usize,
    /// Of these, right.
    pub longer_better_right: usize,
    /// On pairs whose better output is the shorter one.
    pub shorter_better: usize,
    /// Of these, right.
    pub shorter_better_right: usize,
}

impl Tally {
    /// Counts the winners of one example. `shown`: whether the judge saw both outputs at once.
    pub fn count(&mut self, winners: [Option<Winner>; 2], label: Winner, words: [usize; 2], shown: bool) {
        let [first, second] = words;
        let longer = match first.cmp(&second) {
            std::cmp::Ordering::Greater => Some(Winner::First),
            std::cmp::Ordering::Less => Some(Winner::Second),
            std::cmp::Ordering::Equal => None,
        };
        for (order, winner) in Order::BOTH.into_iter().zip(winners) {
            self.verdicts += 1;
            let right = usize::from(winner == Some(label));
            match longer {
                Some(longer) if longer == label => {
                    self.longer_better += 1;
                    self.longer_better_right += right;
                }
                Some(_) => {
                    self.shorter_better += 1;
                    self.shorter_better_right += right;
                }
                None => {}
            }
            let Some(winner) = winner else {
                self.unparsed += 1;
                continue;
            };
            if shown {
                self.shown += 1;
                self.first_shown += usize::from(order.turn(winner) == Winner::First);
            }
            if let Some(longer) = longer {
                self.uneven += 1;
                self.longer += usize::from(winner == longer);
            }
        }
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Tally) {
        self.verdicts += other.verdicts;
        self.unparsed += other.unparsed;
        self.shown += other.shown;
        self.first_shown += other.first_shown;
        self.uneven += other.uneven;
        self.longer += other.longer;
        self.longer_better += other.longer_better;
        self.longer_better_right += other.longer_better_right;
        self.shorter_better += other.shorter_better;
        self.shorter_better_right += other.shorter_better_right;
    }

    /// As shares.
    pub fn shares(&self) -> Shares {
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        Shares {
            verdicts: self.verdicts,
            unparsed: share(self.unparsed, self.verdicts),
            first_shown: share(self.first_shown, self.shown),
            longer: share(self.longer, self.uneven),
            accuracy_where_longer_is_better: share(self.longer_better_right, self.longer_better),
            accuracy_where_shorter_is_better: share(self.shorter_better_right, self.shorter_better),
        }
    }
}

/// What verdicts lean to; each share is absent where there is nothing to divide by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shares {
    /// Two for each example.
    pub verdicts: usize,
    /// Without a winner.
    pub unparsed: Option<f64>,
    /// For the output shown first, of those with a winner; one half without a preference. Absent of ratings.
    pub first_shown: Option<f64>,
    /// For the longer output, of those with a winner on outputs of unequal numbers of words.
    pub longer: Option<f64>,
    /// Right, of those on pairs whose better output is the longer one.
    pub accuracy_where_longer_is_better: Option<f64>,
    /// Right, of those on pairs whose better output is the shorter one.
    pub accuracy_where_shorter_is_better: Option<f64>,
}

/// One judge with one strategy.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The judge.
    pub llm: String,
    /// The strategy.
    pub strategy: String,
    /// Over all subsets.
    pub all: Shares,
    /// By the subset's name.
    pub subsets: BTreeMap<String, Shares>,
}

/// What the judges of a folder lean to.
#[derive(Clone, Debug, Serialize)]
pub struct Bias {
    /// Of stored winners, by LLM and strategy.
    pub judges: Vec<Row>,
    /// Judges without a model, on each data set.
    pub baselines: BTreeMap<String, baseline::Baselines>,
}

impl Bias {
    /// Of every `result.json` and `dataset.json` below a folder.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] of a file that is not as it should be; [`Error::Config`] where there is none.
    pub fn of(folder: &Path) -> Result<Self> {
        let tree = Tree::walk(folder)?;
        if tree.results.is_empty() && tree.datasets.is_empty() {
            let what = format!("expected files result.json or dataset.json below {}, found none", folder.display());
            return Err(Error::config("folder", what));
        }
        let tallies = tree.results.par_iter().map(|result| tally(&result.path.join("result.json")));
        let tallies: Vec<Tally> = tallies.collect::<Result<_>>()?;
        let mut rows: BTreeMap<(&str, &str), BTreeMap<String, Tally>> = BTreeMap::new();
        for (result, tally) in tree.results.iter().zip(tallies) {
            let row = rows.entry((&result.llm, &result.strategy)).or_default();
            row.entry(result.subset.clone()).or_default().add(&tally);
        }
        let row = |((llm, strategy), subsets): ((&str, &str), BTreeMap<String, Tally>)| {
            let mut all = Tally::default();
            subsets.values().for_each(|tally| all.add(tally));
            let subsets = subsets.into_iter().map(|(name, tally)| (name, tally.shares())).collect();
            Row { llm: llm.into(), strategy: strategy.into(), all: all.shares(), subsets }
        };
        let baselines = tree.datasets.par_iter().map(|path| {
            let dataset = Dataset::read(path)?;
            Ok((dataset.name(), baseline::Baselines::of(&dataset.examples)))
        });
        Ok(Bias {
            judges: rows.into_iter().map(row).collect(),
            baselines: baselines.collect::<Result<Vec<_>>>()?.into_iter().collect(),
        })
    }
}

/// Of the stored winners of one file.
fn tally(path: &Path) -> Result<Tally> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let pairs: Vec<Pair<'_>> = serde_json::from_slice(&bytes).map_err(|e| Error::format(path, e.to_string()))?;
    let mut tally = Tally::default();
    for (index, pair) in pairs.iter().enumerate() {
        let label = Winner::from_label(pair.label).ok_or_else(|| {
            Error::format(path, format!("example {index}: label: expected 1 or 2, found {}", pair.label))
        })?;
        let last = pair.results.last();
        let winners = last.map_or([None; 2], Outcome::winners);
        let shown = matches!(last, Some(Outcome::Comparison { .. }));
        tally.count(winners, label, [words(&pair.output_1), words(&pair.output_2)], shown);
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_counted_over_what_could_show_them() {
        let (one, two) = (Some(Winner::First), Some(Winner::Second));
        let mut tally = Tally::default();
        // The one shown first in both orders; the longer one, which is right.
        tally.count([one, two], Winner::First, [3, 1], true);
        // The same output in both orders, of equal lengths.
        tally.count([two, two], Winner::Second, [1, 1], true);
        // Nothing said once; rated alone.
        tally.count([None, two], Winner::First, [1, 2], false);
        let shares = tally.shares();
        assert_eq!(shares.verdicts, 6);
        assert_eq!(shares.unparsed, Some(1.0 / 6.0));
        assert_eq!(shares.first_shown, Some(3.0 / 4.0));
        assert_eq!(shares.longer, Some(2.0 / 3.0));
        assert_eq!(shares.accuracy_where_longer_is_better, Some(0.5));
        assert_eq!(shares.accuracy_where_shorter_is_better, Some(0.0));
        assert_eq!(Tally::default().shares().longer, None);
    }

    #[test]
    fn words_are_cut_at_blanks_of_python() {
        assert_eq!(words(" a\u{1c}b\u{a0}c\n\nd-e "), 4);
    }
}
