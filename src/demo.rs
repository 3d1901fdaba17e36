//! The whole path on real data in minutes: train both stages and the control, evaluate on unseen structures, predict
//! one, draw its bands beside DFT's.

use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::datasets::deeph;
use crate::nn::optim::{ScheduleKind, ScheduleUnit};
use crate::nn::train::{Observer, Silent, TrainConfig};
use crate::physics::config::{Config, Stages};
use crate::physics::evaluation::{StageErrors, evaluate};
use crate::physics::model::Model;
use crate::physics::model::hybrid::{CONTINUED, STAGES};
use crate::physics::prediction::predict;
use crate::physics::training::{self, TrainingReport};
use crate::physics::{Error, Result};
use crate::plot;
use crate::report;
use crate::spectrum::{
    BandOptions, Filling, Level, Measure, MeshChoice, PathChoice, SolverChoice, SolverKind, Sources, Spectrum,
};
use crate::survey::outputs::write_bands;

/// Minutes of training by default: the whole demo then ends within 10 on two cores.
pub const MINUTES: f64 = 7.5;

/// Shares of the training time: stage 1, and each of stage 2 and stage 1 continued.
const SHARES: [f64; 2] = [0.52, 0.24];

/// Eigenvectors of S(k) below this are left out for the bands of predictions, not of DFT: the basis of the sample is
/// nearly overcomplete (smallest eigenvalue 3e-4), and there an error of 1 meV of H is one of 3 eV of a band. The
/// eigenvalues of S have a gap here; the same done to DFT's own H moves the bands compared by 5 to 6 meV on average.
const OVERLAP_THRESHOLD: f64 = 5e-3;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to write.
    pub out: PathBuf,
    /// Minutes of training.
    pub minutes: f64,
    /// A set of structures with its split; none: the bundled sample.
    pub data: Option<PathBuf>,
    /// `key=value` changes of the configuration.
    pub set: Vec<String>,
}

/// `metrics.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// Version of this program.
    pub version: String,
    /// Training, validation and test structures.
    pub structures: [usize; 3],
    /// Stage 1, and stage 1 continued.
    pub stage1: First,
    /// Stage 2.
    pub stage2: Second,
    /// Mean change of H under a random rotation, rotated back, of each stage, meV.
    pub equivariance_error_mev: Equivariance,
    /// Mean error of occupied and four lowest empty bands after alignment, over the test structures, meV.
    pub band_mae_mev: f64,
    /// The predictions' bands are those without the eigenvectors of S(k) below this; DFT's are exact.
    pub band_overlap_threshold: f64,
    /// The structure whose prediction and bands are written.
    pub predicted: String,
    /// Edges of train steps of stage 1 a second.
    pub train_edges_per_s: f64,
    /// Seconds of the whole demo.
    pub seconds: f64,
    /// Seconds of training of stage 1, stage 2 and stage 1 continued.
    pub training_seconds: [f64; 3],
}

/// Errors of stage 1.
#[derive(Clone, Debug, Serialize)]
pub struct First {
    /// Mean absolute error on the test structures, meV.
    pub test_mae_mev: f64,
    /// The same after the gauge fix, meV.
    pub test_mae_gauge_fixed_mev: Option<f64>,
    /// Of stage 1 trained on for the time of stage 2 instead, meV.
    pub continued_test_mae_mev: f64,
}

/// Errors of stage 2.
#[derive(Clone, Debug, Serialize)]
pub struct Second {
    /// Mean absolute error on the test structures, meV.
    pub test_mae_mev: f64,
    /// The same after the gauge fix, meV.
    pub test_mae_gauge_fixed_mev: Option<f64>,
}

/// Equivariance errors, meV.
#[derive(Clone, Debug, Serialize)]
pub struct Equivariance {
    /// Of stage 1.
    pub stage1: f64,
    /// Of stage 2.
    pub stage2: f64,
}

