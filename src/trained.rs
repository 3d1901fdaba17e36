//! What a trained model does on many structures, in shards: `physics predict` and `physics evaluate` with `--shard`.

use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};

use crate::batch::{Batch, Description, Parts, Shard, ShardReport};
use crate::datasets::deeph;
use crate::nn::train::Observer;
use crate::physics::evaluation::{Evaluated, EvaluationReport, evaluate_one};
use crate::physics::model::Model;
use crate::physics::model::hybrid::{CONTINUED, STAGES};
use crate::physics::{Error, Result};
use crate::plot::Format;
use crate::report;
use crate::spectrum::system::PREDICTION;

/// Name of the verb that predicts.
pub const PREDICT: &str = "predict";
/// Name of the verb that evaluates.
pub const EVALUATE: &str = "evaluate";

/// A model and the structures it is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trained {
    /// The run folder.
    pub run: PathBuf,
    /// Structures, or folders of them.
    pub structures: Vec<PathBuf>,
    /// Files of the parity plot of an evaluation.
    pub formats: Vec<Format>,
}

impl Trained {
    /// The structures with their names, each name once.
    fn folders(&self) -> Result<(Vec<PathBuf>, Vec<String>)> {
        let folders = deeph::find_structures(&self.structures)?;
        let name = |f: &PathBuf| f.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let names: Vec<String> = folders.iter().map(name).collect();
        if let Some(twice) = names.iter().find(|name| names.iter().filter(|other| other == name).count() > 1) {
            let (what, expected) = (format!("structure {twice}"), "a name that no other structure has".into());
            return Err(Error::Mismatch { what, expected, found: "two of this name".into() });
        }
        Ok((folders, names))
    }

    fn description(&self, verb: &str, folders: &[PathBuf], names: &[String]) -> Result<Description> {
        let stages = [STAGES[0], STAGES[1], CONTINUED].map(|stage| self.run.join(stage).join("model.safetensors"));
        let files = ["POSCAR", "info.json", "overlap.h5", "element.dat", "site_positions.dat", "overlaps.h5"];
        let below = folders.iter().flat_map(|folder| files.map(|file| folder.join(file)));
        let inputs: Vec<PathBuf> = stages.into_iter().chain([self.run.join("config.toml")]).chain(below).collect();
        Description::new(verb, self, &inputs, names)
    }

    /// Predicts the structures of a shard into `out/<id>`.
    ///
    /// # Errors
    /// As [`report::predict`].
    pub fn predict(&self, out: &Path, shard: Shard, observer: &mut dyn Observer) -> Result<ShardReport> {
        let (folders, names) = self.folders()?;
        let parts = Parts::create(out, self.description(PREDICT, &folders, &names)?)?;
        let work = |model: &Model, unit: usize| {
            let target = report::prediction_folder(model, &folders[unit], out)?;
            report::predict_into(model, &folders[unit], &target)?;
            Ok(names[unit].clone())
        };
        parts.run(&mut Units { model: Model::load(&self.run)?, names: &names, work }, shard, observer)
    }

    /// Evaluates the structures of a shard; the parts go under `out`.
    ///
    /// # Errors
    /// As [`crate::physics::evaluation::evaluate`].
    pub fn evaluate(&self, out: &Path, shard: Shard, observer: &mut dyn Observer) -> Result<ShardReport> {
        let (folders, names) = self.folders()?;
        let parts = Parts::create(out, self.description(EVALUATE, &folders, &names)?)?;
        let work = |model: &Model, unit: usize| evaluate_one(model, &folders[unit], unit, folders.len());
        parts.run(&mut Units { model: Model::load(&self.run)?, names: &names, work }, shard, observer)
    }

    fn check(&self, parts: &Parts) -> Result<()> {
        let (folders, names) = self.folders()?;
        parts.check(&self.description(&parts.description.verb, &folders, &names)?)
    }
}

/// One unit a structure.
struct Units<'a, W> {
    model: Model,
    names: &'a [String],
    work: W,
}

impl<T: Serialize + serde::de::DeserializeOwned, W: Fn(&Model, usize) -> Result<T>> Batch for Units<'_, W> {
    type Part = T;

    fn units(&self) -> &[String] {
        self.names
    }

    fn work(&mut self, unit: usize, _: &mut dyn Observer) -> Result<T> {
        (self.work)(&self.model, unit)
    }
}

/// The files of all predictions of the shards, once all are there.
///
/// # Errors
/// Parts or files that are missing, inputs that have changed.
pub fn merge_predictions(parts: &Parts, out: &Path) -> Result<Vec<PathBuf>> {
    parts.options::<Trained>()?.check(parts)?;
    let files: Vec<PathBuf> = parts.collect::<String>()?.iter().map(|name| out.join(name).join(PREDICTION)).collect();
    match files.iter().find(|file| !file.is_file()) {
        Some(missing) => Err(Error::Mismatch {
            what: missing.display().to_string(),
            expected: "a prediction (remove its part to have it made again)".into(),
            found: "none".into(),
        }),
        None => Ok(files),
    }
}

/// What one run of `physics evaluate` reports, from the parts of the shards; its files go to `out`.
///
/// # Errors
/// Parts that are missing, inputs that have changed, a folder that cannot be written.
pub fn merge_evaluations(parts: &Parts, out: &Path) -> Result<EvaluationReport> {
    let trained: Trained = parts.options()?;
    trained.check(parts)?;
    let mut all = Evaluated::default();
    parts.collect::<Evaluated>()?.into_iter().try_for_each(|part| all.merge(part))?;
    let found = all.report();
    report::write_evaluation(&found, out, &trained.formats)?;
    Ok(found)
}

/// The answer of a merged prediction: the keys of `physics predict`.
pub fn predicted(files: &[PathBuf]) -> serde_json::Value {
    json!({"structures": files.len(), "files": files})
}
