//! How a zeroth-order run goes.

use crate::optim::schedule::{Schedule, ScheduleConfig, ScheduleKind, ScheduleUnit};
use crate::optim::{Clip, ParamGroup};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The zeroth-order section of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZerothOrderConfig {
    /// Learning rate at full height.
    pub learning_rate: f64,
    /// How the rate goes with the steps.
    pub schedule: ScheduleConfig,
    /// How far along a direction the loss is measured, to both sides. Full weights 1e-3, low-rank adapters 1e-2, prefixes
    /// 1e-1 (MeZO, README).
    pub epsilon: f64,
    /// Directions a step, n of n-SPSA.
    pub samples: usize,
    /// How their number goes with the steps.
    pub samples_schedule: SamplesSchedule,
    /// Adds the estimates of the directions up instead of taking their mean: the rate grows with their number.
    pub sum_samples: bool,
    /// What becomes of the estimate.
    pub rule: Rule,
    /// Pulls weights to zero, in proportion to the learning rate.
    pub weight_decay: f64,
    /// Names (or patterns with `*` and `?`) without weight decay.
    pub no_decay: Vec<String>,
    /// Names (or patterns) that stay as they are.
    pub frozen: Vec<String>,
    /// Clipping of the estimate.
    pub clip: Clip,
    /// Whether directions are scaled layer by layer.
    pub variant: Variant,
    /// By what.
    pub scale_by: ScaleBy,
    /// Patterns of the layers; the first that matches a name is its layer, and what none matches is not scaled. Empty:
    /// one layer a name up to its first number (`model.layers.3`), and one a name without a number.
    pub layers: Vec<String>,
    /// A direction for each layer alone, all layers in each step: as many times more losses.
    pub by_layer: bool,
    /// With `by_layer` and norms of gradients: a layer's scale follows its last estimate.
    pub running_scales: bool,
    /// Scales by layer from elsewhere, in place of `scale_by`.
    pub scales: BTreeMap<String, f64>,
    /// A loss above this (or one that is no number) rejects its step.
    pub largest_loss: Option<f64>,
    /// The run ends after so many rejected steps in a row.
    pub patience: usize,
}

/// How the number of directions goes with the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplesSchedule {
    /// The same throughout.
    #[default]
    Constant,
    /// Up from 1, in proportion to the steps done.
    Linear,
}

/// What becomes of the estimate of the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// p -= rate (g + decay p): no state.
    Sgd,
    /// m = momentum m + g + decay p, p -= rate m: one number a weight.
    Momentum {
        /// Share of the last step that goes on.
        momentum: f64,
    },
    /// m and v as running means of g and g^2, p -= rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt v + epsilon), then p -= rate
    /// decay p: two numbers a weight.
    Adam {
        /// Decay rates of the two means.
        betas: (f64, f64),
        /// Added to the denominator.
        epsilon: f64,
    },
}

/// Whether directions are scaled layer by layer (MeZO, appendix on modified variance and expectation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// No.
    #[default]
    Plain,
    /// Perturbed by z / c, moved by z c: as unbiased as without.
    Variance,
    /// Perturbed by z / c, moved by z: the expected estimate is the gradient over c.
    Expectation,
}

/// What a layer's scale c is, taken before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleBy {
    /// Norm of its weights.
    #[default]
    ParameterNorm,
    /// Modulus of its derivative along one direction: two losses a layer.
    GradientNorm,
}

impl Default for ZerothOrderConfig {
    fn default() -> Self {
        ZerothOrderConfig {
            learning_rate: 1e-6,
            schedule: ScheduleConfig::default(),
            epsilon: 1e-3,
            samples: 1,
            samples_schedule: SamplesSchedule::Constant,
            sum_samples: false,
            rule: Rule::Sgd,
            weight_decay: 0.0,
            no_decay: vec!["*bias*".into(), "*norm*".into()],
            frozen: Vec::new(),
            clip: Clip::None,
            variant: Variant::Plain,
            scale_by: ScaleBy::ParameterNorm,
            layers: Vec::new(),
            by_layer: false,
            running_scales: false,
            scales: BTreeMap::new(),
            largest_loss: None,
            patience: 20,
        }
    }
}

