//! Recognising a task and learning a task, apart, in a world small enough to train on: [`World`] (words, tasks, labels,
//! sequences), [`measure`] (right answers by number of demonstrations), [`learner`] (a small transformer trained on it).
//!
//! Every word has a class under each of several tasks, the same in all sequences. A sequence takes one task and tells
//! words with labels. With the task's own label words, a model that knows the classes from training needs the sequence only
//! to see which task it is; with symbols drawn anew for each sequence it must learn from the sequence which class has which
//! symbol, and of which task. No word comes twice in a sequence, so no answer can be had by looking up the same word.

pub mod learner;
pub mod measure;

use crate::objective::Batch;
use crate::training::Corpus;
use crate::{Error, Result};
use rand::Rng;
use rand::seq::index::sample;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tesseral_nn::layers::cross_entropy::IGNORED;
use tesseral_nn::rng::Streams;

/// Labels of the demonstrations of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// The task's own words, right.
    Gold,
    /// The task's own words, drawn at random.
    Random,
    /// Symbols, which class has which drawn anew for each sequence.
    Abstract,
    /// Such symbols, drawn at random for each demonstration: nothing can be learnt from them (a control).
    AbstractRandom,
}

impl Labels {
    /// All kinds.
    pub const ALL: [Labels; 4] = [Labels::Gold, Labels::Random, Labels::Abstract, Labels::AbstractRandom];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Labels::Gold => "gold",
            Labels::Random => "random",
            Labels::Abstract => "abstract",
            Labels::AbstractRandom => "abstract-random",
        }
    }
}

/// Words, tasks and labels, and the sequences made of them. Ids: words from 0, then the label words of each task, then the
/// symbols. As a corpus it trains on gold and abstract labels, in one proportion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct World {
    /// Different words.
    pub words: usize,
    /// Different tasks; each gives every word a class.
    pub tasks: usize,
    /// Classes of a task.
    pub classes: usize,
    /// Different symbols.
    pub symbols: usize,
    /// Demonstrations before the last word of a sequence.
    pub demonstrations: usize,
    /// Share of training sequences whose labels are symbols; the others have gold labels.
    pub abstract_share: f64,
    /// Sequences of a batch.
    pub sequences: usize,
    /// Batches.
    pub batches: usize,
    /// Of the classes of the words: the world itself.
    pub world: u64,
    /// Of the sequences.
    pub seed: u64,
}

impl Default for World {
    fn default() -> Self {
        World {
            words: 128,
            tasks: 4,
            classes: 2,
            symbols: 16,
            demonstrations: 32,
            abstract_share: 0.5,
            sequences: 32,
            batches: 2000,
            world: 0,
            seed: 0,
        }
    }
}

/// One sequence: word, label, word, label, and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Token ids, two of each demonstration.
    pub ids: Vec<u32>,
    /// Ids of the labels that can be answered, one a class.
    pub labels: Vec<u32>,
    /// Class of each word: the right answer.
    pub classes: Vec<usize>,
}

impl World {
    /// Tokens of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.words + self.tasks * self.classes + self.symbols
    }

    /// Tokens of a sequence.
    pub fn length(&self) -> usize {
        2 * (self.demonstrations + 1)
    }

    /// # Errors
    /// [`Error::Config`] for a world without tasks, or with too few words or symbols.
    pub fn validate(&self) -> Result<()> {
        let fail = |key: &str, what: String| Err(Error::config(format!("synthetic.{key}"), what));
        if self.tasks == 0 || self.classes < 2 {
            let found = format!("{} tasks of {} classes", self.tasks, self.classes);
            return fail("tasks", format!("expected at least one task of at least two classes, found {found}"));
        }
        if self.words <= self.demonstrations || self.words < self.classes {
            let least = (self.demonstrations + 1).max(self.classes);
            return fail("words", format!("expected at least {least}, found {}", self.words));
        }
        if self.symbols < self.classes {
            return fail("symbols", format!("expected at least {}, found {}", self.classes, self.symbols));
        }
        if !(0.0..=1.0).contains(&self.abstract_share) {
            return fail("abstract_share", format!("expected 0 to 1, found {}", self.abstract_share));
        }
        Ok(())
    }

    /// Class of every word under every task, `[task][word]`: as many words of each class as of any other.
    pub fn classes(&self) -> Vec<Vec<usize>> {
        let of_task = |task: usize| {
            let mut classes: Vec<usize> = (0..self.words).map(|word| word % self.classes).collect();
            classes.shuffle(&mut Streams::new(self.world).stream("classes", &[task as u64]));
            classes
        };
        (0..self.tasks).map(of_task).collect()
    }

    /// Sequence `number` of batch `batch` with labels of one kind. Task, words and classes do not depend on the kind.
    pub fn sequence(&self, classes: &[Vec<usize>], batch: usize, number: usize, kind: Labels) -> Sequence {
        let mut stream = Streams::new(self.seed).stream("sequence", &[batch as u64, number as u64]);
        let task = stream.random_range(0..self.tasks);
        let words = sample(&mut stream, self.words, self.demonstrations + 1).into_vec();
        let right: Vec<usize> = words.iter().map(|word| classes[task][*word]).collect();
        let first_label = self.words + task * self.classes;
        let first_symbol = self.words + self.tasks * self.classes;
        let labels: Vec<u32> = match kind {
            Labels::Gold | Labels::Random => (first_label..first_label + self.classes).map(|id| id as u32).collect(),
            Labels::Abstract | Labels::AbstractRandom => {
                sample(&mut stream, self.symbols, self.classes).iter().map(|k| (first_symbol + k) as u32).collect()
            }
        };
        let mut shown = |class: usize| match kind {
            Labels::Gold | Labels::Abstract => labels[class],
            Labels::Random | Labels::AbstractRandom => labels[stream.random_range(0..self.classes)],
        };
        let ids = words.iter().zip(&right).flat_map(|(word, class)| [*word as u32, shown(*class)]).collect();
        Sequence { ids, labels, classes: right }
    }

    /// Whether a training sequence has symbols: spread evenly over the sequences of a batch.
    fn is_abstract(&self, number: usize) -> bool {
        let before = |n: usize| (n as f64 * self.abstract_share + 1e-9).floor();
        before(number + 1) > before(number)
    }
}

