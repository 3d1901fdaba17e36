//! The examples of a run: rows dealt out by the seed, made into texts and tokens.

use super::config::{Method, TuneConfig};
use super::example::{Encoder, Example, Prompting};
use super::task::{Question, TaskConfig};
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use tesseral_nn::rng::Streams;

/// Examples to tune on, for development and for the test.
pub struct Material {
    /// The task.
    pub task: TaskConfig,
    /// To tune on.
    pub train: Vec<Example>,
    /// To choose the best weights by.
    pub dev: Vec<Example>,
    /// For the test.
    pub test: Vec<Example>,
    /// The test's options after prompts without content, where they are calibrated.
    pub bare: Vec<Example>,
}

impl Material {
    /// Reads and encodes what a configuration names.
    ///
    /// # Errors
    /// Those of the files; fewer rows than are asked for.
    pub fn open(config: &TuneConfig, tokenizer: &Tokenizer) -> Result<Self> {
        let task = TaskConfig::read(&config.task)?;
        let data = &config.data;
        let mut rows = task.questions(&data.file)?;
        rows.shuffle(&mut Streams::new(config.seed).stream("rows", &[]));
        let needed = data.train + data.dev;
        let least = needed + usize::from(data.test_file.is_none());
        if rows.len() < least {
            let what = format!(
                "expected at least {least} rows (train {}, dev {}), found {}",
                data.train,
                data.dev,
                rows.len()
            );
            return Err(Error::format(&data.file, what));
        }
        let mut rest = rows.split_off(needed);
        let dev = rows.split_off(data.train);
        if let Some(file) = &data.test_file {
            rest = task.questions(file)?;
        }
        rest.truncate(data.test);
        let encode = |text: &str| tokenizer.encode(text, true);
        let beginning = encode("")?.first().copied();
        let room = if task.generates() { task.max_tokens } else { 0 };
        let longest = data.longest.saturating_sub(room);
        let encoder = Encoder { encode: &encode, beginning, longest };
        let maker = Maker { config, task: &task, encoder, demonstrations: &rows };
        let examples = |name: &str, questions: &[Question], which| maker.examples(name, questions, which);
        let train = if config.tunes() || config.method == Method::LinearProbe { &rows[..] } else { &[] };
        let bare =
            if config.calibrated { examples("test", &rest, Prompting::BareAfterDemonstrations)? } else { Vec::new() };
        Ok(Material {
            train: examples("train", train, Prompting::Whole)?,
            dev: examples("dev", &dev, Prompting::Whole)?,
            test: examples("test", &rest, Prompting::Whole)?,
            bare,
            task,
        })
    }
}

struct Maker<'a> {
    config: &'a TuneConfig,
    task: &'a TaskConfig,
    encoder: Encoder<'a>,
    demonstrations: &'a [Question],
}

impl Maker<'_> {
    fn examples(&self, name: &str, questions: &[Question], which: Prompting) -> Result<Vec<Example>> {
        let streams = Streams::new(self.config.seed);
        let fresh = self.config.fresh_demonstrations;
        let one = |(number, question): (usize, &Question)| {
            let mut before = Vec::new();
            if self.config.demonstrations > 0 {
                let name = if fresh { format!("demonstrations/{name}") } else { "demonstrations".into() };
                let counters: &[u64] = if fresh { &[number as u64] } else { &[] };
                let mut places: Vec<usize> = (0..self.demonstrations.len()).collect();
                places.shuffle(&mut streams.stream(&name, counters));
                let others = places.into_iter().map(|place| &self.demonstrations[place]).filter(|q| *q != question);
                before = others.take(self.config.demonstrations).cloned().collect();
            }
            let sequences = self.encoder.options(question, &before, &self.task.separator, which)?;
            Example::new(&sequences, question.right.clone(), question.answers.clone())
        };
        questions.iter().enumerate().map(one).collect()
    }
}
