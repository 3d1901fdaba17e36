//! Exponential moving average of the weights.

use super::elementwise::Lerp;
use crate::{Error, Parameters, Result};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How weights are averaged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the old average kept at each step.
    pub decay: f64,
    /// Start with a smaller share, min(decay, (1 + t) / (10 + t)) at step t, so that the start is soon forgotten.
    pub warm_up: bool,
}

impl Default for EmaConfig {
    fn default() -> Self {
        EmaConfig { decay: 0.999, warm_up: true }
    }
}

/// A shadow copy of all parameters that follows them slowly.
pub struct Ema {
    config: EmaConfig,
    parameters: Parameters,
    shadow: BTreeMap<String, Tensor>,
    steps: u64,
}

impl Ema {
    /// Starts at the present weights.
    ///
    /// # Errors
    /// [`Error::Config`] when the decay is not in [0, 1).
    pub fn new(parameters: &Parameters, config: EmaConfig) -> Result<Self> {
        if !(0.0..1.0).contains(&config.decay) {
            return Err(Error::Config {
                key: "ema.decay".into(),
                what: format!("expected a number in [0, 1), found {}", config.decay),
            });
        }
        Ok(Ema { config, parameters: parameters.clone(), shadow: parameters.snapshot()?, steps: 0 })
    }

    /// The share of the old average that update number `step` (from 1) keeps.
    pub fn decay(&self, step: u64) -> f64 {
        let t = step as f64;
        if self.config.warm_up { self.config.decay.min((1.0 + t) / (10.0 + t)) } else { self.config.decay }
    }

    /// Takes the present weights in.
    ///
    /// # Errors
    /// Those of candle.
    pub fn update(&mut self) -> Result<()> {
        self.steps += 1;
        let weight = 1.0 - self.decay(self.steps);
        for (name, variable) in self.parameters.to_vec() {
            let Some(shadow) = self.shadow.get_mut(&name) else { continue };
            if variable.device().is_cpu() && matches!(variable.dtype(), DType::F32 | DType::F64) {
                shadow.inplace_op2(variable.as_tensor(), &Lerp { weight })?;
            } else {
                let present = variable.as_detached_tensor();
                *shadow = (&*shadow + ((present - &*shadow)? * weight)?)?;
            }
        }
        Ok(())
    }

    /// Exchanges the weights with the average; a second call undoes it.
    ///
    /// # Errors
    /// Those of candle.
    pub fn swap(&mut self) -> Result<()> {
        let present = self.parameters.snapshot()?;
        self.parameters.load(&self.shadow)?;
        self.shadow = present;
        Ok(())
    }

