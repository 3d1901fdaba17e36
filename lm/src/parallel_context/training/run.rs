//! A whole stage, as `tesseral lm context train` does it.

use super::config::{ContextConfig, Stage, Supply};
use super::data::{Samples, Texts, documents};
use super::task::{ContextTask, MaskedTask};
use crate::configuration::Configuration;
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::model::tokenizer::Tokenizer;
use crate::model::weights::save::{SaveOptions, write_folder};
use crate::model::weights::{Storage, Weights, hugging_face};
use crate::parallel_context::files::{ContextWeights, hash};
use crate::parallel_context::masked::{MaskedModel, encoder_tensors};
use crate::parallel_context::model::{ContextModel, Trained};
use crate::parallel_context::retrieval::Retriever;
use crate::parallel_context::{ContextShape, start};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{Observer, Summary, Task, Trainer, checkpoint, files};

/// Token ids of texts.
type Documents = Vec<Vec<u32>>;

/// What [`train`] did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was learnt.
    pub stage: Stage,
    /// The run folder.
    pub run: PathBuf,
    /// The trained model, a folder in it.
    pub model: PathBuf,
    /// Scalars that were trained.
    pub trained: usize,
    /// Samples of the training data.
    pub samples: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Seconds of training, validation included.
    pub seconds: f64,
    /// Loss of the last step, nats.
    pub last_loss: Option<f64>,
    /// Best validation loss, nats.
    pub best_validation: Option<f64>,
    /// SHA-256 of the wrapped decoder, the same before and after; none in the masked stage.
    pub decoder_sha256: Option<String>,
}

impl Report {
    /// A table for people.
    pub fn table(&self) -> String {
        let number = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.4}"));
        let decoder = self
            .decoder_sha256
            .as_deref()
            .map_or(String::new(), |hash| format!("decoder unchanged, sha256 {}\n", &hash[..16]));
        format!(
            "{} trained parameters, {} steps over {} samples in {:.0} s\nlast loss {}, best validation {}\n{decoder}model: {}\n",
            self.trained,
            self.steps,
            self.samples,
            self.seconds,
            number(self.last_loss),
            number(self.best_validation),
            self.model.display()
        )
    }
}

/// A run folder's model, or the folder itself.
fn model_of(folder: &Path) -> PathBuf {
    let inner = folder.join("model");
    if inner.join("config.json").is_file() { inner } else { folder.into() }
}

/// Trains what the configuration says into the folder `run`: metrics, checkpoints, and at the end `model/`. With `resume` an
/// interrupted run continues from its newest checkpoint, to the bit.
///
/// # Errors
/// Those of the model, the data and the training loop; [`tesseral_nn::Error::Interrupted`] after `stop`.
pub fn train(
    config: &ContextConfig,
    run: &Path,
    resume: bool,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<Report> {
    let session = Session { config, run, resume, streams: Streams::new(config.seed) };
    match config.stage {
        Stage::Masked => session.masked(observer, stop),
        _ => session.contexts(observer, stop),
    }
}

/// Tensors by name.
type Tensors = BTreeMap<String, Tensor>;

struct Session<'a> {
    config: &'a ContextConfig,
    run: &'a Path,
    resume: bool,
    streams: Streams,
}

