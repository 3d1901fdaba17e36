//! Trainable tensors by name, always walked in name order.
//!
//! candle's `VarMap` is a hash map, whose order differs from process to process; sums over parameters, optimiser
//! state and random initialisation here follow the sorted names and are the same everywhere.

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
        let tensor =
            Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype())?.to_device(self.device())?;
        let variable = Var::from_tensor(&tensor)?;
        let tensor = variable.as_tensor().clone();
        self.parameters.variables.borrow_mut().insert(path, variable);
        Ok(tensor)
    }
}
