//! A whole tuning run, as `tesseral lm tune` does it.

use super::config::{Keep, Method, TuneConfig};
use super::example::Example;
use super::logistic;
use super::material::Material;
use super::objective::{Generation, Objective, features};
use super::save::save;
use super::score::{Quality, calibrated, quality};
use super::tuned::Tuned;
use crate::configuration::Configuration;
use crate::model::generate::GenerateOptions;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::{Storage, Weights};
use crate::training::run::write_run;
use crate::{Error, Result};
use candle_core::Tensor;
use rand::seq::index::sample;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};
use tesseral_nn::kernels::memory::peak_resident_mb;
use tesseral_nn::optim::zeroth_order::exchange::Tcp;
use tesseral_nn::optim::zeroth_order::{Alone, Exchange, Normal, Trajectory, TrajectoryWriter, ZerothOrder};
use tesseral_nn::rng::Streams;
use tesseral_nn::train::metrics::MetricsLog;
use tesseral_nn::train::observer::{Event, Start, Step, ValidationEvent};
use tesseral_nn::train::{Observer, StepContext, Task, TrainConfig, Trainer, Validation, checkpoint, files};

/// File of a zeroth-order run that holds all there is to it.
pub const TRAJECTORY: &str = "trajectory.zo";

/// Seconds of every step, apart from the metrics because they are not the same twice.
const TIMING: &str = "timing.jsonl";

/// What [`tune`] did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The task.
    pub task: String,
    /// The method.
    pub method: Method,
    /// Numbers that are tuned.
    pub tuned_parameters: usize,
    /// Examples to tune on and for development.
    pub train: usize,
    /// For development.
    pub dev: usize,
    /// Steps done.
    pub steps: u64,
    /// Seconds of tuning and development, earlier parts of a resumed run left out.
    pub seconds: f64,
    /// Largest resident memory of the process, MB.
    pub peak_rss_mb: Option<f64>,
    /// Development by steps and seconds of tuning (development left out), the start of a zeroth-order run included.
    pub curve: Vec<Value>,
    /// Step whose weights were tested.
    pub tested_step: u64,
    /// The test.
    pub test: Quality,
    /// What was saved.
    pub saved: Option<PathBuf>,
}

impl Report {
    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}: {:?}, {} tuned numbers, {} steps in {:.0} s\n",
            self.task, self.method, self.tuned_parameters, self.steps, self.seconds
        );
        for point in &self.curve {
            let seconds = point["seconds"].as_f64().unwrap_or(0.0);
            text += &format!("step {:>6}  {seconds:>8.1} s  dev {}\n", point["step"], point["dev"]);
        }
        let Quality { score, standard_error, examples } = self.test;
        text += &format!(
            "test {score:.4} +- {standard_error:.4} ({examples} examples, weights of step {})\n",
            self.tested_step
        );
        if let Some(saved) = &self.saved {
            text += &format!("saved: {}\n", saved.display());
        }
        text
    }
}

/// A model with its task, and what a run needs of both.
struct Bench<'a> {
    config: &'a TuneConfig,
    tokenizer: Tokenizer,
    end: Vec<u32>,
    material: Material,
    tuned: Tuned,
}

fn load(config: &TuneConfig) -> Result<(Tuned, Vec<u32>)> {
    let weights = Weights::open(&config.model, Storage::F32)?;
    let end = weights.config.end_ids();
    Ok((Tuned::new(weights, config.scope.clone(), Streams::new(config.seed))?, end))
}

impl<'a> Bench<'a> {
    fn open(config: &'a TuneConfig) -> Result<Self> {
        let tokenizer = Tokenizer::open(&config.model)?;
        let material = Material::open(config, &tokenizer)?;
        let generates = config.objective == Objective::F1 && !material.task.generates();
        if generates {
            return Err(Error::config(
                "objective",
                "expected a task whose answers are generated for f1, found a choice",
            ));
        }
        let (tuned, end) = load(config)?;
        tokenizer.check(tuned.decoder().config())?;
        Ok(Bench { config, tokenizer, end, material, tuned })
    }

    /// Something with a way to generate answers, where the task needs one.
    fn with_generation<R>(&self, body: impl FnOnce(Option<&Generation>) -> R) -> R {
        let task = &self.material.task;
        let stop = Some(&task.stop).filter(|stop| !stop.is_empty()).cloned().into_iter().collect();
        let options = GenerateOptions { max_tokens: task.max_tokens, stop, ..GenerateOptions::default() };
        let generation = Generation { tokenizer: &self.tokenizer, options, end: &self.end };
        body(task.generates().then_some(&generation))
    }

