//! Both stages with their basis: what a run folder holds and what predicts.

use super::covariant::{Covariant, CovariantOutput};
use super::refine::Refine;
use super::refine::statistics::Statistics;
use crate::config::Config;
use crate::hamiltonian::basis::Basis;
use crate::hamiltonian::targets::Targets;
use crate::sample::Sample;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{checkpoint, files};

/// What `run.json` says of the basis a model was made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BasisDescription {
    /// (atomic number, degrees of the shells), by ascending atomic number.
    pub elements: Vec<(u32, Vec<usize>)>,
    /// Whether blocks carry spin.
    pub spinful: bool,
}

/// Stage 2 with what belongs to it.
pub struct Refinement {
    /// Its parameters.
    pub parameters: Parameters,
    /// Sizes of its inputs and outputs.
    pub statistics: Statistics,
    /// The network.
    pub network: Refine,
}

/// A model: stage 1, and stage 2 when it is trained.
pub struct Model {
    /// The configuration it was made from.
    pub config: Config,
    /// Elements by ascending atomic number.
    pub basis: Basis,
    /// The flat layout of blocks.
    pub targets: Targets,
    /// Parameters of stage 1.
    pub parameters: Parameters,
    /// Stage 1.
    pub covariant: Covariant,
    /// Stage 2.
    pub refinement: Option<Refinement>,
}

/// Names of the stage folders in a run folder.
pub const STAGES: [&str; 2] = ["stage1", "stage2"];
/// Folder of stage 1 continued, the control.
pub const CONTINUED: &str = "stage1-continued";

impl Model {
    /// A model at its start; initial weights depend on the seed and the names alone.
    ///
    /// # Errors
    /// A configuration that makes no network.
    pub fn new(config: &Config, basis: Basis) -> Result<Self> {
        let basis = basis.sorted();
        let targets = Targets::new(&basis);
        let parameters = Parameters::new(Streams::new(config.seed), DType::F32, &Device::Cpu);
        let covariant = Covariant::new(&parameters.root(), &config.covariant, &targets, basis.elements().len())?;
        Ok(Model { config: config.clone(), basis, targets, parameters, covariant, refinement: None })
    }

    /// Adds stage 2 at its start.
    ///
    /// # Errors
    /// Statistics of another network.
    pub fn add_refinement(&mut self, statistics: Statistics) -> Result<()> {
        statistics.check(&self.covariant)?;
        let parameters = Parameters::new(Streams::new(self.config.seed), DType::F32, &Device::Cpu);
        let network = Refine::new(&parameters.root().enter("refine"), &self.config.refine, &self.covariant)?;
        self.refinement = Some(Refinement { parameters, statistics, network });
        Ok(())
    }

    /// What `run.json` says of the basis.
    pub fn basis_description(&self) -> BasisDescription {
        BasisDescription { elements: self.basis.elements().to_vec(), spinful: self.basis.spinful() }
    }

    /// Reads the model of a run folder: stage 1 (continued, when that is what the run did) and stage 2 if it is there.
    ///
    /// # Errors
    /// A missing or damaged file; a checkpoint of another network or basis.
    pub fn load(run: &Path) -> Result<Self> {
        let description = run.join("run.json");
        let read =
            |path: &Path| std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source });
        let format = |path: &Path, e: serde_json::Error| {
            Error::Primitive(tesseral_nn::Error::Format { path: path.into(), what: e.to_string() })
        };
        let json: serde_json::Value =
            serde_json::from_str(&read(&description)?).map_err(|e| format(&description, e))?;
        let basis: BasisDescription =
            serde_json::from_value(json["basis"].clone()).map_err(|e| format(&description, e))?;
        let config = Config::parse(&read(&run.join("config.toml"))?, &run.join("config.toml"), &[])?;
        let mut model = Model::new(&config, Basis::new(basis.elements, basis.spinful)?)?;
        let continued = run.join(CONTINUED);
        let first = if continued.exists() { continued } else { run.join(STAGES[0]) };
        model.parameters.load(&weights(&first)?)?;
        let statistics = run.join(STAGES[1]).join("statistics.json");
        if statistics.exists() {
            let numbers = serde_json::from_str(&read(&statistics)?).map_err(|e| format(&statistics, e))?;
            model.add_refinement(numbers)?;
            if let Some(r) = &model.refinement {
                r.parameters.load(&weights(&run.join(STAGES[1]))?)?;
            }
        }
        Ok(model)
    }

    /// Prepares a structure; with its Hamiltonian as label where `with_label`.
    ///
    /// # Errors
    /// As [`Sample::new`].
    pub fn sample(&self, record: &tesseral_datasets::deeph::Record, with_label: bool) -> Result<Sample> {
        let options = self.covariant.geometry_options();
        Sample::new(record, &self.basis, &self.targets, options, with_label, DType::F32)
    }

    /// Blocks of each stage, `[E, columns]`, eV: stage 1, and stage 2 where it is there.
    ///
    /// # Errors
    /// A sample prepared for another network.
    pub fn stages(&self, sample: &Sample) -> Result<Vec<(&'static str, Tensor)>> {
        let first = self.covariant.forward(&sample.geometry)?;
        let mut out = vec![(STAGES[0], first.blocks.detach())];
        if let Some(blocks) = self.refined(sample, &first)? {
            out.push((STAGES[1], blocks));
        }
        Ok(out)
    }

    fn refined(&self, sample: &Sample, first: &CovariantOutput) -> Result<Option<Tensor>> {
        let Some(r) = &self.refinement else { return Ok(None) };
        let input = r.network.input(first, &sample.geometry, &r.statistics)?;
        Ok(Some(r.network.forward(&input, None)?.detach()))
    }
}

/// The weights of a finished stage, else of its newest checkpoint.
fn weights(stage: &Path) -> Result<BTreeMap<String, Tensor>> {
    let finished = stage.join("model.safetensors");
    if finished.exists() {
        let tensors = candle_core::safetensors::load(&finished, &Device::Cpu).map_err(|e| e.with_path(&finished))?;
        return Ok(tensors.into_iter().collect());
    }
    match checkpoint::latest(stage)? {
        Some(folder) => Ok(checkpoint::load(&folder)?.model),
        None => Err(Error::Io {
            path: finished,
            source: std::io::Error::new(std::io::ErrorKind::NotFound, "no weights and no checkpoint"),
        }),
    }
}

/// Writes the weights of a finished stage.
///
/// # Errors
/// The file cannot be written.
pub fn save_weights(stage: &Path, parameters: &Parameters) -> Result<()> {
    let tensors: BTreeMap<String, Tensor> = parameters.snapshot()?;
    let bytes = safetensors::serialize(tensors, None)
        .map_err(|e| Error::Primitive(tesseral_nn::Error::Format { path: stage.into(), what: e.to_string() }))?;
    Ok(files::write_atomic(&stage.join("model.safetensors"), &bytes)?)
}
