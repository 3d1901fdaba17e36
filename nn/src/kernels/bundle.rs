//! Operations of more than three inputs, which candle's graph has no place for: it sees one tensor of a single element
//! instead of several, and gradients pass from the operation to what was bundled beside it.

use super::reverse::{Record, forget, remember};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, TensorId};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Most inputs of an operation: one, and two bundles.
const MOST: usize = 7;

/// The inputs of an operation as candle sees them.
pub(super) struct Bundles {
    /// The first inputs, which stand for themselves.
    pub(super) alone: usize,
    bundles: Vec<(Range<usize>, Arc<Stash>)>,
}

impl Bundles {
    /// At most three tensors that stand for `inputs`.
    pub(super) fn new(name: &str, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Self)> {
        let count = inputs.len();
        if !(1..=MOST).contains(&count) {
            candle_core::bail!("{name}: 1 to {MOST} inputs expected, found {count}");
        }
        if count <= 3 {
            return Ok((inputs.to_vec(), Bundles { alone: count, bundles: Vec::new() }));
        }
        // One bundle of two inputs, or two of two or three each.
        let alone = if count == 4 { 2 } else { 1 };
        let middle = if count == 4 { count } else { alone + (count - alone) / 2 };
        let mut seen = inputs[..alone].to_vec();
        let mut bundles = Vec::new();
        for range in [alone..middle, middle..count].into_iter().filter(|range| !range.is_empty()) {
            let stash = Arc::new(Stash::default());
            seen.push(bundle(&inputs[range.clone()], &stash)?);
            bundles.push((range, stash));
        }
        Ok((seen, Bundles { alone, bundles }))
    }

    /// Leaves the gradients of bundled inputs where the bundles find them; returns one for each tensor that candle sees.
    pub(super) fn hand_over(&self, mut gradients: Vec<Option<Tensor>>) -> Result<Vec<Option<Tensor>>> {
        let bundled = gradients.split_off(self.alone);
        let mut bundled = bundled.into_iter();
        for (range, stash) in &self.bundles {
            let own: Vec<_> = bundled.by_ref().take(range.len()).collect();
            let passes = own.iter().flatten().next().map(|g| Tensor::zeros(1, g.dtype(), g.device())).transpose()?;
            gradients.push(passes);
            *stash.gradients.lock().unwrap_or_else(PoisonError::into_inner) = own;
        }
        Ok(gradients)
    }
}

/// Gradients on their way from an operation to a bundle.
#[derive(Default)]
struct Stash {
    gradients: Mutex<Vec<Option<Tensor>>>,
    /// Set once the bundle is known to the reverse pass.
    output: OnceLock<TensorId>,
}

impl Drop for Stash {
    fn drop(&mut self) {
        if let Some(output) = self.output.get() {
            forget(*output);
        }
    }
}

/// The reverse pass of ours goes by the inputs of the operation, past its bundles.
impl Record for Stash {
    fn inputs(&self) -> &[Tensor] {
        &[]
    }

    fn gradients(&self, _: &Tensor, _: CpuStorage, _: Vec<Option<CpuStorage>>) -> Result<Vec<Option<CpuStorage>>> {
        Ok(Vec::new())
    }
}

struct Bundle(Arc<Stash>);

/// One tensor that depends on all `inputs`, two or three.
fn bundle(inputs: &[Tensor], stash: &Arc<Stash>) -> Result<Tensor> {
    let operation = Bundle(stash.clone());
    let output = match inputs {
        [a, b] => a.apply_op2(b, operation),
        [a, b, c] => a.apply_op3(b, c, operation),
        other => candle_core::bail!("bundle: 2 or 3 inputs expected, found {}", other.len()),
    }?;
    if output.track_op() && stash.output.set(output.id()).is_ok() {
        let record: Arc<dyn Record> = stash.clone();
        remember(output.id(), Arc::downgrade(&record));
    }
    Ok(output)
}

