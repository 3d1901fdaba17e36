//! The configuration of a stage: TOML, a default for everything, unknown keys refused.

use crate::configuration::Configuration;
use crate::parallel_context::EncodeMode;
use crate::parallel_context::distil::Rest;
use crate::parallel_context::examples::Masking;
use crate::parallel_context::objective::Weights;
use crate::parallel_context::retrieval::Neighbour;
use crate::parallel_context::start::CrossStart;
use crate::parallel_context::windows::Placing;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tesseral_nn::optim::{AdamConfig, Clip, ScheduleConfig, ScheduleKind};
use tesseral_nn::train::TrainConfig;

/// What is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The encoder guesses masked tokens.
    Masked,
    /// Contexts are the decoder's own tokens: cross-attention learns to look.
    WarmUp,
    /// Contexts are text before, or passages that were looked up.
    Contexts,
    /// The same, and the student follows a teacher that reads all in its own window.
    Distil,
}

/// Everything a stage is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextConfig {
    /// What is learnt.
    pub stage: Stage,
    /// Seed of every random stream.
    pub seed: u64,
    /// What is trained.
    pub model: ContextModelConfig,
    /// What it is trained on.
    pub data: ContextDataConfig,
    /// With stage `distil`: the teacher.
    pub distil: DistilConfig,
    /// How.
    pub train: TrainConfig,
}

/// Where the parts of the model come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextModelConfig {
    /// The Hugging Face folder that is wrapped, with its tokenizer.
    pub decoder: Option<PathBuf>,
    /// The run folder of the masked stage (or its `model`).
    pub encoder: Option<PathBuf>,
    /// Without it: the keys of a `config.json`. `vocab_size` is one more than the decoder's unless it is given: the mask.
    pub encoder_shape: Option<toml::Table>,
    /// Instead of these: the run folder of an earlier stage, or the folder of a model that reads contexts.
    pub init_from: Option<PathBuf>,
    /// With `init_from` a run folder: the moments of its optimiser too. Steps and schedule begin anew.
    pub keep_optimizer: bool,
    /// The last so many layers of the decoder read contexts; none: all.
    pub cross_layers: Option<usize>,
    /// How cross-attention begins.
    pub cross_start: CrossStart,
    /// What the encoder reads beside a context: `context_only`, `with_query-N`, `with_query_no_hid-N`; none: as the model has it.
    pub encode_mode: Option<EncodeMode>,
    /// Whether the encoder is trained too.
    pub train_encoder: bool,
    /// Standard deviation of the matrices of a new encoder.
    pub initial_deviation: f64,
}

/// Where contexts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supply {
    /// The tokens before those of the decoder.
    #[default]
    Previous,
    /// Passages of other documents, by BM25.
    Retrieved,
}

/// Documents, and how they become texts with contexts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContextDataConfig {
    /// Files or folders of JSON lines, or `.npy` arrays `[n, n lengths, ids]`. Relative paths are taken from the configuration.
    pub paths: Vec<PathBuf>,
    /// The field with the text.
    pub field: String,
    /// Only so many documents, the first; none: all.
    pub documents: Option<usize>,
    /// Documents at the beginning that are left out (for validation on others of the same files).
    pub skip: usize,
    /// Windows within documents, or over all in a row.
    pub placing: Placing,
    /// Where contexts come from.
    pub supply: Supply,
    /// With `retrieved`: documents to look up in; none: those trained on.
    pub passages: Vec<PathBuf>,
    /// With `retrieved`: what comes with a passage.
    pub neighbour: Neighbour,
    /// Contexts of a text.
    pub contexts: usize,
    /// Tokens of a context; of a text, in the masked stage.
    pub context_tokens: usize,
    /// Tokens of the decoder.
    pub decoder_tokens: usize,
    /// Texts of a sample, packed.
    pub texts: usize,
    /// Samples, spread over all; none: all.
    pub samples: Option<usize>,
    /// Contexts left out at random.
    pub masking: Option<Masking>,
    /// Whether each text reads the contexts of all texts of its sample.
    pub negatives: bool,
    /// In the masked stage: how often a token is hidden.
    pub mask_probability: f64,
    /// Documents for validation.
    pub validation: Option<ValidationConfig>,
}

/// Documents for validation, made into texts as those for training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationConfig {
    /// Files or folders; none: those trained on.
    pub paths: Vec<PathBuf>,
    /// Only so many documents, the first; none: all.
    pub documents: Option<usize>,
    /// Documents at the beginning that are left out.
    pub skip: usize,
    /// Samples, spread over all; none: all.
    pub samples: Option<usize>,
}

/// The teacher and how it is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistilConfig {
    /// A Hugging Face folder with the same vocabulary; none: the wrapped decoder, reading all in its own window.
    pub teacher: Option<PathBuf>,
    /// Tokens of each distribution that are kept.
    pub top: usize,
    /// What becomes of the rest: `"drop"`, `"none"` or `{ smooth = 1e-6 }`.
    pub rest: Rest,
    /// Factors of the two losses.
    pub weights: Weights,
}

impl Default for DistilConfig {
    fn default() -> Self {
        DistilConfig { teacher: None, top: 50, rest: Rest::Drop, weights: Weights::default() }
    }
}

impl Default for ContextModelConfig {
    fn default() -> Self {
        ContextModelConfig {
            decoder: None,
            encoder: None,
            encoder_shape: None,
            init_from: None,
            keep_optimizer: false,
            cross_layers: None,
            cross_start: CrossStart::Copy,
            encode_mode: None,
            train_encoder: true,
            initial_deviation: 0.02,
        }
    }
}

