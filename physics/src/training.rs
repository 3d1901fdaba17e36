//! Training of both stages in the paper's order, and of the controls.
//!
//! A run folder holds `config.toml`, `run.json` and one folder a stage with metrics, checkpoints and, at its end,
//! `model.safetensors`: the weights of the best validation.

use crate::config::{Config, Stages};
use crate::hamiltonian::basis::Basis;
use crate::hamiltonian::wigner_eckart::to_irreps;
use crate::model::checkpoint_names::load_deeph_e3;
use crate::model::covariant::CovariantOutput;
use crate::model::hybrid::{CONTINUED, Model, STAGES, save_weights};
use crate::model::refine::statistics::Collector;
use crate::model::refine::{Augmentation, Refine, RefineInput};
use crate::sample::Sample;
use crate::{Error, Result};
use candle_core::Tensor;
use nalgebra::{Matrix3, Quaternion, UnitQuaternion};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;
use tesseral_datasets::deeph::{self, ReadOptions};
use tesseral_datasets::split::Split;
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::observer::Observer;
use tesseral_nn::train::trainer::{StepContext, Task, TrainConfig, Trainer, Validation};
use tesseral_nn::train::{checkpoint, files};

/// What [`train`] did.
#[derive(Clone, Debug, Serialize)]
pub struct TrainingReport {
    /// The run folder.
    pub run: PathBuf,
    /// Training and validation structures.
    pub structures: [usize; 2],
    /// One entry a stage, in order.
    pub stages: Vec<StageReport>,
}

/// One trained stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageReport {
    /// `stage1`, `stage2` or `stage1-continued`.
    pub stage: String,
    /// Scalars trained.
    pub parameters: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds.
    pub seconds: f64,
    /// Edges seen by train steps over those seconds (validation included).
    pub edges_per_s: f64,
    /// Mean absolute error on the validation structures at the best weights, meV.
    pub validation_mae_mev: Option<f64>,
}

/// The folders of the structures of each part of the split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplitPaths {
    /// Training structures.
    pub train: Vec<PathBuf>,
    /// Validation structures.
    pub validate: Vec<PathBuf>,
    /// Test structures.
    pub test: Vec<PathBuf>,
}

/// Finds the structures of a configuration and splits them.
///
/// # Errors
/// No structure, or a split that names others.
pub fn split_paths(config: &Config) -> Result<SplitPaths> {
    let data = &config.data;
    let found = deeph::find_structures(&data.roots)?;
    let id = |p: &PathBuf| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let by_id: HashMap<String, PathBuf> = found.iter().map(|p| (id(p), p.clone())).collect();
    let ids: Vec<String> = found.iter().map(id).collect();
    let beside = data.roots.first().map(|r| r.join("dataset_split.json")).filter(|p| p.exists());
    let split = match data.split.clone().or(beside) {
        Some(path) => Split::read(&path)?,
        None => Split::random(&ids, data.fractions, config.seed)?,
    };
    let paths = |ids: &[String]| -> Result<Vec<PathBuf>> {
        let get = |id: &String| {
            by_id.get(id).cloned().ok_or_else(|| Error::Structure {
                structure: id.clone(),
                what: format!("named by the split, but not in {:?}", data.roots),
            })
        };
        ids.iter().map(get).collect()
    };
    let mut train = paths(&split.train)?;
    train.truncate(data.train_limit.unwrap_or(usize::MAX));
    if train.is_empty() {
        let message = format!("data.roots: training structures expected, found none in {:?}", data.roots);
        return Err(Error::Config { path: "data".into(), problems: vec![message] });
    }
    Ok(SplitPaths { train, validate: paths(&split.validate)?, test: paths(&split.test)? })
}

/// The union of the bases of some structures.
///
/// # Errors
/// Two structures with different shells for an element, or with and without spin.
fn basis_of(paths: &[PathBuf]) -> Result<Basis> {
    let mut elements: BTreeMap<u32, (Vec<usize>, PathBuf)> = BTreeMap::new();
    let mut spinful = None;
    for path in paths {
        let record = deeph::read(path, &ReadOptions { overlap: false, hamiltonian: false, validate: false })?;
        let basis = Basis::from_info(&record.info)?;
        let structure = |what: String| Error::Structure { structure: record.id.clone(), what };
        if *spinful.get_or_insert(basis.spinful()) != basis.spinful() {
            return Err(structure(format!("spinful {}, other structures are not so", basis.spinful())));
        }
        for (number, shells) in basis.elements() {
            let (known, from) = elements.entry(*number).or_insert_with(|| (shells.clone(), path.clone()));
            if known != shells {
                let what = format!("Z = {number} has shells {shells:?}, but {known:?} in {}", from.display());
                return Err(structure(what));
            }
        }
    }
    Basis::new(elements.into_iter().map(|(n, (shells, _))| (n, shells)).collect(), spinful.unwrap_or(false))
}

