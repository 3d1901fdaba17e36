//! Recall of facts at a distance for models with a tokenizer: a list of numbers with their values, then some of the numbers
//! again. The text form of [`super::recall`], near HELMET's key-value recall (arXiv 2410.02694).

use super::recall::{Recall, Score, answers};
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;
use crate::objective::Batch;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use std::ops::Range;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::observer::Observer;

/// Keys and values are numbers of four digits.
const NUMBERS: Range<u32> = 1000..10_000;
const HEADING: &str = "Each code has a number.\n\n";
const QUESTIONS: &str = "\nThe numbers of some of these codes, again:\n\n";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRecall {
    /// Tokens of a text; as many facts as fit.
    pub length: usize,
    /// Questions of a text; each is answered in the text before the next is asked.
    pub questions: usize,
    /// Texts.
    pub texts: usize,
    /// Of the random streams.
    pub seed: u64,
}

/// A question: its fact's number from the first, and the rows of `ids` that the answer takes.
struct Question {
    fact: usize,
    answer: Range<usize>,
}

impl TextRecall {
    /// Token ids of text `number`, its questions, and how many facts it has.
    fn text(&self, tokenizer: &Tokenizer, number: usize) -> Result<(Vec<u32>, Vec<Question>, usize)> {
        let mut stream = Streams::new(self.seed).stream("text-recall", &[number as u64]);
        let draw = |stream: &mut _| {
            let mut numbers: Vec<u32> = NUMBERS.collect();
            numbers.shuffle(stream);
            numbers
        };
        let (keys, values) = (draw(&mut stream), draw(&mut stream));
        // Each line by itself, so that the places of answers are known.
        let encode = |text: &str| tokenizer.encode(text, false);
        let opened = |key: u32| encode(&format!("Code {key}:"));
        let answered = |value: u32| encode(&format!(" {value}\n"));
        let mut ids = tokenizer.encode(HEADING, true)?;
        let line = opened(keys[0])?.len() + answered(values[0])?.len();
        let heading = encode(QUESTIONS)?;
        let room = self.length.saturating_sub(ids.len() + heading.len() + self.questions * line);
        let facts = (room / line.max(1)).min(keys.len());
        if facts < self.questions.max(1) {
            let what = format!("expected room for {} facts, found {} tokens: {facts}", self.questions, self.length);
            return Err(Error::config("recall.length", what));
        }
        for (key, value) in keys.iter().zip(&values).take(facts) {
            ids.extend(opened(*key)?);
            ids.extend(answered(*value)?);
        }
        ids.extend(heading);
        // Spread over all depths.
        let mut asked: Vec<usize> = (0..self.questions).map(|q| (2 * q + 1) * facts / (2 * self.questions)).collect();
        asked.shuffle(&mut stream);
        let mut questions = Vec::new();
        for fact in asked {
            ids.extend(opened(keys[fact])?);
            let answer = answered(values[fact])?;
            questions.push(Question { fact, answer: ids.len()..ids.len() + answer.len() });
            ids.extend(answer);
        }
        Ok((ids, questions, facts))
    }

    /// Asks everything: an answer is right when each of its tokens is the most probable one after the right ones before.
    ///
    /// # Errors
    /// [`Error::Config`] for a length without room for the questions; those of the model.
    pub fn measure(
        &self,
        decoder: &Decoder,
        tokenizer: &Tokenizer,
        depths: usize,
        observer: &mut dyn Observer,
    ) -> Result<Recall> {
        let mut score = Score::new(depths);
        let (layers, what) = (decoder.layers().len(), format!("recall of {} tokens, layers", self.length));
        for number in 0..self.texts {
            let (ids, questions, facts) = self.text(tokenizer, number)?;
            let batch = Batch::whole(&ids)?;
            let rows: Vec<u32> = questions.iter().flat_map(|q| q.answer.clone()).map(|row| row as u32 - 1).collect();
            let tell = |done| observer.on_progress(number * layers + done, self.texts * layers, &what);
            let tokens = answers(decoder, &batch, &rows, tell)?;
            let mut place = 0;
            for question in &questions {
                let mine = place..place + question.answer.len();
                place = mine.end;
                let right = tokens[mine.clone()].iter().all(|(right, _)| *right);
                let loss: f64 = tokens[mine].iter().map(|(_, loss)| loss).sum();
                score.add(question.fact * depths / facts, right, loss);
            }
        }
        Ok(score.finish(self.length))
    }
}
