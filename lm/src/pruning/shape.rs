//! The shape that a model is pruned to: what can be asked for, and the configuration of the result.
//!
//! Sheared LLaMA (Xia et al. 2024, arXiv 2310.06694), section 2.1: layers, heads, hidden and intermediate dimensions, the same in
//! all layers. Heads go by groups, a key head with the query heads that share it.

use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::str::FromStr;

/// Sizes to prune to; one that is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// Layers.
    pub layers: Option<usize>,
    /// Query heads of a layer; key heads keep their proportion.
    pub heads: Option<usize>,
    /// Width of the residual stream.
    pub hidden: Option<usize>,
    /// Width of the feed-forward parts.
    pub intermediate: Option<usize>,
}

/// Sizes that masks are learned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Layers.
    pub layers: usize,
    /// Key heads of a layer, each with its query heads.
    pub groups: usize,
    /// Query heads of a group.
    pub group_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward parts.
    pub intermediate: usize,
}

impl FromStr for Target {
    type Err = Error;

    /// Parses `layers=20,heads=6,hidden=384,intermediate=1024`, in any order and number.
    ///
    /// # Errors
    /// [`Error::Config`] with every mistake.
    fn from_str(text: &str) -> Result<Self> {
        let (mut target, mut problems) = (Target::default(), Vec::new());
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let place = match key.trim() {
                "layers" => &mut target.layers,
                "heads" => &mut target.heads,
                "hidden" => &mut target.hidden,
                "intermediate" => &mut target.intermediate,
                other => {
                    problems.push(format!("{other:?}: expected layers, heads, hidden or intermediate"));
                    continue;
                }
            };
            match value.trim().parse() {
                Ok(number) if place.is_none() => *place = Some(number),
                Ok(_) => problems.push(format!("{key}: expected once, found twice")),
                Err(_) => problems.push(format!("{key}: expected a number, found {value:?}")),
            }
        }
        if problems.is_empty() { Ok(target) } else { Err(Error::config("target", problems.join("; "))) }
    }
}

impl Shape {
    /// The shape of a model.
    pub fn of(config: &LlamaConfig) -> Self {
        let groups = config.key_value_heads();
        Shape {
            layers: config.num_hidden_layers,
            groups,
            group_heads: config.num_attention_heads / groups.max(1),
            head_width: config.head_width(),
            hidden: config.hidden_size,
            intermediate: config.intermediate_size,
        }
    }

    /// Scalars of the matrices of one group of heads: its rows of the projections, and its columns of the output matrix.
    pub fn group_parameters(&self) -> usize {
        self.hidden * self.head_width * (2 * self.group_heads + 2)
    }

    /// Scalars of one intermediate dimension.
    pub fn intermediate_parameters(&self) -> usize {
        3 * self.hidden
    }

    /// Scalars of all matrices of the layers: what can be pruned.
    pub fn prunable(&self) -> usize {
        self.layers * (self.groups * self.group_parameters() + self.intermediate * self.intermediate_parameters())
    }
}

impl Target {
    /// The shape that a model of `config` is pruned to.
    ///
    /// # Errors
    /// [`Error::Config`] with everything that is wrong: nothing to prune, more than there is, heads that do not fall into groups.
    pub fn shape(&self, config: &LlamaConfig) -> Result<Shape> {
        let problems = self.problems(config);
        if !problems.is_empty() {
            return Err(Error::config("target", problems.join("; ")));
        }
        let source = Shape::of(config);
        Ok(Shape {
            layers: self.layers.unwrap_or(source.layers),
            groups: self.heads.map_or(source.groups, |heads| heads / source.group_heads),
            hidden: self.hidden.unwrap_or(source.hidden),
            intermediate: self.intermediate.unwrap_or(source.intermediate),
            ..source
        })
    }

