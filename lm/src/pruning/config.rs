//! The configuration of a pruning run: TOML, a default for everything, unknown keys refused.

use super::domain_weights::WeightConfig;
use super::domains::DomainsConfig;
use super::shape::Target;
use crate::configuration::Configuration;
use crate::objective::Recompute;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tesseral_nn::optim::{AdamConfig, Clip, ScheduleConfig, ScheduleKind};
use tesseral_nn::train::TrainConfig;

/// Everything a run is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PruneConfig {
    /// Seed of every random stream.
    pub seed: u64,
    /// What is pruned: a Hugging Face folder or GGUF file.
    pub source: PathBuf,
    /// What backward passes make again: see [`Recompute`].
    pub recompute: Recompute,
    /// Do as the released code does where it contradicts itself: see [`super::fold::Compatibility`]. The masked and the written
    /// model then differ.
    pub original: bool,
    /// To which shape.
    pub target: Target,
    /// Text, by domain.
    pub data: DomainsConfig,
    /// How much of each domain is seen.
    pub loading: LoadingConfig,
    /// How masks are learned.
    pub masks: MaskConfig,
    /// Steps, batches (rows a step) and optimiser of pruning.
    pub train: TrainConfig,
    /// The same of the training of the smaller model that follows; none: it is left to `lm train`.
    pub continued: Option<TrainConfig>,
}

/// How masks are learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// Learning rate of masks and multipliers at full height; it follows the schedule of `train`.
    pub learning_rate: f64,
    /// Share of the steps in which target sparsities rise from 0.
    pub warmup_fraction: f64,
}

/// Weights of domains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadingConfig {
    /// How weights follow the gaps, at each validation.
    pub update: WeightConfig,
    /// Weights to begin with, by domain; none: as many as a domain has rows.
    pub initial: BTreeMap<String, f64>,
    /// Reference losses by domain, nats. Without these and `sizes`: those of the source.
    pub losses: BTreeMap<String, f64>,
    /// Losses of models of other sizes, at least three: the reference is a scaling law's at the size of the target.
    pub sizes: Vec<SizedLosses>,
}

/// A model's losses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizedLosses {
    /// Scalars of the model.
    pub parameters: f64,
    /// Loss by domain, nats.
    pub losses: BTreeMap<String, f64>,
}

impl Default for MaskConfig {
    fn default() -> Self {
        MaskConfig { learning_rate: 1.0, warmup_fraction: 0.2 }
    }
}

impl Default for PruneConfig {
    /// Keys of `train` that are left out are the paper's run: 3200 steps of 32 rows, AdamW at 1e-4 with betas 0.9 and 0.95, clipping at 1, a tenth
    /// of warm-up, cosine to a tenth of the rate; losses of domains every 50 steps.
    fn default() -> Self {
        let learning_rate = 1e-4;
        PruneConfig {
            seed: 17,
            source: PathBuf::new(),
            recompute: Recompute::None,
            original: false,
            target: Target::default(),
            data: DomainsConfig::default(),
            loading: LoadingConfig::default(),
            masks: MaskConfig::default(),
            train: TrainConfig {
                steps: Some(3200),
                batch: 32,
                validate_every: 50,
                checkpoint_every: 200,
                optimizer: AdamConfig {
                    learning_rate,
                    betas: (0.9, 0.95),
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
            continued: None,
        }
    }
}

impl Configuration for PruneConfig {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        // Without one the command line names it.
        let files = [&mut self.source, &mut self.data.folder];
        files.into_iter().filter(|path| !path.as_os_str().is_empty()).collect()
    }

    // Before model and data are known.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, train) in [("train", Some(&self.train)), ("continued", self.continued.as_ref())] {
            problems.extend(train.iter().flat_map(|train| train.problems()).map(|e| format!("{key}.{e}")));
        }
        if self.train.steps.is_none() {
            problems.push("train.steps: expected a number (targets rise in a share of it), found none".into());
        }
        let rates = [
            ("masks.learning_rate", self.masks.learning_rate),
            ("train.optimizer.learning_rate", self.train.optimizer.learning_rate),
        ];
        for (key, found) in rates.into_iter().filter(|(_, rate)| !(rate.is_finite() && *rate > 0.0)) {
            problems.push(format!("{key}: expected a positive number, found {found}"));
        }
        let found = self.masks.warmup_fraction;
        if !(0.0..=1.0).contains(&found) {
            problems.push(format!("masks.warmup_fraction: expected a number from 0 to 1, found {found}"));
        }
        if self.data.row < 2 {
            problems.push(format!("data.row: expected at least 2, found {}", self.data.row));
        }
        if self.data.held_out == 0 {
            problems.push("data.held_out: expected at least 1, found 0".into());
        }
        if !self.loading.losses.is_empty() && !self.loading.sizes.is_empty() {
            problems.push("loading: expected one of losses and sizes, found both".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/prune");
        let mut count = 0;
        for file in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            let config = PruneConfig::read(&file, &[]).unwrap_or_else(|e| unreachable!("{e}"));
            assert_eq!(PruneConfig::parse(&config.to_toml().unwrap(), &file, &[]).unwrap(), config);
            count += 1;
        }
        assert!(count > 0);
    }

    #[test]
    fn all_mistakes_at_once() {
        let text = "[data]\nrow = 1\nheld_out = 0\n[train]\nbatch = 0\nsteps = 3\n[train.optimizer]\nlearning_rate = 0.0\n\
            [masks]\nwarmup_fraction = 2.0\n[loading]\nlosses = {a = 1.0}\nsizes = [{parameters = 1.0}]";
        let message = PruneConfig::parse(text, "a.toml".as_ref(), &[]).unwrap_err().to_string();
        let parts =
            ["data.row", "data.held_out", "train.batch", "learning_rate", "warmup_fraction", "loading: expected"];
        for part in parts {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = PruneConfig::parse("[target]\nlayer = 1", "a.toml".as_ref(), &[]).unwrap_err().to_string();
        assert!(message.contains("target.layer: unknown key; nearest: layers"), "{message}");
    }
}
