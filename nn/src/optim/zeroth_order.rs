//! MeZO (Malladi et al. 2023, arXiv 2305.17333): tuning by the loss alone, in the memory of inference.
//!
//! Along a random direction z the loss is measured to both sides, g = (L(p + eps z) - L(p - eps z)) / (2 eps), and the
//! weights move against g z. Weights are changed in place and z is never stored: it is made again, element by element,
//! whenever it is needed. Any closure that gives a number can be tuned: a loss, an error rate, a band gap.
//!
//! Modules, each using only those above it: [`noise`] (directions), [`config`], `plan` (directions of a step), `pass`
//! (what happens to an element), [`exchange`] (several ranks), [`trajectory`] (a run as its scalars).

pub mod config;
pub mod exchange;
pub mod noise;
mod pass;
mod plan;
pub mod trajectory;

pub use config::{Rule, ZerothOrderConfig};
pub use exchange::{Alone, Exchange};
pub use noise::{Directions, Normal};
pub use trajectory::{Trajectory, TrajectoryWriter};

use crate::optim::clip::{Clip, squared_norm};
use crate::optim::schedule::Schedule;
use crate::{Error, Parameters, Result};
use candle_core::{DType, Var};
use config::{ScaleBy, Variant};
use pass::{Pass, RuleScalars, Scalars, State, Step, Update};
use plan::{Effect, Plan, Probe};

/// Zeroth-order optimisation of a fixed set of parameters (f32 or f64, on the CPU).
pub struct ZerothOrder<D: Directions = Normal> {
    config: ZerothOrderConfig,
    schedule: Schedule,
    directions: D,
    slots: Vec<Slot>,
    layers: Vec<String>,
    plan: Plan,
    dtype: DType,
    total: u64,
    done: u64,
    rejected_in_a_row: usize,
}

struct Slot {
    name: String,
    /// Number in name order, frozen parameters counted.
    number: u32,
    variable: Var,
    decays: bool,
    /// Place among the layers; their number: none.
    layer: usize,
    state: State,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Steps before this one.
    pub step: u64,
    /// Mean over the directions of the losses at p + eps z.
    pub loss: f64,
    /// Derivatives along the directions in their order, then the factor of clipping by norm where that is on; what a
    /// replay needs. NaN where a loss was rejected.
    pub scalars: Vec<f64>,
    /// The learning rate.
    pub learning_rate: f64,
    /// Whether the weights were left as they were, a loss being too large or no number.
    pub rejected: bool,
}

impl<D: Directions> ZerothOrder<D> {
    /// For a run of `steps` steps over all parameters that are not frozen.
    ///
    /// # Errors
    /// [`Error::Config`] for a value out of range, another dtype, or scales that name no layer.
    pub fn new(parameters: &Parameters, config: ZerothOrderConfig, steps: u64, directions: D) -> Result<Self> {
        config.validate()?;
        let schedule = config.schedule(steps)?;
        let arrays = match config.rule {
            Rule::Sgd => 0,
            Rule::Momentum { .. } => 1,
            Rule::Adam { .. } => 2,
        };
        let mut layers: Vec<String> = config.layers.clone();
        let mut slots = Vec::new();
        for (number, (name, variable)) in parameters.to_vec().into_iter().enumerate() {
            if config.is_frozen(&name) {
                continue;
            }
            let layer = config.layer(&name);
            if let Some(new) = layer.as_ref().filter(|layer| !layers.contains(*layer)) {
                layers.push(new.clone());
            }
            slots.push(Slot {
                number: number as u32,
                decays: config.decays(&name),
                layer: layer.and_then(|name| layers.iter().position(|l| *l == name)).unwrap_or(usize::MAX),
                state: State::zeros(&variable, arrays)?,
                name,
                variable,
            });
        }
        if slots.is_empty() {
            let what = "expected a parameter that is not frozen, found none".into();
            return Err(Error::Config { key: "zeroth_order.frozen".into(), what });
        }
        slots.iter_mut().for_each(|slot| slot.layer = slot.layer.min(layers.len()));
        let scales = scales(&config, &layers, &slots)?;
        let plan = Plan::new(&config, layers.len(), steps, scales);
        let dtype = parameters.dtype();
        let total = steps;
        Ok(Self { config, schedule, directions, slots, layers, plan, dtype, total, done: 0, rejected_in_a_row: 0 })
    }

    /// The configuration.
    pub fn config(&self) -> &ZerothOrderConfig {
        &self.config
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.done
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.total
    }

    /// Names of the layers that scales belong to, in the order of their directions.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// Names and variables that are tuned, in name order.
    pub fn tuned(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.slots.iter().map(|slot| (slot.name.as_str(), &slot.variable))
    }

    /// One step. `loss` is asked twice for each direction, always for the same batch, and must not keep the weights.
    ///
    /// # Errors
    /// Those of `loss`, the weights being where they were to rounding; [`Error::NonFinite`] after as many rejected steps in
    /// a row as the configuration allows.
    pub fn step(&mut self, loss: &mut dyn FnMut() -> Result<f64>) -> Result<StepReport> {
        self.step_with(&Alone, loss)
    }

