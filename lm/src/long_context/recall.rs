//! Recall of facts at a distance: documents of `key value` pairs and, after them, some of the keys again, each to be
//! answered by its value. What a model is asked for can be at any depth; chance is one over the number of values.

use crate::model::decoder::Decoder;
use crate::objective::Batch;
use crate::training::Corpus;
use crate::{Error, Result};
use candle_core::{D, Tensor};
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tesseral_nn::layers::cross_entropy::{IGNORED, token_losses};
use tesseral_nn::rng::Streams;

/// Documents of one length. Ids: keys from 0, values after them, then the mark that begins the questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecallTask {
    /// Different keys; a document has each at most once.
    pub keys: usize,
    /// Different values.
    pub values: usize,
    /// Facts of a document.
    pub facts: usize,
    /// Questions of a document.
    pub questions: usize,
    /// Documents of a batch, packed one after the other.
    pub documents: usize,
    /// Batches.
    pub batches: usize,
    /// Whether a question may come again. Without, the values still to be told can be guessed at by elimination, and a model
    /// that learns that first learns the recall late or never.
    pub repeats: bool,
    /// Whether a document sees those packed before it: what happens without document masks.
    pub unmasked: bool,
    /// Of the random streams.
    pub seed: u64,
}

impl Default for RecallTask {
    fn default() -> Self {
        RecallTask {
            keys: 64,
            values: 64,
            facts: 8,
            questions: 8,
            documents: 8,
            batches: 64,
            repeats: false,
            unmasked: false,
            seed: 0,
        }
    }
}

impl RecallTask {
    /// Tokens of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.keys + self.values + 1
    }

    /// Tokens of a document.
    pub fn length(&self) -> usize {
        2 * self.facts + 1 + 2 * self.questions
    }

    /// # Errors
    /// [`Error::Config`] for more facts than keys, more questions than facts, or an empty task.
    pub fn validate(&self) -> Result<()> {
        let enough = self.repeats || self.questions <= self.facts;
        let fits = self.questions >= 1 && self.facts >= 1 && enough && self.facts <= self.keys;
        if !fits || self.values == 0 || self.documents == 0 {
            let what = format!(
                "expected 1 <= questions <= facts <= keys, values and documents, found {} questions, {} facts, {} keys",
                self.questions, self.facts, self.keys
            );
            return Err(Error::config("recall", what));
        }
        Ok(())
    }

    /// Ids of a document, and the number (from the first) of the fact that each question asks for.
    fn document(&self, batch: usize, number: usize) -> (Vec<u32>, Vec<usize>) {
        let mut stream = Streams::new(self.seed).stream("recall", &[batch as u64, number as u64]);
        let mut keys: Vec<u32> = (0..self.keys as u32).collect();
        keys.shuffle(&mut stream);
        let value = |_| (self.keys + stream.random_range(0..self.values)) as u32;
        let values: Vec<u32> = (0..self.facts).map(value).collect();
        let asked: Vec<usize> = if self.repeats {
            (0..self.questions).map(|_| stream.random_range(0..self.facts)).collect()
        } else {
            let mut all: Vec<usize> = (0..self.facts).collect();
            all.shuffle(&mut stream);
            all.into_iter().take(self.questions).collect()
        };
        let fact = |k: usize| [keys[k], values[k]];
        let mut ids: Vec<u32> = (0..self.facts).flat_map(fact).collect();
        ids.push((self.keys + self.values) as u32);
        ids.extend(asked.iter().flat_map(|k| fact(*k)));
        (ids, asked)
    }

    /// Batch `number`, and for each question its place (the row that must predict the value) and its fact.
    fn with_questions(&self, number: usize) -> Result<(Batch, Vec<(usize, usize)>)> {
        let (mut ids, mut labels, mut questions) = (Vec::new(), Vec::new(), Vec::new());
        for k in 0..self.documents {
            let (document, asked) = self.document(number, k);
            let first = ids.len() + 2 * self.facts + 1;
            questions.extend(asked.iter().enumerate().map(|(q, fact)| (first + 2 * q, *fact)));
            labels.resize(ids.len() + document.len(), IGNORED);
            ids.extend(document);
            (0..self.questions).for_each(|q| labels[first + 2 * q + 1] = i64::from(ids[first + 2 * q + 1]));
        }
        let lengths = if self.unmasked { vec![ids.len()] } else { vec![self.length(); self.documents] };
        Ok((Batch::new(&ids, &labels, &lengths)?, questions))
    }
}

impl Corpus for RecallTask {
    fn len(&self) -> usize {
        self.batches
    }

    fn batch(&self, number: usize) -> Result<Batch> {
        Ok(self.with_questions(number)?.0)
    }
}

