//! Rotary positions: columns i and i + d/2 of a head are turned by the angle position * base^(-2i/d) (Su et al. 2021, in
//! the half-split order of the Llama weights of Hugging Face).

use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// Cosines and sines of some positions. Angles are computed in f64: at position 500,000 an angle in f32 is off by 0.03.
#[derive(Debug)]
pub struct Rotations {
    single: Vec<f32>,
    double: Vec<f64>,
    positions: usize,
    half: usize,
}

impl Rotations {
    /// For the rows at `positions`, heads of `width` columns.
    ///
    /// # Errors
    /// [`Error::Shape`] for an odd width, [`Error::Config`] for a base that is not above 1.
    pub fn new(positions: &[u32], width: usize, base: f64) -> Result<Self> {
        if width == 0 || !width.is_multiple_of(2) {
            return Err(Error::Shape {
                operation: "Rotations",
                expected: "heads of an even width".into(),
                found: width.to_string(),
            });
        }
        if !(base.is_finite() && base > 1.0) {
            return Err(Error::Config {
                key: "rope_theta".into(),
                what: format!("expected a number above 1, found {base}"),
            });
        }
        let half = width / 2;
        let frequencies = frequencies(width, base);
        let mut double = Vec::with_capacity(positions.len() * width);
        for position in positions {
            let angles = frequencies.iter().map(|f| f64::from(*position) * f);
            double.extend(angles.clone().map(f64::cos));
            double.extend(angles.map(f64::sin));
        }
        let single = double.iter().map(|x| *x as f32).collect();
        Ok(Rotations { single, double, positions: positions.len(), half })
    }

    /// Number of rows that this turns.
    pub fn len(&self) -> usize {
        self.positions
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.positions == 0
    }
}

/// Radians per position of each pair of columns, `base^(-2i/width)`.
pub fn frequencies(width: usize, base: f64) -> Vec<f64> {
    (0..width / 2).map(|i| base.powf(-2.0 * i as f64 / width as f64)).collect()
}

/// Turns each head of each row; `x` `[rows, heads * width]`, f32 or f64.
///
/// # Errors
/// [`Error::Shape`] when the rows are not those of `rotations`, or the columns no multiple of the head width.
pub fn rotate(x: &Tensor, rotations: &Arc<Rotations>) -> Result<Tensor> {
    let (count, columns) = x.dims2()?;
    if count != rotations.positions || columns % (2 * rotations.half) != 0 {
        return Err(Error::Shape {
            operation: "rotate",
            expected: format!("{} rows, heads of {} columns", rotations.positions, 2 * rotations.half),
            found: format!("{:?}", x.dims()),
        });
    }
    Ok(apply(Rotate(rotations.clone()), &[x])?)
}

struct Rotate(Arc<Rotations>);

impl Rotate {
    /// By the angles, or by minus the angles for `sign` -1.
    fn turn<T: Real>(&self, x: &[T], columns: usize, sign: f64) -> Vec<T> {
        let (half, table) = (self.0.half, T::pick(&self.0.single, &self.0.double));
        rows::build(columns, &rows::all(self.0.positions), |chunk, y| {
            let x = &x[chunk.start * columns..chunk.end * columns];
            turn_rows(x, &table[chunk.start * 2 * half..chunk.end * 2 * half], half, columns, T::of(sign), y);
        })
    }
}

impl Operation for Rotate {
    const NAME: &'static str = "rotary-positions";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        Ok((self.turn(x[0].data, x[0].dims[1], 1.0), x[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        Ok(vec![self.turn(dy, x[0].dims[1], -1.0)])
    }
}

vectorised! {
    fn turn_rows<T>(x: &[T], table: &[T], half: usize, columns: usize, sign: T, y: &mut [T]) {
        let width = 2 * half;
        for ((x, y), angles) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)).zip(table.chunks_exact(width)) {
            let (cos, sin) = angles.split_at(half);
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                let ((a, b), (u, v)) = (x.split_at(half), y.split_at_mut(half));
                for i in 0..half {
                    let s = sign * sin[i];
                    u[i] = a[i] * cos[i] - b[i] * s;
                    v[i] = b[i] * cos[i] + a[i] * s;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backward;
    use candle_core::{Device, Var};

    fn wave(n: usize, f: f64) -> Vec<f64> {
        (0..n).map(|k| (k as f64 * f).sin()).collect()
    }

    #[test]
    fn products_depend_on_the_distance_alone() {
        let (q, k) = (wave(8, 0.9), wave(8, 1.7));
        let turned = |x: &[f64], position: u32| {
            let x = Tensor::from_slice(x, (1, 8), &Device::Cpu).unwrap();
            let rotations = Arc::new(Rotations::new(&[position], 8, 100.0).unwrap());
            rotate(&x, &rotations).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let product = |a: u32, b: u32| turned(&q, a).iter().zip(turned(&k, b)).map(|(q, k)| q * k).sum::<f64>();
        assert!((product(3, 10) - product(903, 910)).abs() < 1e-12);
        assert!((product(3, 10) - product(3, 11)).abs() > 1e-3);
    }

    #[test]
    fn gradient_is_the_opposite_turn() {
        let rotations = Arc::new(Rotations::new(&[5, 0, 77], 4, 10.0).unwrap());
        let x = Var::from_vec(wave(24, 0.7), (3, 8), &Device::Cpu).unwrap();
        let c = Tensor::from_vec(wave(24, 1.1), (3, 8), &Device::Cpu).unwrap();
        let loss = (rotate(&x, &rotations).unwrap() * &c).unwrap().sum_all().unwrap();
        // Turning is orthogonal: turning the gradient forward gives the cotangent back.
        let back = rotate(backward(loss).unwrap().get(&x).unwrap(), &rotations).unwrap();
        let far = (back - &c).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(far < 1e-14);
        assert!(rotate(&x.narrow(0, 0, 2).unwrap(), &rotations).is_err());
        assert!(Rotations::new(&[0], 3, 10.0).is_err() && Rotations::new(&[0], 4, 1.0).is_err());
    }
}
