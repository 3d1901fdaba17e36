//! Gradient clipping and the norm it needs, summed in f64 in a fixed order.
//!
//! Source: `torch.nn.utils.clip_grad_norm_` and `clip_grad_value_` (documented behaviour).

use crate::kernels::{Real, sums};
use crate::{Error, Result};
use candle_core::{CpuStorage, DType, Storage, Tensor};
use serde::{Deserialize, Serialize};

/// What is done to the gradients before they are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Clip {
    /// Nothing.
    #[default]
    None,
    /// All gradients together are scaled so that their norm is at most this: by `min(1, max / (norm + 1e-6))`.
    Norm(f64),
    /// Every element is cut to `[-max, max]`.
    Value(f64),
}

impl Clip {
    /// # Errors
    /// [`Error::Config`] when the limit is not a positive finite number.
    pub fn validate(&self, key: &str) -> Result<()> {
        match *self {
            Clip::Norm(max) | Clip::Value(max) if !(max.is_finite() && max > 0.0) => {
                Err(Error::Config { key: key.into(), what: format!("expected a positive finite limit, found {max}") })
            }
            _ => Ok(()),
        }
    }

    /// The factor and the limit of each element that this clipping asks for at a global norm.
    pub fn factor_and_limit(&self, norm: f64) -> (f64, f64) {
        match *self {
            Clip::None => (1.0, f64::INFINITY),
            Clip::Norm(max) => ((max / (norm + 1e-6)).min(1.0), f64::INFINITY),
            Clip::Value(max) => (1.0, max),
        }
    }
}

/// Sum of the squares of all elements, in f64; the same to the bit for any number of threads on the CPU.
///
/// # Errors
/// Those of candle.
pub fn squared_norm(tensor: &Tensor) -> Result<f64> {
    let tensor = tensor.contiguous()?;
    {
        let (storage, layout) = tensor.storage_and_layout();
        if let Some((start, end)) = layout.contiguous_offsets() {
            match &*storage {
                Storage::Cpu(CpuStorage::F32(values)) => return Ok(sum_of_squares(&values[start..end])),
                Storage::Cpu(CpuStorage::F64(values)) => return Ok(sum_of_squares(&values[start..end])),
                _ => {}
            }
        }
    }
    Ok(tensor.detach().to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?)
}

fn sum_of_squares<T: Real>(values: &[T]) -> f64 {
    sums::by_chunks(values.len(), |chunk| {
        let mut sum = 0.0;
        sums::add_squares(&values[chunk], &mut sum);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn squared_norm_agrees_with_a_plain_loop_and_with_strides() {
        let values: Vec<f32> = (0..40_000).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
        let plain: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let tensor = Tensor::from_vec(values, (200, 200), &Device::Cpu).unwrap();
        assert!((squared_norm(&tensor).unwrap() / plain - 1.0).abs() < 1e-13);
        assert!((squared_norm(&tensor.t().unwrap()).unwrap() / plain - 1.0).abs() < 1e-13);
        let half = tensor.to_dtype(DType::BF16).unwrap();
        assert!((squared_norm(&half).unwrap() / plain - 1.0).abs() < 1e-2);
    }

    #[test]
    fn limits_must_be_positive() {
        assert!(Clip::Norm(0.0).validate("clip").is_err());
        assert!(Clip::Value(f64::NAN).validate("clip").is_err());
        assert!(Clip::Norm(1.0).validate("clip").is_ok());
        assert_eq!(Clip::Norm(1.0).factor_and_limit(0.5).0, 1.0);
        assert!((Clip::Norm(1.0).factor_and_limit(4.0).0 - 0.25).abs() < 1e-6);
    }
}
