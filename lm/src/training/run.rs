//! A whole training run, as `tesseral lm train` does it.

use super::LmTask;
use super::config::{LmConfig, TextConfig, shards_problem};
use super::corpus::{Corpus, Joined};
use super::text::{self, MixedRows};
use crate::configuration::Configuration;
use crate::long_context::positions;
use crate::long_context::recall::{Recall, measure};
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::save::SaveOptions;
use crate::model::weights::{Storage, Weights};
use crate::objective::Batch;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{Observer, Trainer, checkpoint, files};

/// Equal parts of a document by which recall is reported.
const DEPTHS: usize = 5;

/// What [`train`] did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The run folder.
    pub run: PathBuf,
    /// The trained model, a Hugging Face folder in it.
    pub model: PathBuf,
    /// Scalars of the model.
    pub parameters: usize,
    /// Rows (batches) of the training data.
    pub rows: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds of training, validation included.
    pub seconds: f64,
    /// Loss of the last step, nats.
    pub last_loss: Option<f64>,
    /// Best validation loss, nats.
    pub best_validation: Option<f64>,
    /// Recall of the made-up facts of `data.validation_recall` after training.
    pub recall: BTreeMap<String, Recall>,
}

impl Report {
    /// A table for people.
    pub fn table(&self) -> String {
        let number = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.4}"));
        let mut text = format!(
            "{} parameters, {} steps over {} rows in {:.0} s\nlast loss {}, best validation {}\nmodel: {}\n",
            self.parameters,
            self.steps,
            self.rows,
            self.seconds,
            number(self.last_loss),
            number(self.best_validation),
            self.model.display()
        );
        for (name, recall) in &self.recall {
            text += &format!("{name}: {}\n", recall.line());
        }
        text
    }
}

/// A model before training.
struct Start {
    config: LlamaConfig,
    /// None: random weights.
    tensors: Option<BTreeMap<String, Tensor>>,
    /// Where the tokenizer's files are; empty: nowhere.
    source: PathBuf,
    tokenizer: Option<Tokenizer>,
}

/// Trains what the configuration says into the folder `run`: metrics, checkpoints, and at the end `model/`, a Hugging Face
/// folder. With `resume` an interrupted run continues from its newest checkpoint, to the bit.
///
/// # Errors
/// Those of the model, the data and the training loop; [`tesseral_nn::Error::Interrupted`] after `stop`.
pub fn train(
    config: &LmConfig,
    run: &Path,
    resume: bool,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let start = open(config, observer)?;
    let end = start.config.end_ids().first().copied();
    let batches = |text: &TextConfig| text::batches(text, start.tokenizer.as_ref(), end);
    let text = config.data.text.as_ref().map(&batches).transpose()?;
    let streams = Streams::new(config.seed);
    let rows =
        config.data.rows.as_ref().map(|rows| MixedRows::open(rows, start.config.vocab_size, streams)).transpose()?;
    let validation_text = config.data.validation_text.as_ref().map(&batches).transpose()?;
    let mut parts: Vec<&dyn Corpus> = config.data.recall.iter().map(|task| task as &dyn Corpus).collect();
    parts.extend(text.as_ref().map(|text: &Vec<Batch>| text as &dyn Corpus));
    parts.extend(rows.as_ref().map(|rows| rows as &dyn Corpus));
    let corpus = Joined(parts);
    let mut validation: Vec<(String, &dyn Corpus)> = Vec::new();
    validation.extend(validation_text.as_ref().map(|text| ("text".to_string(), text as &dyn Corpus)));
    validation.extend(config.data.validation_recall.iter().map(|(name, t)| (name.clone(), t as &dyn Corpus)));

    let parameters = Parameters::new(streams, DType::F32, &Device::Cpu);
    let decoder = match &start.tensors {
        Some(tensors) => Decoder::declare_from(&parameters, &start.config, tensors)?,
        None => Decoder::declare(&parameters.root(), &start.config, config.model.initial_deviation)?,
    };
    check_data(config, &corpus, &start.config, observer)?;
    let shards = config.sequence_shards;
    if let Some(problem) = shards_problem(start.config.key_value_heads(), shards) {
        return Err(Error::config("sequence_shards", problem));
    }
    let config_text = config.to_toml()?;
    let mut trainer = Trainer::new(&parameters, streams, config.train.clone(), Some(run), &config_text)?;
    let newest = if resume { checkpoint::latest(run)? } else { None };
    if resume && newest.is_none() {
        observer.on_message(&format!("{}: no checkpoint to resume from, the run begins", run.display()));
    }
    match (&newest, &config.model.init_from) {
        (Some(folder), _) => trainer.resume(folder)?,
        (None, Some(stage)) => trainer.start_from(&last_checkpoint(stage)?, config.model.keep_optimizer)?,
        (None, None) => {}
    }
    // From here on nothing is wrong that can be known beforehand.
    trainer.check(corpus.len())?;
    std::fs::create_dir_all(run).map_err(Error::io(run))?;
    files::write_atomic(&run.join("config.toml"), config_text.as_bytes())?;
    let began = SystemTime::now();
    write_run(run, config.seed, began, None)?;
    let mut task =
        LmTask { decoder: decoder.clone(), corpus: &corpus, validation, recompute: config.recompute, shards };
    let summary = trainer.run(&mut task, observer, stop)?;

    let mut recall = BTreeMap::new();
    for (name, task) in &config.data.validation_recall {
        recall.insert(name.clone(), measure(&decoder, task, DEPTHS)?);
    }
    let weights = Weights { config: start.config, tensors: parameters.snapshot()?, source: start.source };
    let model = run.join("model");
    weights.save(&model, SaveOptions::default())?;
    write_run(run, config.seed, began, Some(SystemTime::now()))?;
    Ok(Report {
        run: run.into(),
        model,
        parameters: parameters.count(),
        rows: corpus.len(),
        steps: summary.step,
        seconds: summary.seconds,
        last_loss: summary.last_loss,
        best_validation: summary.best.map(|(_, loss)| loss),
        recall,
    })
}

