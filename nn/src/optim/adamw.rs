//! Adam and AdamW with saved state, parameter groups and clipping.
//!
//! The arithmetic is PyTorch's `torch.optim.Adam` / `AdamW` in its order of operations: moments `m += (1-b1)(g-m)`,
//! `v = b2 v + (1-b2) g g`, then `p -= lr/(1-b1^t) m / (sqrt(v)/sqrt(1-b2^t) + eps)`. A parameter without a gradient
//! is left alone, and its step count too.

use super::clip::{Clip, squared_norm};
use super::elementwise::{AdamPass, AdamScalars, HostMoments, PARALLEL};
use super::gradients::GradientSource;
use super::group::ParamGroup;
use crate::kernels::parallel;
use crate::{Error, Parameters, Result};
use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How Adam runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate at full height; a schedule scales it.
    pub learning_rate: f64,
    /// Decay rates of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub epsilon: f64,
    /// Weight decay of parameters whose group does not say otherwise.
    pub weight_decay: f64,
    /// true: AdamW, decay shrinks the weight; false: Adam, decay enters the gradient (L2).
    pub decoupled: bool,
    /// Clipping before the update.
    pub clip: Clip,
    /// Exceptions for some parameters; the first group whose pattern matches a name holds for it.
    pub groups: Vec<ParamGroup>,
}

impl Default for AdamConfig {
    fn default() -> Self {
        AdamConfig {
            learning_rate: 1e-3,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: true,
            clip: Clip::None,
            groups: Vec::new(),
        }
    }
}

impl AdamConfig {
    /// # Errors
    /// [`Error::Config`] for the first value out of range.
    pub fn validate(&self) -> Result<()> {
        let range = |key: String, value: f64, fits: bool, what: &str| {
            if fits { Ok(()) } else { Err(Error::Config { key, what: format!("expected {what}, found {value}") }) }
        };
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        let key = |name: &str| format!("optimizer.{name}");
        range(key("learning_rate"), self.learning_rate, not_negative(self.learning_rate), "a number from 0 on")?;
        range(key("epsilon"), self.epsilon, not_negative(self.epsilon), "a number from 0 on")?;
        range(key("weight_decay"), self.weight_decay, not_negative(self.weight_decay), "a number from 0 on")?;
        for beta in [self.betas.0, self.betas.1] {
            range(key("betas"), beta, (0.0..1.0).contains(&beta), "numbers in [0, 1)")?;
        }
        self.clip.validate("optimizer.clip")?;
        for (i, group) in self.groups.iter().enumerate() {
            let key = |name: &str| format!("optimizer.groups[{i}].{name}");
            let (scale, decay) = (group.learning_rate_scale, group.weight_decay.unwrap_or(0.0));
            range(key("learning_rate_scale"), scale, not_negative(scale), "a number from 0 on")?;
            range(key("weight_decay"), decay, not_negative(decay), "a number from 0 on")?;
        }
        Ok(())
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Global norm of the gradients of trained parameters before clipping, f64 in name order.
    pub gradient_norm: f64,
    /// Factor that clipping by norm applied (1 without).
    pub clip_factor: f64,
    /// Number of parameters that had a gradient.
    pub updated: usize,
}

#[derive(Clone)]
enum Moments {
    /// f32 and f64 on the CPU: fused in place.
    Host(HostMoments),
    /// Anything else, by tensor operations.
    Device(Tensor, Tensor),
}

struct Slot {
    name: String,
    variable: Var,
    rate_scale: f64,
    weight_decay: f64,
    ascend: bool,
    moments: Moments,
    steps: u64,
}

/// Adam over a fixed set of parameters.
pub struct AdamW {
    config: AdamConfig,
    slots: Vec<Slot>,
}

impl AdamW {
    /// State for every parameter that is not frozen; parameters declared later are not seen.
    ///
    /// # Errors
    /// [`Error::Config`] for a value out of range or a group that matches no parameter.
    pub fn new(parameters: &Parameters, config: AdamConfig) -> Result<Self> {
        config.validate()?;
        let variables = parameters.to_vec();
        for (i, group) in config.groups.iter().enumerate() {
            if !variables.iter().any(|(name, _)| group.matches(name)) {
                return Err(Error::Config {
                    key: format!("optimizer.groups[{i}].pattern"),
                    what: format!("\"{}\" matches no parameter", group.pattern),
                });
            }
        }
        let mut slots = Vec::new();
        for (name, variable) in variables {
            let group = config.groups.iter().find(|g| g.matches(&name)).cloned().unwrap_or_default();
            if group.frozen {
                continue;
            }
            slots.push(Slot {
                moments: zeros(&variable)?,
                rate_scale: group.learning_rate_scale,
                weight_decay: group.weight_decay.unwrap_or(config.weight_decay),
                ascend: group.ascend,
                steps: 0,
                name,
                variable,
            });
        }
        Ok(AdamW { config, slots })
    }

    /// The configuration.
    pub fn config(&self) -> &AdamConfig {
        &self.config
    }

