//! The shape of a Llama-family decoder, from the `config.json` of a Hugging Face folder.
//!
//! Keys and their defaults are those of the transformers library's `LlamaConfig`, as its documentation gives them.

use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::{Error, Result};

/// Sizes and constants of a decoder: grouped-query attention, rotary positions, SwiGLU, RMSNorm.
///
/// Keys of `config.json` that are not listed are kept in `other`, so that a folder written again loses none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// Width D of the residual stream.
    pub hidden_size: usize,
    /// Width of the hidden layer of the feed-forward part.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads A.
    pub num_attention_heads: usize,
    /// Key and value heads, each shared by A / (this) query heads; absent: A.
    #[serde(default)]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; absent: D / A.
    #[serde(default)]
    pub head_dim: Option<usize>,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Longest text that the model was trained on, tokens.
    #[serde(default = "positions")]
    pub max_position_embeddings: usize,
    /// Base of the rotary angles.
    #[serde(default = "theta")]
    pub rope_theta: f64,
    /// Added to the mean square in RMSNorm.
    #[serde(default = "epsilon")]
    pub rms_norm_eps: f64,
    /// Whether the output matrix is the embedding itself.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Whether the attention projections have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the feed-forward projections have biases.
    #[serde(default)]
    pub mlp_bias: bool,
    /// Activation of the gate; `silu` is the only one.
    #[serde(default = "activation")]
    pub hidden_act: String,
    /// Stretched rotary angles; not supported, so null or absent.
    #[serde(default)]
    pub rope_scaling: Option<serde_json::Value>,
    /// Family; `llama`, where it is given.
    #[serde(default = "family")]
    pub model_type: String,
    /// All other keys.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

fn positions() -> usize {
    2048
}
fn theta() -> f64 {
    10_000.0
}
fn epsilon() -> f64 {
    1e-6
}
fn activation() -> String {
    "silu".into()
}
fn family() -> String {
    "llama".into()
}