impl Metrics {
    /// A short table for people.
    pub fn table(&self) -> String {
        let [train, validate, test] = self.structures;
        format!(
            "mean absolute error of H on {test} unseen structures ({train} trained on, {validate} for validation)\n\
             stage 1                    {:>9.3} meV\n\
             stage 1, continued         {:>9.3} meV\n\
             stage 2                    {:>9.3} meV\n\
             equivariance error         {:>9.1e} meV (stage 1), {:.1e} meV (stage 2)\n\
             bands                      {:>9.3} meV\n\
             training                   {:>9.0} edges/s\n\
             whole demo                 {:>9.0} s",
            self.stage1.test_mae_mev,
            self.stage1.continued_test_mae_mev,
            self.stage2.test_mae_mev,
            self.equivariance_error_mev.stage1,
            self.equivariance_error_mev.stage2,
            self.band_mae_mev,
            self.train_edges_per_s,
            self.seconds
        )
    }
}

/// Where the bundled sample is.
///
/// # Errors
/// The sources are not where the program was built.
pub fn sample() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/sample");
    if folder.is_dir() {
        return Ok(folder);
    }
    let (expected, found) = ("the sample of the sources (or --data)".into(), "nothing".into());
    Err(Error::Mismatch { what: folder.display().to_string(), expected, found })
}

