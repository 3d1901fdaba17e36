//! The reverse pass over graphs of our own operations.
//!
//! candle's `backward` starts every gradient as zeros and adds to it. Most tensors are read once, so that costs two
//! passes over the memory of all activations; here the first gradient moves in, and operations add later ones to it, some
//! as they compute them.

use super::operation::tensor;
use super::rows::add_in_blocks;
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Result, Tensor, TensorId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

/// An operation that was applied: what it read, and how gradients pass through it.
pub(super) trait Record: Send + Sync {
    /// The tensors that it read.
    fn inputs(&self) -> &[Tensor];
    /// Gradients of the inputs that want one, added to those that they have.
    fn gradients(
        &self,
        output: &Tensor,
        gradient: CpuStorage,
        sums: Vec<Option<CpuStorage>>,
    ) -> Result<Vec<Option<CpuStorage>>>;
}

/// By tensor. Numbers that nobody chooses need no defence against those who do, and each step asks some hundred times.
type ByTensor<V> = HashMap<TensorId, V, foldhash::fast::FixedState>;

/// Results of operations that gradients pass through, as long as they live.
static RECORDS: LazyLock<Mutex<ByTensor<Weak<dyn Record>>>> = LazyLock::new(Mutex::default);

fn records() -> MutexGuard<'static, ByTensor<Weak<dyn Record>>> {
    RECORDS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn remember(output: TensorId, record: Weak<dyn Record>) {
    records().insert(output, record);
}

pub(super) fn forget(output: TensorId) {
    records().remove(&output);
}

/// Gradients of `loss` with respect to every variable that it depends on: those of `loss.backward()`, in less time
/// where the whole graph is made of our operations. A graph with any other operation in it goes through candle.
///
/// What an operation has read is freed as soon as gradients have passed it, unless it is held elsewhere, and what follows
/// finds its place still in the caches. Whoever needs the graph again passes a clone.
///
/// # Errors
/// Those of the operations.
pub fn backward(loss: Tensor) -> Result<GradStore> {
    let nodes = sorted(&loss);
    match own(&nodes) {
        Some(own) => {
            let gradient = ones(&loss);
            reverse(loss, gradient, own, nodes)
        }
        None => loss.backward(),
    }
}

/// As [`backward`] for an output of any shape whose gradient is known: what lies behind a part of a network.
///
/// # Errors
/// Those of the operations, or shapes that differ.
pub fn backward_from(output: Tensor, gradient: &Tensor) -> Result<GradStore> {
    if output.dims() != gradient.dims() {
        candle_core::bail!("gradient: shape {:?} expected, found {:?}", output.dims(), gradient.dims());
    }
    let nodes = sorted(&output);
    match own(&nodes) {
        Some(own) => reverse(output, storage(gradient)?, own, nodes),
        None => (output * gradient.detach())?.sum_all()?.backward(),
    }
}

/// All tensors that gradients reach, before those that they depend on.
fn sorted(output: &Tensor) -> Vec<Tensor> {
    output.sorted_nodes().into_iter().cloned().collect()
}

/// The operations behind a result by their results, if all of them are ours.
fn own(nodes: &[Tensor]) -> Option<Vec<Arc<dyn Record>>> {
    with_records(nodes).map(|(_, record)| record).collect()
}

fn ones(x: &Tensor) -> CpuStorage {
    match x.dtype() {
        candle_core::DType::F32 => CpuStorage::F32(vec![1.0; x.elem_count()]),
        _ => CpuStorage::F64(vec![1.0; x.elem_count()]),
    }
}

fn storage(x: &Tensor) -> Result<CpuStorage> {
    let x = x.flatten_all()?;
    Ok(match x.dtype() {
        candle_core::DType::F32 => CpuStorage::F32(x.to_vec1()?),
        _ => CpuStorage::F64(x.to_vec1()?),
    })
}

/// Operations behind `loss` that are not ours, and so keep [`backward`] from its own pass.
pub fn foreign_operations(loss: &Tensor) -> usize {
    with_records(&sorted(loss)).filter(|(_, record)| record.is_none()).count()
}

/// The results of operations among `nodes`, with the operation where it is ours.
fn with_records(nodes: &[Tensor]) -> impl Iterator<Item = (&Tensor, Option<Arc<dyn Record>>)> {
    let records = records();
    let inner = nodes.iter().filter(|node| !node.is_variable());
    let found: Vec<_> = inner.map(|node| (node, records.get(&node.id()).and_then(Weak::upgrade))).collect();
    found.into_iter()
}