impl LlamaConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::Io`], or as [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), source })?;
        Self::parse(&text, path)
    }

    /// Parses the text of a `config.json`; `path` is for the messages only.
    ///
    /// # Errors
    /// [`Error::Format`] for a missing key or a value of another kind, [`Error::Invalid`] for sizes that do not fit.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut config: Self = serde_json::from_str(text).map_err(|e| Error::format(path, e.to_string()))?;
        config.take_rope_parameters();
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(Error::Invalid { path: path.into(), problems }) }
    }

    /// transformers 5 writes `rope_parameters: {rope_theta, rope_type}` in place of `rope_theta` and `rope_scaling`.
    fn take_rope_parameters(&mut self) {
        let Some(parameters) = self.other.remove("rope_parameters") else { return };
        if let Some(theta) = parameters["rope_theta"].as_f64() {
            self.rope_theta = theta;
        }
        if parameters["rope_type"].as_str().is_some_and(|kind| kind != "default") {
            self.rope_scaling = Some(parameters);
        }
    }

    /// Names and shapes of the tensors of such a model, as Hugging Face has them.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (width, hidden) = (self.hidden_size, self.intermediate_size);
        let [queries, keys] = [self.num_attention_heads, self.key_value_heads()].map(|n| n * self.head_width());
        let matrix = vec![self.vocab_size, width];
        let mut all =
            vec![("model.embed_tokens.weight".into(), matrix.clone()), ("model.norm.weight".into(), vec![width])];
        if !self.tie_word_embeddings {
            all.push(("lm_head.weight".into(), matrix));
        }
        for layer in 0..self.num_hidden_layers {
            let path = |name: &str| format!("model.layers.{layer}.{name}");
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                all.push((path(&format!("{norm}.weight")), vec![width]));
            }
            for (name, outputs, inputs, biased) in [
                ("self_attn.q_proj", queries, width, self.attention_bias),
                ("self_attn.k_proj", keys, width, self.attention_bias),
                ("self_attn.v_proj", keys, width, self.attention_bias),
                ("self_attn.o_proj", width, queries, self.attention_bias),
                ("mlp.gate_proj", hidden, width, self.mlp_bias),
                ("mlp.up_proj", hidden, width, self.mlp_bias),
                ("mlp.down_proj", width, hidden, self.mlp_bias),
            ] {
                all.push((path(&format!("{name}.weight")), vec![outputs, inputs]));
                if biased {
                    all.push((path(&format!("{name}.bias")), vec![outputs]));
                }
            }
        }
        all
    }

    /// The ids that end a text: `eos_token_id`, a number or a list.
    pub fn end_ids(&self) -> Vec<u32> {
        let id = |value: &serde_json::Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match self.other.get("eos_token_id") {
            Some(serde_json::Value::Array(ids)) => ids.iter().filter_map(id).collect(),
            Some(value) => id(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Everything that is wrong, as `field: expected .., found ..`.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, field: &str, expected: &str, found: String| {
            if !holds {
                problems.push(format!("{field}: expected {expected}, found {found}"));
            }
        };
        let heads = self.num_attention_heads;
        for (field, value) in [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", heads),
            ("num_key_value_heads", self.key_value_heads()),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            require((1..=1 << 30).contains(&value), field, "1 to 2^30", value.to_string());
        }
        let groups = self.key_value_heads();
        if heads > 0 && groups > 0 {
            let expected = format!("a divisor of num_attention_heads ({heads})");
            require(heads.is_multiple_of(groups), "num_key_value_heads", &expected, groups.to_string());
            let width = self.hidden_size;
            let expected = format!("a multiple of num_attention_heads ({heads}), or head_dim");
            require(
                self.head_dim.is_some() || width.is_multiple_of(heads),
                "hidden_size",
                &expected,
                width.to_string(),
            );
            let dim = self.head_width();
            require(
                dim > 0 && dim.is_multiple_of(2),
                "head_dim",
                "an even width, for rotary positions",
                dim.to_string(),
            );
        }
        let (theta, epsilon) = (self.rope_theta, self.rms_norm_eps);
        require(theta.is_finite() && theta > 1.0, "rope_theta", "a number above 1", theta.to_string());
        require(epsilon.is_finite() && epsilon > 0.0, "rms_norm_eps", "a positive number", epsilon.to_string());
        require(self.hidden_act == "silu", "hidden_act", "\"silu\"", format!("{:?}", self.hidden_act));
        require(self.model_type == "llama", "model_type", "\"llama\"", format!("{:?}", self.model_type));
        let named = self.other.get("architectures").and_then(|a| a.as_array()).filter(|a| !a.is_empty());
        let known = named.is_none_or(|names| names.iter().any(|name| name == "LlamaForCausalLM"));
        require(known, "architectures", "\"LlamaForCausalLM\"", format!("{:?}", self.other.get("architectures")));
        let scaling = self.rope_scaling.as_ref().map_or(String::new(), ToString::to_string);
        require(self.rope_scaling.is_none(), "rope_scaling", "null (stretched positions are not supported)", scaling);
        problems
    }

    /// Key and value heads.
    pub fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_width(&self) -> usize {
        self.head_dim.unwrap_or_else(|| self.hidden_size.checked_div(self.num_attention_heads).unwrap_or(0))
    }

    /// Number of scalars of the model; a tied output matrix counts once.
    pub fn parameters(&self) -> u64 {
        let [width, hidden, vocabulary, layers] =
            [self.hidden_size, self.intermediate_size, self.vocab_size, self.num_hidden_layers].map(|n| n as u64);
        let queries = (self.num_attention_heads * self.head_width()) as u64;
        let keys = (self.key_value_heads() * self.head_width()) as u64;
        let attention_biases = if self.attention_bias { queries + 2 * keys + width } else { 0 };
        let mlp_biases = if self.mlp_bias { 2 * hidden + width } else { 0 };
        let attention = 2 * width * (queries + keys) + attention_biases;
        let layer = attention + 3 * width * hidden + mlp_biases + 2 * width;
        let embeddings = if self.tie_word_embeddings { 1 } else { 2 } * vocabulary * width;
        embeddings + layers * layer + width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": true,
        "rope_theta": 100000, "rms_norm_eps": 1e-05, "hidden_act": "silu", "architectures": ["LlamaForCausalLM"]}"#;

    fn parse(text: &str) -> Result<LlamaConfig> {
        LlamaConfig::parse(text, Path::new("config.json"))
    }

    #[test]
    fn counts_of_published_models() {
        // SmolLM2-135M and Llama 2 7B: the counts their authors give.
        let small = parse(SMALL).unwrap();
        assert_eq!((small.head_width(), small.key_value_heads()), (64, 3));
        assert_eq!(small.parameters(), 134_515_008);
        let large = r#"{"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
            "num_attention_heads": 32, "vocab_size": 32000}"#;
        assert_eq!(parse(large).unwrap().parameters(), 6_738_415_616);
    }

    #[test]
    fn biases_are_counted() {
        let base = parse(SMALL).unwrap();
        let biased = LlamaConfig { attention_bias: true, mlp_bias: true, ..base.clone() };
        let layer = (576 + 2 * 192 + 576) + (2 * 1536 + 576);
        assert_eq!(biased.parameters() - base.parameters(), 30 * layer);
    }

    #[test]
    fn every_mistake_names_its_field() {
        let cases = [
            ("\"num_key_value_heads\": 3", "\"num_key_value_heads\": 4", "num_key_value_heads: expected a divisor"),
            ("576", "577", "hidden_size: expected a multiple of num_attention_heads (9)"),
            ("\"num_attention_heads\": 9", "\"num_attention_heads\": 0", "num_attention_heads: expected 1 to 2^30"),
            ("100000", "-1", "rope_theta: expected a number above 1, found -1"),
            ("\"silu\"", "\"gelu\"", "hidden_act: expected \"silu\", found \"gelu\""),
            ("\"vocab_size\": 49152, ", "", "missing field `vocab_size`"),
            ("49152", "\"many\"", "line 2"),
            ("\"hidden_size\": 576", "\"hidden_size\": 576, \"head_dim\": 63", "head_dim: expected an even width"),
            (
                "\"hidden_size\": 576",
                "\"hidden_size\": 576, \"rope_scaling\": {\"type\": \"linear\"}",
                "rope_scaling: ",
            ),
        ];
        for (from, to, message) in cases {
            let text = parse(&SMALL.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(text.starts_with("config.json: ") && text.contains(message), "{text}");
        }
        assert!(LlamaConfig::read(Path::new("/nowhere/config.json")).unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn tensors_add_up_to_the_parameters() {
        for (tied, bias) in [(true, false), (false, true)] {
            let config = LlamaConfig {
                tie_word_embeddings: tied,
                attention_bias: bias,
                mlp_bias: bias,
                ..parse(SMALL).unwrap()
            };
            let count: usize = config.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
            assert_eq!(count as u64, config.parameters());
        }
    }

    #[test]
    fn rope_parameters_of_newer_files() {
        let with = |kind: &str| {
            let keys = format!(r#""rope_parameters": {{"rope_theta": 5e5, "rope_type": "{kind}"}}"#);
            parse(&SMALL.replace("\"rope_theta\": 100000", &keys))
        };
        assert_eq!(with("default").unwrap().rope_theta, 5e5);
        assert!(with("yarn").unwrap_err().to_string().contains("rope_scaling: expected null"));
    }

    #[test]
    fn survives_a_round_trip() {
        let config = parse(SMALL).unwrap();
        assert_eq!(config.other["architectures"], serde_json::json!(["LlamaForCausalLM"]));
        assert!(config.end_ids().is_empty());
        assert_eq!(parse(&serde_json::to_string(&config).unwrap()).unwrap(), config);
    }
}