    fn quality(&self, examples: &[Example]) -> Result<Quality> {
        self.with_generation(|generation| quality(&self.tuned, examples, generation))
    }

    fn test(&self) -> Result<Quality> {
        let material = &self.material;
        match self.config.calibrated {
            true => calibrated(&self.tuned, &material.test, &material.bare),
            false => self.quality(&material.test),
        }
    }

    /// The examples of a step: of all, without repetition, the part of this rank.
    fn batch(&self, step: u64) -> Vec<Example> {
        let (train, ranks) = (&self.material.train, &self.config.ranks);
        let mut stream = Streams::new(self.config.seed).stream("batch", &[step]);
        let all = sample(&mut stream, train.len(), self.config.batch).into_vec();
        let share = all.len() / ranks.count;
        all[ranks.rank * share..][..share].iter().map(|place| train[*place].clone()).collect()
    }
}

/// Does what the configuration says, in the folder `run`: `metrics.jsonl`, `report.json`, of a zeroth-order run its
/// trajectory, and the tuned model. With `resume` an interrupted run goes on to the bit.
///
/// # Errors
/// Those of model and data, and [`Error::Config`] for a folder with another run, before anything is written; those of tuning;
/// [`tesseral_nn::Error::Interrupted`] after `stop`.
pub fn tune(
    config: &TuneConfig,
    run: &Path,
    resume: bool,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let mut bench = Bench::open(config)?;
    let clock = Instant::now();
    let (mut steps, mut tested_step) = (0, 0);
    let mut test = None;
    // Each begins the folder when nothing is wrong any more that can be known beforehand.
    let folder = Folder { config, run, resume, began: SystemTime::now() };
    match config.method {
        Method::ZerothOrder => {
            zeroth_order(&bench, &folder, observer, stop)?;
            steps = config.steps;
        }
        Method::Adam => {
            tested_step = adam(&bench, &folder, observer, stop)?;
            steps = config.steps;
        }
        Method::LinearProbe => {
            test = Some(probe(&bench)?);
            folder.begin()?;
        }
        Method::ZeroShot | Method::InContext => folder.begin()?,
    }
    let seconds = clock.elapsed().as_secs_f64();
    let curve = curve(run, config)?;
    if config.method == Method::ZerothOrder {
        tested_step = match config.keep {
            Keep::Last => steps,
            Keep::Best => best(&curve).unwrap_or(steps),
        };
        if tested_step != steps {
            // The weights of that step, from the first ones and the scalars up to there.
            bench.tuned = replayed(config, run, Some(tested_step))?;
        }
    }
    let test = test.map_or_else(|| bench.test(), Ok)?;
    let saved = if config.tunes() && config.save { Some(save(&bench.tuned, &config.model, run)?) } else { None };
    let report = Report {
        task: bench.material.task.name.clone(),
        method: config.method,
        tuned_parameters: if config.tunes() { bench.tuned.parameters().count() } else { 0 },
        train: bench.material.train.len(),
        dev: bench.material.dev.len(),
        steps,
        seconds,
        peak_rss_mb: peak_resident_mb(),
        curve,
        tested_step,
        test,
        saved,
    };
    let text = serde_json::to_string_pretty(&report).map_err(|e| Error::config("report", e.to_string()))?;
    files::write_atomic(&run.join("report.json"), text.as_bytes())?;
    write_run(run, config.seed, folder.began, Some(SystemTime::now()))?;
    Ok(report)
}

/// Where a run writes.
struct Folder<'a> {
    config: &'a TuneConfig,
    run: &'a Path,
    resume: bool,
    began: SystemTime,
}

impl Folder<'_> {
    /// Makes it, with the configuration and when the run began.
    fn begin(&self) -> Result<()> {
        std::fs::create_dir_all(self.run).map_err(Error::io(self.run))?;
        files::write_atomic(&self.run.join("config.toml"), self.config.to_toml()?.as_bytes())?;
        write_run(self.run, self.config.seed, self.began, None)
    }

    /// An error if another run has left its trajectory, which is all that such a run consists of.
    fn check_trajectory(&self) -> Result<()> {
        let path = self.run.join(TRAJECTORY);
        if !self.resume && path.exists() && Trajectory::read(&path).map_or(true, |found| !found.scalars.is_empty()) {
            let what = format!("expected no {TRAJECTORY}, found one: resume it or choose another run folder");
            return Err(Error::config(self.run.display().to_string(), what));
        }
        Ok(())
    }
}