fn samples(model: &Model, paths: &[PathBuf], observer: &mut dyn Observer) -> Result<Vec<Sample>> {
    let options = ReadOptions { overlap: false, hamiltonian: true, validate: true };
    let read = |path: &PathBuf| model.sample(&deeph::read(path, &options)?, true);
    observer.on_message(&format!("reading {} structures", paths.len()));
    paths.iter().map(read).collect()
}

/// Trains what the configuration says into the folder `run`. With `resume`, finished stages are kept and an
/// interrupted one continues from its newest checkpoint.
///
/// # Errors
/// Bad data or configuration, a used run folder without `resume`, a loss that is not finite, an interruption.
pub fn train(
    config: &Config,
    run: &Path,
    resume: bool,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<TrainingReport> {
    let description = run.join("run.json");
    if !resume && description.exists() {
        return Err(Error::Mismatch {
            what: run.display().to_string(),
            expected: "a new folder, or resume".into(),
            found: "a run".into(),
        });
    }
    let paths = split_paths(config)?;
    let all: Vec<PathBuf> = paths.train.iter().chain(&paths.validate).cloned().collect();
    let mut model = Model::new(config, basis_of(&all)?)?;
    if !config.covariant.weights.is_empty() {
        let ignored = load_deeph_e3(Path::new(&config.covariant.weights), &model.parameters)?;
        observer.on_message(&format!("weights of {}; {} names not used", config.covariant.weights, ignored.len()));
    }
    let sets = [samples(&model, &paths.train, observer)?, samples(&model, &paths.validate, observer)?];
    std::fs::create_dir_all(run).map_err(|source| Error::Io { path: run.into(), source })?;
    let text = config.to_toml()?;
    files::write_atomic(&run.join("config.toml"), text.as_bytes())?;
    let started = if resume { start_of(&description) } else { None };
    let mut about = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "start": started.unwrap_or_else(now),
        "end": null,
        "basis": model.basis_description(),
        "parameters": model.parameters.count(),
        "arguments": std::env::args().collect::<Vec<_>>(),
        "train": paths.train, "validate": paths.validate, "test": paths.test,
    });
    let describe = |about: &Value| files::write_atomic(&description, format!("{about:#}\n").as_bytes());
    describe(&about)?;

    let structures = [sets[0].len(), sets[1].len()];
    let mut report = TrainingReport { run: run.into(), structures, stages: Vec::new() };
    let mut stages = Run { config, folder: run, resume, observer, stop };
    let first = &config.training.covariant;
    report.stages.push(stages.covariant(&model, &sets, first, STAGES[0])?);
    match config.stages {
        Stages::Covariant => {}
        Stages::Continued => {
            // The same length as stage 2, at half the rate: a warm restart from the weights of stage 1.
            let mut continued = config.training.refine.clone();
            continued.optimizer.learning_rate = first.optimizer.learning_rate / 2.0;
            continued.schedule.minimum_rate = first.schedule.minimum_rate;
            continued.ema = first.ema;
            report.stages.push(stages.covariant(&model, &sets, &continued, CONTINUED)?);
        }
        Stages::Both => report.stages.push(stages.refine(&mut model, &sets)?),
    }
    about["end"] = now().into();
    describe(&about)?;
    Ok(report)
}

/// The present time, UTC, RFC 3339.
fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// When the run that `description` tells of was started.
fn start_of(description: &Path) -> Option<String> {
    let known: Value = serde_json::from_str(&std::fs::read_to_string(description).ok()?).ok()?;
    known["start"].as_str().map(str::to_owned)
}

/// What the stages of a run share.
struct Run<'a> {
    config: &'a Config,
    folder: &'a Path,
    resume: bool,
    observer: &'a mut dyn Observer,
    stop: &'a AtomicBool,
}

