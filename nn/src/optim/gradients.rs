//! Gradients by parameter name: summed over micro-batches, scaled, checked.

use super::clip::squared_norm;
use crate::{Error, Parameters, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use std::collections::BTreeMap;

/// Anything that knows the gradient of a named variable; `None` means that the loss does not depend on it.
pub trait GradientSource {
    /// The gradient of this variable, of its shape and dtype.
    fn gradient(&self, name: &str, variable: &Var) -> Option<&Tensor>;
}

impl GradientSource for GradStore {
    fn gradient(&self, _name: &str, variable: &Var) -> Option<&Tensor> {
        self.get(variable.as_tensor())
    }
}

impl GradientSource for Gradients {
    fn gradient(&self, name: &str, _variable: &Var) -> Option<&Tensor> {
        self.by_name.get(name)
    }
}

/// Gradients by parameter name, in name order. Detached: they keep no operation graph alive.
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    by_name: BTreeMap<String, Tensor>,
}

impl Gradients {
    /// No gradient at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// The gradients of `parameters` that `store` has.
    pub fn collect(parameters: &Parameters, store: &GradStore) -> Self {
        let by_name = parameters
            .to_vec()
            .into_iter()
            .filter_map(|(name, variable)| store.get(variable.as_tensor()).map(|g| (name, g.detach())))
            .collect();
        Gradients { by_name }
    }

    /// Sets one gradient.
    pub fn insert(&mut self, name: impl Into<String>, gradient: &Tensor) {
        self.by_name.insert(name.into(), gradient.detach());
    }

    /// The gradient of this parameter.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    /// Names and gradients in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.by_name.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Adds another set, name by name; a parameter known to one of the two only keeps that one's gradient.
    ///
    /// # Errors
    /// Those of candle, when shapes or dtypes differ.
    pub fn accumulate(&mut self, other: &Gradients) -> Result<()> {
        for (name, gradient) in &other.by_name {
            let sum = match self.by_name.get(name) {
                Some(old) => old.add(gradient)?,
                None => gradient.clone(),
            };
            self.by_name.insert(name.clone(), sum);
        }
        Ok(())
    }

    /// Multiplies all by a factor.
    ///
    /// # Errors
    /// Those of candle.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for gradient in self.by_name.values_mut() {
            *gradient = (&*gradient * factor)?;
        }
        Ok(())
    }

    /// Global norm, summed in f64 in name order.
    ///
    /// # Errors
    /// Those of candle.
    pub fn norm(&self) -> Result<f64> {
        let squares = self.by_name.values().map(squared_norm).collect::<Result<Vec<f64>>>()?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }
}

/// Checks that one backward pass reached every variable: candle drops gradients in silence when an operation without
/// a backward stands in the way.
///
/// # Errors
/// [`Error::Gradient`] names every variable whose gradient is absent, zero everywhere or not finite.
pub fn assert_every_variable_has_gradient(parameters: &Parameters, gradients: &impl GradientSource) -> Result<()> {
    let mut problems = Vec::new();
    for (name, variable) in parameters.to_vec() {
        match gradients.gradient(&name, &variable) {
            None => problems.push(format!("{name} has none")),
            Some(g) => {
                let largest = match g.elem_count() {
                    0 => 0.0,
                    _ => g.detach().to_dtype(DType::F64)?.abs()?.max_all()?.to_scalar::<f64>()?,
                };
                let norm = squared_norm(g)?;
                if !norm.is_finite() {
                    problems.push(format!("{name} is not finite"));
                } else if largest == 0.0 {
                    problems.push(format!("{name} is zero everywhere"));
                }
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Gradient { what: problems.join("; ") }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Init;
    use crate::rng::Streams;
    use candle_core::Device;

    fn parameters() -> (Parameters, Tensor, Tensor) {
        let parameters = Parameters::new(Streams::new(1), DType::F64, &Device::Cpu);
        let a = parameters.root().parameter("a", 3, Init::Normal(1.0)).unwrap();
        let b = parameters.root().parameter("b", 3, Init::Normal(1.0)).unwrap();
        (parameters, a, b)
    }

    #[test]
    fn two_micro_batches_sum_to_the_gradient_of_the_summed_loss() {
        let (parameters, a, b) = parameters();
        let one = || (&a * &b).unwrap().sum_all().unwrap();
        let two = || a.sqr().unwrap().sum_all().unwrap();
        let mut sum = Gradients::collect(&parameters, &one().backward().unwrap());
        sum.accumulate(&Gradients::collect(&parameters, &two().backward().unwrap())).unwrap();
        let whole = Gradients::collect(&parameters, &(one() + two()).unwrap().backward().unwrap());
        for (name, gradient) in whole.iter() {
            let difference = (gradient - sum.get(name).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f64>().unwrap() < 1e-15, "{name}");
        }
        let norm = whole.norm().unwrap();
        sum.scale(0.5).unwrap();
        assert!((sum.norm().unwrap() - norm / 2.0).abs() < 1e-14);
    }

    #[test]
    fn missing_zero_and_infinite_gradients_are_named() {
        let (parameters, a, b) = parameters();
        let good = (&a * &b).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(assert_every_variable_has_gradient(&parameters, &good).is_ok());
        let cut = a.detach().mul(&b).unwrap().sum_all().unwrap().backward().unwrap();
        let message = assert_every_variable_has_gradient(&parameters, &cut).unwrap_err().to_string();
        assert_eq!(message, "gradients: a has none");
        let nothing = a.zeros_like().unwrap();
        let zero =
            ((&a * &nothing).unwrap() + (&b / &nothing).unwrap()).unwrap().sum_all().unwrap().backward().unwrap();
        let message = assert_every_variable_has_gradient(&parameters, &zero).unwrap_err().to_string();
        assert_eq!(message, "gradients: a is zero everywhere; b is not finite");
    }
}