/// Lines of `metrics.jsonl` with development, in order, each with the seconds that its steps took by [`TIMING`].
fn curve(run: &Path, config: &TuneConfig) -> Result<Vec<Value>> {
    if !config.tunes() {
        return Ok(Vec::new());
    }
    let read = |name: &str| -> Result<Vec<Value>> {
        let path = run.join(name);
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    };
    let steps: Vec<Value> = read(TIMING)?.into_iter().filter(|line| line["what"] == "step").collect();
    let seconds = |step: &Value| -> f64 {
        let before = steps.iter().filter(|line| line["step"].as_u64() <= step.as_u64());
        before.filter_map(|line| line["seconds"].as_f64()).sum()
    };
    let developed = read("metrics.jsonl")?.into_iter().filter(|line| line.get("dev").is_some());
    Ok(developed
        .map(|line| json!({"step": line["step"], "seconds": seconds(&line["step"]), "dev": line["dev"]}))
        .collect())
}

/// The first step with the best development.
fn best(curve: &[Value]) -> Option<u64> {
    let score = |point: &Value| point["dev"].as_f64().unwrap_or(f64::NEG_INFINITY);
    let first = curve.first()?;
    let best = curve.iter().fold(first, |best, point| if score(point) > score(best) { point } else { best });
    best["step"].as_u64()
}

/// The tuned model of a zeroth-order run, from its first weights and its scalars alone; of all its steps or the first
/// `steps`.
///
/// # Errors
/// Those of the model and of the trajectory.
pub fn replayed(config: &TuneConfig, run: &Path, steps: Option<u64>) -> Result<Tuned> {
    let (tuned, _) = load(config)?;
    let mut optimizer = optimizer(config, &tuned)?;
    let mut trajectory = Trajectory::read(&run.join(TRAJECTORY))?;
    if let Some(steps) = steps {
        let scalars = (0..steps).map(|step| optimizer.scalars_of(step)).sum();
        trajectory.scalars.truncate(scalars);
    }
    trajectory.replay(&mut optimizer)?;
    Ok(tuned)
}

fn optimizer(config: &TuneConfig, tuned: &Tuned) -> Result<ZerothOrder> {
    let directions = Normal::new(Streams::new(config.seed));
    Ok(ZerothOrder::new(tuned.parameters(), config.zeroth_order.clone(), config.steps, directions)?)
}

