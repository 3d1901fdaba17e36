//! Rows or columns of a matrix, each times a factor that is learned as well: masks on the outputs or inputs of a layer.

use crate::kernels::{Array, Operation, Real, apply, parallel, rows, vectorised};
use crate::{Error, Result};
use candle_core::Tensor;

/// Column c of `x` `[rows, width]` (a vector is one row) times `factors[c / (width / n)]`: n factors, a divisor of the width,
/// each for as many neighbouring columns. Gradients flow to both.
///
/// # Errors
/// [`Error::Shape`] for numbers that do not divide.
pub fn scale_columns(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    scale(x, factors, false)
}

/// The same for the rows of a matrix, or the elements of a vector.
///
/// # Errors
/// As [`scale_columns`].
pub fn scale_rows(x: &Tensor, factors: &Tensor) -> Result<Tensor> {
    scale(x, factors, x.rank() > 1)
}

fn scale(x: &Tensor, factors: &Tensor, by_rows: bool) -> Result<Tensor> {
    let count = x.dims()[if by_rows { 0 } else { x.rank().saturating_sub(1) }];
    let n = factors.elem_count();
    if n == 0 || !count.is_multiple_of(n) || !(1..=2).contains(&x.rank()) {
        return Err(Error::Shape {
            operation: if by_rows { "scale_rows" } else { "scale_columns" },
            expected: format!("a divisor of {count} factors"),
            found: format!("{n} for {:?}", x.dims()),
        });
    }
    Ok(apply(Scale { by_rows }, &[x, factors])?)
}

struct Scale {
    by_rows: bool,
}

/// Rows whose sums are taken apart: fixed, so that they do not depend on the number of threads.
const BLOCK: usize = 256;

impl Scale {
    /// Width of a row, and how many rows or columns share a factor.
    fn sizes<T>(&self, x: &[Array<T>]) -> (usize, usize) {
        let width = x[0].dims.last().copied().unwrap_or(1).max(1);
        let count = if self.by_rows { x[0].rows() } else { width };
        (width, (count / x[1].data.len().max(1)).max(1))
    }
}

impl Operation for Scale {
    const NAME: &'static str = "scale";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        Ok((self.scaled(x, x[0].data), x[0].dims.to_vec()))
    }

    fn backward<T: Real>(
        &self,
        x: &[Array<T>],
        _: &[T],
        dy: &[T],
        wanted: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let dx = if wanted[0] { self.scaled(x, dy) } else { Vec::new() };
        let (width, share) = self.sizes(x);
        let n = x[1].data.len();
        let mut df = vec![T::zero(); if wanted[1] { n } else { 0 }];
        if !wanted[1] {
            return Ok(vec![dx, df]);
        }
        if self.by_rows {
            let mut sums = vec![T::zero(); x[0].data.len() / width];
            let tasks = sums.chunks_mut(BLOCK).zip(x[0].data.chunks(BLOCK * width).zip(dy.chunks(BLOCK * width)));
            parallel::for_each(tasks, |(sums, (x, dy))| row_sums(x, dy, sums));
            sums.chunks(share).zip(&mut df).for_each(|(rows, f)| *f = rows.iter().copied().sum());
        } else {
            let length = BLOCK * width;
            let mut parts = vec![T::zero(); x[0].data.len().div_ceil(length) * width];
            let tasks = parts.chunks_mut(width).zip(x[0].data.chunks(length).zip(dy.chunks(length)));
            parallel::for_each(tasks, |(sums, (x, dy))| column_sums(x, dy, sums));
            for part in parts.chunks_exact(width) {
                part.chunks(share).zip(&mut df).for_each(|(columns, f)| *f += columns.iter().copied().sum::<T>());
            }
        }
        Ok(vec![dx, df])
    }
}

impl Scale {
    /// `source`, of the shape of `x[0]`, times the factors.
    fn scaled<T: Real>(&self, x: &[Array<T>], source: &[T]) -> Vec<T> {
        let (width, share) = self.sizes(x);
        let factors: Vec<T> = x[1].data.iter().flat_map(|f| std::iter::repeat_n(*f, share)).collect();
        rows::build(width, &rows::all(source.len() / width), |chunk, y| {
            let source = &source[chunk.start * width..chunk.end * width];
            match self.by_rows {
                true => times_rows(source, &factors[chunk], y),
                false => times_columns(source, &factors, y),
            }
        })
    }
}

vectorised! {
    fn times_columns<T>(x: &[T], factors: &[T], y: &mut [T]) {
        for (y, x) in y.chunks_exact_mut(factors.len()).zip(x.chunks_exact(factors.len())) {
            for ((y, x), f) in y.iter_mut().zip(x).zip(factors) {
                *y = *x * *f;
            }
        }
    }
}

vectorised! {
    fn times_rows<T>(x: &[T], factors: &[T], y: &mut [T]) {
        let width = x.len() / factors.len().max(1);
        for ((y, x), f) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(factors) {
            for (y, x) in y.iter_mut().zip(x) {
                *y = *x * *f;
            }
        }
    }
}

vectorised! {
    fn column_sums<T>(x: &[T], dy: &[T], sums: &mut [T]) {
        for (x, dy) in x.chunks_exact(sums.len()).zip(dy.chunks_exact(sums.len())) {
            for ((s, x), dy) in sums.iter_mut().zip(x).zip(dy) {
                *s += *x * *dy;
            }
        }
    }
}

vectorised! {
    fn row_sums<T>(x: &[T], dy: &[T], sums: &mut [T]) {
        let width = x.len() / sums.len().max(1);
        for ((s, x), dy) in sums.iter_mut().zip(x.chunks_exact(width)).zip(dy.chunks_exact(width)) {
            *s = x.iter().zip(dy).map(|(x, dy)| *x * *dy).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::gradcheck::worst_directional_error;
    use crate::{Init, Parameters, rng::Streams};
    use candle_core::{DType, Device};

    #[test]
    fn values_by_hand() -> Result<()> {
        let x = Tensor::from_vec((1..13).map(f64::from).collect::<Vec<_>>(), (2, 6), &Device::Cpu)?;
        let f = Tensor::new(&[10.0, 1.0, 0.0], &Device::Cpu)?;
        let expected = [[10.0, 20.0, 3.0, 4.0, 0.0, 0.0], [70.0, 80.0, 9.0, 10.0, 0.0, 0.0]];
        assert_eq!(scale_columns(&x, &f)?.to_vec2::<f64>()?, expected);
        let rows = scale_rows(&x.t()?.contiguous()?, &f)?.t()?.to_vec2::<f64>()?;
        assert_eq!(rows, expected);
        assert_eq!(scale_rows(&x.get(0)?, &f)?.to_vec1::<f64>()?, expected[0]);
        assert!(scale_rows(&x, &f).is_err() && scale_columns(&x, &x.get(0)?.narrow(0, 0, 4)?).is_err());
        Ok(())
    }

    #[test]
    fn gradients_by_central_differences() {
        let parameters = Parameters::new(Streams::new(3), DType::F64, &Device::Cpu);
        let x = parameters.root().parameter("x", (600, 12), Init::Normal(1.0)).unwrap();
        let columns = parameters.root().parameter("columns", 4, Init::Normal(1.0)).unwrap();
        let rows = parameters.root().parameter("rows", 300, Init::Normal(1.0)).unwrap();
        let loss = || Ok((scale_rows(&scale_columns(&x, &columns)?, &rows)?.sqr()? * &x)?.sum_all()?);
        let error = worst_directional_error(&parameters, Streams::new(1), 8, 1e-5, loss).unwrap();
        assert!(error < 1e-6, "{error:e}");
    }
}
