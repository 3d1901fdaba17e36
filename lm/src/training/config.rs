//! The configuration of a training run: TOML, a default for everything, unknown keys refused.

use crate::configuration::Configuration;
use crate::long_context::recall::RecallTask;
use crate::model::llama::LlamaConfig;
use crate::objective::Recompute;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use tesseral_nn::optim::{AdamConfig, Clip, ScheduleConfig, ScheduleKind};
use tesseral_nn::train::TrainConfig;

/// Everything a run is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LmConfig {
    /// Seed of every random stream.
    pub seed: u64,
    /// What is trained.
    pub model: ModelConfig,
    /// What it is trained on.
    pub data: DataConfig,
    /// How.
    pub train: TrainConfig,
    /// What the backward pass finds of the layers: see [`Recompute`].
    pub recompute: Recompute,
    /// Parts that a sequence is split into as over so many workers (see [`crate::objective::shards`]); without recompute.
    pub sequence_shards: usize,
}

/// Where the model comes from: a folder or GGUF file, an earlier run, or a shape with random weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// A Hugging Face folder or GGUF file.
    pub path: Option<PathBuf>,
    /// The run folder of an earlier stage: its shape and last weights.
    pub init_from: Option<PathBuf>,
    /// With `init_from`: the moments of its optimiser too. Steps and schedule begin anew.
    pub keep_optimizer: bool,
    /// Without either: the keys of a `config.json`.
    pub shape: Option<toml::Table>,
    /// Standard deviation of random matrices.
    pub initial_deviation: f64,
    /// Another base of the rotary angles.
    pub rope_theta: Option<f64>,
    /// The longest text from now on, tokens.
    pub max_positions: Option<usize>,
}

/// What is trained and validated on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Text to train on.
    pub text: Option<TextConfig>,
    /// Rows that were packed before.
    pub rows: Option<RowsConfig>,
    /// Facts to recall, made up, instead of text; several are seen in turn.
    pub recall: Vec<RecallTask>,
    /// Facts to recall for validation, by name.
    pub validation_recall: std::collections::BTreeMap<String, RecallTask>,
    /// Text for validation.
    pub validation_text: Option<TextConfig>,
}

/// JSON lines of documents, made into rows of one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// Files, or folders of `.jsonl` files. Relative paths are taken from the configuration file.
    pub paths: Vec<PathBuf>,
    /// The field with the text.
    pub field: String,
    /// Tokens of a row.
    pub row: usize,
    /// Tokens of a document that are left over by a row begin the next one if they are at least so many.
    pub min_document: usize,
    /// Whether tokens see those of other documents in their row.
    pub unmasked: bool,
    /// Only so many rows, the first; none: all.
    pub rows: Option<usize>,
    /// Rows at the beginning that are left out (for validation on others of the same files).
    pub skip: usize,
    /// Whether a document longer than a row is an error instead of being cut.
    pub refuse_longer: bool,
}

/// Packed rows in MDS folders (ProLong's columns), mixed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RowsConfig {
    /// `path@proportion`, `path#repeat` or `path`. Relative paths are taken from `folder`.
    pub sources: Vec<String>,
    /// Where relative paths begin; a relative one is taken from the configuration file.
    pub folder: PathBuf,
    /// Rows of an epoch of the mixture; needed for proportions.
    pub per_epoch: Option<usize>,
    /// Whether tokens of mask 0 are left out of the loss (fine-tuning).
    pub instruct_masks: bool,
    /// Whether tokens see those of other documents in their row.
    pub unmasked: bool,
    /// Rows are cut to so many tokens.
    pub max_tokens: Option<usize>,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            paths: Vec::new(),
            field: "text".into(),
            row: 2048,
            min_document: 2,
            unmasked: false,
            rows: None,
            skip: 0,
            refuse_longer: false,
        }
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            path: None,
            init_from: None,
            keep_optimizer: true,
            shape: None,
            initial_deviation: 0.02,
            rope_theta: None,
            max_positions: None,
        }
    }
}