/// Runs the demo into `options.out`: `metrics.json`, `run/`, `control/`, `prediction/<id>/`, `bands/`, `plots/`.
/// What an earlier demo left there is replaced.
///
/// # Errors
/// Those of training, evaluation and prediction; a folder that cannot be written.
pub fn demo(options: &Options, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Metrics> {
    let began = Instant::now();
    let config = config(options)?;
    let test = training::split_paths(&config)?.test;
    if test.is_empty() {
        let (expected, found) = ("test structures in the split".into(), "none".into());
        return Err(Error::Mismatch { what: "demo".into(), expected, found });
    }
    let out = &options.out;
    let (run, control) = (out.join("run"), out.join("control"));
    [&run, &control].into_iter().try_for_each(|folder| remove_run(folder))?;

    let trained = training::train(&config, &run, false, observer, stop)?;
    let continued = train_control(&config, &run, &control, observer, stop)?;
    let evaluation = evaluate(&Model::load(&run)?, &test, observer)?;
    let control_evaluation = evaluate(&Model::load(&control)?, &test, observer)?;
    let (first, second) = (stage(&evaluation.stages, 0)?, stage(&evaluation.stages, 1)?);

    observer.on_message("bands of the test structures");
    let model = Model::load(&run)?;
    let mut errors = Vec::new();
    for folder in &test {
        errors.push(band_error(&model, folder, (folder == &test[0]).then_some(out.as_path()))?);
    }
    report::predict(&model, &test[..1], &out.join("prediction"), observer)?;
    let plots = out.join("plots");
    report::write_evaluation(&evaluation, &plots, &[plot::Format::Svg])?;
    let curves = report::loss_curves(&[(&run, STAGES[0]), (&run, STAGES[1]), (&control, CONTINUED)])?;
    plot::curve::write_csv(&plots.join("loss.csv"), &curves)?;
    plot::curve::draw(&plots.join("loss.svg"), &curves)?;

    let last = |report: &TrainingReport| report.stages.last().map_or(0.0, |stage| stage.seconds);
    let metrics = Metrics {
        version: env!("CARGO_PKG_VERSION").into(),
        structures: [trained.structures[0], trained.structures[1], test.len()],
        stage1: First {
            test_mae_mev: first.errors.figures.mae_mev,
            test_mae_gauge_fixed_mev: first.errors.figures.mae_gauge_fixed_mev,
            continued_test_mae_mev: stage(&control_evaluation.stages, 0)?.errors.figures.mae_mev,
        },
        stage2: Second {
            test_mae_mev: second.errors.figures.mae_mev,
            test_mae_gauge_fixed_mev: second.errors.figures.mae_gauge_fixed_mev,
        },
        equivariance_error_mev: Equivariance {
            stage1: first.equivariance_error_mev,
            stage2: second.equivariance_error_mev,
        },
        band_mae_mev: errors.iter().sum::<f64>() / errors.len() as f64,
        band_overlap_threshold: OVERLAP_THRESHOLD,
        predicted: test[0].file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        train_edges_per_s: trained.stages.first().map_or(0.0, |stage| stage.edges_per_s),
        seconds: began.elapsed().as_secs_f64(),
        training_seconds: [trained.stages.first().map_or(0.0, |stage| stage.seconds), last(&trained), last(&continued)],
    };
    report::write_json(&out.join("metrics.json"), &metrics)?;
    Ok(metrics)
}

/// The default configuration with budgets of time in place of epochs.
fn config(options: &Options) -> Result<Config> {
    if !(options.minutes.is_finite() && options.minutes > 0.0) {
        let problems = vec![format!("minutes: expected a positive number, found {}", options.minutes)];
        return Err(Error::Config { path: "demo".into(), problems });
    }
    let root = match &options.data {
        Some(folder) => folder.clone(),
        None => sample()?,
    };
    let mut config = Config { stages: Stages::Both, ..Config::default() };
    config.data.roots = vec![root];
    let budget = |train: &mut TrainConfig, share: f64| {
        (train.epochs, train.steps) = (None, None);
        train.max_seconds = Some(60.0 * options.minutes * share);
        (train.schedule.kind, train.schedule.by) = (ScheduleKind::Cosine, ScheduleUnit::Time);
        (train.validate_every, train.checkpoint_every) = (48, 1000);
    };
    budget(&mut config.training.covariant, SHARES[0]);
    budget(&mut config.training.refine, SHARES[1]);
    Config::parse(&config.to_toml()?, Path::new("demo"), &options.set)
}

/// Removes the run folder of an earlier demo; anything else is left, and training then refuses it.
fn remove_run(folder: &Path) -> Result<()> {
    if !folder.join("run.json").is_file() {
        return Ok(());
    }
    std::fs::remove_dir_all(folder).map_err(|source| Error::Io { path: folder.into(), source })
}

/// Trains stage 1 on, from the weights that stage 2 began with, for the time that stage 2 had.
fn train_control(
    config: &Config,
    run: &Path,
    control: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<TrainingReport> {
    let (from, to) = (run.join(STAGES[0]), control.join(STAGES[0]));
    report::create_folder(&to)?;
    for file in ["model.safetensors", "summary.json"] {
        let target = to.join(file);
        std::fs::copy(from.join(file), &target).map_err(|source| Error::Io { path: target, source })?;
    }
    let config = Config { stages: Stages::Continued, ..config.clone() };
    training::train(&config, control, true, observer, stop)
}

fn stage(stages: &[StageErrors], index: usize) -> Result<&StageErrors> {
    stages.get(index).ok_or_else(|| Error::Mismatch {
        what: "evaluation".into(),
        expected: format!("stage {}", index + 1),
        found: format!("{} stages", stages.len()),
    })
}

/// Band error of a prediction, meV; with `out`, picture and numbers go to `out/bands`.
fn band_error(model: &Model, folder: &Path, out: Option<&Path>) -> Result<f64> {
    let record = deeph::read(folder, &deeph::ReadOptions::default())?;
    let prediction = ("prediction".to_owned(), predict(model, &record)?);
    let spectrum = Spectrum::new(record, vec![prediction], Some(OVERLAP_THRESHOLD))?;
    let options = BandOptions {
        sources: Sources::default(),
        path: PathChoice::Crystal,
        points: if out.is_some() { 120 } else { 40 },
        solver: SolverChoice { kind: SolverKind::Dense, bands: 0, around_ev: None },
        level: Level::Info,
        mesh: MeshChoice { divisions: None, spacing: 0.1 },
        filling: Filling::default(),
    };
    let bands = options.of(&spectrum, &mut Silent)?;
    if let Some(out) = out {
        let folder = out.join("bands");
        report::create_folder(&folder)?;
        write_bands(&bands, &folder)?;
        plot::bands::draw(&folder.join("bands.svg"), &bands, [-8.0, 6.0])?;
    }
    bands.comparisons.first().map(|c| c.band_mae_mev).ok_or_else(|| Error::Structure {
        structure: bands.structure.clone(),
        what: "info.json: occupation: expected the number of electrons, found nothing".into(),
    })
}