impl Run<'_> {
    fn covariant(
        &mut self,
        model: &Model,
        sets: &[Vec<Sample>; 2],
        train: &TrainConfig,
        stage: &str,
    ) -> Result<StageReport> {
        self.observer.on_message(&format!("{stage}: {} parameters", model.parameters.count()));
        self.stage(&model.parameters, train, stage, &sets[0], &mut CovariantTask { model, sets })
    }

    fn refine(&mut self, model: &mut Model, sets: &[Vec<Sample>; 2]) -> Result<StageReport> {
        self.observer.on_message("stage2: features of stage 1");
        let of_set = |set: &Vec<Sample>| -> Result<Vec<CovariantOutput>> {
            set.iter().map(|sample| Ok(model.covariant.forward(&sample.geometry)?.detached())).collect()
        };
        let outputs = [of_set(&sets[0])?, of_set(&sets[1])?];
        let to_irreps = to_irreps(&model.targets, model.config.covariant.e3nn);
        let mut collector = Collector::new(&model.covariant);
        for (sample, output) in sets[0].iter().zip(&outputs[0]) {
            if let Some(label) = &sample.label {
                collector.add(output, &sample.geometry, &to_irreps.apply(label)?)?;
            }
        }
        model.add_refinement(collector.finish())?;
        let Some(refinement) = &model.refinement else { return Err(missing_refinement()) };
        let folder = self.folder.join(STAGES[1]);
        std::fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        let statistics = serde_json::to_string(&refinement.statistics)
            .map_err(|e| Error::Primitive(tesseral_nn::Error::Format { path: folder.clone(), what: e.to_string() }))?;
        files::write_atomic(&folder.join("statistics.json"), statistics.as_bytes())?;
        let input = |(sample, output): (&Sample, &CovariantOutput)| {
            refinement.network.input(output, &sample.geometry, &refinement.statistics)
        };
        let inputs = [0, 1].map(|k: usize| sets[k].iter().zip(&outputs[k]).map(input).collect::<Result<Vec<_>>>());
        let [a, b] = inputs;
        let inputs = [a?, b?];
        self.observer.on_message(&format!("stage2: {} parameters", refinement.parameters.count()));
        let augmentation = model.config.refine.augmentation;
        let mut task = RefineTask { network: &refinement.network, sets, inputs: &inputs, augmentation };
        let train = &model.config.training.refine;
        self.stage(&refinement.parameters, train, STAGES[1], &sets[0], &mut task)
    }

    /// Trains one stage in its own folder, or takes up its weights where it is finished.
    fn stage(
        &mut self,
        parameters: &Parameters,
        train: &TrainConfig,
        stage: &str,
        samples: &[Sample],
        task: &mut dyn Task,
    ) -> Result<StageReport> {
        let folder = self.folder.join(stage);
        let (done, finished) = (folder.join("model.safetensors"), folder.join("summary.json"));
        if self.resume && done.exists() && finished.exists() {
            let tensors = candle_core::safetensors::load(&done, parameters.device()).map_err(|e| e.with_path(&done))?;
            parameters.load(&tensors.into_iter().collect())?;
            let text =
                std::fs::read_to_string(&finished).map_err(|source| Error::Io { path: finished.clone(), source })?;
            self.observer.on_message(&format!("{stage}: finished before"));
            return serde_json::from_str(&text)
                .map_err(|e| Error::Primitive(tesseral_nn::Error::Format { path: finished, what: e.to_string() }));
        }
        let seeds = Streams::new(self.config.seed);
        let mut trainer = Trainer::new(parameters, seeds, train.clone(), Some(&folder), &self.config.to_toml()?)?;
        if self.resume
            && let Some(newest) = checkpoint::latest(&folder)?
        {
            trainer.resume(&newest)?;
        }
        let summary = trainer.run(task, self.observer, self.stop)?;
        trainer.restore_best()?;
        save_weights(&folder, parameters)?;
        let edges = samples.iter().map(|s| s.graph.edges.len()).sum::<usize>() as f64 / samples.len().max(1) as f64;
        let report = StageReport {
            stage: stage.into(),
            parameters: parameters.count(),
            steps: summary.step,
            seconds: summary.seconds,
            edges_per_s: edges * (summary.step * train.batch) as f64 / summary.seconds.max(1e-9),
            validation_mae_mev: summary.best.map(|(_, mae)| mae * 1e3),
        };
        let text = serde_json::to_string_pretty(&report).map_err(|e| {
            Error::Primitive(tesseral_nn::Error::Format { path: finished.clone(), what: e.to_string() })
        })?;
        files::write_atomic(&finished, text.as_bytes())?;
        Ok(report)
    }
}