impl Bundle {
    const NAME: &'static str = "bundle";

    fn forward(first: &CpuStorage) -> Result<(CpuStorage, Shape)> {
        let one = match first {
            CpuStorage::F32(_) => CpuStorage::F32(vec![0.0]),
            _ => CpuStorage::F64(vec![0.0]),
        };
        Ok((one, Shape::from(1)))
    }

    /// What the operation left here.
    fn gradients(&self) -> impl Iterator<Item = Option<Tensor>> + use<> {
        let mut left = self.0.gradients.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *left).into_iter()
    }
}

impl CustomOp2 for Bundle {
    fn name(&self) -> &'static str {
        Bundle::NAME
    }
    fn cpu_fwd(&self, s: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Bundle::forward(s)
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.gradients();
        Ok((gradients.next().flatten(), gradients.next().flatten()))
    }
}

impl CustomOp3 for Bundle {
    fn name(&self) -> &'static str {
        Bundle::NAME
    }
    fn cpu_fwd(
        &self,
        s: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Bundle::forward(s)
    }
    #[allow(clippy::type_complexity, reason = "candle's signature")]
    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.gradients();
        Ok((gradients.next().flatten(), gradients.next().flatten(), gradients.next().flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reverse::foreign_operations;
    use crate::kernels::{Array, Operation, Real, apply, backward};
    use candle_core::{Device, Var};

    /// `sum_k (k + 1) x_k^2`.
    struct Squares;

    impl Operation for Squares {
        const NAME: &'static str = "squares";
        fn forward<T: Real>(&self, x: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
            let term = |(k, x): (usize, &Array<T>)| T::of((k + 1) as f64) * x.data[0] * x.data[0];
            let sum = x.iter().enumerate().map(term).fold(T::zero(), |sum, term| sum + term);
            Ok((vec![sum], vec![1]))
        }
        fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
            let gradient = |(k, x): (usize, &Array<T>)| vec![T::of(2.0 * (k + 1) as f64) * x.data[0] * dy[0]];
            Ok(x.iter().enumerate().map(gradient).collect())
        }
    }

    #[test]
    fn gradients_reach_every_input_by_either_pass() -> Result<()> {
        for count in 1..=MOST {
            for constant in 0..=count {
                let variables: Vec<Var> =
                    (0..count).map(|k| Var::new(&[1.0 + k as f64], &Device::Cpu)).collect::<Result<_>>()?;
                // All but one are results of operations, and read twice.
                let inner = |k: usize| match k == constant {
                    true => Ok(variables[k].detach()),
                    false => apply(Squares, &[&variables[k]]),
                };
                let inputs = (0..count).map(inner).collect::<Result<Vec<_>>>()?;
                let inputs: Vec<&Tensor> = inputs.iter().collect();
                let y = apply(Squares, &[&apply(Squares, &inputs)?, &apply(Squares, &inputs[..1])?])?;
                assert_eq!(foreign_operations(&y), 0);
                let (ours, candles) = (backward(y.clone())?, y.backward()?);
                for (k, variable) in variables.iter().enumerate() {
                    let [ours, candles] = [&ours, &candles].map(|g| g.get(variable));
                    assert_eq!((ours.is_some(), candles.is_some()), (k != constant, k != constant));
                    if let (Some(ours), Some(candles)) = (ours, candles) {
                        assert_eq!(ours.to_vec1::<f64>()?, candles.to_vec1::<f64>()?);
                        assert_ne!(ours.to_vec1::<f64>()?, [0.0]);
                    }
                }
            }
        }
        let none: [&Tensor; 0] = [];
        assert!(apply(Squares, &none).is_err());
        let eight = vec![Tensor::new(&[1.0], &Device::Cpu)?; MOST + 1];
        assert!(apply(Squares, &eight.iter().collect::<Vec<_>>()).is_err());
        Ok(())
    }
}
