//! The Lagrangian that brings masks to a shape or a size: `lambda (s - t) + phi (s - t)^2` for the expected sparsity s of each kind
//! of mask and its target t, which the multipliers climb while everything else descends.
//!
//! Sheared LLaMA, equation 2 (arXiv 2310.06694) in the form of its code: sparsities instead of counts, averaged over layers, with
//! targets that rise linearly; the constraint on the number of parameters is CoFiPruning's (Xia et al. 2022).

use super::hard_concrete::values;
use super::masks::{Kind, LearnedMasks, PREFIX};
use super::shape::Shape;
use crate::{Error, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;
use tesseral_nn::{Init, Parameters};

/// What is constrained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// So many layers, groups of heads and dimensions, the same in each layer.
    Shape(Shape),
    /// This share of the scalars of all layers' matrices gone, wherever.
    Sparsity(f64),
}

/// The two multipliers of a constraint.
struct Multipliers {
    linear: Tensor,
    quadratic: Tensor,
}

/// A goal with its multipliers, variables `pruning.multipliers.NAME.linear` and `.quadratic` that begin at 0; NAME is a kind of
/// mask, or `size`.
pub struct Constraint {
    goal: Goal,
    multipliers: BTreeMap<&'static str, Multipliers>,
    /// Steps in which the targets rise from 0 to their height.
    warmup: u64,
}

impl Constraint {
    /// Declares the multipliers for these masks.
    ///
    /// # Errors
    /// [`Error::Config`] for a sparsity out of range, or one with masks that do not cover heads and feed-forward parts.
    pub fn declare(parameters: &Parameters, masks: &LearnedMasks, goal: Goal, warmup: u64) -> Result<Self> {
        let kinds: Vec<Kind> = masks.iter().map(|(kind, _)| kind).collect();
        let has = |kind: Kind| kinds.contains(&kind);
        let names: Vec<&'static str> = match goal {
            Goal::Shape(_) => kinds.iter().map(|kind| kind.name()).collect(),
            Goal::Sparsity(share) => {
                if !(0.0..1.0).contains(&share) {
                    return Err(Error::config("sparsity", format!("expected a number in [0, 1), found {share}")));
                }
                let layers = has(Kind::Layer) || (has(Kind::HeadLayer) && has(Kind::Mlp));
                if !(layers && has(Kind::Head) && has(Kind::Intermediate)) {
                    let what = "expected masks on layers, heads and intermediate dimensions";
                    return Err(Error::config("sparsity", format!("{what}, found {kinds:?}")));
                }
                vec!["size"]
            }
        };
        let mut multipliers = BTreeMap::new();
        for name in names {
            let scope = parameters.root().enter(PREFIX).enter("multipliers").enter(name);
            let one = |name: &str| scope.parameter(name, 1, Init::Constant(0.0));
            multipliers.insert(name, Multipliers { linear: one("linear")?, quadratic: one("quadratic")? });
        }
        Ok(Constraint { goal, multipliers, warmup })
    }

    /// Target sparsities after so many finished steps.
    pub fn targets(&self, masks: &LearnedMasks, finished_steps: u64) -> BTreeMap<&'static str, f64> {
        let risen = (finished_steps as f64 / self.warmup.max(1) as f64).min(1.0);
        let full = |name: &'static str| match &self.goal {
            Goal::Sparsity(share) => *share,
            Goal::Shape(target) => masks
                .iter()
                .find(|(kind, _)| kind.name() == name)
                .map_or(0.0, |(kind, _)| 1.0 - kind.sizes(target).1 as f64 / kind.sizes(masks.shape()).1 as f64),
        };
        self.multipliers.keys().map(|name| (*name, risen * full(name))).collect()
    }

    /// The Lagrangian, a scalar; gradients flow to masks and multipliers.
    ///
    /// # Errors
    /// Those of candle.
    pub fn lagrangian(&self, masks: &LearnedMasks, finished_steps: u64) -> Result<Tensor> {
        let targets = self.targets(masks, finished_steps);
        let mut sum: Option<Tensor> = None;
        for (name, sparsity) in self.sparsities(masks)? {
            let multipliers = &self.multipliers[name];
            let gap = (sparsity - targets[name])?;
            let linear = gap.broadcast_mul(&multipliers.linear)?;
            let term = (linear + gap.sqr()?.broadcast_mul(&multipliers.quadratic)?)?.mean_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        sum.ok_or_else(|| Error::config("masks", "expected at least one kind, found none"))
    }

    /// Expected sparsities that are constrained: of each row of a kind of mask, `[rows]`, or of the size, `[1]`.
    fn sparsities(&self, masks: &LearnedMasks) -> Result<Vec<(&'static str, Tensor)>> {
        let probabilities = masks.probabilities()?;
        match self.goal {
            Goal::Shape(_) => {
                let row = |(kind, p): (&Kind, &Tensor)| Ok((kind.name(), (1.0 - p.mean(1)?)?));
                probabilities.iter().map(row).collect()
            }
            Goal::Sparsity(_) => {
                let size = expected_size(&probabilities, masks.shape())?;
                Ok(vec![("size", (1.0 - (size / masks.shape().prunable() as f64)?)?.reshape(1)?)])
            }
        }
    }

    /// Expected sparsities by kind, averaged over layers, and that of the size where it is constrained: for people.
    ///
    /// # Errors
    /// Those of candle.
    pub fn expected(&self, masks: &LearnedMasks) -> Result<BTreeMap<&'static str, f64>> {
        let mean = |t: &Tensor| -> Result<f64> {
            let all = values(t)?;
            Ok(all.iter().sum::<f64>() / all.len().max(1) as f64)
        };
        let probabilities = masks.probabilities()?;
        let mut found = BTreeMap::new();
        for (kind, p) in &probabilities {
            found.insert(kind.name(), 1.0 - mean(p)?);
        }
        for (name, sparsity) in self.sparsities(masks)? {
            found.insert(name, mean(&sparsity)?);
        }
        Ok(found)
    }
}