impl Default for LmConfig {
    /// The optimiser of ProLong (its appendix), also where a section `train` leaves its keys out: AdamW with betas 0.9 and 0.95, decay 0.1, clipping at 1, a tenth of warm-up,
    /// cosine to a tenth of the rate.
    fn default() -> Self {
        let learning_rate = 1e-5;
        LmConfig {
            seed: 42,
            model: ModelConfig::default(),
            data: DataConfig::default(),
            train: TrainConfig {
                steps: Some(100),
                checkpoint_every: 100,
                validate_every: 100,
                optimizer: AdamConfig {
                    learning_rate,
                    betas: (0.9, 0.95),
                    weight_decay: 0.1,
                    clip: Clip::Norm(1.0),
                    ..AdamConfig::default()
                },
                schedule: ScheduleConfig {
                    kind: ScheduleKind::Cosine,
                    warmup_fraction: 0.1,
                    minimum_rate: 0.1 * learning_rate,
                    ..ScheduleConfig::default()
                },
                ..TrainConfig::default()
            },
            recompute: Recompute::None,
            sequence_shards: 1,
        }
    }
}

/// What is wrong with so many sequence shards for a model of so many key heads.
pub(super) fn shards_problem(heads: usize, shards: usize) -> Option<String> {
    let fits = shards < 2 || heads.is_multiple_of(shards);
    (!fits).then(|| format!("expected a divisor of the {heads} key heads, found {shards}"))
}

