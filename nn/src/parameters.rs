//! Trainable tensors by name, always walked in name order.
//!
//! candle's `VarMap` is a hash map, whose order differs from process to process; sums over parameters, optimiser
//! state and random initialisation here follow the sorted names and are the same everywhere.

mod digest;

pub use digest::digest;

use crate::rng::Streams;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor, Var};
use rand_distr::{Distribution, StandardNormal, Uniform};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Every element the same.
    Constant(f64),
    /// Independent normal numbers of mean 0 and this standard deviation.
    Normal(f64),
    /// Independent uniform numbers in `[-bound, bound)`.
    Uniform(f64),
}

/// A named, ordered collection of [`Var`]s of one dtype on one device. Cloning shares the variables.
#[derive(Clone)]
pub struct Parameters {
    variables: Rc<RefCell<BTreeMap<String, Var>>>,
    streams: Streams,
    dtype: DType,
    device: Device,
}

impl Parameters {
    /// An empty collection; initial values are drawn from `streams`, one stream a name.
    pub fn new(streams: Streams, dtype: DType, device: &Device) -> Self {
        Parameters { variables: Rc::default(), streams, dtype, device: device.clone() }
    }

    /// The scope at the root of the names.
    pub fn root(&self) -> Scope {
        Scope { parameters: self.clone(), prefix: String::new() }
    }

    /// dtype of every variable.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the variables live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Names and variables in name order.
    pub fn to_vec(&self) -> Vec<(String, Var)> {
        self.variables.borrow().iter().map(|(name, variable)| (name.clone(), variable.clone())).collect()
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<Var> {
        self.variables.borrow().get(name).cloned()
    }

    /// Number of scalars in all variables.
    pub fn count(&self) -> usize {
        self.variables.borrow().values().map(|v| v.elem_count()).sum()
    }

    /// Declares a variable that starts as this tensor. Tensors that are handed over one by one are held once.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that exists.
    pub fn adopt(&self, name: &str, tensor: Tensor) -> Result<()> {
        let variable = Var::from_tensor(&tensor.to_dtype(self.dtype)?.to_device(&self.device)?)?;
        match self.variables.borrow_mut().insert(name.to_string(), variable) {
            None => Ok(()),
            Some(_) => {
                Err(Error::Config { key: name.into(), what: "expected a new name, found one that exists".into() })
            }
        }
    }

    /// Overwrites every variable by the tensor of its name.
    ///
    /// # Errors
    /// [`Error::Config`] names each missing, extra or wrongly shaped tensor; nothing is written then.
    pub fn load(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let variables = self.variables.borrow();
        let mut problems = Vec::new();
        for (name, variable) in variables.iter() {
            match tensors.get(name) {
                None => problems.push(format!("{name} is missing")),
                Some(t) if t.dims() != variable.dims() => {
                    problems.push(format!("{name}: expected shape {:?}, found {:?}", variable.dims(), t.dims()))
                }
                Some(_) => {}
            }
        }
        problems.extend(tensors.keys().filter(|n| !variables.contains_key(*n)).map(|n| format!("{n} is not expected")));
        if !problems.is_empty() {
            return Err(Error::Config { key: "parameters".into(), what: problems.join("; ") });
        }
        for (name, variable) in variables.iter() {
            variable.set(&tensors[name].to_dtype(self.dtype)?.to_device(&self.device)?)?;
        }
        Ok(())
    }

    /// Copies of all values by name (not connected to any gradient).
    pub fn snapshot(&self) -> Result<BTreeMap<String, Tensor>> {
        let variables = self.variables.borrow();
        variables.iter().map(|(name, v)| Ok((name.clone(), v.as_tensor().copy()?.detach()))).collect()
    }
}

/// A place in the name tree where a layer declares its parameters.
#[derive(Clone)]
pub struct Scope {
    parameters: Parameters,
    prefix: String,
}

impl Scope {
    /// The scope `self.name`.
    pub fn enter(&self, name: impl std::fmt::Display) -> Scope {
        Scope { parameters: self.parameters.clone(), prefix: self.path(&name.to_string()) }
    }

