//! Rows picked by index, matrices put side by side or one below another: the data movement of networks on graphs, and of
//! those that see some of their inputs.

use crate::kernels::{Array, Operation, Real, apply, rows};
use candle_core::{Result, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// Row `index[r]` of `x` `[n, columns]`, of it the columns in `part`, as row r: `[index.len(), part.len()]`.
///
/// # Errors
/// An index or a column out of range.
pub fn gather(x: &Tensor, index: &Arc<[usize]>, part: Range<usize>) -> Result<Tensor> {
    let (count, width) = x.dims2()?;
    if part.start > part.end || part.end > width || index.iter().any(|k| *k >= count) {
        candle_core::bail!("gather: rows below {count} and columns within {width} expected, found columns {part:?}");
    }
    apply(Gather { index: index.clone(), part }, &[x])
}

/// Two or three matrices with the same rows, side by side.
///
/// # Errors
/// Different numbers of rows, or another number of matrices.
pub fn side_by_side(parts: &[&Tensor]) -> Result<Tensor> {
    let dims = parts.iter().map(|x| x.dims2()).collect::<Result<Vec<_>>>()?;
    if !(2..=3).contains(&dims.len()) || dims.iter().any(|d| d.0 != dims[0].0) {
        candle_core::bail!("side_by_side: two or three matrices of equal rows expected, found {dims:?}");
    }
    apply(SideBySide, parts)
}

/// Two or three matrices of the same width, one below another.
///
/// # Errors
/// Different widths, or another number of matrices.
pub fn stacked(parts: &[&Tensor]) -> Result<Tensor> {
    let dims = parts.iter().map(|x| x.dims2()).collect::<Result<Vec<_>>>()?;
    if !(2..=3).contains(&dims.len()) || dims.iter().any(|d| d.1 != dims[0].1) {
        candle_core::bail!("stacked: two or three matrices of equal width expected, found {dims:?}");
    }
    apply(Stacked, parts)
}

struct Stacked;

impl Operation for Stacked {
    const NAME: &'static str = "stacked";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let y: Vec<T> = inputs.iter().flat_map(|x| x.data).copied().collect();
        Ok((y, vec![inputs.iter().map(Array::rows).sum(), inputs[0].dims[1]]))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], wanted: &[bool]) -> Result<Vec<Vec<T>>> {
        let mut rest = dy;
        let part = |(x, wanted): (&Array<T>, &bool)| {
            let (mine, after) = rest.split_at(x.data.len());
            rest = after;
            if *wanted { mine.to_vec() } else { Vec::new() }
        };
        Ok(inputs.iter().zip(wanted).map(part).collect())
    }
}

struct Gather {
    index: Arc<[usize]>,
    part: Range<usize>,
}

impl Operation for Gather {
    const NAME: &'static str = "gather";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let (x, width, n) = (inputs[0].data, inputs[0].dims[1], self.part.len());
        let y = rows::build(n, &rows::all(self.index.len()), |chunk, y| {
            for (row, y) in self.index[chunk].iter().zip(y.chunks_exact_mut(n.max(1))) {
                y.copy_from_slice(&x[row * width + self.part.start..][..n]);
            }
        });
        Ok((y, vec![self.index.len(), n]))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> Result<Vec<Vec<T>>> {
        let (width, n) = (inputs[0].dims[1], self.part.len());
        let mut dx = vec![T::zero(); inputs[0].data.len()];
        for (row, dy) in self.index.iter().zip(dy.chunks_exact(n.max(1))) {
            let dx = &mut dx[row * width + self.part.start..][..n];
            dx.iter_mut().zip(dy).for_each(|(x, y)| *x += *y);
        }
        Ok(vec![dx])
    }
}

struct SideBySide;