    /// Names of the trained parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.name.as_str())
    }

    /// One update at this learning rate (before the groups' factors).
    ///
    /// # Errors
    /// [`Error::NonFinite`] names the first parameter whose gradient is not finite (nothing is changed then);
    /// [`Error::Shape`] when a gradient has another shape or dtype; [`Error::Config`] for a learning rate that is
    /// negative or not finite.
    pub fn step<G: GradientSource + ?Sized>(&mut self, gradients: &G, learning_rate: f64) -> Result<StepReport> {
        if !(learning_rate.is_finite() && learning_rate >= 0.0) {
            return Err(Error::Config {
                key: "learning_rate".into(),
                what: format!("expected a finite number from 0 on, found {learning_rate}"),
            });
        }
        let mut present = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            let Some(gradient) = gradients.gradient(&slot.name, &slot.variable) else { continue };
            if gradient.dims() != slot.variable.dims() || gradient.dtype() != slot.variable.dtype() {
                return Err(Error::Shape {
                    operation: "AdamW::step",
                    expected: format!("{} {:?} {:?}", slot.name, slot.variable.dims(), slot.variable.dtype()),
                    found: format!("{:?} {:?}", gradient.dims(), gradient.dtype()),
                });
            }
            let gradient = gradient.contiguous()?;
            present.push(Present { slot, gradient, square: 0.0, result: Ok(()) });
        }
        by_size(&mut present, |p| {
            p.square = squared_norm(&p.gradient)?;
            Ok(())
        })?;
        if let Some(Present { slot, .. }) = present.iter().find(|p| !p.square.is_finite()) {
            return Err(Error::NonFinite { what: format!("gradient of {}", slot.name), step: slot.steps + 1 });
        }
        let gradient_norm = present.iter().map(|p| p.square).sum::<f64>().sqrt();
        let (clip_factor, limit) = self.config.clip.factor_and_limit(gradient_norm);
        let updated = present.len();
        let config = &self.config;
        by_size(&mut present, |p| {
            p.slot.steps += 1;
            let scalars = p.slot.scalars(config, learning_rate, clip_factor, limit);
            p.slot.update(&p.gradient, scalars)
        })?;
        Ok(StepReport { gradient_norm, clip_factor, updated })
    }

    /// Forgets all moments and step counts.
    ///
    /// # Errors
    /// Those of candle.
    pub fn reset(&mut self) -> Result<()> {
        for slot in &mut self.slots {
            slot.moments = zeros(&slot.variable)?;
            slot.steps = 0;
        }
        Ok(())
    }

    /// The whole state: `exp_avg.NAME` and `exp_avg_sq.NAME` in the parameter's dtype and shape, `step.NAME` as an
    /// i64 scalar; of every trained parameter, on the CPU.
    ///
    /// # Errors
    /// Those of candle.
    pub fn state_tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            let shape = slot.variable.shape();
            let (first, second) = match &slot.moments {
                Moments::Host(HostMoments::F32(m, v)) => {
                    (Tensor::from_slice(m, shape, &Device::Cpu)?, Tensor::from_slice(v, shape, &Device::Cpu)?)
                }
                Moments::Host(HostMoments::F64(m, v)) => {
                    (Tensor::from_slice(m, shape, &Device::Cpu)?, Tensor::from_slice(v, shape, &Device::Cpu)?)
                }
                Moments::Device(m, v) => (m.to_device(&Device::Cpu)?, v.to_device(&Device::Cpu)?),
            };
            state.insert(format!("exp_avg.{}", slot.name), first);
            state.insert(format!("exp_avg_sq.{}", slot.name), second);
            state.insert(format!("step.{}", slot.name), Tensor::new(slot.steps as i64, &Device::Cpu)?);
        }
        Ok(state)
    }

    /// Takes over what [`AdamW::state_tensors`] gave.
    ///
    /// # Errors
    /// [`Error::Config`] names every missing, extra or wrongly shaped tensor; nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut problems = Vec::new();
        let mut used = 0;
        for slot in &self.slots {
            for (kind, dims) in
                [("exp_avg", slot.variable.dims()), ("exp_avg_sq", slot.variable.dims()), ("step", [].as_slice())]
            {
                let name = format!("{kind}.{}", slot.name);
                match state.get(&name) {
                    None => problems.push(format!("{name} is missing")),
                    Some(t) if t.dims() != dims => {
                        problems.push(format!("{name}: expected shape {dims:?}, found {:?}", t.dims()));
                    }
                    Some(_) => used += 1,
                }
            }
        }
        if used + problems.len() != state.len() || !problems.is_empty() {
            for name in state.keys() {
                let known = name.split_once('.').is_some_and(|(kind, parameter)| {
                    matches!(kind, "exp_avg" | "exp_avg_sq" | "step") && self.names().any(|n| n == parameter)
                });
                if !known {
                    problems.push(format!("{name} is not expected"));
                }
            }
        }
        if !problems.is_empty() {
            return Err(Error::Config { key: "optimizer state".into(), what: problems.join("; ") });
        }
        for slot in &mut self.slots {
            let (dtype, device) = (slot.variable.dtype(), slot.variable.device().clone());
            let first = state[&format!("exp_avg.{}", slot.name)].to_dtype(dtype)?.flatten_all()?;
            let second = state[&format!("exp_avg_sq.{}", slot.name)].to_dtype(dtype)?.flatten_all()?;
            let steps = state[&format!("step.{}", slot.name)].to_dtype(DType::I64)?.to_scalar::<i64>()?;
            slot.steps = u64::try_from(steps).map_err(|_| Error::Config {
                key: "optimizer state".into(),
                what: format!("step.{}: expected a count, found {steps}", slot.name),
            })?;
            slot.moments = match slot.moments {
                Moments::Host(HostMoments::F32(..)) => {
                    Moments::Host(HostMoments::F32(first.to_vec1()?, second.to_vec1()?))
                }
                Moments::Host(HostMoments::F64(..)) => {
                    Moments::Host(HostMoments::F64(first.to_vec1()?, second.to_vec1()?))
                }
                Moments::Device(..) => {
                    let shape = slot.variable.shape();
                    let first = first.reshape(shape)?.to_device(&device)?;
                    Moments::Device(first, second.reshape(shape)?.to_device(&device)?)
                }
            };
        }
        Ok(())
    }
}