/// The model that training starts from, with its positions changed as the configuration says.
fn open(config: &LmConfig, observer: &mut dyn Observer) -> Result<Start> {
    let model = &config.model;
    let folder = model.path.clone().or_else(|| model.init_from.as_ref().map(|run| run.join("model")));
    let mut start = match folder {
        Some(folder) => {
            let weights = Weights::open(&folder, Storage::F32)?;
            let needs_text = config.data.text.is_some() || config.data.validation_text.is_some();
            let tokenizer = if needs_text { Some(Tokenizer::open(&folder)?) } else { None };
            if let Some(tokenizer) = &tokenizer {
                tokenizer.check(&weights.config)?;
            }
            Start { config: weights.config, tensors: Some(weights.tensors), source: weights.source, tokenizer }
        }
        None => {
            let shape = serde_json::to_string(&model.shape).map_err(|e| Error::config("model.shape", e.to_string()))?;
            let config = LlamaConfig::parse(&shape, Path::new("model.shape"))?;
            Start { config, tensors: None, source: PathBuf::new(), tokenizer: None }
        }
    };
    let (old_theta, old_length) = (start.config.rope_theta, start.config.max_position_embeddings);
    start.config.max_position_embeddings = model.max_positions.unwrap_or(old_length);
    start.config.rope_theta = model.rope_theta.unwrap_or(old_theta);
    let (new_theta, new_length) = (start.config.rope_theta, start.config.max_position_embeddings);
    let doubt = positions::doubt(old_theta, new_theta, old_length, new_length, start.config.head_width());
    doubt.iter().for_each(|text| observer.on_message(text));
    let problems = start.config.problems();
    if !problems.is_empty() {
        return Err(Error::Invalid { path: "model".into(), problems });
    }
    Ok(start)
}

/// Refuses no data, and facts whose keys and values the model has no tokens for (rows and text were looked at when they were
/// opened); tells of sequences beyond the model's length, by the first.
fn check_data(config: &LmConfig, corpus: &dyn Corpus, model: &LlamaConfig, observer: &mut dyn Observer) -> Result<()> {
    if corpus.is_empty() {
        return Err(Error::config("data", "expected at least one row, found none"));
    }
    let tasks = config.data.recall.iter().map(|task| ("data.recall".to_string(), task));
    let named =
        config.data.validation_recall.iter().map(|(name, task)| (format!("data.validation_recall.{name}"), task));
    for (name, task) in tasks.chain(named) {
        let (found, rows) = (task.vocabulary(), model.vocab_size);
        if found > rows {
            let what = format!("expected keys and values for a vocabulary of {rows} tokens, found {found} tokens");
            return Err(Error::config(name, what));
        }
    }
    let longest = corpus.batch(0)?.lengths.iter().copied().max().unwrap_or(0);
    let limit = model.max_position_embeddings;
    if longest > limit {
        let what = "model.max_positions raises that";
        observer.on_message(&format!("sequences of {longest} tokens, the model is made for {limit}: {what}"));
    }
    Ok(())
}

fn last_checkpoint(run: &Path) -> Result<PathBuf> {
    let found = checkpoint::latest(run)?;
    found.ok_or_else(|| Error::format(run, "model.init_from: expected a run folder with checkpoints, found none"))
}

/// Writes `run.json`: version, arguments, seed, begin and end.
pub(crate) fn write_run(run: &Path, seed: u64, began: SystemTime, ended: Option<SystemTime>) -> Result<()> {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let value = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "seed": seed,
        "start_unix_s": seconds(began),
        "end_unix_s": ended.map(seconds),
    });
    Ok(files::write_atomic(&run.join("run.json"), format!("{value:#}\n").as_bytes())?)
}