    /// Runs `work` with the average in place of the weights; they are back afterwards, also after an error.
    ///
    /// # Errors
    /// Those of `work` and of candle.
    pub fn with_average<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.swap()?;
        let result = work();
        self.swap()?;
        result
    }

    /// The average by parameter name.
    pub fn average(&self) -> &BTreeMap<String, Tensor> {
        &self.shadow
    }

    /// Restarts the average at the present weights.
    ///
    /// # Errors
    /// Those of candle.
    pub fn restart(&mut self) -> Result<()> {
        self.shadow = self.parameters.snapshot()?;
        self.steps = 0;
        Ok(())
    }

    /// The state: `shadow.NAME` of every parameter and `steps`, an i64 scalar; on the CPU.
    ///
    /// # Errors
    /// Those of candle.
    pub fn state_tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::from([("steps".to_string(), Tensor::new(self.steps as i64, &Device::Cpu)?)]);
        for (name, shadow) in &self.shadow {
            // A copy: the shadow is written in place at the next update.
            state.insert(format!("shadow.{name}"), shadow.to_device(&Device::Cpu)?.copy()?);
        }
        Ok(state)
    }

    /// Takes over what [`Ema::state_tensors`] gave.
    ///
    /// # Errors
    /// [`Error::Config`] names every missing, extra or wrongly shaped tensor; nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut problems = Vec::new();
        for (name, shadow) in &self.shadow {
            match state.get(&format!("shadow.{name}")) {
                None => problems.push(format!("shadow.{name} is missing")),
                Some(t) if t.dims() != shadow.dims() => {
                    problems.push(format!("shadow.{name}: expected shape {:?}, found {:?}", shadow.dims(), t.dims()));
                }
                Some(_) => {}
            }
        }
        for name in state.keys().filter(|name| *name != "steps") {
            if !name.strip_prefix("shadow.").is_some_and(|n| self.shadow.contains_key(n)) {
                problems.push(format!("{name} is not expected"));
            }
        }
        let steps = match state.get("steps") {
            Some(t) if t.dims().is_empty() => {
                u64::try_from(t.to_dtype(DType::I64)?.to_scalar::<i64>()?).unwrap_or(u64::MAX)
            }
            Some(t) => {
                problems.push(format!("steps: expected a scalar, found shape {:?}", t.dims()));
                0
            }
            None => {
                problems.push("steps is missing".into());
                0
            }
        };
        if !problems.is_empty() {
            return Err(Error::Config { key: "ema state".into(), what: problems.join("; ") });
        }
        for (name, shadow) in &mut self.shadow {
            let saved = &state[&format!("shadow.{name}")];
            *shadow = saved.to_dtype(shadow.dtype())?.to_device(shadow.device())?.copy()?;
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Init;
    use crate::rng::Streams;

    fn parameters(dtype: DType) -> Parameters {
        let parameters = Parameters::new(Streams::new(3), dtype, &Device::Cpu);
        parameters.root().parameter("w", 1, Init::Constant(1.0)).unwrap();
        parameters
    }

    fn value(parameters: &Parameters) -> f64 {
        parameters.get("w").unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()[0]
    }

    #[test]
    fn constant_target_is_approached_as_a_power_of_the_decay() {
        for dtype in [DType::F64, DType::F32, DType::BF16] {
            let parameters = parameters(dtype);
            let mut ema = Ema::new(&parameters, EmaConfig { decay: 0.5, warm_up: false }).unwrap();
            parameters
                .get("w")
                .unwrap()
                .set(&Tensor::new(&[0.0], &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
                .unwrap();
            for _ in 0..6 {
                ema.update().unwrap();
            }
            assert_eq!(value(&parameters), 0.0);
            let seen = ema.with_average(|| Ok(value(&parameters))).unwrap();
            assert_eq!(seen, 0.5f64.powi(6), "{dtype:?}");
            assert_eq!(value(&parameters), 0.0);
        }
    }

    #[test]
    fn warm_up_starts_low_and_ends_at_the_decay() {
        let ema = Ema::new(&parameters(DType::F64), EmaConfig { decay: 0.999, warm_up: true }).unwrap();
        assert_eq!(ema.decay(1), 2.0 / 11.0);
        assert_eq!(ema.decay(1_000_000), 0.999);
    }

    #[test]
    fn weights_come_back_after_an_error_and_state_goes_round() {
        let parameters = parameters(DType::F64);
        let mut ema = Ema::new(&parameters, EmaConfig::default()).unwrap();
        parameters.get("w").unwrap().set(&Tensor::new(&[4.0], &Device::Cpu).unwrap()).unwrap();
        ema.update().unwrap();
        let failed = ema.with_average(|| Err::<(), _>(Error::Interrupted { step: 1 }));
        assert!(failed.is_err());
        assert_eq!(value(&parameters), 4.0);
        let state = ema.state_tensors().unwrap();
        let mut other = Ema::new(&parameters, EmaConfig::default()).unwrap();
        other.load_state(&state).unwrap();
        assert_eq!(other.steps, 1);
        assert_eq!(other.shadow["w"].to_vec1::<f64>().unwrap(), ema.shadow["w"].to_vec1::<f64>().unwrap());
        let broken = BTreeMap::from([("shadow.x".to_string(), state["shadow.w"].clone())]);
        let message = other.load_state(&broken).unwrap_err().to_string();
        assert_eq!(message, "ema state: shadow.w is missing; shadow.x is not expected; steps is missing");
    }
}
