//! The model that is tuned: all its weights, low-rank additions to some, or a prefix.

use crate::model::decoder::{Cache, Decoder, LowRank, Prefix, PrefixPositions};
use crate::model::llama::LlamaConfig;
use crate::model::weights::Weights;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tesseral_nn::rng::Streams;
use tesseral_nn::{Init, Parameters};

/// What of a model is tuned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scope {
    /// All weights.
    #[default]
    Full,
    /// Low-rank additions (LoRA).
    LowRank {
        /// Rank.
        #[serde(default = "eight")]
        rank: usize,
        /// The additions are scaled by alpha / rank.
        #[serde(default = "sixteen")]
        alpha: f64,
        /// Ends of the names of the matrices.
        #[serde(default = "query_and_value")]
        matrices: Vec<String>,
    },
    /// Keys and values before every text, in each layer.
    Prefix {
        /// Places.
        #[serde(default = "five")]
        places: usize,
        /// Whether it starts as what random tokens leave behind; else as normal numbers.
        #[serde(default = "yes")]
        real_activations: bool,
        /// Where texts stand after it.
        #[serde(default)]
        positions: PrefixPositions,
    },
}

fn eight() -> usize {
    8
}
fn sixteen() -> f64 {
    16.0
}
fn five() -> usize {
    5
}
fn yes() -> bool {
    true
}
fn query_and_value() -> Vec<String> {
    vec!["q_proj".into(), "v_proj".into()]
}

/// A model with the parameters that are tuned in it. Its weights are held once: the model that runs without gradients and
/// the one with them share every tensor with the parameters.
pub struct Tuned {
    config: LlamaConfig,
    source: PathBuf,
    scope: Scope,
    parameters: Parameters,
    decoder: Decoder,
    tracked: Decoder,
    prefix: Option<Prefix>,
    tracked_prefix: Option<Prefix>,
    /// Weights that are not tuned.
    frozen: BTreeMap<String, Tensor>,
}

impl Tuned {
    /// From the weights of a model, which are taken over.
    ///
    /// # Errors
    /// A scope that fits no matrix, or has no rank or place.
    pub fn new(weights: Weights, scope: Scope, streams: Streams) -> Result<Self> {
        let Weights { config, tensors, source } = weights;
        let dtype = tensors.values().next().map_or(DType::F32, Tensor::dtype);
        let parameters = Parameters::new(streams, dtype, &Device::Cpu);
        if scope == Scope::Full {
            for (name, tensor) in tensors {
                parameters.adopt(&name, tensor)?;
            }
            let tracked = Decoder::declare(&parameters.root(), &config, 0.0)?;
            let detached = parameters.to_vec().into_iter().map(|(name, v)| (name, v.as_detached_tensor())).collect();
            let decoder = Decoder::from_tensors(&config, &detached)?;
            let frozen = BTreeMap::new();
            return Ok(Tuned {
                config,
                source,
                scope,
                parameters,
                decoder,
                tracked,
                prefix: None,
                tracked_prefix: None,
                frozen,
            });
        }
        let base = Decoder::from_tensors(&config, &tensors)?;
        let (mut tracked, mut decoder, mut prefixes) = (base.clone(), base.clone(), [None, None]);
        match &scope {
            Scope::Full => {}
            Scope::LowRank { rank, alpha, matrices } => {
                if *rank == 0 {
                    return Err(Error::config("scope.rank", "expected at least 1, found 0"));
                }
                tracked = base.clone().with_low_rank(&mut |path, shape| {
                    if !matrices.iter().any(|name| path.ends_with(name.as_str())) {
                        return Ok(None);
                    }
                    additions(&parameters, path, shape, *rank, *alpha).map(Some)
                })?;
                if parameters.count() == 0 {
                    let what = format!("expected ends of the names of matrices (q_proj, ..), found {matrices:?}");
                    return Err(Error::config("scope.matrices", what));
                }
                decoder = base.with_low_rank(&mut |path, shape| {
                    let known = parameters.get(&format!("{path}.lora_A.weight")).is_some();
                    if !known {
                        return Ok(None);
                    }
                    let LowRank { a, b, scale } = additions(&parameters, path, shape, *rank, *alpha)?;
                    Ok(Some(LowRank { a: a.detach(), b: b.detach(), scale }))
                })?;
            }
            Scope::Prefix { places, real_activations, .. } => {
                if *places == 0 {
                    return Err(Error::config("scope.places", "expected at least 1, found 0"));
                }
                let start = if *real_activations { Some(random_prefix(&base, *places, streams)?) } else { None };
                let tracked = declare_prefix(&parameters, &config, *places, start)?;
                let detach = |all: &[Tensor]| all.iter().map(Tensor::detach).collect();
                let detached = Prefix { keys: detach(&tracked.keys), values: detach(&tracked.values) };
                prefixes = [Some(detached), Some(tracked)];
            }
        }
        let [prefix, tracked_prefix] = prefixes;
        Ok(Tuned { config, source, scope, parameters, decoder, tracked, prefix, tracked_prefix, frozen: tensors })
    }