impl Corpus for World {
    fn len(&self) -> usize {
        self.batches
    }

    /// Loss at the labels alone.
    fn batch(&self, number: usize) -> Result<Batch> {
        let classes = self.classes();
        let mut ids = Vec::with_capacity(self.sequences * self.length());
        for k in 0..self.sequences {
            let kind = if self.is_abstract(k) { Labels::Abstract } else { Labels::Gold };
            ids.extend(self.sequence(&classes, number, k, kind).ids);
        }
        let label = |(place, id): (usize, &u32)| if place % 2 == 1 { i64::from(*id) } else { IGNORED };
        let labels: Vec<i64> = ids.iter().enumerate().map(label).collect();
        Batch::new(&ids, &labels, &vec![self.length(); self.sequences])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_their_kind() {
        let world = World { tasks: 3, classes: 3, demonstrations: 20, ..World::default() };
        world.validate().unwrap();
        let classes = world.classes();
        let mut wrong = 0;
        for number in 0..20 {
            let all = Labels::ALL.map(|kind| world.sequence(&classes, 0, number, kind));
            for (sequence, kind) in all.iter().zip(Labels::ALL) {
                assert_eq!(sequence.ids.len(), world.length());
                assert_eq!(sequence.classes, all[0].classes);
                let words: std::collections::BTreeSet<u32> = sequence.ids.iter().step_by(2).copied().collect();
                assert_eq!(words.len(), 21);
                let right = |k: usize| sequence.ids[2 * k + 1] == sequence.labels[sequence.classes[k]];
                match kind {
                    Labels::Gold | Labels::Abstract => assert!((0..21).all(right)),
                    _ => wrong += (0..21).filter(|k| !right(*k)).count(),
                }
                let symbols = matches!(kind, Labels::Abstract | Labels::AbstractRandom);
                assert!(sequence.labels.iter().all(|id| (*id as usize >= 128 + 9) == symbols));
            }
        }
        // Two thirds of 840 random labels are wrong: 560, standard deviation 14.
        assert!((500..620).contains(&wrong), "{wrong}");
        let symbols: std::collections::BTreeSet<Vec<u32>> =
            (0..20).map(|k| world.sequence(&classes, 0, k, Labels::Abstract).labels).collect();
        assert!(symbols.len() > 15);
    }

    #[test]
    fn a_batch_has_a_loss_at_its_labels_and_symbols_in_its_share() {
        let world = World { sequences: 8, abstract_share: 0.25, ..World::default() };
        let batch = world.batch(3).unwrap();
        assert_eq!(batch.counted(), 8 * 33);
        let symbols = batch.ids.iter().filter(|id| **id >= 128 + 8).count();
        assert_eq!(symbols, 2 * 33);
        assert_eq!(world.batch(3).unwrap(), batch);
        assert_ne!(world.batch(4).unwrap(), batch);
    }

    #[test]
    fn impossible_worlds_are_refused() {
        let message = |world: World| world.validate().unwrap_err().to_string();
        assert!(message(World { words: 20, ..World::default() }).contains("synthetic.words: expected at least 33"));
        assert!(message(World { symbols: 1, ..World::default() }).contains("symbols: expected at least 2, found 1"));
        assert!(message(World { classes: 1, ..World::default() }).contains("two classes"));
        assert!(message(World { abstract_share: 2.0, ..World::default() }).contains("abstract_share"));
    }
}
