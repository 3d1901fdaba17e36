//! A whole run, as `tesseral lm screenshot train` does it.

use super::config::ScreenshotConfig;
use super::corpus::{Desk, Piece, classes};
use super::model::{Batch, Model};
use crate::configuration::Configuration;
use crate::training::run::write_run;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{Ahead, Observer, StepContext, Task, Trainer, Validation, checkpoint, files};

/// What [`train`] did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The run folder.
    pub run: PathBuf,
    /// The trained model in it.
    pub model: PathBuf,
    /// Scalars of the model.
    pub parameters: usize,
    /// Texts that it was trained on.
    pub texts: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds of training, validation included.
    pub seconds: f64,
    /// Seconds in which text was drawn for it, by a thread of its own.
    pub drawing_seconds: f64,
    /// Seconds that training waited for drawn text.
    pub waiting_seconds: f64,
    /// Screenshots that were drawn.
    pub drawn: u64,
    /// Loss of the last step.
    pub last_loss: Option<f64>,
    /// Best validation loss.
    pub best_validation: Option<f64>,
}

impl Report {
    /// A few lines for people.
    pub fn table(&self) -> String {
        let number = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.4}"));
        format!(
            "{} parameters, {} steps over {} texts in {:.0} s\n{} screenshots drawn in {:.1} s, waited for {:.2} s\nlast loss {}, best validation {}\nmodel: {}\n",
            self.parameters,
            self.steps,
            self.texts,
            self.seconds,
            self.drawn,
            self.drawing_seconds,
            self.waiting_seconds,
            number(self.last_loss),
            number(self.best_validation),
            self.model.display()
        )
    }
}

/// What is drawn: a sample for a step and its place in it.
type Place = (usize, [u64; 2]);

/// Batches of pieces.
struct ScreenshotTask<'a> {
    model: &'a Model,
    desk: &'a Desk,
    pieces: &'a [Piece],
    validation: &'a [Piece],
    pages: usize,
    streams: Streams,
    /// Drawn batches, and the seconds that each took.
    ahead: Ahead<Place, (Result<Batch>, f64)>,
    drawing_seconds: f64,
    waiting_seconds: f64,
    drawn: u64,
}

impl ScreenshotTask<'_> {
    fn batch(&self, sample: usize) -> &[Piece] {
        batch(self.pieces, self.pages, sample)
    }
}

fn batch(pieces: &[Piece], pages: usize, sample: usize) -> &[Piece] {
    &pieces[sample * pages..((sample + 1) * pages).min(pieces.len())]
}

fn place(sample: usize, context: &StepContext) -> Place {
    (sample, [context.step, context.micro_batch])
}

impl Task for ScreenshotTask<'_> {
    fn samples(&self) -> usize {
        self.pieces.len().div_ceil(self.pages)
    }

    fn prepare(&mut self, sample: usize, context: &StepContext) {
        self.ahead.begin(place(sample, context));
    }

    fn loss(&mut self, sample: usize, context: &StepContext) -> tesseral_nn::Result<Tensor> {
        let clock = Instant::now();
        let (batch, seconds) = self.ahead.take(&place(sample, context))?;
        self.waiting_seconds += clock.elapsed().as_secs_f64();
        self.drawing_seconds += seconds;
        self.drawn += self.batch(sample).len() as u64;
        Ok(self.model.losses(&batch?)?.total)
    }

    fn size(&self, sample: usize) -> usize {
        self.batch(sample).len()
    }

    fn weight(&self, sample: usize) -> f64 {
        self.batch(sample).len() as f64
    }

    fn validate(&mut self) -> tesseral_nn::Result<Option<Validation>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        // Losses of batches, weighed by their texts.
        let mut sums: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
        for (number, batch) in self.validation.chunks(self.pages).enumerate() {
            let place = (self.streams, "screenshot/validation", [number as u64, 0]);
            let losses = self.model.losses(&self.model.drawing().draw(self.desk, batch, place)?)?;
            let total = losses.total.detach().to_dtype(DType::F64)?.to_scalar::<f64>()?;
            for (name, value) in [("loss", Some(total)), ("pixels", losses.pixels), ("text", losses.text)] {
                let Some(value) = value else { continue };
                let [sum, count] = sums.entry(name).or_default();
                (*sum, *count) = (*sum + batch.len() as f64 * value, *count + batch.len() as f64);
            }
        }
        let mut metrics: BTreeMap<String, f64> = sums.iter().map(|(name, [s, n])| (name.to_string(), s / n)).collect();
        let loss = metrics.remove("loss").unwrap_or(f64::NAN);
        Ok(Some(Validation { loss, metrics }))
    }

    fn describe(&self, sample: usize) -> Option<serde_json::Value> {
        let texts = self.batch(sample).iter().map(|p| json!({"ids": p.ids, "following": p.following, "text": p.text}));
        Some(texts.collect())
    }
}