/// How well a model recalls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recall {
    /// Tokens of a document.
    pub length: usize,
    /// Share of questions whose most probable answer is right.
    pub accuracy: f64,
    /// The same by the place of the fact: this many equal parts, first to last.
    pub by_depth: Vec<f64>,
    /// Mean loss of the answers, nats.
    pub loss: f64,
    /// Questions.
    pub questions: usize,
}

impl Recall {
    /// A line for people.
    pub fn line(&self) -> String {
        let depths: Vec<String> = self.by_depth.iter().map(|a| format!("{a:.3}")).collect();
        format!("{} tokens: recall {:.3} (by depth, first to last: {})", self.length, self.accuracy, depths.join(" "))
    }
}

/// Asks all questions of a task; `depths` parts by the place of the fact.
///
/// # Errors
/// Those of the model.
pub fn measure(decoder: &Decoder, task: &RecallTask, depths: usize) -> Result<Recall> {
    let mut score = Score::new(depths);
    for number in 0..task.batches {
        let (batch, questions) = task.with_questions(number)?;
        let rows: Vec<u32> = questions.iter().map(|(row, _)| *row as u32).collect();
        let answers = answers(decoder, &batch, &rows, |_| ())?;
        for ((_, fact), (right, loss)) in questions.iter().zip(answers) {
            score.add(fact * depths / task.facts, right, loss);
        }
    }
    Ok(score.finish(task.length()))
}

/// For each of some rows: whether the token after it is the most probable one, and its loss. No gradient, and no more memory
/// than one layer needs. `tell` hears the number of every layer that is done.
pub(super) fn answers(
    decoder: &Decoder,
    batch: &Batch,
    rows: &[u32],
    mut tell: impl FnMut(usize),
) -> Result<Vec<(bool, f64)>> {
    let layout = decoder.layout(&batch.lengths)?;
    let mut x = decoder.embed(&batch.ids)?.detach();
    for (number, layer) in decoder.layers().iter().enumerate() {
        x = layer.forward(&x, &layout)?.detach();
        tell(number + 1);
    }
    let hidden = decoder.finish(&x.index_select(&Tensor::from_slice(rows, rows.len(), x.device())?, 0)?)?;
    let next: Vec<i64> = rows.iter().map(|row| i64::from(batch.ids[*row as usize + 1])).collect();
    let best = decoder.logits(&hidden)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let losses = token_losses(&hidden, decoder.head(), &next)?.into_iter().flatten();
    Ok(best.iter().zip(&next).map(|(best, next)| i64::from(*best) == *next).zip(losses).collect())
}

/// Answers counted by depth.
pub(super) struct Score {
    right: Vec<f64>,
    asked: Vec<f64>,
    loss: f64,
}

impl Score {
    pub(super) fn new(depths: usize) -> Self {
        Score { right: vec![0.0; depths], asked: vec![0.0; depths], loss: 0.0 }
    }

    pub(super) fn add(&mut self, depth: usize, right: bool, loss: f64) {
        self.asked[depth] += 1.0;
        self.right[depth] += f64::from(u8::from(right));
        self.loss += loss;
    }

    pub(super) fn finish(self, length: usize) -> Recall {
        let total: f64 = self.asked.iter().sum();
        let share = |(right, asked): (&f64, &f64)| if *asked > 0.0 { right / asked } else { f64::NAN };
        Recall {
            length,
            accuracy: self.right.iter().sum::<f64>() / total.max(1.0),
            by_depth: self.right.iter().zip(&self.asked).map(share).collect(),
            loss: self.loss / total.max(1.0),
            questions: total as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_have_one_right_answer_each() {
        let task = RecallTask { facts: 10, questions: 4, documents: 3, ..RecallTask::default() };
        task.validate().unwrap();
        let (batch, questions) = task.with_questions(5).unwrap();
        assert_eq!((batch.counted(), questions.len()), (12, 12));
        assert_eq!(batch.ids.len(), 3 * task.length());
        for (k, (row, fact)) in questions.iter().enumerate() {
            let start = k / 4 * task.length();
            assert_eq!(batch.ids[start + 2 * fact], batch.ids[*row]);
            assert_eq!(i64::from(batch.ids[start + 2 * fact + 1]), batch.targets[*row]);
        }
        assert_eq!(task.batch(5).unwrap(), batch);
        assert_ne!(task.batch(6).unwrap(), batch);
        assert_eq!(RecallTask { unmasked: true, ..task.clone() }.batch(5).unwrap().lengths, [3 * task.length()]);
        assert!(RecallTask { facts: 65, ..task.clone() }.validate().is_err());
        let more = RecallTask { facts: 2, questions: 9, ..task };
        assert!(more.validate().is_err());
        let again = RecallTask { repeats: true, ..more };
        again.validate().unwrap();
        assert_eq!(again.with_questions(0).unwrap().1.len(), 27);
    }
}
