//! A fixed sparse linear map on the columns of a tensor: permutations of components, and the Wigner-Eckart map from
//! irreps to matrix blocks.

use crate::kernels::matmul::transpose;
use crate::kernels::{Array, Operation, Real, View, ViewMut, apply, rows, vectorised};
use candle_core::{Result, Tensor};
use std::sync::Arc;

#[derive(Debug, PartialEq)]
struct Rows {
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl Rows {
    fn new(count: usize, mut triplets: Vec<(usize, usize, f64)>) -> Self {
        triplets.sort_by_key(|t| (t.0, t.1));
        triplets.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 += next.2;
            }
            same
        });
        let mut starts = vec![0; count + 1];
        for t in &triplets {
            starts[t.0 + 1] += 1;
        }
        for k in 0..count {
            starts[k + 1] += starts[k];
        }
        Rows { starts, entries: triplets.into_iter().map(|(_, column, value)| (column, value)).collect() }
    }
}

/// Rows of a tensor that go together.
const LANES: usize = 16;

vectorised! {
    /// `y = M x`, where `x` and `y` hold one column of [`LANES`] rows after the other.
    fn columns<T>(map: &Rows, x: &[T], y: &mut [T]) {
        let x = x.as_chunks::<LANES>().0;
        for (k, y) in y.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let mut sum = [T::zero(); LANES];
            for &(column, value) in &map.entries[map.starts[k]..map.starts[k + 1]] {
                let (value, x) = (T::of(value), &x[column]);
                for lane in 0..LANES {
                    sum[lane] = value.mul_add(x[lane], sum[lane]);
                }
            }
            *y = sum;
        }
    }
}

/// `y[.., a] = sum_b M[a, b] x[.., b]` with a constant sparse `M`. Cloning shares the tables.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseMap {
    forward: Arc<Rows>,
    backward: Arc<Rows>,
    inputs: usize,
    outputs: usize,
}

impl SparseMap {
    /// From (output column, input column, value); repeated places add up.
    pub fn new(inputs: usize, outputs: usize, triplets: Vec<(usize, usize, f64)>) -> Self {
        let transposed = triplets.iter().map(|&(a, b, v)| (b, a, v)).collect();
        let (forward, backward) = (Rows::new(outputs, triplets), Rows::new(inputs, transposed));
        SparseMap { forward: Arc::new(forward), backward: Arc::new(backward), inputs, outputs }
    }

    /// Input and output columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.inputs, self.outputs)
    }

    /// The non-zero elements.
    pub fn triplets(&self) -> Vec<(usize, usize, f64)> {
        let rows = &self.forward;
        let row = |a: usize| rows.entries[rows.starts[a]..rows.starts[a + 1]].iter().map(move |&(b, v)| (a, b, v));
        (0..self.outputs).flat_map(row).collect()
    }

    /// The transposed map.
    pub fn transpose(&self) -> Self {
        SparseMap {
            forward: self.backward.clone(),
            backward: self.forward.clone(),
            inputs: self.outputs,
            outputs: self.inputs,
        }
    }

    /// `next` after `self`, as one map.
    pub fn then(&self, next: &SparseMap) -> SparseMap {
        let mine = &self.forward;
        let expand = |(a, b, v): (usize, usize, f64)| {
            mine.entries[mine.starts[b]..mine.starts[b + 1]].iter().map(move |&(c, w)| (a, c, v * w))
        };
        SparseMap::new(self.inputs, next.outputs, next.triplets().into_iter().flat_map(expand).collect())
    }

    /// Applies the map to `x`, `[rows, inputs]`, f32 or f64; differentiable.
    ///
    /// # Errors
    /// Another number of columns, or an unsupported dtype.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        if x.dims2()?.1 != self.inputs {
            candle_core::bail!("sparse map: {} columns expected, found {:?}", self.inputs, x.dims());
        }
        apply(self.clone(), &[x])
    }

    fn run<T: Real>(rows_of: &Rows, x: &[T], from: usize, to: usize) -> Vec<T> {
        let count = x.len() / from.max(1);
        rows::build(to, &rows::all(count), |chunk, out| {
            let (mut x_columns, mut y_columns) = (vec![T::zero(); from * LANES], vec![T::zero(); to * LANES]);
            for first in (0..chunk.len()).step_by(LANES) {
                // The lanes of rows that are not there compute what nobody reads.
                let n = (chunk.len() - first).min(LANES);
                let x = View::rows(&x[(chunk.start + first) * from..], [n, from], from, 0);
                transpose(x, &mut ViewMut::rows(&mut x_columns, [from, n], LANES, 0));
                columns(rows_of, &x_columns, &mut y_columns);
                let y = View::rows(&y_columns, [to, n], LANES, 0);
                transpose(y, &mut ViewMut::rows(out, [n, to], to, first * to));
            }
        })
    }
}

impl Operation for SparseMap {
    const NAME: &'static str = "sparse-map";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let y = Self::run(&self.forward, inputs[0].data, self.inputs, self.outputs);
        Ok((y, vec![inputs[0].rows(), self.outputs]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        Ok(vec![Self::run(&self.backward, dy, self.outputs, self.inputs)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_places_add_up_and_maps_compose() {
        let a = SparseMap::new(2, 2, vec![(0, 1, 2.0), (1, 0, 1.0), (0, 1, 3.0)]);
        assert_eq!(a.triplets(), [(0, 1, 5.0), (1, 0, 1.0)]);
        assert_eq!(a.then(&a.transpose()).triplets(), [(0, 0, 1.0), (1, 1, 25.0)]);
        let x = Tensor::new(&[[1.0f64, 10.0]], &candle_core::Device::Cpu).unwrap();
        assert_eq!(a.apply(&x).unwrap().to_vec2::<f64>().unwrap(), [[50.0, 1.0]]);
        let many: Vec<f64> = (0..37).flat_map(|k| [f64::from(k), 10.0]).collect();
        let many = Tensor::from_vec(many, (37, 2), &candle_core::Device::Cpu).unwrap();
        let y = a.apply(&many).unwrap().to_vec2::<f64>().unwrap();
        assert!(y.iter().enumerate().all(|(k, y)| y[..] == [50.0, k as f64]));
    }
}