/// `own` are the operations of those of `nodes` that are no variables.
fn reverse(output: Tensor, gradient: CpuStorage, own: Vec<Arc<dyn Record>>, nodes: Vec<Tensor>) -> Result<GradStore> {
    let mut gradients = ByTensor::<CpuStorage>::default();
    gradients.insert(output.id(), gradient);
    drop(output);
    let (variables, inner): (Vec<Tensor>, Vec<Tensor>) = nodes.into_iter().partition(|node| node.is_variable());
    // Both are dropped step by step, and with them what no other tensor needs.
    for (node, record) in inner.into_iter().zip(own) {
        let Some(gradient) = gradients.remove(&node.id()) else { continue };
        let sums = record.inputs().iter().map(|input| gradients.remove(&input.id())).collect();
        for (input, gradient) in record.inputs().iter().zip(record.gradients(&node, gradient, sums)?) {
            let Some(gradient) = gradient else { continue };
            match gradients.get_mut(&input.id()) {
                // An operation on the same tensor twice.
                Some(sum) => add_to(sum, &gradient)?,
                None => drop(gradients.insert(input.id(), gradient)),
            }
        }
    }
    let mut store = GradStore::default();
    for variable in &variables {
        if let Some(gradient) = gradients.remove(&variable.id()) {
            store.insert(variable, tensor(gradient, variable)?);
        }
    }
    Ok(store)
}

fn add_to(sum: &mut CpuStorage, other: &CpuStorage) -> Result<()> {
    match (sum, other) {
        (CpuStorage::F32(sum), CpuStorage::F32(other)) => add_in_blocks(sum, other),
        (CpuStorage::F64(sum), CpuStorage::F64(other)) => add_in_blocks(sum, other),
        _ => candle_core::bail!("gradient: equal dtypes expected"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Array, Operation, Real, apply};
    use candle_core::{Device, Var};

    /// a b + b, read twice below so that gradients meet.
    struct Product;

    impl Operation for Product {
        const NAME: &'static str = "test";
        fn forward<T: Real>(&self, x: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
            Ok((x[0].data.iter().zip(x[1].data).map(|(a, b)| *a * *b + *b).collect(), x[0].dims.to_vec()))
        }
        fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], wanted: &[bool]) -> Result<Vec<Vec<T>>> {
            let all = |f: &dyn Fn(usize) -> T| (0..dy.len()).map(|k| f(k) * dy[k]).collect();
            let second = if wanted[1] { all(&|k| x[0].data[k] + T::one()) } else { Vec::new() };
            Ok(vec![all(&|k| x[1].data[k]), second])
        }
    }

    /// The same number; its backward notes how many of its kind are alive.
    struct Link(Arc<Mutex<Vec<usize>>>);

    impl Operation for Link {
        const NAME: &'static str = "link";
        fn forward<T: Real>(&self, x: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
            Ok((x[0].data.to_vec(), x[0].dims.to_vec()))
        }
        fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
            self.0.lock().unwrap().push(Arc::strong_count(&self.0));
            Ok(vec![dy.to_vec()])
        }
    }

    #[test]
    fn what_gradients_have_passed_is_freed() -> Result<()> {
        let a = Var::new(&[1.5], &Device::Cpu)?;
        let alive = Arc::new(Mutex::new(Vec::new()));
        let chain = || (0..3).try_fold(a.as_tensor().clone(), |x, _| apply(Link(alive.clone()), &[&x]));
        let kept = chain()?;
        backward(kept.clone())?;
        assert_eq!(std::mem::take(&mut *alive.lock().unwrap()), [4, 4, 4]);
        drop(kept);
        backward(chain()?)?;
        assert_eq!(*alive.lock().unwrap(), [4, 3, 2]);
        Ok(())
    }

    #[test]
    fn equals_the_backward_of_candle() -> Result<()> {
        let variable = |v: &[f64]| Var::new(v, &Device::Cpu);
        let (a, b, unused) = (variable(&[1.5])?, variable(&[-0.7])?, variable(&[1.0])?);
        let constant = Tensor::new(&[3.0], &Device::Cpu)?;
        let before = records().len();
        let y = apply(Product, &[&a, &b])?;
        let z = apply(Product, &[&y, &constant])?;
        let loss = apply(Product, &[&apply(Product, &[&z, &y])?, &a])?;
        assert_eq!(foreign_operations(&loss), 0);
        let (ours, candles) = (backward(loss.clone())?, loss.backward()?);
        for x in [&a, &b] {
            let [x, y] = [&ours, &candles].map(|g| g.get(x).unwrap().to_vec1::<f64>().unwrap());
            assert_eq!(x, y);
        }
        assert!(ours.get(&unused).is_none());
        // A foreign operation in the graph: candle's pass takes over.
        let mixed = (&loss * 2.0)?;
        assert_eq!(foreign_operations(&mixed), 1);
        let twice = backward(mixed)?.get(&a).unwrap().to_vec1::<f64>()?;
        assert_eq!(twice[0], 2.0 * ours.get(&a).unwrap().to_vec1::<f64>()?[0]);
        // Known gradients of an inner result: the same as through a loss.
        let halves = Tensor::new(&[0.5], &Device::Cpu)?;
        for output in [z.clone(), (&z * 1.0)?] {
            let found = backward_from(output.clone(), &halves)?.get(&a).unwrap().to_vec1::<f64>()?;
            let through = (&z * &halves)?.sum_all()?.backward()?.get(&a).unwrap().to_vec1::<f64>()?;
            assert_eq!(found, through);
        }
        assert!(backward_from(z.clone(), &Tensor::new(&[0.5, 0.5], &Device::Cpu)?).is_err());
        drop((y, z, loss));
        assert!(records().len() <= before, "records outlive their tensors");
        Ok(())
    }
}
