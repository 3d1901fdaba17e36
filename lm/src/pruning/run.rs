//! A whole pruning run, as `tesseral lm prune` does it.

use super::config::PruneConfig;
use super::constraint::{Constraint, Goal};
use super::domains::{Domain, Loader, LoaderState};
use super::extract::{Agreement, Extracted, agreement, extract};
use super::fold::Compatibility;
use super::masks::{Kind, LearnedMasks, Masks, PREFIX};
use super::report::{DomainReport, Report};
use super::scaling_law::ScalingLaw;
use super::shape::{Shape, pruned_config};
use super::task::{DomainTask, Learning, model_tensors};
use crate::configuration::Configuration;
use crate::model::decoder::Decoder;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::save::SaveOptions;
use crate::model::weights::{Storage, Weights};
use crate::training::run::write_run;
use crate::{Error, Result};
use candle_core::{DType, Device};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;
use tesseral_nn::Parameters;
use tesseral_nn::optim::ParamGroup;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{Observer, Task, TrainConfig, Trainer, checkpoint, files};

/// Tokens on which the masked and the written model are compared.
const COMPARED: usize = 64;

/// A source, domains and references that fit each other.
struct Plan {
    source: Weights,
    shape: Shape,
    target: Shape,
    domains: Vec<Domain>,
    weights: Vec<f64>,
    /// Losses of the source.
    losses: Vec<f64>,
    references: Vec<f64>,
}

/// Prunes the model of the configuration into the folder `run`: metrics, checkpoints, `model/` (a Hugging Face folder, with the
/// tokenizer's files), `report.json` and `report.txt`; with continued training `continued/`, a run folder of its own. With `resume` an
/// interrupted run continues from its newest checkpoint, to the bit.
///
/// # Errors
/// [`Error::Config`] with everything that is wrong about target, data and weights, or for a folder with another
/// run, before anything is written; those of the training loop; [`Error::Format`] when the written model is not the masked one; [`tesseral_nn::Error::Interrupted`] after `stop`.
pub fn prune(
    config: &PruneConfig,
    run: &Path,
    resume: bool,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let plan = Plan::open(config)?;
    let streams = Streams::new(config.seed);
    let parameters = Parameters::new(streams, DType::F32, &Device::Cpu);
    Decoder::declare_from(&parameters, &plan.source.config, &plan.source.tensors)?;
    let tensors = model_tensors(&parameters);
    let masks = LearnedMasks::declare(&parameters, &plan.shape, &Kind::between(&plan.shape, &plan.target))?;
    let steps = config.train.steps.unwrap_or_default();
    let warmup = (steps as f64 * config.masks.warmup_fraction).round() as u64;
    let constraint = Constraint::declare(&parameters, &masks, Goal::Shape(plan.target), warmup)?;
    let compatibility = if config.original { Compatibility::ORIGINAL } else { Compatibility::default() };
    let mut task = plan.task(config, tensors.clone(), plan.loader(streams)?);
    task.config = &plan.source.config;
    task.learning = Some(Learning { masks: &masks, constraint: &constraint, compatibility });
    let phase = Phase { parameters: &parameters, streams, train: with_masks(config), run, resume };
    let mut trainer = phase.trainer(config, &task)?;
    // From here on nothing is wrong that can be known beforehand.
    let began = SystemTime::now();
    std::fs::create_dir_all(run).map_err(Error::io(run))?;
    files::write_atomic(&run.join("config.toml"), config.to_toml()?.as_bytes())?;
    write_run(run, config.seed, began, None)?;
    let summary = trainer.run(&mut task, observer, stop)?;
    let loader = task.loader.state().clone();
    let passes = task.loader.passes();

    masks.clamp()?;
    let values = masks.deterministic(Some(&plan.target))?;
    let extracted = extract(&plan.source.config, &tensors, &values, compatibility)?;
    let agreement = plan.compare(&tensors, &values, &extracted)?;
    if !config.original && !agreement.holds() {
        let what = format!("expected the logits of the masked model, found a difference of {:e}", agreement.difference);
        return Err(Error::format(&run.join("model"), what));
    }
    let expected = constraint.expected(&masks)?;
    let targets = constraint.targets(&masks, summary.step);
    let sparsity = targets.iter().map(|(name, target)| ((*name).to_string(), (expected[name], *target))).collect();
    let parameters = (plan.source.config.parameters(), extracted.config.parameters());
    let mut report = Report {
        run: run.into(),
        model: run.join("model"),
        continued_model: None,
        source: plan.shape,
        target: plan.target,
        parameters,
        steps: summary.step,
        seconds: summary.seconds,
        sparsity,
        agreement,
        kept: extracted.kept.clone(),
        domains: plan.reports(&extracted, &loader, &passes)?,
    };
    let model = Weights { config: extracted.config, tensors: extracted.tensors, source: plan.source.source.clone() };
    model.save(&report.model, SaveOptions::default())?;
    write_report(&report)?;
    if let Some(train) = &config.continued {
        plan.continue_training(config, train, model, loader, &mut report, resume, observer, stop)?;
        write_report(&report)?;
    }
    write_run(run, config.seed, began, Some(SystemTime::now()))?;
    Ok(report)
}