fn zeroth_order(bench: &Bench<'_>, folder: &Folder<'_>, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<()> {
    let (config, run) = (bench.config, folder.run);
    let mut optimizer = optimizer(config, &bench.tuned)?;
    let path = run.join(TRAJECTORY);
    folder.check_trajectory()?;
    let mut writer = if folder.resume && path.exists() {
        Trajectory::read(&path)?.replay(&mut optimizer)?;
        folder.begin()?;
        TrajectoryWriter::resume(&path, &optimizer)?
    } else {
        folder.begin()?;
        TrajectoryWriter::create(&path, &optimizer)?
    };
    let ranks = &config.ranks;
    let exchange: Box<dyn Exchange> = match ranks.count {
        1 => Box::new(Alone),
        count => Box::new(Tcp::join(&ranks.address, ranks.rank, count)?),
    };
    let done = optimizer.steps_done();
    let mut metrics = MetricsLog::open(&run.join("metrics.jsonl"), done)?;
    let mut timing = MetricsLog::open(&run.join(TIMING), done)?;
    let parameters = bench.tuned.parameters().count();
    observer.on_event(Event::Start(Start {
        step: done,
        total_steps: Some(config.steps),
        max_seconds: None,
        parameters,
    }));
    let clock = Instant::now();
    if done == 0 {
        develop(bench, 0, &mut metrics, observer)?;
    }
    for step in done..config.steps {
        if stop.load(Ordering::Relaxed) {
            writer.sync()?;
            return Err(tesseral_nn::Error::Interrupted { step }.into());
        }
        let started = Instant::now();
        let batch = bench.batch(step);
        let mut value = || Ok(bench.with_generation(|g| config.objective.value(&bench.tuned, &batch, g))?);
        let report = optimizer.step_with(&*exchange, &mut value)?;
        let number = step + 1;
        metrics.write(&json!({"step": number, "loss": report.loss, "derivative": report.scalars.first(),
            "learning_rate": report.learning_rate, "rejected": report.rejected}))?;
        let seconds = started.elapsed().as_secs_f64();
        timing.write(&json!({"step": number, "what": "step", "seconds": seconds}))?;
        observer.on_event(Event::Step(Step {
            step: number,
            loss: report.loss,
            learning_rate: report.learning_rate,
            gradient_norm: report.scalars.first().map_or(0.0, |g| g.abs()),
            throughput: batch.len() as f64 / seconds.max(f64::MIN_POSITIVE),
        }));
        if number == config.steps || (config.evaluate_every > 0 && number % config.evaluate_every == 0) {
            develop(bench, number, &mut metrics, observer)?;
        }
        // Last: a step that is not here is done again.
        writer.append(&report)?;
    }
    writer.sync()?;
    metrics.sync()?;
    timing.sync()?;
    observer.on_event(Event::End { step: config.steps, seconds: clock.elapsed().as_secs_f64() });
    Ok(())
}

fn develop(bench: &Bench<'_>, step: u64, metrics: &mut MetricsLog, observer: &mut dyn Observer) -> Result<()> {
    if bench.material.dev.is_empty() {
        return Ok(());
    }
    let dev = bench.quality(&bench.material.dev)?.score;
    metrics.write(&json!({"step": step, "dev": dev}))?;
    let figures = BTreeMap::from([("dev".to_string(), dev)]);
    observer.on_event(Event::Validation(ValidationEvent { step, loss: -dev, metrics: &figures, best: false }));
    Ok(())
}

/// Batches of the seed as the samples of the training loop.
struct Batches<'a, 'b> {
    bench: &'a Bench<'b>,
}

impl Task for Batches<'_, '_> {
    fn samples(&self) -> usize {
        self.bench.config.steps as usize
    }

    fn loss(&mut self, sample: usize, _: &StepContext) -> tesseral_nn::Result<Tensor> {
        let bench = self.bench;
        Ok(bench.config.objective.tensor(&bench.tuned, &bench.batch(sample as u64))?)
    }

    fn size(&self, _: usize) -> usize {
        self.bench.config.batch
    }

    fn validate(&mut self) -> tesseral_nn::Result<Option<Validation>> {
        if self.bench.material.dev.is_empty() {
            return Ok(None);
        }
        let dev = self.bench.quality(&self.bench.material.dev)?.score;
        Ok(Some(Validation { loss: 1.0 - dev, metrics: BTreeMap::from([("dev".to_string(), dev)]) }))
    }
}

/// AdamW through the training loop of the floor below; the step whose weights are left.
fn adam(bench: &Bench<'_>, folder: &Folder<'_>, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<u64> {
    let (config, run) = (bench.config, folder.run);
    let train = TrainConfig {
        steps: Some(config.steps),
        batch: 1,
        validate_every: if config.evaluate_every == 0 { config.steps } else { config.evaluate_every },
        checkpoint_every: config.steps,
        keep_last: 1,
        optimizer: config.adam.clone(),
        schedule: config.schedule,
        ..TrainConfig::default()
    };
    let parameters = bench.tuned.parameters();
    let mut trainer = Trainer::new(parameters, Streams::new(config.seed), train, Some(run), &config.to_toml()?)?;
    if let Some(newest) = if folder.resume { checkpoint::latest(run)? } else { None } {
        trainer.resume(&newest)?;
    }
    let mut batches = Batches { bench };
    trainer.check(batches.samples())?;
    folder.begin()?;
    let summary = trainer.run(&mut batches, observer, stop)?;
    match (config.keep, summary.best) {
        (Keep::Best, Some((step, _))) if trainer.restore_best()? => Ok(step),
        _ => Ok(summary.step),
    }
}

fn probe(bench: &Bench<'_>) -> Result<Quality> {
    let material = &bench.material;
    let count = material.test.first().map_or(0, |example| example.options.len());
    let choice = |example: &Example| !example.right.is_empty() && example.options.len() == count;
    if bench.material.task.generates() || !material.train.iter().chain(&material.test).all(choice) {
        return Err(Error::config("method", "expected a choice among as many candidates in each row for linear-probe"));
    }
    let of = |examples: &[Example]| -> Result<Vec<Vec<f64>>> {
        let parts = examples.chunks(16).map(|part| features(&bench.tuned, part)).collect::<Result<Vec<_>>>()?;
        Ok(parts.concat())
    };
    let classes: Vec<usize> = material.train.iter().map(|example| example.right[0]).collect();
    let classifier = logistic::fit(&of(&material.train)?, &classes, count)?;
    let right =
        |(row, example): (&Vec<f64>, &Example)| f64::from(u8::from(example.right.contains(&classifier.class(row))));
    let scores: Vec<f64> = of(&material.test)?.iter().zip(&material.test).map(right).collect();
    Ok(Quality::of(&scores))
}