    /// Everything that is wrong with it for a model of `config`, as `size: expected .., found ..`.
    pub fn problems(&self, config: &LlamaConfig) -> Vec<String> {
        let (source, mut problems) = (Shape::of(config), Vec::new());
        let heads = source.groups * source.group_heads;
        let sizes = [
            ("layers", self.layers, source.layers),
            ("heads", self.heads, heads),
            ("hidden", self.hidden, source.hidden),
            ("intermediate", self.intermediate, source.intermediate),
        ];
        for (name, wanted, most) in sizes {
            if let Some(wanted) = wanted.filter(|n| !(1..=most).contains(n)) {
                problems.push(format!("{name}: expected 1 to the model's {most}, found {wanted}"));
            }
        }
        if let Some(found) = self.heads.filter(|n| !n.is_multiple_of(source.group_heads.max(1))) {
            let share = source.group_heads;
            problems.push(format!("heads: expected a multiple of the {share} that share a key head, found {found}"));
        }
        if sizes.iter().all(|(_, wanted, most)| wanted.is_none_or(|n| n == *most)) {
            problems.push("expected something smaller than the model, found the model itself".into());
        }
        problems
    }
}

/// The configuration of a model of `source` pruned to `shape`. The width of a head stays, and is written where the hidden width
/// divided by the heads does not give it.
///
/// # Errors
/// [`Error::Invalid`] when such a model cannot be described (a bug).
pub fn pruned_config(source: &LlamaConfig, shape: &Shape) -> Result<LlamaConfig> {
    let heads = shape.groups * shape.group_heads;
    let follows = shape.hidden == heads * shape.head_width && source.head_dim.is_none();
    let mut config = LlamaConfig {
        hidden_size: shape.hidden,
        intermediate_size: shape.intermediate,
        num_hidden_layers: shape.layers,
        num_attention_heads: heads,
        num_key_value_heads: Some(shape.groups),
        head_dim: if follows { None } else { Some(shape.head_width) },
        ..source.clone()
    };
    // Keys of other programs that repeat a size would contradict it now.
    config.other.remove("pruned_heads");
    config.other.entry("architectures").or_insert_with(|| json!(["LlamaForCausalLM"]));
    let problems = config.problems();
    if problems.is_empty() { Ok(config) } else { Err(Error::Invalid { path: Path::new("pruned").into(), problems }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smollm2() -> LlamaConfig {
        let text = r#"{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
            "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": true}"#;
        LlamaConfig::parse(text, "config.json".as_ref()).unwrap()
    }

    #[test]
    fn a_shape_that_fits_and_its_configuration() {
        let target: Target = "layers=20, heads=6,hidden=384,intermediate=1024".parse().unwrap();
        let shape = target.shape(&smollm2()).unwrap();
        assert_eq!((shape.groups, shape.group_heads, shape.head_width), (2, 3, 64));
        let config = pruned_config(&smollm2(), &shape).unwrap();
        assert_eq!((config.head_width(), config.head_dim), (64, None));
        assert_eq!(config.parameters(), 50_347_392);
        // Another width: that of a head must be written down.
        let shape = Target { hidden: Some(512), ..target }.shape(&smollm2()).unwrap();
        assert_eq!(pruned_config(&smollm2(), &shape).unwrap().head_dim, Some(64));
        assert_eq!(Shape::of(&smollm2()).prunable(), 30 * (2 * 576 * 64 * 12 + 3 * 576 * 1536));
    }

    #[test]
    fn all_mistakes_at_once() {
        let message =
            "layers=31,heads=7,hidden=0".parse::<Target>().unwrap().shape(&smollm2()).unwrap_err().to_string();
        for part in [
            "layers: expected 1 to the model's 30, found 31",
            "heads: expected a multiple of the 3",
            "hidden: expected 1",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let message = "layer=3,heads,hidden=1,hidden=2".parse::<Target>().unwrap_err().to_string();
        for part in ["\"layer\": expected layers", "heads: expected a number, found \"\"", "hidden: expected once"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(Target::default().shape(&smollm2()).unwrap_err().to_string().contains("the model itself"));
    }
}
