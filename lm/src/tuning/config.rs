//! The configuration of a tuning run: TOML, a default for everything but model, task and data.

use super::objective::Objective;
use super::tuned::Scope;
use crate::configuration::Configuration;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tesseral_nn::optim::zeroth_order::ZerothOrderConfig;
use tesseral_nn::optim::{AdamConfig, ScheduleConfig};

/// Everything a run is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TuneConfig {
    /// Seed of every random stream.
    pub seed: u64,
    /// A Hugging Face folder or GGUF file.
    pub model: PathBuf,
    /// A task file.
    pub task: PathBuf,
    /// Examples.
    pub data: DataConfig,
    /// What is done.
    pub method: Method,
    /// What of the model is tuned.
    pub scope: Scope,
    /// What is made smaller.
    pub objective: Objective,
    /// Steps of tuning.
    pub steps: u64,
    /// Examples of a step.
    pub batch: usize,
    /// The development examples are done every so many steps, and at the end; 0: at the end alone.
    pub evaluate_every: u64,
    /// Which weights are tested and saved.
    pub keep: Keep,
    /// Whether the tuned model is written.
    pub save: bool,
    /// Demonstrations before each question: those of `in-context`, and of tuning too.
    pub demonstrations: usize,
    /// Other demonstrations for each question.
    pub fresh_demonstrations: bool,
    /// Scores options by what their log-probability gains over that after a prompt without content.
    pub calibrated: bool,
    /// Of `zeroth-order`.
    pub zeroth_order: ZerothOrderConfig,
    /// Of `adam`.
    pub adam: AdamConfig,
    /// Learning rate over the run, of `adam`.
    pub schedule: ScheduleConfig,
    /// Several processes that each measure the loss on a part of a batch.
    pub ranks: RanksConfig,
}

/// What is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// MeZO.
    #[default]
    ZerothOrder,
    /// AdamW on gradients.
    Adam,
    /// Nothing: the model as it is.
    ZeroShot,
    /// Nothing, after demonstrations.
    InContext,
    /// Logistic regression on the last hidden state of the prompt.
    LinearProbe,
}

/// Which weights are tested and saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Those that did the development examples best.
    #[default]
    Best,
    /// Those of the last step.
    Last,
}

/// Examples: rows of one file, shuffled by the seed and dealt out, or of two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Rows to tune on and for development; for the test too, unless there is `test_file`.
    pub file: PathBuf,
    /// Rows for the test.
    pub test_file: Option<PathBuf>,
    /// Examples to tune on.
    pub train: usize,
    /// Examples for development.
    pub dev: usize,
    /// Examples for the test, at most.
    pub test: usize,
    /// Tokens to which texts are cut, from the left.
    pub longest: usize,
}

/// One process of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RanksConfig {
    /// Processes.
    pub count: usize,
    /// Number of this one.
    pub rank: usize,
    /// Where rank 0 listens.
    pub address: String,
}

impl Default for RanksConfig {
    fn default() -> Self {
        RanksConfig { count: 1, rank: 0, address: "127.0.0.1:7117".into() }
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig { file: PathBuf::new(), test_file: None, train: 1000, dev: 500, test: 1000, longest: 2048 }
    }
}

impl Default for TuneConfig {
    /// Numbers of MeZO's scripts: 20,000 steps of 16 examples, development every 4,000.
    fn default() -> Self {
        TuneConfig {
            seed: 0,
            model: PathBuf::new(),
            task: PathBuf::new(),
            data: DataConfig::default(),
            method: Method::ZerothOrder,
            scope: Scope::Full,
            objective: Objective::Classification,
            steps: 20_000,
            batch: 16,
            evaluate_every: 4_000,
            keep: Keep::Best,
            save: true,
            demonstrations: 0,
            fresh_demonstrations: false,
            calibrated: false,
            zeroth_order: ZerothOrderConfig { largest_loss: Some(50.0), ..ZerothOrderConfig::default() },
            adam: AdamConfig { learning_rate: 1e-5, ..AdamConfig::default() },
            schedule: ScheduleConfig::default(),
            ranks: RanksConfig::default(),
        }
    }
}