fn missing_refinement() -> Error {
    Error::Mismatch { what: "stage 2".into(), expected: "a network".into(), found: "none".into() }
}

/// Mean |H - label| over the elements of a set, eV.
fn mean_absolute_error(
    samples: &[Sample],
    mut predict: impl FnMut(usize) -> tesseral_nn::Result<Tensor>,
) -> tesseral_nn::Result<Option<f64>> {
    let (mut sum, mut count) = (0.0, 0.0);
    for (k, sample) in samples.iter().enumerate() {
        let difference = sample.difference(&predict(k)?.detach()).map_err(down)?;
        let values = difference.flatten_all()?.to_vec1::<f32>()?;
        if sample.is_complex() {
            // Rows are real parts, then imaginary parts; the modulus counts.
            let columns = difference.dims2()?.1;
            for row in values.chunks_exact(columns) {
                let (re, im) = row.split_at(columns / 2);
                sum += re.iter().zip(im).map(|(a, b)| f64::from(*a).hypot(f64::from(*b))).sum::<f64>();
            }
        } else {
            sum += values.iter().map(|x| f64::from(x.abs())).sum::<f64>();
        }
        count += sample.elements;
    }
    Ok((count > 0.0).then(|| sum / count))
}

struct CovariantTask<'a> {
    model: &'a Model,
    sets: &'a [Vec<Sample>; 2],
}

/// The trainer speaks the errors of its own floor.
fn down(error: Error) -> tesseral_nn::Error {
    match error {
        Error::Primitive(e) => e,
        other => tesseral_nn::Error::Tensor(candle_core::Error::msg(other.to_string())),
    }
}

impl Task for CovariantTask<'_> {
    fn samples(&self) -> usize {
        self.sets[0].len()
    }

    fn size(&self, sample: usize) -> usize {
        self.sets[0][sample].graph.edges.len()
    }

    fn loss(&mut self, sample: usize, _: &StepContext) -> tesseral_nn::Result<Tensor> {
        let sample = &self.sets[0][sample];
        let blocks = self.model.covariant.forward(&sample.geometry).map_err(down)?.blocks;
        sample.squared_error(&blocks).map_err(down)
    }

    fn validate(&mut self) -> tesseral_nn::Result<Option<Validation>> {
        let set = &self.sets[1];
        let predict = |k: usize| Ok(self.model.covariant.forward(&set[k].geometry).map_err(down)?.blocks);
        Ok(mean_absolute_error(set, predict)?.map(Validation::from))
    }
}

struct RefineTask<'a> {
    network: &'a Refine,
    sets: &'a [Vec<Sample>; 2],
    inputs: &'a [Vec<RefineInput>; 2],
    augmentation: Augmentation,
}

impl Task for RefineTask<'_> {
    fn samples(&self) -> usize {
        self.sets[0].len()
    }

    fn size(&self, sample: usize) -> usize {
        self.sets[0][sample].graph.edges.len()
    }

    fn loss(&mut self, sample: usize, context: &StepContext) -> tesseral_nn::Result<Tensor> {
        let rotation = match self.augmentation {
            Augmentation::None => None,
            Augmentation::Rotations => Some(random_rotation(&context.streams, &[context.step, context.micro_batch])),
        };
        let blocks = self.network.forward(&self.inputs[0][sample], rotation.as_ref()).map_err(down)?;
        self.sets[0][sample].absolute_error(&blocks).map_err(down)
    }

    fn validate(&mut self) -> tesseral_nn::Result<Option<Validation>> {
        let set = &self.sets[1];
        let predict = |k: usize| self.network.forward(&self.inputs[1][k], None).map_err(down);
        Ok(mean_absolute_error(set, predict)?.map(Validation::from))
    }
}

/// A rotation drawn uniformly from SO(3), from the stream "rotation" and these counters.
pub fn random_rotation(streams: &Streams, counters: &[u64]) -> Matrix3<f64> {
    let mut stream = streams.stream("rotation", counters);
    let mut draw = || -> f64 { StandardNormal.sample(&mut stream) };
    let quaternion = Quaternion::new(draw(), draw(), draw(), draw());
    *UnitQuaternion::from_quaternion(quaternion).to_rotation_matrix().matrix()
}