impl Operation for SideBySide {
    const NAME: &'static str = "side-by-side";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> Result<(Vec<T>, Vec<usize>)> {
        let (count, width) = (inputs[0].rows(), inputs.iter().map(|x| x.dims[1]).sum());
        let y = rows::build(width, &rows::all(count), |chunk, y| {
            for (row, mut y) in chunk.zip(y.chunks_exact_mut(width.max(1))) {
                for x in inputs {
                    let n = x.dims[1];
                    let (mine, rest) = y.split_at_mut(n);
                    mine.copy_from_slice(&x.data[row * n..][..n]);
                    y = rest;
                }
            }
        });
        Ok((y, vec![count, width]))
    }

    fn backward<T: Real>(&self, inputs: &[Array<T>], _: &[T], dy: &[T], wanted: &[bool]) -> Result<Vec<Vec<T>>> {
        let width: usize = inputs.iter().map(|x| x.dims[1]).sum();
        let mut start = 0;
        let mut gradients = Vec::with_capacity(inputs.len());
        for (x, wanted) in inputs.iter().zip(wanted) {
            let (n, column) = (x.dims[1], start);
            let chunks = if *wanted { rows::all(x.rows()) } else { rows::Ranges::new() };
            gradients.push(rows::build(n, &chunks, |chunk, dx| {
                for (row, dx) in chunk.zip(dx.chunks_exact_mut(n.max(1))) {
                    dx.copy_from_slice(&dy[row * width + column..][..n]);
                }
            }));
            start += n;
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backward;
    use candle_core::{Device, Var};

    #[test]
    fn equal_the_operations_of_candle() -> Result<()> {
        let device = &Device::Cpu;
        let values = |n: usize, f: f64| (0..n).map(|k| (f * k as f64).sin()).collect::<Vec<_>>();
        let x = Var::from_vec(values(5 * 6, 0.7), (5, 6), device)?;
        let z = Tensor::from_vec(values(4 * 3, 1.1), (4, 3), device)?;
        let index: Arc<[usize]> = Arc::from([3, 0, 3, 4]);
        let numbers = Tensor::new(&[3u32, 0, 3, 4], device)?;
        let ours = side_by_side(&[&gather(&x, &index, 2..5)?, &z, &gather(&x, &index, 0..1)?])?;
        let plain = Tensor::cat(
            &[
                x.narrow(1, 2, 3)?.contiguous()?.index_select(&numbers, 0)?,
                z,
                x.narrow(1, 0, 1)?.contiguous()?.index_select(&numbers, 0)?,
            ],
            1,
        )?;
        assert_eq!(ours.to_vec2::<f64>()?, plain.to_vec2::<f64>()?);
        let weight = Tensor::from_vec(values(4 * 7, 0.3), (4, 7), device)?;
        let gradient = |y: &Tensor| backward((y * &weight)?.sum_all()?)?.get(&x).unwrap().to_vec2::<f64>();
        let (a, b) = (gradient(&ours)?, gradient(&plain)?);
        assert!(a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-15));
        // Rows below another.
        let below = |y: &Tensor| {
            let sum = (y * Tensor::cat(&[&weight, &weight, &weight], 0)?)?.sum_all()?;
            backward(sum)?.get(&x).unwrap().to_vec2::<f64>()
        };
        let seven = |x: &Tensor| gather(&side_by_side(&[x, x])?, &Arc::from([0, 1, 2, 4]), 1..8);
        let (a, b) = (seven(&x)?, weight.affine(2.0, 0.0)?);
        let (ours, plain) = (stacked(&[&a, &b, &a])?, Tensor::cat(&[&a, &b, &a], 0)?);
        assert_eq!(ours.to_vec2::<f64>()?, plain.to_vec2::<f64>()?);
        assert_eq!(below(&ours)?, below(&plain)?);
        assert!(stacked(&[&x, &weight]).is_err());
        assert!(gather(&x, &Arc::from([5]), 0..2).is_err() && gather(&x, &index, 0..7).is_err());
        assert!(side_by_side(&[&x, &weight]).is_err());
        Ok(())
    }
}