fn write_report(report: &Report) -> Result<()> {
    let json = serde_json::to_string_pretty(report).map_err(|e| Error::config("report", e.to_string()))?;
    files::write_atomic(&report.run.join("report.json"), (json + "\n").as_bytes())?;
    Ok(files::write_atomic(&report.run.join("report.txt"), report.table().as_bytes())?)
}

/// The training section with groups for masks and multipliers, at their own rate; the latter climb.
fn with_masks(config: &PruneConfig) -> TrainConfig {
    let mut train = config.train.clone();
    let learning_rate_scale = config.masks.learning_rate / train.optimizer.learning_rate;
    for (part, ascend) in [("masks", false), ("multipliers", true)] {
        let pattern = format!("{PREFIX}.{part}");
        let group = ParamGroup { pattern, learning_rate_scale, weight_decay: Some(0.0), ascend, frozen: false };
        train.optimizer.groups.push(group);
    }
    train
}

/// One training loop.
struct Phase<'a> {
    parameters: &'a Parameters,
    streams: Streams,
    train: TrainConfig,
    run: &'a Path,
    resume: bool,
}

impl Phase<'_> {
    /// The loop, at the newest checkpoint of a run that is resumed; writes nothing.
    fn trainer(self, config: &PruneConfig, task: &DomainTask<'_>) -> Result<Trainer> {
        let mut trainer = Trainer::new(self.parameters, self.streams, self.train, Some(self.run), &config.to_toml()?)?;
        if let (true, Some(newest)) = (self.resume, checkpoint::latest(self.run)?) {
            trainer.resume(&newest)?;
        }
        trainer.check(task.samples())?;
        Ok(trainer)
    }
}

impl Plan {
    /// Reads model and data and checks them against each other, everything at once.
    fn open(config: &PruneConfig) -> Result<Self> {
        let source = Weights::open(&config.source, Storage::F32)?;
        // Packed rows do without.
        let tokenizer = Tokenizer::open(&config.source);
        if let Ok(tokenizer) = &tokenizer {
            tokenizer.check(&source.config)?;
        }
        let end = source.config.end_ids().first().copied();
        let mut problems: Vec<String> = config.problems();
        let of_target = config.target.problems(&source.config);
        problems.extend(of_target.into_iter().map(|problem| format!("target: {problem}")));
        if config.original && source.config.tie_word_embeddings {
            problems.push("original: expected a model with an output matrix of its own, found a tied one".into());
        }
        let domains = match Domain::open(&config.data, source.config.vocab_size, tokenizer.as_ref().ok(), end) {
            Ok(domains) => domains,
            Err(error) => {
                problems.extend(tokenizer.err().map(|e| e.to_string()));
                problems.push(error.to_string());
                Vec::new()
            }
        };
        problems.extend(known_domains(config, &domains));
        if !problems.is_empty() {
            return Err(Error::config("configuration", problems.join("; ")));
        }
        let (shape, target) = (Shape::of(&source.config), config.target.shape(&source.config)?);
        let decoder = Decoder::from_tensors(&source.config, &source.tensors)?;
        let losses = domains.iter().map(|d| d.loss(&decoder)).collect::<Result<Vec<f64>>>()?;
        let size = pruned_config(&source.config, &target)?.parameters() as f64;
        let references = references(config, &domains, &losses, size)?;
        let weights = domains.iter().map(|d| config.loading.initial.get(d.name()).copied().unwrap_or(d.rows() as f64));
        Ok(Plan { weights: weights.collect(), source, shape, target, domains, losses, references })
    }

    fn loader(&self, streams: Streams) -> Result<Loader> {
        let sizes: Vec<usize> = self.domains.iter().map(Domain::rows).collect();
        Loader::new(&sizes, &self.weights, streams)
    }

