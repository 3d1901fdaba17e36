//! That frozen parameters stay as they were.

use crate::optim::AdamW;
use crate::parameters::digest;
use crate::{Error, Parameters, Result};
use candle_core::Var;
use std::collections::BTreeSet;

/// The parameters that the optimiser leaves out, and a hash of their values.
pub(super) struct Frozen {
    variables: Vec<(String, Var)>,
    hash: String,
}

impl Frozen {
    pub(super) fn new(parameters: &Parameters, optimizer: &AdamW) -> Result<Self> {
        let trained: BTreeSet<&str> = optimizer.names().collect();
        let mut variables = parameters.to_vec();
        variables.retain(|(name, _)| !trained.contains(name.as_str()));
        let hash = hash(&variables)?;
        Ok(Frozen { variables, hash })
    }

    /// # Errors
    /// [`Error::Gradient`] when a value has changed since.
    pub(super) fn check(&self) -> Result<()> {
        if hash(&self.variables)? == self.hash {
            return Ok(());
        }
        let names: Vec<&str> = self.variables.iter().map(|(name, _)| name.as_str()).collect();
        Err(Error::Gradient { what: format!("frozen parameters have moved, one of {}", names.join(", ")) })
    }
}

fn hash(variables: &[(String, Var)]) -> Result<String> {
    digest(variables.iter().map(|(name, variable)| (name.as_str(), variable.as_tensor())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{AdamConfig, ParamGroup};
    use crate::{Init, rng::Streams};
    use candle_core::{DType, Device};

    #[test]
    fn a_moved_parameter_is_noticed_unless_it_is_trained() {
        let parameters = Parameters::new(Streams::new(1), DType::F32, &Device::Cpu);
        for name in ["base.w", "head.w"] {
            parameters.root().parameter(name, (2, 3), Init::Normal(1.0)).unwrap();
        }
        let group = ParamGroup { pattern: "base".into(), frozen: true, ..ParamGroup::default() };
        let config = AdamConfig { groups: vec![group], ..AdamConfig::default() };
        let optimizer = AdamW::new(&parameters, config).unwrap();
        let frozen = Frozen::new(&parameters, &optimizer).unwrap();
        let shift = |name: &str| {
            let variable = parameters.get(name).unwrap();
            variable.set(&(variable.as_tensor() + 1e-6).unwrap()).unwrap();
        };
        shift("head.w");
        frozen.check().unwrap();
        shift("base.w");
        let message = frozen.check().unwrap_err().to_string();
        assert_eq!(message, "gradients: frozen parameters have moved, one of base.w");
    }
}
