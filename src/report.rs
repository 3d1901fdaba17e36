//! Pictures, tables and prediction folders from what the floors below compute: the output of the `physics` commands.

use serde::Serialize;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::datasets::deeph::unified::{self, Precision};
use crate::datasets::deeph::{self, ReadOptions, Record};
use crate::datasets::files;
use crate::nn::train::Observer;
use crate::physics::benchmark::{BenchmarkReport, benchmark};
use crate::physics::evaluation::EvaluationReport;
use crate::physics::model::Model;
use crate::physics::model::covariant::CovariantConfig;
use crate::physics::model::hybrid::{CONTINUED, STAGES};
use crate::physics::training::TrainingReport;
use crate::physics::{Error, Result, prediction};
use crate::plot::Format;
use crate::plot::curve::{self, Curve};
use crate::plot::parity::{self, Parity};
use crate::spectrum::system::PREDICTION;

/// Creates a folder and its parents.
///
/// # Errors
/// [`Error::Io`].
pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|source| Error::Io { path: path.into(), source })
}

/// Writes a value as indented JSON, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::Io { path: path.into(), source: std::io::Error::other(e) })?;
    Ok(files::write_atomic(path, |w| writeln!(w, "{text}"))?)
}

/// Draws the loss curves of all stages of a run: pictures `RUN/plots/loss` and `loss.csv`.
///
/// # Errors
/// A missing log, a folder that cannot be written.
pub fn write_loss_curves(run: &Path, formats: &[Format]) -> Result<()> {
    let curves = loss_curves(&[(run, STAGES[0]), (run, STAGES[1]), (run, CONTINUED)])?;
    let plots = run.join("plots");
    create_folder(&plots)?;
    curve::write_csv(&plots.join("loss.csv"), &curves)?;
    formats.iter().try_for_each(|format| curve::draw(&format.file(&plots.join("loss")), &curves))
}

/// The curves of those of the stages that were trained; all but the first begin where the first ends.
///
/// # Errors
/// A log that does not read.
pub fn loss_curves(stages: &[(&Path, &str)]) -> Result<Vec<Curve>> {
    let mut curves: Vec<Curve> = Vec::new();
    for (run, stage) in stages.iter().filter(|(run, stage)| run.join(stage).join("metrics.jsonl").is_file()) {
        let start = curves.first().map_or(0.0, Curve::end);
        curves.push(Curve::read(&run.join(stage), &title(stage), start, *stage != STAGES[1])?);
    }
    Ok(curves)
}

/// The name of a stage in pictures.
fn title(stage: &str) -> String {
    match stage.strip_prefix("stage") {
        Some(rest) => format!("stage {}", rest.replace('-', " ")),
        None => stage.to_owned(),
    }
}

/// Writes `evaluation.json`, `parity.csv` and the picture `parity` into `out`.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_evaluation(report: &EvaluationReport, out: &Path, formats: &[Format]) -> Result<()> {
    create_folder(out)?;
    write_json(&out.join("evaluation.json"), &without_points(report)?)?;
    let points = |stage: usize| {
        report.parity.iter().filter_map(move |p| Some([p.reference_ev, *p.predicted_ev.get(stage)?])).collect()
    };
    let series: Vec<Parity> = report
        .stages
        .iter()
        .enumerate()
        .map(|(k, stage)| Parity { name: title(&stage.stage), points: points(k) })
        .collect();
    parity::write_csv(&out.join("parity.csv"), &series)?;
    formats.iter().try_for_each(|format| parity::draw(&format.file(&out.join("parity")), &series))
}

/// The report without the points of the parity plot.
///
/// # Errors
/// Numbers that JSON does not have.
pub fn without_points(report: &EvaluationReport) -> Result<Value> {
    let mut value = serde_json::to_value(report)
        .map_err(|e| Error::Io { path: "evaluation".into(), source: std::io::Error::other(e) })?;
    if let Some(map) = value.as_object_mut() {
        map.shift_remove("parity");
    }
    Ok(value)
}