/// Trains what the configuration says into the folder `run`: metrics, checkpoints, and at the end `model/`. With `resume` an
/// interrupted run continues from its newest checkpoint, to the bit.
///
/// # Errors
/// Those of the fonts, the data, the model and the training loop; [`tesseral_nn::Error::Interrupted`] after `stop`.
pub fn train(
    config: &ScreenshotConfig,
    run: &Path,
    resume: bool,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let (desk, data) = (Desk::open(config)?, &config.data);
    let pieces = desk.pieces(&data.paths, data, config.objective)?;
    let validation = match data.validation_paths.is_empty() {
        true => Vec::new(),
        false => desk.pieces(&data.validation_paths, data, config.objective)?,
    };
    let names = classes(&pieces)?;
    let streams = Streams::new(config.seed);
    let parameters = Parameters::new(streams, DType::F32, &Device::Cpu);
    let model = Model::declare(&parameters, config, &names)?;
    check(&model, pieces.iter().chain(&validation))?;
    let text = config.to_toml()?;
    let mut trainer = Trainer::new(&parameters, streams, config.train.clone(), Some(run), &text)?;
    if let Some(newest) = if resume { checkpoint::latest(run)? } else { None } {
        trainer.resume(&newest)?;
    }
    trainer.check(pieces.len().div_ceil(data.pages))?;
    std::fs::create_dir_all(run).map_err(Error::io(run))?;
    files::write_atomic(&run.join("config.toml"), text.as_bytes())?;
    let began = SystemTime::now();
    write_run(run, config.seed, began, None)?;
    let drawing = model.drawing();
    let draw = |(sample, counters): Place| {
        let clock = Instant::now();
        let drawn = drawing.draw(&desk, batch(&pieces, data.pages, sample), (streams, "screenshot/masks", counters));
        (drawn, clock.elapsed().as_secs_f64())
    };
    let (summary, drawing_seconds, waiting_seconds, drawn) = std::thread::scope(|scope| -> Result<_> {
        let mut task = ScreenshotTask {
            model: &model,
            desk: &desk,
            pieces: &pieces,
            validation: &validation,
            pages: data.pages,
            streams,
            ahead: Ahead::spawn(scope, draw),
            drawing_seconds: 0.0,
            waiting_seconds: 0.0,
            drawn: 0,
        };
        let summary = trainer.run(&mut task, observer, stop)?;
        Ok((summary, task.drawing_seconds, task.waiting_seconds, task.drawn))
    })?;
    let folder = run.join("model");
    let tokenizer = data.tokenizer.clone().unwrap_or_default();
    let tokenizer = if tokenizer.is_dir() { tokenizer.as_path() } else { tokenizer.parent().unwrap_or(Path::new("")) };
    model.save(&folder, &parameters, tokenizer)?;
    write_run(run, config.seed, began, Some(SystemTime::now()))?;
    Ok(Report {
        run: run.into(),
        model: folder,
        parameters: parameters.count(),
        texts: pieces.len(),
        steps: summary.step,
        seconds: summary.seconds,
        drawing_seconds,
        waiting_seconds,
        drawn,
        last_loss: summary.last_loss,
        best_validation: summary.best.map(|(_, loss)| loss),
    })
}

/// Refuses data that the model cannot take, before anything is written.
fn check<'a>(model: &Model, pieces: impl Iterator<Item = &'a Piece>) -> Result<()> {
    let (vocabulary, longest) = match model {
        Model::Masked(model) => (model.shape().text_config.vocab_size, model.shape().text_config.max_positions),
        Model::Autoregressive(model, _) => (model.decoder().config().vocab_size, usize::MAX),
        Model::Classification(..) => return Ok(()),
    };
    let (mut highest, mut most) = (0, 0);
    for piece in pieces {
        highest = piece.ids.iter().chain(&piece.following).copied().fold(highest, u32::max);
        most = piece.ids.len().max(most);
    }
    if highest as usize >= vocabulary {
        let what = format!("expected ids below the model's vocabulary of {vocabulary}, found {highest}");
        return Err(Error::config("data", what));
    }
    if most > longest {
        return Err(Error::config("data.tokens", format!("expected at most {longest}, the model's, found {most}")));
    }
    Ok(())
}
