//! Directions that were drawn elsewhere, put in place of ours, in the order in which they are asked for.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot read its vectors must fail")]

use super::golden::{Golden, values};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tesseral_nn::Parameters;
use tesseral_nn::kernels::Real;
use tesseral_nn::optim::zeroth_order::Directions;
use tesseral_nn::optim::zeroth_order::noise::Place;

#[derive(Clone)]
pub struct Recorded {
    /// Of the parameters, in name order.
    names: Vec<String>,
    /// Of each direction, its tensors.
    z: Vec<BTreeMap<String, Vec<f64>>>,
    seen: Arc<Mutex<Vec<(u64, u32)>>>,
}

impl Recorded {
    /// Each direction has its tensors under a prefix.
    pub fn new(golden: &Golden, parameters: &Parameters, prefixes: &[String]) -> Self {
        let names: Vec<String> = parameters.to_vec().into_iter().map(|(name, _)| name).collect();
        let of = |prefix: &String| {
            let found = |name: &String| Some((name.clone(), values(&golden.get(&format!("{prefix}{name}"))?)));
            names.iter().filter_map(found).collect()
        };
        Recorded { z: prefixes.iter().map(of).collect(), names: names.clone(), seen: Arc::default() }
    }
}

impl Directions for Recorded {
    fn identity(&self) -> String {
        "recorded".into()
    }

    fn fill<T: Real>(&self, place: Place, start: usize, z: &mut [T]) {
        let key = (place.step, place.probe);
        let mut seen = self.seen.lock().unwrap();
        let number = seen.iter().position(|k| *k == key).unwrap_or_else(|| {
            seen.push(key);
            seen.len() - 1
        });
        let all = &self.z[number][&self.names[place.parameter as usize]];
        z.iter_mut().zip(&all[start..]).for_each(|(z, x)| *z = T::of(*x));
    }
}
