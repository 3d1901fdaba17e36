//! From a forward and a backward function over slices to a differentiable candle operation.

use super::bundle::Bundles;
use super::reverse::{Record, forget, remember};
use super::{Real, rows};
use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor, TensorId,
};
use std::sync::{Arc, OnceLock};

/// A contiguous tensor seen from a kernel.
#[derive(Clone, Copy)]
pub struct Array<'a, T> {
    /// All elements, row-major.
    pub data: &'a [T],
    /// Extents.
    pub dims: &'a [usize],
}

impl<T> Array<'_, T> {
    /// First extent.
    pub fn rows(&self) -> usize {
        self.dims[0]
    }
}

/// A differentiable function of one to seven tensors of one dtype, on the CPU.
pub trait Operation: Send + Sync + 'static {
    /// Shown in candle's messages.
    const NAME: &'static str;

    /// Output elements and extents.
    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)>;

    /// Gradients of the inputs for the gradient `dy` of the output `y`; `wanted[k]` tells whether anybody reads the
    /// k-th, and an unwanted one may be left empty.
    fn backward<T: Real>(&self, inputs: &[Array<T>], y: &[T], dy: &[T], wanted: &[bool]) -> Result<Vec<Vec<T>>>;

    /// As [`Self::backward`] for a `dy` that nobody else needs, added to the gradients that the inputs have from other
    /// operations: `sums[k]`, empty where there is none. Worth writing where `dy` can be handed on or sums be added to as
    /// gradients are computed.
    fn backward_added<T: Real>(
        &self,
        inputs: &[Array<T>],
        y: &[T],
        dy: Vec<T>,
        wanted: &[bool],
        sums: Vec<Vec<T>>,
    ) -> Result<Vec<Vec<T>>> {
        let gradients = self.backward(inputs, y, &dy, wanted)?;
        Ok(gradients.into_iter().zip(sums).map(|(gradient, sum)| added(sum, gradient)).collect())
    }
}

/// The sum of two gradients, either of which may be empty.
pub(crate) fn added<T: Real>(mut sum: Vec<T>, gradient: Vec<T>) -> Vec<T> {
    if sum.is_empty() || gradient.is_empty() {
        return if sum.is_empty() { gradient } else { sum };
    }
    rows::add_in_blocks(&mut sum, &gradient);
    sum
}

/// An operation with the tensors that it was applied to.
struct Applied<O> {
    operation: O,
    inputs: Vec<Tensor>,
    bundles: Bundles,
    wanted: Vec<bool>,
    /// Set once the result is known to the reverse pass.
    output: OnceLock<TensorId>,
}

impl<O> Drop for Applied<O> {
    fn drop(&mut self) {
        if let Some(output) = self.output.get() {
            forget(*output);
        }
    }
}

/// What candle's graph holds of it.
struct Adapter<O>(Arc<Applied<O>>);

/// Applies `operation`; gradients flow to every input that is or depends on a variable.
///
/// # Errors
/// Not one to seven inputs, a dtype other than f32 or f64, another device, or an error of the operation.
pub fn apply<O: Operation>(operation: O, inputs: &[&Tensor]) -> Result<Tensor> {
    let inputs = inputs.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
    let wanted: Vec<bool> = inputs.iter().map(|t| t.track_op()).collect();
    let (seen, bundles) = Bundles::new(O::NAME, &inputs)?;
    let applied = Arc::new(Applied { operation, inputs, bundles, wanted, output: OnceLock::new() });
    let adapter = Adapter(applied.clone());
    let output = match seen.as_slice() {
        [a] => a.apply_op1_arc(Arc::new(Box::new(adapter))),
        [a, b] => a.apply_op2_arc(b, Arc::new(Box::new(adapter))),
        [a, b, c] => a.apply_op3_arc(b, c, Arc::new(Box::new(adapter))),
        other => candle_core::bail!("{}: {} inputs", O::NAME, other.len()),
    }?;
    if output.track_op() && applied.output.set(output.id()).is_ok() {
        let record: Arc<dyn Record> = applied;
        remember(output.id(), Arc::downgrade(&record));
    }
    Ok(output)
}

impl<O: Operation> Record for Applied<O> {
    fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    fn gradients(
        &self,
        output: &Tensor,
        gradient: CpuStorage,
        sums: Vec<Option<CpuStorage>>,
    ) -> Result<Vec<Option<CpuStorage>>> {
        match gradient {
            CpuStorage::F32(dy) => self.gradients_as::<f32>(output, dy, owned(sums)?),
            CpuStorage::F64(dy) => self.gradients_as::<f64>(output, dy, owned(sums)?),
            other => candle_core::bail!("{}: dtype f32 or f64, found {:?}", O::NAME, other.dtype()),
        }
    }
}

fn owned<T: Real>(sums: Vec<Option<CpuStorage>>) -> Result<Vec<Vec<T>>> {
    sums.into_iter().map(|sum| sum.map_or_else(|| Ok(Vec::new()), T::cpu_storage_data)).collect()
}

