//! The configuration of a training run: TOML, a default for everything, unknown keys refused.

use crate::model::covariant::CovariantConfig;
use crate::model::refine::RefineConfig;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tesseral_nn::configuration;
use tesseral_nn::optim::{AdamConfig, ScheduleConfig, ScheduleKind};
use tesseral_nn::train::trainer::TrainConfig;

/// Everything a run is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seed of every random stream.
    pub seed: u64,
    /// Which stages are trained.
    pub stages: Stages,
    /// Structures.
    pub data: DataConfig,
    /// Stage 1.
    pub covariant: CovariantConfig,
    /// Stage 2.
    pub refine: RefineConfig,
    /// How both are trained.
    pub training: TrainingConfig,
}

/// What is trained, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stages {
    /// Stage 1, then stage 2 on its frozen features: the paper's order.
    #[default]
    Both,
    /// Stage 1 alone.
    Covariant,
    /// Stage 1, then stage 1 again for the length that stage 2 would have had: the control.
    Continued,
}

/// Structures and their split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Folders of structures, or of sets of them. Relative paths are taken from the configuration file.
    pub roots: Vec<PathBuf>,
    /// `dataset_split.json`; none: the one beside the first root, else a random split.
    pub split: Option<PathBuf>,
    /// Shares of training, validation and test structures of a random split.
    pub fractions: [f64; 3],
    /// Only so many training structures, the first of the split; none: all.
    pub train_limit: Option<usize>,
}

/// Training of the two stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Stage 1.
    pub covariant: TrainConfig,
    /// Stage 2.
    pub refine: TrainConfig,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seed: 42,
            stages: Stages::Both,
            data: DataConfig::default(),
            covariant: CovariantConfig::default(),
            refine: RefineConfig::default(),
            training: TrainingConfig::default(),
        }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig { roots: Vec::new(), split: None, fractions: [0.8, 0.1, 0.1], train_limit: None }
    }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        let stage = |learning_rate: f64, epochs: u64| TrainConfig {
            epochs: Some(epochs),
            checkpoint_every: 1000,
            validate_every: 1000,
            optimizer: AdamConfig { learning_rate, ..AdamConfig::default() },
            schedule: ScheduleConfig {
                kind: ScheduleKind::Cosine,
                minimum_rate: learning_rate * 0.01,
                ..ScheduleConfig::default()
            },
            ..TrainConfig::default()
        };
        TrainingConfig { covariant: stage(2e-3, 400), refine: stage(1e-3, 200) }
    }
}

impl Config {
    /// Reads a file and applies `key.path=value` overrides (values in TOML; bare words are strings).
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Config`] with every mistake found.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
        let mut config = Self::parse(&text, path, overrides)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let places = config.data.roots.iter_mut().chain(config.data.split.as_mut());
        places.filter(|p| p.is_relative()).for_each(|p| *p = folder.join(&*p));
        let weights = Path::new(&config.covariant.weights);
        if weights.is_relative() && !config.covariant.weights.is_empty() {
            config.covariant.weights = folder.join(weights).display().to_string();
        }
        Ok(config)
    }

    /// As [`Self::read`] from text; `path` is for messages only and relative paths stay as they are.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Self> {
        let fail = |problems: Vec<String>| Error::Config { path: path.into(), problems };
        configuration::parse(text, overrides, Self::problems).map_err(fail)
    }

    /// Everything that is wrong, as `key: reason`.
    pub fn problems(&self) -> Vec<String> {
        let within = |section: &str, list: Vec<String>| -> Vec<String> {
            list.into_iter().map(|p| format!("{section}.{p}")).collect()
        };
        let mut problems = within("covariant", self.covariant.problems());
        problems.extend(within("refine", self.refine.problems()));
        for (key, train) in [("covariant", &self.training.covariant), ("refine", &self.training.refine)] {
            problems.extend(train.problems().iter().map(|e| format!("training.{key}.{e}")));
        }
        let [a, b, c] = self.data.fractions;
        if !(a > 0.0 && b >= 0.0 && c >= 0.0 && a + b + c <= 1.0 + 1e-9) {
            problems
                .push(format!("data.fractions: three shares that add to at most 1, found {:?}", self.data.fractions));
        }
        problems
    }

    /// The whole configuration as TOML.
    ///
    /// # Errors
    /// [`Error::Config`] when it cannot be written so (a bug).
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string_pretty(self)
            .map_err(|e| Error::Config { path: "config.toml".into(), problems: vec![e.to_string()] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_overrides_and_mistakes() {
        let text = Config::default().to_toml().unwrap();
        let path = Path::new("c.toml");
        assert_eq!(Config::parse(&text, path, &[]).unwrap(), Config::default());
        let set = ["covariant.blocks=2".to_string(), "stages=continued".into(), "training.refine.epochs=3".into()];
        let config = Config::parse(&text, path, &set).unwrap();
        assert_eq!((config.covariant.blocks, config.stages), (2, Stages::Continued));
        let wrong = "sed = 1\n[covariant]\nblock = 2\n[refine]\nwidht = 3\n";
        let message = Config::parse(wrong, path, &[]).unwrap_err().to_string();
        for part in ["c.toml", "covariant.block: unknown key; nearest: blocks", "refine.widht", "sed: unknown"] {
            assert!(message.contains(part), "{message}");
        }
        let message = Config::parse("[covariant]\nblocks = 0\nradius = -1.0\n", path, &[]).unwrap_err().to_string();
        assert!(message.contains("covariant.blocks: 1 to 16, found 0") && message.contains("covariant.radius"));
    }
}