    fn task(&self, config: &PruneConfig, tensors: super::fold::Tensors, loader: Loader) -> DomainTask<'_> {
        DomainTask {
            config: &self.source.config,
            tensors,
            learning: None,
            domains: &self.domains,
            loader,
            references: &self.references,
            update: config.loading.update,
            recompute: config.recompute,
            finished: 0,
            step_rows: BTreeMap::new(),
        }
    }

    fn compare(&self, tensors: &super::fold::Tensors, masks: &Masks, extracted: &Extracted) -> Result<Agreement> {
        let Some(domain) = self.domains.first() else {
            return Err(Error::config("data", "expected a domain, found none"));
        };
        let ids = domain.sample()?.ids;
        agreement(&self.source.config, tensors, masks, extracted, &ids[..ids.len().min(COMPARED)])
    }

    fn reports(&self, extracted: &Extracted, loader: &LoaderState, passes: &[f64]) -> Result<Vec<DomainReport>> {
        let decoder = Decoder::from_tensors(&extracted.config, &extracted.tensors)?;
        let total: f64 = self.weights.iter().sum();
        let report = |(k, domain): (usize, &Domain)| {
            Ok(DomainReport {
                name: domain.name().into(),
                reference: self.references[k],
                source: self.losses[k],
                pruned: domain.loss(&decoder)?,
                continued: None,
                weight: (self.weights[k] / total, loader.weights[k]),
                passes: passes[k],
            })
        };
        self.domains.iter().enumerate().map(report).collect()
    }

    /// Trains the smaller model on, with the weights and from the rows that pruning ended with.
    #[allow(clippy::too_many_arguments, reason = "the second half of one function")]
    fn continue_training(
        &self,
        config: &PruneConfig,
        train: &TrainConfig,
        model: Weights,
        loader: LoaderState,
        report: &mut Report,
        resume: bool,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<()> {
        let run = report.run.join("continued");
        std::fs::create_dir_all(&run).map_err(Error::io(&run))?;
        // Streams of its own, so that its draws are not those of pruning.
        let streams = Streams::new(config.seed.wrapping_add(1));
        let parameters = Parameters::new(streams, DType::F32, &Device::Cpu);
        Decoder::declare_from(&parameters, &model.config, &model.tensors)?;
        let mut rows = self.loader(streams)?;
        rows.restore(loader)?;
        let mut task = self.task(config, model_tensors(&parameters), rows);
        task.config = &model.config;
        let phase = Phase { parameters: &parameters, streams, train: train.clone(), run: &run, resume };
        phase.trainer(config, &task)?.run(&mut task, observer, stop)?;
        let passes = task.loader.passes();
        let tensors = parameters.snapshot()?;
        let decoder = Decoder::from_tensors(&model.config, &tensors)?;
        for (k, domain) in self.domains.iter().enumerate() {
            let found = &mut report.domains[k];
            found.continued = Some(domain.loss(&decoder)?);
            (found.weight.1, found.passes) = (task.loader.state().weights[k], passes[k]);
        }
        let folder = run.join("model");
        Weights { config: model.config.clone(), tensors, source: model.source }
            .save(&folder, SaveOptions::default())?;
        report.continued_model = Some(folder);
        Ok(())
    }
}

/// Names in the configuration that no domain has, domains without a reference, and bounds that their number does not allow.
fn known_domains(config: &PruneConfig, domains: &[Domain]) -> Vec<String> {
    let loading = &config.loading;
    let names: Vec<&str> = domains.iter().map(Domain::name).collect();
    let mut problems = Vec::new();
    if domains.is_empty() {
        return problems; // told already
    }
    let mut check = |key: &str, given: &BTreeMap<String, f64>, complete: bool| {
        for name in given.keys().filter(|name| !names.contains(&name.as_str())) {
            problems.push(format!("loading.{key}: expected one of {}, found {name}", names.join(", ")));
        }
        for name in names.iter().filter(|name| complete && !given.contains_key(**name)) {
            problems.push(format!("loading.{key}: expected a number for {name}, found none"));
        }
    };
    check("initial", &loading.initial, !loading.initial.is_empty());
    check("losses", &loading.losses, !loading.losses.is_empty());
    for (k, size) in loading.sizes.iter().enumerate() {
        check(&format!("sizes[{k}].losses"), &size.losses, true);
    }
    problems.extend(loading.update.problems(names.len()).into_iter().map(|p| format!("loading.update.{p}")));
    problems
}

/// Where the loss of each domain should be: given, or that of a scaling law at this size, or the source's own.
fn references(config: &PruneConfig, domains: &[Domain], source: &[f64], size: f64) -> Result<Vec<f64>> {
    let loading = &config.loading;
    domains
        .iter()
        .zip(source)
        .map(|(domain, own)| {
            if let Some(given) = loading.losses.get(domain.name()) {
                return Ok(*given);
            }
            if loading.sizes.is_empty() {
                return Ok(*own);
            }
            let points = loading.sizes.iter().filter_map(|s| Some((s.parameters, *s.losses.get(domain.name())?)));
            Ok(ScalingLaw::fit(&points.collect::<Vec<_>>())?.loss(size))
        })
        .collect()
}
