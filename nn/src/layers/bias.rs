//! The same row added to each row of a matrix.

use crate::kernels::{Array, Operation, Real, apply, rows};
use crate::{Error, Result};
use candle_core::Tensor;

/// `x` `[rows, width]` plus `bias` `[width]`.
///
/// # Errors
/// [`Error::Shape`] for another width.
pub fn add_bias(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if x.dims2()?.1 != bias.dims1()? {
        return Err(Error::Shape {
            operation: "add_bias",
            expected: format!("{} columns", bias.dims1()?),
            found: format!("{:?}", x.dims()),
        });
    }
    Ok(apply(AddBias, &[x, bias])?)
}

struct AddBias;

impl Operation for AddBias {
    const NAME: &'static str = "bias";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (count, d) = (x[0].dims[0], x[0].dims[1]);
        let y = rows::build(d, &rows::all(count), |chunk, y| {
            let x_rows = x[0].data[chunk.start * d..chunk.end * d].chunks_exact(d.max(1));
            for (y, x_row) in y.chunks_exact_mut(d.max(1)).zip(x_rows) {
                y.iter_mut().zip(x_row).zip(x[1].data).for_each(|((y, x), b)| *y = *x + *b);
            }
        });
        Ok((y, x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let mut db = vec![T::zero(); x[1].data.len()];
        for dy in dy.chunks_exact(db.len().max(1)) {
            db.iter_mut().zip(dy).for_each(|(b, g)| *b += *g);
        }
        Ok(vec![dy.to_vec(), db])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backward;
    use candle_core::{Device, Var};

    #[test]
    fn value_and_gradients() {
        let x = Var::from_vec(vec![1.0, 2.0, 3.0, 4.0], (2, 2), &Device::Cpu).unwrap();
        let b = Var::from_vec(vec![0.5, -1.0], 2, &Device::Cpu).unwrap();
        let y = add_bias(&x, &b).unwrap();
        assert_eq!(y.to_vec2::<f64>().unwrap(), [[1.5, 1.0], [3.5, 3.0]]);
        let gradients = backward(y.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(gradients.get(&b).unwrap().to_vec1::<f64>().unwrap(), [10.0, 8.0]);
        assert_eq!(gradients.get(&x).unwrap().to_vec2::<f64>().unwrap(), [[3.0, 2.0], [7.0, 6.0]]);
        assert!(add_bias(&x, &b.narrow(0, 0, 1).unwrap()).is_err());
    }
}
