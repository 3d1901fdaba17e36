//! A memory before a model: no pair is judged twice, and what is not known goes to the model in one batch.

use super::table::Table;
use super::{Entailment, Pair};
use crate::{Error, Result};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pairs that were asked of this memory.
    pub pairs: usize,
    /// Of those, the pairs that went on to the model.
    pub judged: usize,
    /// Calls of the model, each with all pairs of one question that were not known.
    pub batches: usize,
}

#[derive(Debug, Default)]
struct Memory {
    verdicts: Table,
    probabilities: Table,
    counts: Counts,
}

/// A model with a memory.
#[derive(Debug)]
pub struct Cached<E> {
    model: E,
    memory: Mutex<Memory>,
}

impl<E: Entailment> Cached<E> {
    /// Knows nothing yet.
    pub fn new(model: E) -> Self {
        Cached { model, memory: Mutex::default() }
    }

    /// Knows the verdicts of a file that [`Cached::save`] wrote with the same model, where the file is there.
    ///
    /// # Errors
    /// Those of [`Table::read`]; [`Error::Format`] for verdicts of another model, or of nobody knows which.
    pub fn load(model: E, file: &Path) -> Result<Self> {
        let mut verdicts = Table::default();
        if file.exists() {
            let (found, judge) = Table::read(file)?;
            if judge.as_deref() != Some(model.identity()) {
                let found = judge.unwrap_or_else(|| "none".into());
                return Err(Error::format(file, format!("judge: expected {}, found {found}", model.identity())));
            }
            verdicts = found;
        }
        Ok(Cached { model, memory: Mutex::new(Memory { verdicts, ..Memory::default() }) })
    }

    /// Writes the model's identity and its verdicts, in the order they were first asked.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, file: &Path) -> Result<()> {
        self.memory().verdicts.write(file, self.model.identity())
    }

    /// How much was asked so far.
    pub fn counts(&self) -> Counts {
        self.memory().counts
    }

    /// The verdicts so far.
    pub fn verdicts(&self) -> Table {
        self.memory().verdicts.clone()
    }

    /// What was known before a thread died is still true.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(
        &self,
        pairs: &[Pair<'_>],
        table: fn(&mut Memory) -> &mut Table,
        judge: impl FnOnce(&E, &[Pair<'_>]) -> Result<Vec<f64>>,
    ) -> Result<Vec<f64>> {
        let mut memory = self.memory();
        memory.counts.pairs += pairs.len();
        let known = table(&mut memory);
        // Each number, or the place of a pair among the unknown ones.
        let mut found = Vec::with_capacity(pairs.len());
        let mut unknown: Vec<Pair<'_>> = Vec::new();
        let mut seen: HashMap<Pair<'_>, usize, FixedState> = HashMap::default();
        for pair in pairs {
            found.push(known.get(*pair).ok_or_else(|| {
                *seen.entry(*pair).or_insert_with(|| {
                    unknown.push(*pair);
                    unknown.len() - 1
                })
            }));
        }
        let mut numbers = Vec::new();
        if !unknown.is_empty() {
            numbers = judge(&self.model, &unknown)?;
            if numbers.len() != unknown.len() {
                let what = format!("expected {} verdicts, found {}", unknown.len(), numbers.len());
                return Err(Error::config("entailment", what));
            }
            unknown.iter().zip(&numbers).for_each(|(pair, number)| table(&mut memory).insert(*pair, *number));
            memory.counts.judged += unknown.len();
            memory.counts.batches += 1;
        }
        Ok(found.into_iter().map(|number| number.unwrap_or_else(|place| numbers[place])).collect())
    }
}

impl<E: Entailment> Entailment for Cached<E> {
    fn identity(&self) -> &str {
        self.model.identity()
    }

    fn entails(&self, pairs: &[Pair<'_>]) -> Result<Vec<bool>> {
        let judge = |model: &E, pairs: &[Pair<'_>]| Ok(model.entails(pairs)?.into_iter().map(f64::from).collect());
        Ok(self.ask(pairs, |memory| &mut memory.verdicts, judge)?.into_iter().map(|n| n >= 0.5).collect())
    }

    fn probabilities(&self, pairs: &[Pair<'_>]) -> Result<Vec<f64>> {
        self.ask(pairs, |memory| &mut memory.probabilities, |model, pairs| model.probabilities(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::entailment::lexical::Lexical;

    #[test]
    fn asks_each_pair_once_and_remembers_it_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.json");
        let cached = Cached::load(Lexical::default(), &file).unwrap();
        let pairs = [("red moose", "moose"), ("red moose", "deer"), ("red moose", "moose")];
        assert_eq!(cached.entails(&pairs).unwrap(), [true, false, true]);
        assert_eq!(cached.entails(&pairs[..2]).unwrap(), [true, false]);
        assert_eq!(cached.counts(), Counts { pairs: 5, judged: 2, batches: 1 });
        cached.save(&file).unwrap();
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            format!(
                "{{\"judge\": \"{}\", \"verdicts\": [\n[\"red moose\",\"moose\",1],\n[\"red moose\",\"deer\",0]\n]}}\n",
                cached.identity()
            )
        );
        let again = Cached::load(Lexical::default(), &file).unwrap();
        assert_eq!(again.entails(&pairs).unwrap(), [true, false, true]);
        assert_eq!(again.counts(), Counts { pairs: 3, judged: 0, batches: 0 });
        let other = Cached::load(Lexical::new(0.5).unwrap(), &file).map(|_| ()).unwrap_err();
        assert!(other.to_string().contains("verdicts.json: judge: expected "), "{other}");
    }

    #[test]
    fn probabilities_are_kept_apart_from_verdicts() {
        let cached = Cached::new(Lexical::default());
        let pair = [("a moose and a deer", "moose deer record")];
        assert!((cached.probabilities(&pair).unwrap()[0] - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(cached.entails(&pair).unwrap(), [false]);
        assert_eq!(cached.counts().judged, 2);
    }
}