    /// What is tuned.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The model without gradients.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The model with gradients of [`Self::parameters`].
    pub fn tracked(&self) -> &Decoder {
        &self.tracked
    }

    /// The prefix, and where texts stand after it.
    pub fn prefix(&self) -> Option<(&Prefix, PrefixPositions)> {
        self.placed(self.prefix.as_ref())
    }

    /// The prefix with gradients.
    pub fn tracked_prefix(&self) -> Option<(&Prefix, PrefixPositions)> {
        self.placed(self.tracked_prefix.as_ref())
    }

    fn placed<'a>(&self, prefix: Option<&'a Prefix>) -> Option<(&'a Prefix, PrefixPositions)> {
        match self.scope {
            Scope::Prefix { positions, .. } => prefix.map(|prefix| (prefix, positions)),
            _ => None,
        }
    }

    /// An empty cache, after the prefix if there is one, with room for so many tokens.
    ///
    /// # Errors
    /// Those of candle.
    pub fn cache(&self, tokens: usize) -> Result<Cache> {
        match &self.prefix {
            Some(prefix) => prefix.cache(&self.decoder, tokens),
            None => Ok(Cache::new(&self.config, tokens)),
        }
    }

    /// The whole model, low-rank additions merged into their matrices.
    ///
    /// # Errors
    /// [`Error::Config`] for a prefix, which is no weight.
    pub fn weights(&self) -> Result<Weights> {
        let mut tensors = match &self.scope {
            Scope::Full => {
                self.parameters.to_vec().into_iter().map(|(name, v)| (name, v.as_detached_tensor())).collect()
            }
            Scope::LowRank { .. } => self.frozen.clone(),
            Scope::Prefix { .. } => {
                return Err(Error::config("scope", "expected weights to save, found a prefix"));
            }
        };
        if let Scope::LowRank { rank, alpha, .. } = self.scope {
            for (name, tensor) in &mut tensors {
                let path = name.trim_end_matches(".weight").to_string();
                if self.parameters.get(&format!("{path}.lora_A.weight")).is_some() {
                    let (outputs, inputs) = tensor.dims2()?;
                    let addition = additions(&self.parameters, &path, [outputs, inputs], rank, alpha)?;
                    *tensor = addition.merged(tensor)?.detach();
                }
            }
        }
        Ok(Weights { config: self.config.clone(), tensors, source: self.source.clone() })
    }

    /// What is tuned.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

/// A as torch's `kaiming_uniform_(a = sqrt 5)`: uniform up to 1 / sqrt(inputs); B zero, so that nothing is added at first.
fn additions(
    parameters: &Parameters,
    path: &str,
    [outputs, inputs]: [usize; 2],
    rank: usize,
    alpha: f64,
) -> Result<LowRank> {
    let scope = parameters.root().enter(path);
    let bound = 1.0 / (inputs as f64).sqrt();
    Ok(LowRank {
        a: scope.enter("lora_A").parameter("weight", (rank, inputs), Init::Uniform(bound))?,
        b: scope.enter("lora_B").parameter("weight", (outputs, rank), Init::Constant(0.0))?,
        scale: alpha / rank as f64,
    })
}

/// What tokens drawn at random leave behind.
fn random_prefix(decoder: &Decoder, places: usize, streams: Streams) -> Result<Prefix> {
    let mut stream = streams.stream("prefix", &[]);
    let vocabulary = decoder.config().vocab_size as u32;
    let ids: Vec<u32> = (0..places).map(|_| stream.random_range(0..vocabulary)).collect();
    Prefix::of_tokens(decoder, &ids)
}

fn declare_prefix(
    parameters: &Parameters,
    config: &LlamaConfig,
    places: usize,
    start: Option<Prefix>,
) -> Result<Prefix> {
    let columns = config.key_value_heads() * config.head_width();
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for layer in 0..config.num_hidden_layers {
        let scope = parameters.root().enter("layers").enter(layer);
        for (name, all, first) in [
            ("prefix_keys", &mut keys, start.as_ref().map(|p| &p.keys[layer])),
            ("prefix_values", &mut values, start.as_ref().map(|p| &p.values[layer])),
        ] {
            let tensor = scope.parameter(name, (places, columns), Init::Normal(0.02))?;
            if let (Some(first), Some(variable)) = (first, parameters.get(&format!("layers.{layer}.{name}"))) {
                variable.set(first)?;
            }
            all.push(tensor);
        }
    }
    Ok(Prefix { keys, values })
}
