//! Recognising a task and learning a task, apart, in a world small enough to train on: [`World`] (words, tasks,
//! labels, sequences), [`measure`] (right answers by number of demonstrations), [`ideal`] (those of the best
//! learner), [`learner`] (a small transformer trained on it).
//!
//! Every word has a class under each of several tasks, the same in all sequences. A sequence takes one task and tells
//! words with labels. With the task's own label words, a model that knows the classes from training needs the
//! sequence only to see which task it is; with symbols drawn anew for each sequence it must learn from the sequence
//! which class has which symbol. No word comes twice in a sequence that is asked, so no answer can be had by looking
//! up the same word.

pub mod ideal;
pub mod learner;
pub mod measure;

use crate::objective::Batch;
use crate::training::Corpus;
use crate::{Error, Result};
use rand::Rng;
use rand::seq::SliceRandom;
use rand::seq::index::sample;
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

/// Words, tasks and labels, and the sequences made of them. Ids: words from 0, then the label words of each task,
/// then the symbols. As a corpus it trains on gold and abstract labels, in one proportion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct World {
    /// Different words.
    pub words: usize,
    /// Different tasks; each gives every word a class.
    pub tasks: usize,
    /// Tasks, the first ones, that are told with symbols too. Only these are asked.
    pub learnable: usize,
    /// Classes of a task.
    pub classes: usize,
    /// Different symbols.
    pub symbols: usize,
    /// Demonstrations before the last word of a sequence.
    pub demonstrations: usize,
    /// Share of training sequences whose labels are symbols; the others have gold labels.
    pub abstract_share: f64,
    /// Share of training sequences in which few words come again and again: looking up the same word is learnt first,
    /// and looking up one of the same class from it. Never in sequences that are asked.
    pub repeats_share: f64,
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
            words: 64,
            tasks: 1,
            learnable: 1,
            classes: 4,
            symbols: 16,
            demonstrations: 16,
            abstract_share: 0.75,
            repeats_share: 0.5,
            sequences: 16,
            batches: 2500,
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
        if self.learnable == 0 || self.learnable > self.tasks {
            return fail("learnable", format!("expected 1 to {} tasks, found {}", self.tasks, self.learnable));
        }
        if self.words <= self.demonstrations || self.words < self.classes {
            let least = (self.demonstrations + 1).max(self.classes);
            return fail("words", format!("expected at least {least}, found {}", self.words));
        }
        if self.symbols < self.classes {
            return fail("symbols", format!("expected at least {}, found {}", self.classes, self.symbols));
        }
        for (key, share) in [("abstract_share", self.abstract_share), ("repeats_share", self.repeats_share)] {
            if !(0.0..=1.0).contains(&share) {
                return fail(key, format!("expected 0 to 1, found {share}"));
            }
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

    /// Sequence `number` of batch `batch` of what is asked, with labels of one kind. Task, words and classes do not
    /// depend on the kind.
    pub fn sequence(&self, classes: &[Vec<usize>], batch: usize, number: usize, kind: Labels) -> Sequence {
        self.draw(classes, [batch, number], kind, self.learnable, false)
    }

    fn draw(&self, classes: &[Vec<usize>], place: [usize; 2], kind: Labels, tasks: usize, repeats: bool) -> Sequence {
        let mut stream = Streams::new(self.seed).stream("sequence", &place.map(|number| number as u64));
        let (task, items) = (stream.random_range(0..tasks), self.demonstrations + 1);
        let different = if repeats { (items / 3).max(2).min(self.words) } else { items };
        let mut words = sample(&mut stream, self.words, different).into_vec();
        if repeats {
            words = (0..items).map(|_| words[stream.random_range(0..different)]).collect();
        }
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
}

impl Corpus for World {
    fn len(&self) -> usize {
        self.batches
    }

    /// Loss at the labels alone. In turn, sequences are whole, half as long and twice as many, and so on down to an
    /// eighth: what is learnt from short ones, where little else is to be attended to, comes sooner and holds for
    /// long ones.
    fn batch(&self, number: usize) -> Result<Batch> {
        let classes = self.classes();
        let parts = 1 << (number % 4);
        let part = World { demonstrations: (self.demonstrations / parts).max(1), ..self.clone() };
        let sequences = self.sequences * parts;
        let mut ids = Vec::with_capacity(sequences * part.length());
        for k in 0..sequences {
            let (kind, tasks) = match spread(k, self.abstract_share) {
                true => (Labels::Abstract, self.learnable),
                false => (Labels::Gold, self.tasks),
            };
            let repeats = spread(k / parts, self.repeats_share);
            ids.extend(part.draw(&classes, [number, k], kind, tasks, repeats).ids);
        }
        let label = |(place, id): (usize, &u32)| if place % 2 == 1 { i64::from(*id) } else { IGNORED };
        let labels: Vec<i64> = ids.iter().enumerate().map(label).collect();
        Batch::new(&ids, &labels, &vec![part.length(); sequences])
    }
}

/// Whether the one of this number is among a share of all that is spread evenly.
fn spread(number: usize, share: f64) -> bool {
    let before = |n: usize| (n as f64 * share + 1e-9).floor();
    before(number + 1) > before(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn labels_are_those_of_their_kind() {
        let world = World { words: 128, tasks: 3, learnable: 2, classes: 3, demonstrations: 20, ..World::default() };
        world.validate().unwrap();
        let classes = world.classes();
        let mut wrong = 0;
        for number in 0..20 {
            let all = Labels::ALL.map(|kind| world.sequence(&classes, 0, number, kind));
            for (sequence, kind) in all.iter().zip(Labels::ALL) {
                assert_eq!(sequence.ids.len(), world.length());
                assert_eq!(sequence.classes, all[0].classes);
                let words: BTreeSet<u32> = sequence.ids.iter().step_by(2).copied().collect();
                assert_eq!(words.len(), 21);
                let right = |k: usize| sequence.ids[2 * k + 1] == sequence.labels[sequence.classes[k]];
                match kind {
                    Labels::Gold | Labels::Abstract => assert!((0..21).all(right)),
                    _ => wrong += (0..21).filter(|k| !right(*k)).count(),
                }
                let symbols = matches!(kind, Labels::Abstract | Labels::AbstractRandom);
                let range = if symbols { 137..153 } else { 128..134 };
                assert!(sequence.labels.iter().all(|id| range.contains(id)), "{:?}", sequence.labels);
            }
        }
        // Two thirds of 840 random labels are wrong: 560, standard deviation 14.
        assert!((500..620).contains(&wrong), "{wrong}");
        let symbols: BTreeSet<Vec<u32>> =
            (0..20).map(|k| world.sequence(&classes, 0, k, Labels::Abstract).labels).collect();
        assert!(symbols.len() > 15);
    }

    #[test]
    fn a_batch_has_a_loss_at_its_labels_and_symbols_and_repeats_in_their_share() {
        let world =
            World { words: 128, tasks: 4, sequences: 8, abstract_share: 0.25, demonstrations: 32, ..World::default() };
        let mut natural: BTreeSet<u32> = BTreeSet::new();
        for (number, items, sequences) in [(0, 33, 8), (1, 17, 16), (3, 5, 64), (4, 33, 8)] {
            let batch = world.batch(number).unwrap();
            assert_eq!(batch.counted(), sequences * items);
            assert_eq!(batch.lengths, vec![2 * items; sequences]);
            let symbols = batch.ids.iter().filter(|id| **id >= 128 + 16).count();
            assert_eq!(symbols, sequences * items / 4);
            natural.extend(batch.ids.iter().filter(|id| (128..144).contains(*id)));
            let words = |sequence: &[u32]| sequence.iter().step_by(2).copied().collect::<BTreeSet<_>>().len();
            let repeating = batch.ids.chunks(2 * items).filter(|sequence| words(sequence) < items).count();
            assert_eq!(repeating, sequences / 2);
            assert_eq!(world.batch(number).unwrap(), batch);
        }
        assert_eq!(natural.len(), 16);
        assert_ne!(world.batch(4).unwrap(), world.batch(0).unwrap());
    }

    #[test]
    fn impossible_worlds_are_refused() {
        let message = |world: World| world.validate().unwrap_err().to_string();
        assert!(message(World { words: 10, ..World::default() }).contains("synthetic.words: expected at least 17"));
        assert!(message(World { symbols: 1, ..World::default() }).contains("symbols: expected at least 4, found 1"));
        assert!(message(World { classes: 1, ..World::default() }).contains("two classes"));
        assert!(
            message(World { learnable: 5, ..World::default() }).contains("learnable: expected 1 to 1 tasks, found 5")
        );
        assert!(message(World { abstract_share: 2.0, ..World::default() }).contains("abstract_share"));
    }
}
