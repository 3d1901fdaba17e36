//! The configuration of a run: TOML, a default for everything, unknown keys refused.

use super::super::classifier::Pool;
use super::super::render::RenderConfig;
use super::super::text::Writing;
use crate::configuration::Configuration;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tesseral_nn::optim::{AdamConfig, Clip, ScheduleConfig, ScheduleKind};
use tesseral_nn::train::TrainConfig;

/// What is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Hidden pixels and the text.
    #[default]
    Masked,
    /// The next patch, then the next token.
    Autoregressive,
    /// The label of a text.
    Classification,
}

/// Everything a run is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScreenshotConfig {
    /// Seed of every random stream.
    pub seed: u64,
    /// What is learnt.
    pub objective: Objective,
    /// How text is drawn.
    pub render: RenderConfig,
    /// How tokens become text.
    pub writing: Writing,
    /// What is learnt from.
    pub data: DataConfig,
    /// What learns.
    pub model: ModelConfig,
    /// How.
    pub train: TrainConfig,
}

/// Texts in JSON lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Files, or folders of `.jsonl` files. Relative paths are taken from the configuration file.
    pub paths: Vec<PathBuf>,
    /// The same for validation.
    pub validation_paths: Vec<PathBuf>,
    /// A folder with `tokenizer.json`, or that file; classification does without.
    pub tokenizer: Option<PathBuf>,
    /// The field with the text.
    pub field: String,
    /// Classification of pairs: the field with the second text, drawn behind the first and ` // `.
    pub second_field: Option<String>,
    /// Classification: the field with the label, a text or an integer (a class), or a number with a point (a value).
    pub label: String,
    /// Tokens of a piece of a document that is drawn.
    pub tokens: usize,
    /// Autoregressive: tokens of text that follow those drawn.
    pub text_tokens: usize,
    /// Pieces of fewer tokens are left out.
    pub min_tokens: usize,
    /// Share of the words that are hidden in the drawn text.
    pub text_mask: f64,
    /// Screenshots of a sample: what is computed at a time.
    pub pages: usize,
    /// Only so many documents of each list of paths, the first; none: all.
    pub documents: Option<usize>,
}

/// Where the model comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// A folder with `config.json` and `model.safetensors`: for classification a masked model or a classifier, for the
    /// autoregressive one also a plain Llama.
    pub path: Option<PathBuf>,
    /// Without: the keys of a `config.json`. Its image is that of `render`.
    pub shape: Option<toml::Table>,
    /// Autoregressive: standard deviation of random matrices.
    pub initial_deviation: f64,
    /// Classification: the state that classes are read from.
    pub pool: Pool,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            paths: Vec::new(),
            validation_paths: Vec::new(),
            tokenizer: None,
            field: "text".into(),
            second_field: None,
            label: "label".into(),
            tokens: 256,
            text_tokens: 256,
            min_tokens: 1,
            text_mask: 0.25,
            pages: 8,
            documents: None,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig { path: None, shape: None, initial_deviation: 0.02, pool: Pool::Whole }
    }
}

impl Default for ScreenshotConfig {
    /// Keys of `train` that are left out are the optimiser of PTP: AdamW, decay 0.05, clipping at 1, a twentieth of warm-up, cosine from
    /// 1.5e-4 to 1e-5.
    fn default() -> Self {
        ScreenshotConfig {
            seed: 42,
            objective: Objective::Masked,
            render: RenderConfig::default(),
            writing: Writing::default(),
            data: DataConfig::default(),
            model: ModelConfig::default(),
            train: TrainConfig {
                steps: Some(100),
                checkpoint_every: 100,
                validate_every: 100,
                optimizer: AdamConfig {
                    learning_rate: 1.5e-4,
                    weight_decay: 0.05,
                    clip: Clip::Norm(1.0),
                    ..AdamConfig::default()
                },
                schedule: ScheduleConfig {
                    kind: ScheduleKind::Cosine,
                    warmup_fraction: 0.05,
                    minimum_rate: 1e-5,
                    ..ScheduleConfig::default()
                },
                ..TrainConfig::default()
            },
        }
    }
}

impl Configuration for ScreenshotConfig {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let data = &mut self.data;
        let single = [&mut data.tokenizer, &mut self.model.path, &mut self.render.font].into_iter().flatten();
        single.chain(data.paths.iter_mut()).chain(&mut data.validation_paths).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.train.problems().iter().map(|e| format!("train.{e}")).collect();
        problems.extend(self.render.problems().into_iter().map(|problem| format!("render.{problem}")));
        let (data, model) = (&self.data, &self.model);
        if model.path.is_some() == model.shape.is_some() {
            let found = if model.path.is_some() { "both" } else { "neither" };
            problems.push(format!("model: expected one of path and shape, found {found}"));
        }
        if data.paths.is_empty() {
            problems.push("data.paths: expected at least one, found none".into());
        }
        if self.objective != Objective::Classification && data.tokenizer.is_none() {
            problems.push("data.tokenizer: expected a tokenizer, found none".into());
        }
        for (key, value) in [("tokens", data.tokens), ("pages", data.pages), ("min_tokens", data.min_tokens)] {
            if value == 0 {
                problems.push(format!("data.{key}: expected at least 1, found 0"));
            }
        }
        if !(0.0..1.0).contains(&data.text_mask) {
            problems.push(format!("data.text_mask: expected a number in [0, 1), found {}", data.text_mask));
        }
        problems
    }
}
