//! Maps from slots to slots of the same irrep: every order m of a slot is multiplied by the same matrix.

use super::layout::Layout;
use crate::kernels::matmul::multiply;
use crate::kernels::{Real, View, ViewMut, rows};

/// From one slot to another of the same irrep.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) input: usize,
    pub(super) output: usize,
    /// Channels of both.
    pub(super) shape: [usize; 2],
    /// Where its weights begin, `[input, classes, output]`.
    pub(super) offset: usize,
    pub(super) scale: f64,
}

/// What goes where, weights aside.
#[derive(Debug)]
pub(super) struct SlotMap {
    pub(super) input: Layout,
    pub(super) output: Layout,
    pub(super) paths: Vec<Path>,
    pub(super) classes: usize,
}

impl SlotMap {
    /// Adds to the rows of `y` what those of `x`, all of one class, are mapped to.
    pub(super) fn add<T: Real>(&self, weights: &[T], class: usize, x: &[T], y: &mut [T]) {
        self.products(false, weights, class, x, y);
    }

    /// Adds to the rows of `dx` what follows from the gradients `dy`.
    pub(super) fn add_back<T: Real>(&self, weights: &[T], class: usize, dy: &[T], dx: &mut [T]) {
        self.products(true, weights, class, dy, dx);
    }

    /// Either direction.
    fn products<T: Real>(&self, back: bool, weights: &[T], class: usize, x: &[T], y: &mut [T]) {
        let [from, to] = if back { [&self.output, &self.input] } else { [&self.input, &self.output] };
        let (din, dout) = (from.dim(), to.dim());
        for tile in rows::tiles(&(0..x.len() / din.max(1))) {
            let (count, x) = (tile.len(), &x[tile.start * din..tile.end * din]);
            let y = &mut y[tile.start * dout..tile.end * dout];
            for path in &self.paths {
                let [ins, outs] = path.shape;
                let weight = View::rows(weights, path.shape, self.classes * outs, path.offset + class * outs);
                let (weight, [first, second], [ins, outs]) = match back {
                    false => (weight, [path.input, path.output], [ins, outs]),
                    true => (weight.t(), [path.output, path.input], [outs, ins]),
                };
                for (a, b) in from.columns(first).iter().zip(to.columns(second)) {
                    let x = View::rows(x, [count, ins], din, *a);
                    let mut y = ViewMut::rows(y, [count, outs], dout, *b);
                    multiply(x, weight, &mut y, path.scale, true);
                }
            }
        }
    }

    /// Elements of the weights of all classes.
    pub(super) fn weights(&self) -> usize {
        self.paths.iter().map(|path| path.shape[0] * self.classes * path.shape[1]).sum()
    }

    /// Adds to `dw`, the gradients of all weights, what follows from rows of one class, those of `x` and of the gradients `dy`.
    pub(super) fn add_gradients<T: Real>(&self, class: usize, (x, dy): (&[T], &[T]), dw: &mut [T]) {
        let (din, dout) = (self.input.dim(), self.output.dim());
        let count = x.len() / din.max(1);
        for path in &self.paths {
            let [ins, outs] = path.shape;
            let mut dw = ViewMut::rows(dw, path.shape, self.classes * outs, path.offset + class * outs);
            for (a, b) in self.input.columns(path.input).iter().zip(self.output.columns(path.output)) {
                let x = View::rows(x, [count, ins], din, *a).t();
                let dy = View::rows(dy, [count, outs], dout, *b);
                multiply(x, dy, &mut dw, path.scale, true);
            }
        }
    }
}