    fn path(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    /// dtype of the collection.
    pub fn dtype(&self) -> DType {
        self.parameters.dtype
    }

    /// Device of the collection.
    pub fn device(&self) -> &Device {
        &self.parameters.device
    }

    /// Declares (or shares, when the full name exists with the same shape) a trainable tensor.
    ///
    /// # Errors
    /// [`Error::Shape`] when the name exists with another shape.
    pub fn parameter(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Tensor> {
        let (path, shape) = (self.path(name), shape.into());
        if let Some(variable) = self.parameters.get(&path) {
            return if variable.shape() == &shape {
                Ok(variable.as_tensor().clone())
            } else {
                Err(Error::Shape {
                    operation: "Scope::parameter",
                    expected: format!("{path} of shape {:?}", variable.shape()),
                    found: format!("{shape:?}"),
                })
            };
        }
        let mut stream = self.parameters.streams.stream(&format!("init/{path}"), &[]);
        let count = shape.elem_count();
        let values: Vec<f64> = match init {
            Init::Constant(value) => vec![value; count],
            Init::Normal(sigma) => {
                StandardNormal.sample_iter(&mut stream).take(count).map(|z: f64| sigma * z).collect()
            }
            Init::Uniform(bound) => {
                let unit = Uniform::new(-1.0, 1.0).map_err(candle_core::Error::wrap)?;
                unit.sample_iter(&mut stream).take(count).map(|u: f64| bound * u).collect()
            }
        };
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype())?.to_device(self.device())?;
        let variable = Var::from_tensor(&tensor)?;
        let tensor = variable.as_tensor().clone();
        self.parameters.variables.borrow_mut().insert(path, variable);
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declare(order: &[&str], dtype: DType) -> Parameters {
        let parameters = Parameters::new(Streams::new(1), dtype, &Device::Cpu);
        for name in order {
            parameters.root().enter("layer").parameter(name, (2, 3), Init::Normal(1.0)).unwrap();
        }
        parameters
    }

    fn values(parameters: &Parameters) -> Vec<(String, Vec<f64>)> {
        let host = |v: &Var| v.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        parameters.to_vec().iter().map(|(name, v)| (name.clone(), host(v))).collect()
    }

    #[test]
    fn values_depend_on_names_not_on_the_order_of_declaration() {
        let one = values(&declare(&["b", "a", "c"], DType::F64));
        assert_eq!(one, values(&declare(&["c", "b", "a"], DType::F64)));
        assert_eq!(one.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["layer.a", "layer.b", "layer.c"]);
        assert_ne!(one[0].1, one[1].1);
        // f32 starts at the rounded f64 values.
        for ((_, wide), (_, narrow)) in one.iter().zip(values(&declare(&["a", "b", "c"], DType::F32))) {
            assert!(wide.iter().zip(narrow).all(|(w, n)| f64::from(*w as f32) == n));
        }
    }

    #[test]
    fn initial_values_have_their_moments() {
        let parameters = Parameters::new(Streams::new(7), DType::F64, &Device::Cpu);
        let n = 20_000;
        for (name, init, variance, largest) in [
            ("normal", Init::Normal(0.5), 0.25, f64::INFINITY),
            ("uniform", Init::Uniform(2.0), 4.0 / 3.0, 2.0),
            ("constant", Init::Constant(0.0), 0.0, 0.0),
        ] {
            let values = parameters.root().parameter(name, n, init).unwrap().to_vec1::<f64>().unwrap();
            let mean = values.iter().sum::<f64>() / n as f64;
            let found = values.iter().map(|x| x * x).sum::<f64>() / n as f64 - mean * mean;
            assert!(mean.abs() < 0.03 && (found - variance).abs() < 0.03, "{name}: {mean} {found}");
            assert!(values.iter().all(|x| x.abs() <= largest));
        }
        assert_eq!(parameters.count(), 3 * n);
    }

    #[test]
    fn a_name_is_shared_with_its_shape_only() {
        let parameters = declare(&["a"], DType::F64);
        let scope = parameters.root().enter("layer");
        let again = scope.parameter("a", (2, 3), Init::Constant(9.0)).unwrap();
        assert_eq!(again.id(), parameters.get("layer.a").unwrap().as_tensor().id());
        let message = scope.parameter("a", (3, 2), Init::Constant(0.0)).unwrap_err().to_string();
        assert!(message.contains("layer.a of shape [2, 3]") && message.ends_with("found [3, 2]"), "{message}");
    }

    #[test]
    fn load_takes_all_or_nothing_and_a_snapshot_stays() {
        let parameters = declare(&["a", "b"], DType::F32);
        let snapshot = parameters.snapshot().unwrap();
        let before = values(&parameters);
        for (_, variable) in parameters.to_vec() {
            variable.set(&variable.ones_like().unwrap()).unwrap();
        }
        let mut wrong = snapshot.clone();
        let a = wrong.remove("layer.a").unwrap();
        wrong.insert("layer.b".into(), a.t().unwrap());
        wrong.insert("layer.z".into(), a);
        let message = parameters.load(&wrong).unwrap_err().to_string();
        assert_eq!(
            message,
            "parameters: layer.a is missing; layer.b: expected shape [2, 3], found [3, 2]; layer.z is not expected"
        );
        assert!(values(&parameters).iter().all(|(_, v)| v.iter().all(|&x| x == 1.0)));
        parameters.load(&snapshot).unwrap();
        assert_eq!(values(&parameters), before);
    }
}