/// Expected number of scalars in the matrices of the layers, differentiable. Kinds that are absent count as all kept.
///
/// # Errors
/// Those of candle.
pub fn expected_size(probabilities: &BTreeMap<Kind, Tensor>, shape: &Shape) -> Result<Tensor> {
    let like = probabilities.values().next().ok_or_else(|| Error::config("masks", "expected some, found none"))?;
    let ones = |kind: Kind| Ok(Tensor::ones(kind.sizes(shape), like.dtype(), like.device())?);
    let of = |kind: Kind| {
        probabilities.get(&kind).map_or_else(|| ones(kind), |p: &Tensor| -> Result<Tensor> { Ok(p.clone()) })
    };
    let layers = |part: Kind| {
        let kind = if probabilities.contains_key(&Kind::Layer) { Kind::Layer } else { part };
        Ok::<_, Error>(of(kind)?.t()?)
    };
    let heads = of(Kind::Head)?.broadcast_mul(&layers(Kind::HeadLayer)?)?.sum_all()?;
    let inner = of(Kind::Intermediate)?.broadcast_mul(&layers(Kind::Mlp)?)?.sum_all()?;
    let scalars = ((heads * shape.group_parameters() as f64)? + (inner * shape.intermediate_parameters() as f64)?)?;
    Ok((scalars * of(Kind::Hidden)?.mean_all()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
    use tesseral_nn::optim::{AdamConfig, AdamW, Gradients, ParamGroup};
    use tesseral_nn::rng::Streams;

    const SOURCE: Shape = Shape { layers: 4, groups: 4, group_heads: 1, head_width: 8, hidden: 32, intermediate: 48 };
    const TARGET: Shape = Shape { layers: 3, groups: 3, hidden: 24, intermediate: 32, ..SOURCE };

    fn declared(goal: Goal) -> (Parameters, LearnedMasks, Constraint) {
        let parameters = Parameters::new(Streams::new(1), DType::F64, &Device::Cpu);
        let masks = LearnedMasks::declare(&parameters, &SOURCE, &Kind::between(&SOURCE, &TARGET)).unwrap();
        let constraint = Constraint::declare(&parameters, &masks, goal, 20).unwrap();
        (parameters, masks, constraint)
    }

    /// Masks alone, without a model, go where the Lagrangian wants them.
    #[test]
    fn climbing_multipliers_bring_masks_to_the_goal() {
        for goal in [Goal::Shape(TARGET), Goal::Sparsity(0.5)] {
            let (parameters, masks, constraint) = declared(goal);
            let pattern = format!("{PREFIX}.multipliers");
            let groups = vec![ParamGroup { pattern, ascend: true, ..ParamGroup::default() }];
            let config = AdamConfig { learning_rate: 0.2, betas: (0.9, 0.95), groups, ..AdamConfig::default() };
            let mut adam = AdamW::new(&parameters, config).unwrap();
            for step in 0..400_u64 {
                masks.clamp().unwrap();
                let loss = constraint.lagrangian(&masks, step).unwrap();
                let gradients = Gradients::collect(&parameters, &loss.backward().unwrap());
                assert_every_variable_has_gradient(&parameters, &gradients)
                    .unwrap_or_else(|e| assert_eq!(step, 0, "{e}"));
                adam.step(&gradients, 0.2 * (1.0 - step as f64 / 400.0)).unwrap();
            }
            masks.clamp().unwrap();
            let expected = constraint.expected(&masks).unwrap();
            for (name, target) in constraint.targets(&masks, 400) {
                assert!((expected[name] - target).abs() < 0.02, "{goal:?} {name}: {} {target}", expected[name]);
            }
        }
    }

    #[test]
    fn a_goal_that_masks_cannot_reach_is_refused() {
        let parameters = Parameters::new(Streams::new(1), DType::F64, &Device::Cpu);
        let masks = LearnedMasks::declare(&parameters, &SOURCE, &[Kind::Head, Kind::Layer]).unwrap();
        let message = Constraint::declare(&parameters, &masks, Goal::Sparsity(0.5), 1).err().unwrap().to_string();
        assert!(message.contains("intermediate"), "{message}");
        assert!(Constraint::declare(&parameters, &masks, Goal::Sparsity(1.0), 1).is_err());
        let both = LearnedMasks::declare(&parameters, &SOURCE, &[Kind::Mlp, Kind::Layer]);
        assert!(both.is_err());
    }
}