impl Session<'_> {
    /// The keys of `encoder_shape`, with room for the mask after the decoder's vocabulary.
    fn encoder_shape(&self, vocabulary: usize) -> Result<LlamaConfig> {
        let mut table = self.config.model.encoder_shape.clone().unwrap_or_default();
        let mask = i64::try_from(vocabulary + 1).unwrap_or(i64::MAX);
        table.entry("vocab_size").or_insert(toml::Value::Integer(mask));
        table.insert("tie_word_embeddings".into(), true.into());
        let text = serde_json::to_string(&table).map_err(|e| Error::config("model.encoder_shape", e.to_string()))?;
        LlamaConfig::parse(&text, Path::new("model.encoder_shape"))
    }

    fn documents(&self, tokenizer: &Tokenizer) -> Result<(Documents, Option<Documents>)> {
        let data = &self.config.data;
        let read = |paths: &[PathBuf], skip, most| documents(paths, &data.field, tokenizer, skip, most);
        let training = read(&data.paths, data.skip, data.documents)?;
        let validation = data.validation.as_ref().map(|v| {
            let paths = if v.paths.is_empty() { &data.paths } else { &v.paths };
            read(paths, v.skip, v.documents)
        });
        Ok((training, validation.transpose()?))
    }

    /// The loop, from its start, from the moments of an earlier stage, or from the newest checkpoint.
    fn fit(
        &self,
        parameters: &Parameters,
        task: &mut dyn Task,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<Summary> {
        let text = self.config.to_toml()?;
        let mut trainer = Trainer::new(parameters, self.streams, self.config.train.clone(), Some(self.run), &text)?;
        let newest = if self.resume { checkpoint::latest(self.run)? } else { None };
        let model = &self.config.model;
        match (&newest, &model.init_from) {
            (Some(folder), _) => trainer.resume(folder)?,
            (None, Some(stage)) if model.keep_optimizer => {
                let missing =
                    || Error::format(stage, "model.init_from: expected a run folder with checkpoints, found none");
                trainer.start_from(&checkpoint::latest(stage)?.ok_or_else(missing)?, true)?;
            }
            _ => {}
        }
        trainer.check(task.samples())?;
        std::fs::create_dir_all(self.run).map_err(Error::io(self.run))?;
        files::write_atomic(&self.run.join("config.toml"), text.as_bytes())?;
        let arguments = std::env::args().collect::<Vec<_>>();
        let about = json!({"version": env!("CARGO_PKG_VERSION"), "arguments": arguments, "seed": self.config.seed});
        files::write_atomic(&self.run.join("run.json"), format!("{about:#}\n").as_bytes())?;
        Ok(trainer.run(task, observer, stop)?)
    }

    fn report(&self, parameters: &Parameters, samples: usize, summary: &Summary, decoder: Option<String>) -> Report {
        Report {
            stage: self.config.stage,
            run: self.run.into(),
            model: self.run.join("model"),
            trained: parameters.count(),
            samples,
            steps: summary.step,
            seconds: summary.seconds,
            last_loss: summary.last_loss,
            best_validation: summary.best.map(|(_, loss)| loss),
            decoder_sha256: decoder,
        }
    }

    fn masked(&self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Report> {
        let (config, data) = (self.config, &self.config.data);
        let folder = config.model.decoder.as_deref().unwrap_or(Path::new(""));
        let decoder = LlamaConfig::read(&folder.join("config.json"))?;
        let tokenizer = Tokenizer::open(folder)?;
        tokenizer.check(&decoder)?;
        let encoder = self.encoder_shape(decoder.vocab_size)?;
        if encoder.vocab_size <= decoder.vocab_size {
            let what = format!(
                "expected more than {} (the last is the mask), found {}",
                decoder.vocab_size, encoder.vocab_size
            );
            return Err(Error::config("model.encoder_shape.vocab_size", what));
        }
        let (training, validation) = self.documents(&tokenizer)?;
        let parameters = Parameters::new(self.streams, DType::F32, &Device::Cpu);
        let model = MaskedModel::declare(&parameters, &encoder, config.model.initial_deviation)?;
        let samples = data.validation.as_ref().and_then(|v| v.samples);
        let mut task = MaskedTask {
            config,
            encoder: &encoder,
            model,
            parameters: parameters.clone(),
            mask: (encoder.vocab_size - 1) as u32,
            kept: decoder.end_ids(),
            training: Texts::new(data, &training, data.samples)?,
            validation: validation.map(|documents| Texts::new(data, &documents, samples)).transpose()?,
        };
        let summary = self.fit(&parameters, &mut task, observer, stop)?;
        let mut about = serde_json::to_value(&encoder).map_err(|e| Error::config("model", e.to_string()))?;
        about["architectures"] = json!(["LlamaForMLM"]);
        write_folder(&self.run.join("model"), &about, &parameters.snapshot()?, folder, SaveOptions::default())?;
        Ok(self.report(&parameters, task.training.len(), &summary, None))
    }

    /// The model before training.
    fn start(&self) -> Result<ContextWeights> {
        let model = &self.config.model;
        let mut weights = match (&model.init_from, &model.decoder) {
            (Some(folder), _) => ContextWeights::open(&model_of(folder), Storage::F32)?,
            (None, decoder) => {
                let decoder = Weights::open(decoder.as_deref().unwrap_or(Path::new("")), Storage::F32)?;
                let (encoder, tensors) = self.encoder(decoder.config.vocab_size)?;
                let cross_layers = model.cross_layers.unwrap_or(decoder.config.num_hidden_layers);
                let shape = ContextShape { decoder: decoder.config, encoder, cross_layers, mode: Default::default() };
                let problems = shape.problems();
                if !problems.is_empty() {
                    return Err(Error::Invalid { path: "model".into(), problems });
                }
                let tensors = start::tensors(&shape, &decoder.tensors, &tensors, model.cross_start, self.streams)?;
                ContextWeights { shape, tensors, source: decoder.source }
            }
        };
        weights.shape.mode = model.encode_mode.unwrap_or(weights.shape.mode);
        Ok(weights)
    }

    /// Shape and tensors of the encoder, those of the masked stage or new ones.
    fn encoder(&self, vocabulary: usize) -> Result<(LlamaConfig, Tensors)> {
        let (config, all) = match &self.config.model.encoder {
            Some(folder) => {
                let folder = model_of(folder);
                let path = folder.join("config.json");
                let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
                let mut config = LlamaConfig::parse(&text.replace("LlamaForMLM", "LlamaForCausalLM"), &path)?;
                config.other.remove("architectures");
                config.tie_word_embeddings = true;
                (config, hugging_face::tensors(&folder, Storage::F32)?)
            }
            None => {
                let config = self.encoder_shape(vocabulary)?;
                let parameters = Parameters::new(self.streams, DType::F32, &Device::Cpu);
                MaskedModel::declare(&parameters, &config, self.config.model.initial_deviation)?;
                (config, parameters.snapshot()?)
            }
        };
        let tensors = encoder_tensors(&config, &all);
        Ok((config, tensors))
    }

    fn contexts(&self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Report> {
        let (config, data) = (self.config, &self.config.data);
        let mut weights = self.start()?;
        let tokenizer = Tokenizer::open(&weights.source)?;
        tokenizer.check(&weights.shape.decoder)?;
        let (training, validation) = self.documents(&tokenizer)?;
        let looked_up = |documents: &[Vec<u32>]| match data.supply {
            Supply::Retrieved => Retriever::new(documents, data.context_tokens, data.neighbour, &tokenizer).map(Some),
            Supply::Previous => Ok(None),
        };
        // Of passages of their own, none belongs to a document that is trained on.
        let passages = match data.passages.is_empty() {
            true => None,
            false => Some(documents(&data.passages, &data.field, &tokenizer, 0, None)?),
        };
        let retriever = looked_up(passages.as_deref().unwrap_or(&training))?;
        let other = validation.as_deref().filter(|_| passages.is_none()).map(looked_up).transpose()?.flatten();
        let validation_retriever = if passages.is_some() { retriever.as_ref() } else { other.as_ref() };
        let teacher = match (config.stage, &config.distil.teacher) {
            (Stage::Distil, Some(folder)) => {
                let teacher = Weights::open(folder, Storage::F32)?;
                Some(Decoder::from_tensors(&teacher.config, &teacher.tensors)?)
            }
            (Stage::Distil, None) => Some(Decoder::from_tensors(&weights.shape.decoder, &weights.tensors)?),
            _ => None,
        };
        let before = hash(&weights.tensors)?;
        let parameters = Parameters::new(self.streams, DType::F32, &Device::Cpu);
        let trained = Trained { encoder: config.model.train_encoder };
        let model = ContextModel::declare_from(&parameters, &weights.shape, &weights.tensors, trained)?;
        let samples = data.validation.as_ref().and_then(|v| v.samples);
        let mut task = ContextTask {
            config,
            shape: &weights.shape,
            model,
            parameters: parameters.clone(),
            tensors: &weights.tensors,
            teacher,
            training: Samples::new(data, config.stage, &training, data.samples, retriever.as_ref())?,
            validation: validation
                .map(|documents| Samples::new(data, config.stage, &documents, samples, validation_retriever))
                .transpose()?,
        };
        let summary = self.fit(&parameters, &mut task, observer, stop)?;
        let report = self.report(&parameters, task.training.len(), &summary, Some(before.clone()));
        drop(task);
        weights.tensors.extend(parameters.snapshot()?);
        let after = hash(&weights.tensors)?;
        if after != before {
            return Err(Error::config(
                "decoder",
                format!("expected sha256 {before} as before training, found {after}"),
            ));
        }
        weights.save(&self.run.join("model"), SaveOptions::default())?;
        Ok(report)
    }
}
