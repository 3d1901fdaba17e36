//! The directions of a step, how far they go in each layer, and what their derivatives count: a function of the
//! configuration and of the derivatives before, so that training and replay agree.

use super::config::{ScaleBy, Variant, ZerothOrderConfig};

/// A direction of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Probe {
    /// Its number within the step.
    pub number: u32,
    /// The one layer that it moves; none: all parameters.
    pub layer: Option<usize>,
    /// It is there for the scale of its layer, not for the update.
    pub for_scale: bool,
}

/// What a direction does in each layer; the last entry holds for parameters that belong to none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Effect {
    pub number: u32,
    /// How far, in units of epsilon; zero: it is not touched.
    pub reach: Vec<f64>,
    /// Share of the estimated gradient.
    pub share: Vec<f64>,
}

/// Directions of all steps.
pub(super) struct Plan {
    config: ZerothOrderConfig,
    layers: usize,
    steps: u64,
    /// c of each layer.
    scales: Vec<f64>,
}

impl Plan {
    /// For so many layers and steps; `scales` of the layers, or those that are to be measured in the first step.
    pub(super) fn new(config: &ZerothOrderConfig, layers: usize, steps: u64, scales: Option<Vec<f64>>) -> Self {
        let scales = scales.unwrap_or_else(|| vec![1.0; layers]);
        Plan { config: config.clone(), layers, steps, scales }
    }

    /// Whether the first step begins with a direction for each layer's scale.
    fn measures_scales(&self) -> bool {
        let config = &self.config;
        config.variant != Variant::Plain && config.scale_by == ScaleBy::GradientNorm && config.scales.is_empty()
    }

    pub(super) fn probes(&self, step: u64) -> Vec<Probe> {
        let mut probes = Vec::new();
        let mut add = |layer, for_scale| probes.push(Probe { number: probes.len() as u32, layer, for_scale });
        if step == 0 && self.measures_scales() {
            (0..self.layers).for_each(|layer| add(Some(layer), true));
        }
        let samples = self.samples(step);
        match self.config.by_layer {
            true => (0..self.layers).for_each(|layer| (0..samples).for_each(|_| add(Some(layer), false))),
            false => (0..samples).for_each(|_| add(None, false)),
        }
        probes
    }

    fn samples(&self, step: u64) -> usize {
        self.config.samples_at(step, self.steps)
    }

    fn scaled(&self, probe: Probe) -> bool {
        self.config.variant != Variant::Plain && !probe.for_scale
    }

    /// c of a layer; 1 where it is zero.
    fn scale(&self, layer: usize) -> f64 {
        if self.scales[layer] == 0.0 { 1.0 } else { self.scales[layer] }
    }

    fn by_layer(&self, probe: Probe, value: impl Fn(Option<usize>) -> f64) -> Vec<f64> {
        let all = (0..self.layers).map(Some).chain([None]);
        all.map(|layer| if probe.layer.is_none() || probe.layer == layer { value(layer) } else { 0.0 }).collect()
    }

    /// How far a direction goes in each layer, in units of epsilon.
    pub(super) fn reach(&self, probe: Probe) -> Vec<f64> {
        self.by_layer(probe, |layer| layer.filter(|_| self.scaled(probe)).map_or(1.0, |layer| 1.0 / self.scale(layer)))
    }

    /// Takes up the derivative along a direction: what it counts in each layer.
    pub(super) fn take(&mut self, step: u64, probe: Probe, derivative: f64) -> Vec<f64> {
        if probe.for_scale {
            if let Some(layer) = probe.layer.filter(|_| derivative.is_finite()) {
                self.scales[layer] = derivative.abs();
            }
            return vec![0.0; self.layers + 1];
        }
        let mean = if self.config.sum_samples { derivative } else { derivative / self.samples(step) as f64 };
        let multiplies = self.config.variant == Variant::Variance;
        let share = self.by_layer(probe, |layer| mean * layer.filter(|_| multiplies).map_or(1.0, |l| self.scale(l)));
        let follows = self.config.running_scales && self.config.scale_by == ScaleBy::GradientNorm;
        if let Some(layer) = probe.layer.filter(|_| follows && mean.is_finite()) {
            self.scales[layer] = mean.abs();
        }
        share
    }
}