impl Configuration for LmConfig {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let texts = [&mut self.data.text, &mut self.data.validation_text];
        let paths = texts.into_iter().flatten().flat_map(|t| t.paths.iter_mut());
        let models = [&mut self.model.path, &mut self.model.init_from];
        let rows = self.data.rows.as_mut().map(|rows| &mut rows.folder);
        paths.chain(models.into_iter().flatten()).chain(rows).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.train.problems().iter().map(|e| format!("train.{e}")).collect();
        let model = &self.model;
        let sources = [model.path.is_some(), model.init_from.is_some(), model.shape.is_some()];
        let found = sources.iter().filter(|s| **s).count();
        if found != 1 {
            problems.push(format!("model: expected one of path, init_from and shape, found {found}"));
        }
        if self.sequence_shards == 0 || (self.sequence_shards > 1 && self.recompute != Recompute::None) {
            let found = format!("{} with recompute {:?}", self.sequence_shards, self.recompute);
            problems.push(format!("sequence_shards: expected 1 or, without recompute, more; found {found}"));
        }
        if let Some(theta) = model.rope_theta.filter(|theta| !(theta.is_finite() && *theta > 1.0)) {
            problems.push(format!("model.rope_theta: expected a number above 1, found {theta}"));
        }
        if let Some(shape) = &model.shape {
            match LlamaConfig::parse(&json!(shape).to_string(), "model.shape".as_ref()) {
                Ok(shape) => {
                    let problem = shards_problem(shape.key_value_heads(), self.sequence_shards);
                    problems.extend(problem.map(|what| format!("sequence_shards: {what}")));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        let data = &self.data;
        let sources = [data.text.is_some(), data.rows.is_some(), !data.recall.is_empty()];
        let found = sources.iter().filter(|s| **s).count();
        if found != 1 {
            problems.push(format!("data: expected one of text, rows and recall, found {found}"));
        }
        if data.rows.as_ref().is_some_and(|rows| rows.sources.is_empty()) {
            problems.push("data.rows.sources: expected at least one, found none".into());
        }
        for task in data.recall.iter().chain(data.validation_recall.values()) {
            problems.extend(task.validate().err().map(|e| format!("data.{e}")));
        }
        for (key, text) in [("text", &data.text), ("validation_text", &data.validation_text)] {
            let Some(text) = text else { continue };
            if text.paths.is_empty() {
                problems.push(format!("data.{key}.paths: expected at least one, found none"));
            }
            if text.rows == Some(0) {
                problems.push(format!("data.{key}.rows: expected at least 1, found 0"));
            }
            if text.row < 2 {
                problems.push(format!("data.{key}.row: expected at least 2, found {}", text.row));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tesseral_nn::optim::ScheduleUnit;

    #[test]
    fn all_mistakes_at_once_and_back_from_its_own_text() {
        let text = "sed = 1\n[data.text]\npath = [\"a\"]\n[train]\nbatch = 0";
        let message = LmConfig::parse(text, "a.toml".as_ref(), &[]).unwrap_err().to_string();
        assert!(message.contains("sed: unknown key; nearest: seed"), "{message}");
        assert!(message.contains("data.text.path: unknown key; nearest: paths"), "{message}");
        let text = "[data.text]\nrow = 1\n[train]\nbatch = 0\nsteps = 3";
        let message = LmConfig::parse(text, "a.toml".as_ref(), &[]).unwrap_err().to_string();
        for part in ["train.batch", "model: expected one of", "data.text.paths", "data.text.row"] {
            assert!(message.contains(part), "{message}");
        }
        let text = "sequence_shards = 3\n[data.text]\npaths = [\"a\"]\nrow = 8\n[train]\nsteps = 1\n[model]\nrope_theta = -5\n\
            [model.shape]\nhidden_size = 8\nintermediate_size = 8\nnum_hidden_layers = 1\nnum_attention_heads = 2\nvocab_size = 9";
        for (set, part) in [
            ("train.steps=0", "train.steps: expected at least 1, found 0"),
            ("train.optimizer.learning_rate=-1", "train.optimizer.learning_rate: expected a number from 0 on"),
            ("train.optimizer.betas=[0.9,1.95]", "train.optimizer.betas: expected numbers in [0, 1)"),
            ("train.optimizer.clip.norm=-1", "train.optimizer.clip: expected a positive"),
            ("train.steps=2", "model.rope_theta: expected a number above 1, found -5"),
            ("train.steps=3", "sequence_shards: expected a divisor of the 2 key heads, found 3"),
            ("model.shape.num_key_value_heads=5", "num_key_value_heads: expected a divisor"),
        ] {
            let message = LmConfig::parse(text, "a.toml".as_ref(), &[set.into()]).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let good = "[model]\npath = \"m\"\n[[data.recall]]\nfacts = 4\nquestions = 2\n[train]\nsteps = 5";
        let config = LmConfig::parse(good, "a.toml".as_ref(), &["train.batch=4".into()]).unwrap();
        assert_eq!(config.train.batch, 4);
        // What is not given is ProLong's.
        let own = LmConfig::default().train;
        assert_eq!(config.train, TrainConfig { steps: Some(5), batch: 4, ..own.clone() });
        let rate = ["train.epochs=2".to_string(), "train.optimizer.learning_rate=1e-4".into()];
        let found = LmConfig::parse(&good.replace("[train]\nsteps = 5", ""), "a.toml".as_ref(), &rate).unwrap().train;
        assert_eq!((found.steps, found.epochs, found.optimizer.learning_rate), (None, Some(2), 1e-4));
        assert!((found.schedule.minimum_rate - 1e-5).abs() < 1e-12 && found.schedule.warmup_fraction == 0.1);
        for (set, expected) in [
            ("train.max_seconds=9", ScheduleConfig { by: ScheduleUnit::Time, ..own.schedule }),
            ("train.schedule.kind=\"constant\"", ScheduleConfig::default()),
        ] {
            let text = if set.contains("seconds") { good.replace("[train]\nsteps = 5", "") } else { good.into() };
            let found = LmConfig::parse(&text, "a.toml".as_ref(), &[set.into()]).unwrap();
            assert_eq!(found.train.schedule, expected, "{set}");
            assert_eq!(LmConfig::parse(&found.to_toml().unwrap(), "b".as_ref(), &[]).unwrap(), found, "{set}");
        }
        let warm = LmConfig::parse(good, "a.toml".as_ref(), &["train.schedule.warmup_steps=1".into()]).unwrap().train;
        assert_eq!((warm.schedule.warmup_steps, warm.schedule.warmup_fraction), (1, 0.0));
        assert_eq!((found.optimizer.betas, found.optimizer.clip), (own.optimizer.betas, own.optimizer.clip));
        assert_eq!(LmConfig::parse(&config.to_toml().unwrap(), "b".as_ref(), &[]).unwrap(), config);
    }
}