    /// The same on one of several ranks that measure the loss on different samples: the derivatives are averaged, and all
    /// ranks stay equal to the bit.
    ///
    /// # Errors
    /// As [`Self::step`]; those of the exchange.
    pub fn step_with(&mut self, exchange: &dyn Exchange, loss: &mut dyn FnMut() -> Result<f64>) -> Result<StepReport> {
        let (step, epsilon) = (self.done, self.config.epsilon);
        let mut effects: Vec<Effect> = Vec::new();
        let (mut scalars, mut sum) = (Vec::new(), 0.0);
        let probes = self.plan.probes(step);
        for probe in &probes {
            let effect = Effect { number: probe.number, reach: self.plan.reach(*probe), share: Vec::new() };
            let mut shifts: Vec<(&Effect, f64)> = effects.last().into_iter().map(|last| (last, epsilon)).collect();
            shifts.push((&effect, epsilon));
            Self::shift(&self.directions, &mut self.slots, step, &shifts)?;
            let plus = self.measured(&effect, -epsilon, loss)?;
            Self::shift(&self.directions, &mut self.slots, step, &[(&effect, -2.0 * epsilon)])?;
            let minus = self.measured(&effect, epsilon, loss)?;
            sum += plus;
            let derivative =
                if self.rejects(plus) || self.rejects(minus) { f64::NAN } else { (plus - minus) / (2.0 * epsilon) };
            let derivative = self.rounded(exchange.mean(derivative)?);
            scalars.push(derivative);
            let share = self.plan.take(step, *probe, derivative);
            effects.push(Effect { share, ..effect });
        }
        let rejected = scalars.iter().any(|g| !g.is_finite());
        let factor = self.clip_factor(step, &effects, rejected);
        scalars.extend(factor);
        let learning_rate = self.schedule.learning_rate(step);
        let last = effects.last().map(|effect| (effect.number, epsilon));
        self.finish(step, &effects, rejected, factor, last)?;
        self.done += 1;
        self.rejected_in_a_row = if rejected { self.rejected_in_a_row + 1 } else { 0 };
        if self.rejected_in_a_row >= self.config.patience.max(1) {
            let what = format!("the loss, or below the largest allowed, in {} steps in a row,", self.rejected_in_a_row);
            return Err(Error::NonFinite { what, step: self.done });
        }
        Ok(StepReport { step, loss: sum / probes.len().max(1) as f64, scalars, learning_rate, rejected })
    }

    /// Does again what the steps with these scalars did, without any loss.
    ///
    /// # Errors
    /// [`Error::Config`] when a step has another number of scalars than it needs.
    pub fn replay(&mut self, records: &[Vec<f64>]) -> Result<()> {
        let mut steps = Vec::new();
        for (k, scalars) in records.iter().enumerate() {
            let step = self.done + k as u64;
            let probes = self.plan.probes(step);
            self.expect(step, probes.len() + usize::from(self.clips_by_norm()), scalars.len())?;
            let effects: Vec<Effect> =
                probes.iter().zip(scalars).map(|(probe, g)| self.effect(step, *probe, *g)).collect();
            let rejected = scalars[..probes.len()].iter().any(|g| !g.is_finite());
            steps.push((step, effects, rejected, scalars.get(probes.len()).copied()));
        }
        let epsilon = self.config.epsilon;
        for k in 0..self.slots.len() {
            let slot = &self.slots[k];
            let journey = steps.iter().map(|(step, effects, rejected, factor)| {
                let there_and_back = effects.iter().flat_map(|effect| {
                    let reach = effect.reach[slot.layer];
                    [epsilon, -2.0 * epsilon, epsilon].map(|by| (effect.number, by * reach))
                });
                let shifts = there_and_back.filter(|(_, by)| *by != 0.0).collect();
                Step { step: *step, shifts, update: self.update(slot, *step, effects, *rejected, *factor) }
            });
            let steps = journey.collect();
            let pass = Pass { directions: &self.directions, parameter: slot.number, steps };
            let slot = &mut self.slots[k];
            pass.run(&slot.variable, &mut slot.state)?;
        }
        self.done += records.len() as u64;
        Ok(())
    }

    /// Scalars of each step from the first on: derivatives, and the factor of clipping by norm where that is on.
    pub fn scalars_of(&self, step: u64) -> usize {
        self.plan.probes(step).len() + usize::from(self.clips_by_norm())
    }

    fn effect(&mut self, step: u64, probe: Probe, derivative: f64) -> Effect {
        let reach = self.plan.reach(probe);
        Effect { number: probe.number, reach, share: self.plan.take(step, probe, derivative) }
    }

    fn shift(directions: &D, slots: &mut [Slot], step: u64, along: &[(&Effect, f64)]) -> Result<()> {
        for slot in slots {
            let by = along.iter().map(|(effect, by)| (effect.number, by * effect.reach[slot.layer]));
            let shifts: Vec<(u32, f64)> = by.filter(|(_, by)| *by != 0.0).collect();
            if !shifts.is_empty() {
                let steps = vec![Step { step, shifts, update: None }];
                Pass { directions, parameter: slot.number, steps }.run(&slot.variable, &mut slot.state)?;
            }
        }
        Ok(())
    }