impl<O: Operation> Applied<O> {
    fn gradients_as<T: Real>(&self, y: &Tensor, dy: Vec<T>, sums: Vec<Vec<T>>) -> Result<Vec<Option<CpuStorage>>> {
        let guards: Vec<_> = self.inputs.iter().map(|t| t.storage_and_layout()).collect();
        let arrays = guards.iter().map(|(s, l)| view::<T>(O::NAME, cpu(O::NAME, s)?, l)).collect::<Result<Vec<_>>>()?;
        let (ys, yl) = y.storage_and_layout();
        let y = view::<T>(O::NAME, cpu(O::NAME, &ys)?, yl)?;
        let gradients = self.operation.backward_added(&arrays, y.data, dy, &self.wanted, sums)?;
        let wrap = |((gradient, input), wanted): ((Vec<T>, &Array<T>), &bool)| {
            if !wanted {
                return Ok(None);
            }
            check(O::NAME, "gradient", gradient.len(), input.data.len())?;
            Ok(Some(T::to_cpu_storage_owned(gradient)))
        };
        gradients.into_iter().zip(&arrays).zip(&self.wanted).map(wrap).collect()
    }
}

impl<O: Operation> Adapter<O> {
    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        match inputs[0].0.dtype() {
            DType::F32 => self.forward_as::<f32>(inputs),
            DType::F64 => self.forward_as::<f64>(inputs),
            other => candle_core::bail!("{}: dtype f32 or f64, found {other:?}", O::NAME),
        }
    }

    fn forward_as<T: Real>(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)> {
        let alone = self.0.bundles.alone;
        let bundled: Vec<_> = self.0.inputs[alone..].iter().map(|t| t.storage_and_layout()).collect();
        let alone = inputs[..alone].iter().map(|(s, l)| view::<T>(O::NAME, s, l));
        let bundled = bundled.iter().map(|(s, l)| view::<T>(O::NAME, cpu(O::NAME, s)?, l));
        let arrays = alone.chain(bundled).collect::<Result<Vec<_>>>()?;
        let (data, dims) = self.0.operation.forward(&arrays)?;
        check(O::NAME, "output", data.len(), dims.iter().product())?;
        Ok((T::to_cpu_storage_owned(data), Shape::from(dims)))
    }

    /// For candle's own pass, which lends the gradient.
    fn backward(&self, y: &Tensor, dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        match y.dtype() {
            DType::F32 => self.backward_as::<f32>(y, dy),
            _ => self.backward_as::<f64>(y, dy),
        }
    }

    fn backward_as<T: Real>(&self, y: &Tensor, dy: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let dy = dy.contiguous()?;
        let (gs, gl) = dy.storage_and_layout();
        let dy = view::<T>(O::NAME, cpu(O::NAME, &gs)?, gl)?.data.to_vec();
        let inputs = &self.0.inputs;
        let wrap = |(gradient, input): (Option<CpuStorage>, &Tensor)| gradient.map(|g| tensor(g, input)).transpose();
        let sums = inputs.iter().map(|_| Vec::new()).collect();
        let gradients = self.0.gradients_as(y, dy, sums)?.into_iter().zip(inputs).map(wrap);
        self.0.bundles.hand_over(gradients.collect::<Result<_>>()?)
    }
}

/// The elements as a tensor of the shape of `like`.
pub(super) fn tensor(storage: CpuStorage, like: &Tensor) -> Result<Tensor> {
    match storage {
        CpuStorage::F32(values) => Tensor::from_vec(values, like.shape(), like.device()),
        CpuStorage::F64(values) => Tensor::from_vec(values, like.shape(), like.device()),
        other => candle_core::bail!("dtype f32 or f64 expected, found {:?}", other.dtype()),
    }
}

fn check(name: &str, what: &str, found: usize, expected: usize) -> Result<()> {
    if found != expected {
        candle_core::bail!("{name}: {what} of {expected} elements expected, found {found}");
    }
    Ok(())
}

fn cpu<'a>(name: &str, storage: &'a Storage) -> Result<&'a CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => candle_core::bail!("{name}: implemented on the CPU only"),
    }
}

fn view<'a, T: Real>(name: &str, storage: &'a CpuStorage, layout: &'a Layout) -> Result<Array<'a, T>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(Array { data: &T::cpu_storage_as_slice(storage)?[start..end], dims: layout.dims() }),
        None => candle_core::bail!("{name}: contiguous input expected"),
    }
}

impl<O: Operation> CustomOp1 for Adapter<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }
    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(s, l)])
    }
    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.backward(y, dy)?.pop().flatten())
    }
}

impl<O: Operation> CustomOp2 for Adapter<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }
    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(s1, l1), (s2, l2)])
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.backward(y, dy)?.into_iter();
        Ok((gradients.next().flatten(), gradients.next().flatten()))
    }
}

impl<O: Operation> CustomOp3 for Adapter<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }
    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(&[(s1, l1), (s2, l2), (s3, l3)])
    }
    #[allow(clippy::type_complexity, reason = "candle's signature")]
    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.backward(y, dy)?.into_iter();
        Ok((gradients.next().flatten(), gradients.next().flatten(), gradients.next().flatten()))
    }
}
