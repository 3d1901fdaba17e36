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
    /// The map of gradients: inputs for outputs.
    pub(super) fn back(&self) -> SlotMap {
        let swap = |p: &Path| Path { input: p.output, output: p.input, shape: [p.shape[1], p.shape[0]], ..*p };
        SlotMap {
            input: self.output.clone(),
            output: self.input.clone(),
            paths: self.paths.iter().map(swap).collect(),
            classes: self.classes,
        }
    }

    /// The weights of this map as [`Self::back`] reads them.
    pub(super) fn transpose<T: Real>(&self, weights: &[T], out: &mut [T]) {
        for path in &self.paths {
            let [ins, outs] = path.shape;
            for u in 0..ins {
                for class in 0..self.classes {
                    for w in 0..outs {
                        out[path.offset + (w * self.classes + class) * ins + u] =
                            weights[path.offset + (u * self.classes + class) * outs + w];
                    }
                }
            }
        }
    }

    /// Adds to the rows of `y` what those of `x`, all of one class, are mapped to.
    pub(super) fn add<T: Real>(&self, weights: &[T], class: usize, x: &[T], y: &mut [T]) {
        let (din, dout) = (self.input.dim(), self.output.dim());
        for tile in rows::tiles(&(0..x.len() / din.max(1))) {
            let (count, x) = (tile.len(), &x[tile.start * din..tile.end * din]);
            let y = &mut y[tile.start * dout..tile.end * dout];
            for path in &self.paths {
                let (stride, first) = (self.classes * path.shape[1], path.offset + class * path.shape[1]);
                let weight = View::rows(weights, path.shape, stride, first);
                for (a, b) in self.orders(path) {
                    let from = View::rows(x, [count, path.shape[0]], din, a);
                    let mut to = ViewMut::rows(y, [count, path.shape[1]], dout, b);
                    multiply(from, weight, &mut to, path.scale, true);
                }
            }
        }
    }

    /// Adds to the gradients `dw` of the weights of one path what follows from `count` rows of one class, those of `x` and
    /// of the gradients `dy`.
    pub(super) fn add_gradients<T: Real>(
        &self,
        path: &Path,
        class: usize,
        count: usize,
        [x, dy]: [&[T]; 2],
        dw: &mut [T],
    ) {
        for (a, b) in self.orders(path) {
            let x = View::rows(x, [count, path.shape[0]], self.input.dim(), a).t();
            let dy = View::rows(dy, [count, path.shape[1]], self.output.dim(), b);
            let mut to = ViewMut::rows(dw, path.shape, self.classes * path.shape[1], class * path.shape[1]);
            multiply(x, dy, &mut to, path.scale, true);
        }
    }

    /// First columns of input and output, for each order.
    fn orders(&self, path: &Path) -> impl Iterator<Item = (usize, usize)> {
        self.input.columns(path.input).iter().copied().zip(self.output.columns(path.output).iter().copied())
    }
}