impl ZerothOrderConfig {
    /// # Errors
    /// [`Error::Config`] for a value out of its range.
    pub fn validate(&self) -> Result<()> {
        let fail = |key: &str, what: String| Err(Error::Config { key: format!("zeroth_order.{key}"), what });
        let positive = |x: f64| x.is_finite() && x > 0.0;
        if !positive(self.epsilon) {
            return fail("epsilon", format!("expected a positive number, found {}", self.epsilon));
        }
        if !positive(self.learning_rate) {
            return fail("learning_rate", format!("expected a positive number, found {}", self.learning_rate));
        }
        if !(1..=1 << 16).contains(&self.samples) {
            return fail("samples", format!("expected 1 to 65536, found {}", self.samples));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return fail("weight_decay", format!("expected a number from 0 on, found {}", self.weight_decay));
        }
        match self.rule {
            Rule::Momentum { momentum } if !(0.0..1.0).contains(&momentum) => {
                return fail("rule.momentum", format!("expected a number in [0, 1), found {momentum}"));
            }
            Rule::Adam { betas: (a, b), epsilon } => {
                if !((0.0..1.0).contains(&a) && (0.0..1.0).contains(&b)) {
                    return fail("rule.betas", format!("expected two numbers in [0, 1), found {a} and {b}"));
                }
                if !positive(epsilon) {
                    return fail("rule.epsilon", format!("expected a positive number, found {epsilon}"));
                }
            }
            _ => {}
        }
        if self.by_layer && self.variant == Variant::Plain {
            return fail("by_layer", "expected variant = \"variance\" or \"expectation\", found \"plain\"".into());
        }
        if let Some((name, scale)) = self.scales.iter().find(|(_, c)| !(c.is_finite() && **c >= 0.0)) {
            return fail("scales", format!("{name}: expected a number from 0 on, found {scale}"));
        }
        if matches!(self.schedule.kind, ScheduleKind::Plateau) || self.schedule.by == ScheduleUnit::Time {
            return fail(
                "schedule",
                "expected constant, linear or cosine by steps: a replay knows nothing else".into(),
            );
        }
        self.clip.validate("zeroth_order.clip")
    }

    /// The schedule of a run of so many steps.
    pub(super) fn schedule(&self, steps: u64) -> Result<Schedule> {
        Schedule::new(self.schedule, self.learning_rate, steps)
    }

    /// Directions of step `step` of `steps` (of each layer, with `by_layer`).
    pub(super) fn samples_at(&self, step: u64, steps: u64) -> usize {
        match self.samples_schedule {
            SamplesSchedule::Constant => self.samples,
            SamplesSchedule::Linear => ((step as f64 / steps as f64 * self.samples as f64) as usize).max(1),
        }
    }

    pub(super) fn decays(&self, name: &str) -> bool {
        self.weight_decay > 0.0 && !any(&self.no_decay, name)
    }

    pub(super) fn is_frozen(&self, name: &str) -> bool {
        any(&self.frozen, name)
    }

    /// The layer of a parameter; none: it is not scaled.
    pub(super) fn layer(&self, name: &str) -> Option<String> {
        if !self.layers.is_empty() {
            return self.layers.iter().find(|pattern| any(std::slice::from_ref(pattern), name)).cloned();
        }
        let mut parts = Vec::new();
        for part in name.split('.') {
            parts.push(part);
            if part.parse::<u32>().is_ok() {
                return Some(parts.join("."));
            }
        }
        Some(name.to_string())
    }
}

fn any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| ParamGroup { pattern: pattern.clone(), ..ParamGroup::default() }.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_out_of_range_is_named() {
        let base = ZerothOrderConfig::default();
        base.validate().unwrap();
        let by_layer = ZerothOrderConfig { by_layer: true, ..base.clone() };
        let adam = Rule::Adam { betas: (0.9, 1.0), epsilon: 1e-8 };
        for (config, key) in [
            (ZerothOrderConfig { epsilon: 0.0, ..base.clone() }, "epsilon"),
            (ZerothOrderConfig { samples: 0, ..base.clone() }, "samples"),
            (ZerothOrderConfig { learning_rate: f64::NAN, ..base.clone() }, "learning_rate"),
            (ZerothOrderConfig { rule: Rule::Momentum { momentum: 1.0 }, ..base.clone() }, "rule.momentum"),
            (ZerothOrderConfig { rule: adam, ..base.clone() }, "rule.betas"),
            (ZerothOrderConfig { clip: Clip::Norm(0.0), ..base.clone() }, "clip"),
            (by_layer, "by_layer"),
        ] {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("zeroth_order.{key}: ")), "{message}");
        }
        let text = "rule = { kind = \"momentum\", momentum = 0.9 }\nepsilon = 0.1";
        let read: ZerothOrderConfig = toml::from_str(text).unwrap();
        assert_eq!((read.rule, read.epsilon), (Rule::Momentum { momentum: 0.9 }, 0.1));
        assert!(toml::from_str::<ZerothOrderConfig>("eps = 1").is_err());
    }

    #[test]
    fn layers_by_number_or_by_pattern() {
        let base = ZerothOrderConfig::default();
        let layer = |config: &ZerothOrderConfig, name: &str| config.layer(name);
        assert_eq!(layer(&base, "model.layers.3.mlp.up_proj.weight").unwrap(), "model.layers.3");
        assert_eq!(layer(&base, "lm_head.weight").unwrap(), "lm_head.weight");
        let named = ZerothOrderConfig { layers: vec!["*embed*".into(), "*layer.1.*".into()], ..base };
        assert_eq!(layer(&named, "encoder.layer.1.dense").unwrap(), "*layer.1.*");
        assert_eq!(layer(&named, "encoder.layer.11.dense"), None);
    }

    #[test]
    fn the_number_of_directions_rises() {
        let config = ZerothOrderConfig { samples: 4, samples_schedule: SamplesSchedule::Linear, ..Default::default() };
        let numbers: Vec<usize> = (0..8).map(|step| config.samples_at(step, 8)).collect();
        assert_eq!(numbers, [1, 1, 1, 1, 2, 2, 3, 3]);
    }
}