impl Configuration for TuneConfig {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let files = [&mut self.model, &mut self.task, &mut self.data.file];
        files.into_iter().chain(&mut self.data.test_file).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.zeroth_order.validate().err().map(|e| e.to_string()).into_iter().collect();
        let mut require = |holds: bool, key: &str, expected: &str, found: String| {
            if !holds {
                problems.push(format!("{key}: expected {expected}, found {found}"));
            }
        };
        for (key, path) in [("model", &self.model), ("task", &self.task), ("data.file", &self.data.file)] {
            require(!path.as_os_str().is_empty(), key, "a path", "none".into());
        }
        let tunes = self.tunes();
        require(!tunes || self.steps > 0, "steps", "at least 1", self.steps.to_string());
        let fits = (1..=self.data.train).contains(&self.batch);
        require(
            !tunes || fits,
            "batch",
            &format!("1 to the {} of data.train", self.data.train),
            self.batch.to_string(),
        );
        let needs = self.method == Method::Adam && matches!(self.objective, Objective::Accuracy | Objective::F1);
        require(!needs, "objective", "one with a gradient for adam", format!("{:?}", self.objective));
        require(self.data.test > 0, "data.test", "at least 1", self.data.test.to_string());
        let keeps = self.keep == Keep::Last || !tunes || self.data.dev > 0;
        require(keeps, "data.dev", "examples to choose the best weights by, or keep = \"last\"", "0".into());
        let needs = self.method == Method::InContext && self.demonstrations == 0;
        require(!needs, "demonstrations", "at least 1 for in-context", "0".into());
        let ranks = &self.ranks;
        let fits = ranks.rank < ranks.count;
        require(fits, "ranks.rank", &format!("a number below ranks.count ({})", ranks.count), ranks.rank.to_string());
        let alone = ranks.count == 1 || (self.method == Method::ZerothOrder && self.batch.is_multiple_of(ranks.count));
        let found = format!("{} with a batch of {}", ranks.count, self.batch);
        require(alone, "ranks.count", "1, or for zeroth-order a divisor of batch", found);
        problems
    }
}

impl TuneConfig {
    /// Whether the model changes.
    pub fn tunes(&self) -> bool {
        matches!(self.method, Method::ZerothOrder | Method::Adam)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn all_mistakes_at_once_and_back_from_its_own_text() {
        let text =
            "method = \"adam\"\nobjective = \"accuracy\"\nbatch = 0\n[data]\ntest = 0\n[zeroth_order]\nepsilon = 0.0";
        let message = TuneConfig::parse(text, "a.toml".as_ref(), &[]).unwrap_err().to_string();
        for part in
            ["model: expected a path", "task", "data.file", "batch", "objective", "data.test", "zeroth_order.epsilon"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = TuneConfig::parse("[data]\ntran = 3", "a.toml".as_ref(), &[]).unwrap_err().to_string();
        assert!(message.contains("nearest: train"), "{message}");
        let good = "model = \"m\"\ntask = \"t\"\nscope = { kind = \"low-rank\" }\n[data]\nfile = \"d\"";
        let config = TuneConfig::parse(good, "a.toml".as_ref(), &["steps=5".into()]).unwrap();
        assert_eq!((config.steps, matches!(config.scope, Scope::LowRank { rank: 8, .. })), (5, true));
        assert_eq!(TuneConfig::parse(&config.to_toml().unwrap(), "b".as_ref(), &[]).unwrap(), config);
    }

    #[test]
    fn the_files_of_this_repository_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/tune");
        let mut found = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") {
                TuneConfig::read(&path, &[]).unwrap();
                found += 1;
            }
        }
        assert!(found > 0);
        for entry in std::fs::read_dir(folder.join("tasks")).unwrap() {
            crate::tuning::task::TaskConfig::read(&entry.unwrap().path()).unwrap();
        }
    }
}