impl Default for ContextDataConfig {
    /// The sizes of the paper's main stage: 16 contexts of 256 tokens, 4,096 tokens of the decoder.
    fn default() -> Self {
        ContextDataConfig {
            paths: Vec::new(),
            field: "text".into(),
            documents: None,
            skip: 0,
            placing: Placing::Filtered,
            supply: Supply::Previous,
            passages: Vec::new(),
            neighbour: Neighbour::None,
            contexts: 16,
            context_tokens: 256,
            decoder_tokens: 4096,
            texts: 1,
            samples: None,
            masking: None,
            negatives: false,
            mask_probability: 0.3,
            validation: None,
        }
    }
}

impl Default for ContextConfig {
    /// Keys of `train` that are left out are the optimiser of the paper: AdamW with betas 0.9 and 0.999, no decay, clipping at 1, 4 % of
    /// warm-up, cosine to zero.
    fn default() -> Self {
        let optimizer = AdamConfig { learning_rate: 3e-4, clip: Clip::Norm(1.0), ..AdamConfig::default() };
        let schedule =
            ScheduleConfig { kind: ScheduleKind::Cosine, warmup_fraction: 0.04, ..ScheduleConfig::default() };
        ContextConfig {
            stage: Stage::Contexts,
            seed: 42,
            model: ContextModelConfig::default(),
            data: ContextDataConfig::default(),
            distil: DistilConfig::default(),
            train: TrainConfig {
                steps: Some(100),
                checkpoint_every: 100,
                validate_every: 100,
                optimizer,
                schedule,
                ..TrainConfig::default()
            },
        }
    }
}

impl Configuration for ContextConfig {
    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let model = &mut self.model;
        let models = [&mut model.decoder, &mut model.encoder, &mut model.init_from, &mut self.distil.teacher];
        let data = &mut self.data;
        let validation = data.validation.iter_mut().flat_map(|v| v.paths.iter_mut());
        let paths = data.paths.iter_mut().chain(data.passages.iter_mut()).chain(validation);
        paths.chain(models.into_iter().flatten()).collect()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.train.problems().iter().map(|e| format!("train.{e}")).collect();
        let (model, data) = (&self.model, &self.data);
        let mut require = |holds: bool, what: String| {
            if !holds {
                problems.push(what);
            }
        };
        let encoders = usize::from(model.encoder.is_some()) + usize::from(model.encoder_shape.is_some());
        if self.stage == Stage::Masked {
            require(model.decoder.is_some(), "model.decoder: expected a folder with a tokenizer, found none".into());
            let holds = model.encoder_shape.is_some() && encoders == 1;
            require(holds, format!("model: expected encoder_shape for the masked stage, found {encoders} encoders"));
        } else {
            let parts = model.decoder.is_some() && encoders == 1;
            let holds = parts != model.init_from.is_some() && (parts || (model.decoder.is_none() && encoders == 0));
            let what = "model: expected decoder with one of encoder and encoder_shape, or init_from alone";
            require(holds, what.into());
        }
        require(!data.paths.is_empty(), "data.paths: expected at least one, found none".into());
        for (key, value, least) in [
            ("contexts", data.contexts, 1),
            ("context_tokens", data.context_tokens, 1),
            ("decoder_tokens", data.decoder_tokens, 2),
            ("texts", data.texts, 1),
        ] {
            require(value >= least, format!("data.{key}: expected at least {least}, found {value}"));
        }
        let masking =
            data.masking.iter().flat_map(|m| [("masking.probability", m.probability), ("masking.whole", m.whole)]);
        for (key, share) in masking.chain([("mask_probability", data.mask_probability)]) {
            let holds = (0.0..=1.0).contains(&share);
            require(holds, format!("data.{key}: expected a number from 0 to 1, found {share}"));
        }
        require(self.distil.top > 0, "distil.top: expected at least 1, found 0".into());
        if let Rest::Smooth(more) = self.distil.rest {
            require(more > 0.0, format!("distil.rest.smooth: expected a number above 0, found {more}"));
        }
        if self.stage == Stage::Distil {
            require(!data.negatives, "data.negatives: expected false for the stage distil, found true".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_at_once_and_back_from_its_own_text() {
        let text = "stage = \"masked\"\n[data]\ncontexts = 0\nmask_probability = 2.0\n[train]\nbatch = 0\nsteps = 1";
        let message = ContextConfig::parse(text, "a.toml".as_ref(), &[]).unwrap_err().to_string();
        for part in ["train.batch", "model.decoder", "encoder_shape", "data.paths", "data.contexts", "mask_probability"]
        {
            assert!(message.contains(part), "{message}");
        }
        assert!(
            ContextConfig::parse("stage = \"more\"", "a".as_ref(), &[])
                .unwrap_err()
                .to_string()
                .contains("unknown variant")
        );
        let good = "stage = \"distil\"\n[model]\ninit_from = \"m\"\n[data]\npaths = [\"t\"]\nmasking = { whole = 0.5 }\n\
            [distil]\nrest = { smooth = 1e-6 }";
        let config = ContextConfig::parse(good, "a.toml".as_ref(), &["train={batch=4, steps=5}".into()]).unwrap();
        assert_eq!((config.train.batch, config.distil.rest), (4, Rest::Smooth(1e-6)));
        assert_eq!(ContextConfig::parse(&config.to_toml().unwrap(), "b".as_ref(), &[]).unwrap(), config);
        let both = ContextConfig::parse(good, "a.toml".as_ref(), &["model.decoder=d".into()]).unwrap_err();
        assert!(both.to_string().contains("init_from alone"));
    }
}