    /// The loss; the way back is taken when there is none.
    fn measured(&mut self, effect: &Effect, back: f64, loss: &mut dyn FnMut() -> Result<f64>) -> Result<f64> {
        match loss() {
            Ok(loss) => Ok(loss),
            Err(error) => {
                Self::shift(&self.directions, &mut self.slots, self.done, &[(effect, back)])?;
                Err(error)
            }
        }
    }

    fn rejects(&self, loss: f64) -> bool {
        !loss.is_finite() || self.config.largest_loss.is_some_and(|largest| loss > largest)
    }

    /// In the precision of the weights, which a saved run keeps.
    fn rounded(&self, x: f64) -> f64 {
        if self.dtype == DType::F32 { f64::from(x as f32) } else { x }
    }

    fn clips_by_norm(&self) -> bool {
        matches!(self.config.clip, Clip::Norm(_))
    }

    fn estimate(slot: &Slot, effects: &[Effect]) -> Vec<(u32, f64)> {
        let shares = effects.iter().map(|effect| (effect.number, effect.share[slot.layer]));
        shares.filter(|(_, share)| *share != 0.0).collect()
    }

    fn clip_factor(&self, step: u64, effects: &[Effect], rejected: bool) -> Option<f64> {
        if !self.clips_by_norm() {
            return None;
        }
        if rejected {
            return Some(1.0);
        }
        let square = |slot: &Slot| {
            let estimate = Self::estimate(slot, effects);
            pass::squared_norm(&self.directions, slot.number, step, &estimate, slot.variable.elem_count())
        };
        let norm = self.slots.iter().map(square).sum::<f64>().sqrt();
        Some(self.rounded(self.config.clip.factor_and_limit(norm).0))
    }

    /// The way back from the last direction, and the update, in one pass.
    fn finish(
        &mut self,
        step: u64,
        effects: &[Effect],
        rejected: bool,
        factor: Option<f64>,
        last: Option<(u32, f64)>,
    ) -> Result<()> {
        for k in 0..self.slots.len() {
            let slot = &self.slots[k];
            let update = self.update(slot, step, effects, rejected, factor);
            let reach = effects.last().map_or(0.0, |effect| effect.reach[slot.layer]);
            let back = last.map(|(number, by)| (number, by * reach)).filter(|(_, by)| *by != 0.0);
            let steps = vec![Step { step, shifts: back.into_iter().collect(), update }];
            let pass = Pass { directions: &self.directions, parameter: slot.number, steps };
            let slot = &mut self.slots[k];
            pass.run(&slot.variable, &mut slot.state)?;
        }
        Ok(())
    }

    fn update(
        &self,
        slot: &Slot,
        step: u64,
        effects: &[Effect],
        rejected: bool,
        factor: Option<f64>,
    ) -> Option<Update> {
        if rejected {
            return None;
        }
        let limit = self.config.clip.factor_and_limit(0.0).1;
        let rule = match self.config.rule {
            Rule::Sgd => RuleScalars::Sgd,
            Rule::Momentum { momentum } => RuleScalars::Momentum(momentum),
            Rule::Adam { betas, epsilon } => {
                // Rejected steps count: the means stand still then, and the correction is a little too small.
                let t = (step + 1) as f64;
                let correction = (1.0 - betas.1.powf(t)).sqrt() / (1.0 - betas.0.powf(t));
                RuleScalars::Adam { betas, correction, epsilon }
            }
        };
        let scalars = Scalars {
            factor: factor.unwrap_or(1.0),
            limit,
            rate: self.schedule.learning_rate(step),
            decay: if slot.decays { self.config.weight_decay } else { 0.0 },
            rule,
        };
        Some(Update { estimate: Self::estimate(slot, effects), scalars })
    }

    fn expect(&self, step: u64, expected: usize, found: usize) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        let what = format!("step {step}: expected {expected} scalars, found {found}");
        Err(Error::Config { key: "trajectory".into(), what })
    }
}

/// The scales of layers as far as they are known before the first step.
fn scales(config: &ZerothOrderConfig, layers: &[String], slots: &[Slot]) -> Result<Option<Vec<f64>>> {
    if config.variant == Variant::Plain {
        return Ok(None);
    }
    if !config.scales.is_empty() {
        if let Some(name) = config.scales.keys().find(|name| !layers.contains(name)) {
            let what = format!("expected layers among {}, found {name}", layers.join(", "));
            return Err(Error::Config { key: "zeroth_order.scales".into(), what });
        }
        return Ok(Some(layers.iter().map(|layer| config.scales.get(layer).copied().unwrap_or(1.0)).collect()));
    }
    if config.scale_by == ScaleBy::GradientNorm {
        return Ok(None);
    }
    let mut squares = vec![0.0; layers.len()];
    for slot in slots.iter().filter(|slot| slot.layer < layers.len()) {
        squares[slot.layer] += squared_norm(&slot.variable)?;
    }
    Ok(Some(squares.into_iter().map(f64::sqrt).collect()))
}

#[cfg(test)]
mod tests;