/// Predicts every structure below `paths` into `out/<id>`: POSCAR, info.json, overlap.h5, hamiltonian_pred.h5. All
/// structures are read and checked before the first is written. A folder that is the structure's own gets the
/// prediction alone. Returns the files.
///
/// # Errors
/// A structure that the model does not fit, two of the same name, a folder that holds something else.
pub fn predict(model: &Model, paths: &[PathBuf], out: &Path, observer: &mut dyn Observer) -> Result<Vec<PathBuf>> {
    let folders = deeph::find_structures(paths)?;
    let mut targets: Vec<PathBuf> = Vec::new();
    for folder in &folders {
        let target = prediction_folder(model, folder, out)?;
        if targets.contains(&target) {
            let (what, expected) = (target.display().to_string(), "a new folder for the prediction".into());
            return Err(Error::Mismatch { what, expected, found: "two structures of this name".into() });
        }
        targets.push(target);
    }
    let mut written = Vec::new();
    for (folder, target) in folders.iter().zip(targets) {
        written.push(predict_into(model, folder, &target)?);
        observer.on_message(&format!("{}", target.join(PREDICTION).display()));
    }
    Ok(written)
}

/// The folder in `out` that the prediction of a structure goes to, once the structure is known to fit the model.
///
/// # Errors
/// A structure that the model does not fit, a folder that holds something else.
pub fn prediction_folder(model: &Model, folder: &Path, out: &Path) -> Result<PathBuf> {
    let record = read_without_h(folder)?;
    model.sample(&record, false)?;
    let target = out.join(&record.id);
    let others = std::fs::read_dir(&target).into_iter().flatten().flatten().any(|entry| {
        !["POSCAR", "info.json", "overlap.h5", PREDICTION].iter().any(|known| *known == entry.file_name())
    });
    if others && !same(&target, folder) {
        let (what, expected) = (target.display().to_string(), "a new folder for the prediction".into());
        return Err(Error::Mismatch { what, expected, found: "other files".into() });
    }
    Ok(target)
}

/// Predicts one structure into the folder `target`; returns the file.
///
/// # Errors
/// A structure that the model does not fit, a folder that cannot be written.
pub fn predict_into(model: &Model, folder: &Path, target: &Path) -> Result<PathBuf> {
    let record = read_without_h(folder)?;
    let hamiltonian = prediction::predict(model, &record)?;
    let file = target.join(PREDICTION);
    if same(target, folder) {
        unified::write_matrix(&file, &hamiltonian, Precision::F64)?;
    } else {
        let record = unified::regrouped(&Record { hamiltonian: Some(hamiltonian), ..record });
        files::write_folder_atomic(target, |temporary| {
            unified::write(&Record { hamiltonian: None, ..record.clone() }, temporary)?;
            match &record.hamiltonian {
                Some(matrix) => unified::write_matrix(&temporary.join(PREDICTION), matrix, Precision::F64),
                None => Ok(()),
            }
        })?;
    }
    Ok(file)
}

fn read_without_h(folder: &Path) -> Result<Record> {
    Ok(deeph::read(folder, &ReadOptions { overlap: true, hamiltonian: false, validate: true })?)
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// [`benchmark`] of the first structure below `path`.
///
/// # Errors
/// No structure, or one without Hamiltonian.
pub fn bench(path: &Path, config: &CovariantConfig, repeats: usize) -> Result<BenchmarkReport> {
    let folders = deeph::find_structures(&[path.to_path_buf()])?;
    let options = ReadOptions { overlap: false, ..ReadOptions::default() };
    benchmark(&deeph::read(&folders[0], &options)?, config, repeats)
}

/// A line a stage.
pub fn training_table(report: &TrainingReport) -> String {
    let mut text = format!(
        "{:<18}{:>10}{:>9}{:>10}{:>12}{:>17}\n",
        "", "parameters", "steps", "seconds", "edges/s", "validation meV"
    );
    for stage in &report.stages {
        let mae = stage.validation_mae_mev.map_or("-".into(), |mae| format!("{mae:.3}"));
        text += &format!(
            "{:<18}{:>10}{:>9}{:>10.1}{:>12.0}{mae:>17}\n",
            title(&stage.stage),
            stage.parameters,
            stage.steps,
            stage.seconds,
            stage.edges_per_s
        );
    }
    text
}

/// A line a stage.
pub fn evaluation_table(report: &EvaluationReport) -> String {
    let mut text =
        format!("{:<18}{:>10}{:>18}{:>11}{:>20}\n", "", "MAE meV", "after gauge meV", "RMSE meV", "equivariance meV");
    for stage in &report.stages {
        text += &format!(
            "{:<18}{:>10.3}{:>18}{:>11.3}{:>20.6}\n",
            title(&stage.stage),
            stage.errors.figures.mae_mev,
            stage.errors.figures.mae_gauge_fixed_mev.map_or("-".into(), |mae| format!("{mae:.3}")),
            stage.errors.figures.rmse_mev,
            stage.equivariance_error_mev
        );
    }
    text + &format!("{} structures", report.structures)
}
