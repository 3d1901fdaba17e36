//! A small transformer trained on a world by this project's own trainer.

use super::World;
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::objective::Recompute;
use crate::training::LmTask;
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tesseral_nn::Parameters;
use tesseral_nn::optim::{AdamConfig, Clip, ScheduleConfig, ScheduleKind};
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{Observer, Summary, TrainConfig, Trainer};

/// Size of a model of the Llama family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Heads.
    pub heads: usize,
    /// Width of the feed-forward parts.
    pub feed_forward: usize,
}

/// A model and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Learner {
    /// Its size.
    pub shape: Shape,
    /// Standard deviation of its random matrices.
    pub initial_deviation: f64,
    /// Base of its rotary angles.
    pub rope_theta: f64,
    /// Optimiser steps, one batch each.
    pub steps: u64,
    /// Learning rate at full height; a cosine brings it down to a tenth.
    pub learning_rate: f64,
    /// Of weights and order.
    pub seed: u64,
}

impl Default for Learner {
    fn default() -> Self {
        Learner {
            shape: Shape { layers: 2, width: 64, heads: 2, feed_forward: 32 },
            initial_deviation: 0.1,
            rope_theta: 100.0,
            steps: 2500,
            learning_rate: 5e-3,
            seed: 1,
        }
    }
}

impl Learner {
    /// The model with random weights.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a shape that contradicts itself.
    pub fn declare(&self, world: &World) -> Result<(Parameters, Decoder)> {
        let Shape { layers, width, heads, feed_forward } = self.shape;
        let text = serde_json::json!({
            "hidden_size": width,
            "intermediate_size": feed_forward,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "vocab_size": world.vocabulary(),
            "rope_theta": self.rope_theta,
            "max_position_embeddings": world.length(),
        });
        let config = LlamaConfig::parse(&text.to_string(), Path::new("shape"))?;
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(Error::Invalid { path: "shape".into(), problems });
        }
        let parameters = Parameters::new(Streams::new(self.seed), DType::F32, &Device::Cpu);
        let decoder = Decoder::declare(&parameters.root(), &config, self.initial_deviation)?;
        Ok((parameters, decoder))
    }

    /// Trains the model on the world's sequences; the number of its scalars, the model, and how it went.
    ///
    /// # Errors
    /// Those of the shape, the world and the training loop; [`tesseral_nn::Error::Interrupted`] after `stop`.
    pub fn train(
        &self,
        world: &World,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<(usize, Decoder, Summary)> {
        world.validate()?;
        let (parameters, decoder) = self.declare(world)?;
        let config = TrainConfig {
            steps: Some(self.steps),
            optimizer: AdamConfig {
                learning_rate: self.learning_rate,
                betas: (0.9, 0.95),
                clip: Clip::Norm(1.0),
                ..AdamConfig::default()
            },
            schedule: ScheduleConfig {
                kind: ScheduleKind::Cosine,
                warmup_fraction: 0.05,
                minimum_rate: 0.1 * self.learning_rate,
                ..ScheduleConfig::default()
            },
            ..TrainConfig::default()
        };
        let mut trainer = Trainer::new(&parameters, Streams::new(self.seed), config, None, "")?;
        let mut task = LmTask {
            decoder: decoder.clone(),
            corpus: world,
            validation: Vec::new(),
            recompute: Recompute::None,
            shards: 1,
        };
        let summary = trainer.run(&mut task, observer, stop)?;
        Ok((parameters.count(), decoder, summary))
    }
}