/// A parameter with a gradient.
struct Present<'a> {
    slot: &'a mut Slot,
    gradient: Tensor,
    /// Sum of the squares of the gradient.
    square: f64,
    result: Result<()>,
}

/// Each large parameter on all threads, one after the other, and the small ones side by side.
fn by_size(all: &mut [Present], body: impl Fn(&mut Present) -> Result<()> + Sync) -> Result<()> {
    let large = |p: &&mut Present| p.gradient.elem_count() >= PARALLEL;
    all.iter_mut().filter(large).for_each(|p| p.result = body(p));
    parallel::for_each(all.iter_mut().filter(|p| !large(p)), |p| p.result = body(p));
    all.iter_mut().try_for_each(|p| std::mem::replace(&mut p.result, Ok(())))
}

impl Slot {
    fn scalars(&self, config: &AdamConfig, learning_rate: f64, clip_factor: f64, limit: f64) -> AdamScalars {
        let rate = learning_rate * self.rate_scale;
        let (beta1, beta2) = config.betas;
        let t = self.steps as f64;
        AdamScalars {
            factor: if self.ascend { -clip_factor } else { clip_factor },
            limit,
            coupled_decay: if config.decoupled { 0.0 } else { self.weight_decay },
            shrink: if config.decoupled { 1.0 - rate * self.weight_decay } else { 1.0 },
            betas: config.betas,
            step_size: rate / (1.0 - beta1.powf(t)),
            root_correction: (1.0 - beta2.powf(t)).sqrt(),
            epsilon: config.epsilon,
        }
    }

    fn update(&mut self, gradient: &Tensor, scalars: AdamScalars) -> Result<()> {
        match &mut self.moments {
            Moments::Host(moments) => {
                self.variable.inplace_op2(gradient, &AdamPass { scalars, moments: RefCell::new(moments) })?;
            }
            Moments::Device(first, second) => {
                let (p, m, v) = adam_by_tensors(&self.variable.as_detached_tensor(), first, second, gradient, scalars)?;
                self.variable.set(&p)?;
                (*first, *second) = (m, v);
            }
        }
        Ok(())
    }
}

/// The same update by tensor operations, for devices and dtypes without a fused pass.
fn adam_by_tensors(
    p: &Tensor,
    m: &Tensor,
    v: &Tensor,
    g: &Tensor,
    scalars: AdamScalars,
) -> Result<(Tensor, Tensor, Tensor)> {
    let AdamScalars { factor, limit, coupled_decay, shrink, betas, step_size, root_correction, epsilon } = scalars;
    let mut g = (g * factor)?;
    if limit.is_finite() {
        g = g.clamp(-limit, limit)?;
    }
    if coupled_decay != 0.0 {
        g = (g + (p * coupled_decay)?)?;
    }
    let m = (m + ((&g - m)? * (1.0 - betas.0))?)?;
    let v = ((v * betas.1)? + (g.sqr()? * (1.0 - betas.1))?)?;
    let denominator = ((v.sqrt()? / root_correction)? + epsilon)?;
    let p = ((p * shrink)? - ((&m * step_size)? / denominator)?)?;
    Ok((p, m, v))
}

fn zeros(variable: &Var) -> Result<Moments> {
    let count = variable.elem_count();
    Ok(match (variable.device(), variable.dtype()) {
        (Device::Cpu, DType::F32) => Moments::Host(HostMoments::F32(vec![0.0; count], vec![0.0; count])),
        (Device::Cpu, DType::F64) => Moments::Host(HostMoments::F64(vec![0.0; count], vec![0.0; count])),
        _ => Moments::Device(variable.as_tensor().zeros_like()?, variable.as_tensor().zeros_like()?),
    })
}
