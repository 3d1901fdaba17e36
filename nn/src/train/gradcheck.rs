//! Gradients against central differences.

use crate::optim::Gradients;
use crate::rng::Streams;
use crate::{Error, Parameters, Result};
use candle_core::{DType, Tensor};
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// The largest relative difference between the backward pass of `loss` and `(L(p + h d) - L(p - h d)) / 2h` over
/// random directions d of unit length in the space of all parameters. Relative to the larger of the two values and
/// to 1e-8 times the gradient's norm. Weights are as before afterwards. Meant for f64, with `h` about 1e-5.
///
/// # Errors
/// Those of `loss` and of candle; [`Error::Gradient`] when there is no gradient at all.
pub fn worst_directional_error(
    parameters: &Parameters,
    streams: Streams,
    directions: u64,
    h: f64,
    mut loss: impl FnMut() -> Result<Tensor>,
) -> Result<f64> {
    let gradients = Gradients::collect(parameters, &loss()?.backward()?);
    if gradients.is_empty() {
        return Err(Error::Gradient { what: "the loss depends on no parameter".into() });
    }
    let floor = 1e-8 * gradients.norm()?;
    let start = parameters.snapshot()?;
    let length = (parameters.count() as f64).sqrt();
    let mut worst: f64 = 0.0;
    for number in 0..directions {
        let mut direction = BTreeMap::new();
        let mut analytic = 0.0;
        for (name, tensor) in &start {
            let mut stream = streams.stream(&format!("gradcheck/{name}"), &[number]);
            let values: Vec<f64> =
                StandardNormal.sample_iter(&mut stream).take(tensor.elem_count()).map(|x: f64| x / length).collect();
            let d = Tensor::from_vec(values, tensor.shape(), tensor.device())?;
            if let Some(g) = gradients.get(name) {
                analytic += (g.to_dtype(DType::F64)? * &d)?.sum_all()?.to_scalar::<f64>()?;
            }
            direction.insert(name.clone(), d.to_dtype(tensor.dtype())?);
        }
        let mut at = |h: f64| -> Result<f64> {
            let moved = start
                .iter()
                .map(|(name, tensor)| Ok((name.clone(), (tensor + (&direction[name] * h)?)?)))
                .collect::<Result<BTreeMap<_, _>>>()?;
            parameters.load(&moved)?;
            Ok(loss()?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
        };
        let values = at(h).and_then(|plus| Ok((plus, at(-h)?)));
        parameters.load(&start)?;
        let (plus, minus) = values?;
        let numeric = (plus - minus) / (2.0 * h);
        worst = worst.max((numeric - analytic).abs() / numeric.abs().max(analytic.abs()).max(floor));
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Init;
    use candle_core::Device;

    #[test]
    fn a_right_gradient_passes_and_a_cut_one_does_not() {
        let streams = Streams::new(2);
        let parameters = Parameters::new(streams, DType::F64, &Device::Cpu);
        let a = parameters.root().parameter("a", (3, 4), Init::Normal(1.0)).unwrap();
        let b = parameters.root().parameter("b", (4, 2), Init::Normal(1.0)).unwrap();
        let before = parameters.snapshot().unwrap();
        let right = || Ok(a.matmul(&b)?.tanh()?.sqr()?.sum_all()?);
        assert!(worst_directional_error(&parameters, streams, 16, 1e-5, right).unwrap() < 1e-7);
        let cut = || Ok(a.detach().matmul(&b)?.tanh()?.sqr()?.sum_all()?);
        assert!(worst_directional_error(&parameters, streams, 16, 1e-5, cut).unwrap() > 1e-2);
        for (name, tensor) in parameters.snapshot().unwrap() {
            let (new, old) = (tensor.flatten_all().unwrap(), before[&name].flatten_all().unwrap());
            assert_eq!(new.to_vec1::<f64>().unwrap(), old.to_vec1::<f64>().unwrap());
        }
    }
}
