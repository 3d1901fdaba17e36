//! `y = x W^T + b`, with the weight stored as PyTorch does, `[out, in]`.

use crate::kernels::matmul::{multiply, product};
use crate::kernels::{Array, Operation, Real, View, ViewMut, apply, rows};
use crate::{Init, Result, Scope};
use candle_core::Tensor;

/// A linear layer with bias.
#[derive(Clone, Debug)]
pub struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    /// Declares `weight` `[outputs, inputs]` and `bias` `[outputs]`, both uniform within 1 / sqrt(inputs) as PyTorch's
    /// `nn.Linear`.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn new(scope: &Scope, inputs: usize, outputs: usize) -> Result<Self> {
        let bound = Init::Uniform(1.0 / (inputs.max(1) as f64).sqrt());
        Self::with_init(scope, inputs, outputs, bound, bound)
    }

    /// As [`Self::new`] with zeros: the layer starts as the zero map.
    ///
    /// # Errors
    /// As there.
    pub fn zeros(scope: &Scope, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_init(scope, inputs, outputs, Init::Constant(0.0), Init::Constant(0.0))
    }

    /// As [`Self::new`] with a normal weight of this standard deviation and a bias of zero.
    ///
    /// # Errors
    /// As there.
    pub fn normal(scope: &Scope, inputs: usize, outputs: usize, sigma: f64) -> Result<Self> {
        Self::with_init(scope, inputs, outputs, Init::Normal(sigma), Init::Constant(0.0))
    }

    fn with_init(scope: &Scope, inputs: usize, outputs: usize, weight: Init, bias: Init) -> Result<Self> {
        Ok(Dense {
            weight: scope.parameter("weight", (outputs, inputs), weight)?,
            bias: scope.parameter("bias", outputs, bias)?,
        })
    }

    /// `[rows, inputs]` -> `[rows, outputs]`.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        Ok(apply(DenseOp, &[x, &self.weight, &self.bias])?)
    }

    /// Whether `x` has the columns that this layer reads.
    pub(super) fn check(&self, x: &Tensor) -> Result<()> {
        let (outputs, inputs) = self.weight.dims2()?;
        if x.dims2()?.1 != inputs {
            return Err(crate::Error::Shape {
                operation: "Dense",
                expected: format!("[rows, {inputs}] -> [rows, {outputs}]"),
                found: format!("{:?}", x.dims()),
            });
        }
        Ok(())
    }

    /// Weight and bias.
    pub(super) fn parameters(&self) -> [&Tensor; 2] {
        [&self.weight, &self.bias]
    }
}

/// A layer seen from a kernel.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a, T> {
    weight: &'a [T],
    bias: &'a [T],
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl<'a, T: Real> Layer<'a, T> {
    pub(super) fn new(weight: &Array<'a, T>, bias: &Array<'a, T>) -> Self {
        Layer { weight: weight.data, bias: bias.data, inputs: weight.dims[1], outputs: weight.dims[0] }
    }

    fn weight(&self) -> View<'a, T> {
        View::rows(self.weight, [self.outputs, self.inputs], self.inputs, 0)
    }

    /// Fills the rows of `y` for those of `x`.
    pub(super) fn forward(&self, x: &[T], y: &mut [T]) {
        let n = y.len() / self.outputs.max(1);
        y.chunks_exact_mut(self.outputs.max(1)).for_each(|y| y.copy_from_slice(self.bias));
        let x = View::rows(x, [n, self.inputs], self.inputs, 0);
        multiply(x, self.weight().t(), &mut ViewMut::rows(y, [n, self.outputs], self.outputs, 0), 1.0, true);
    }

    /// Fills the rows of `dx` for those of `dy`.
    pub(super) fn backward(&self, dy: &[T], dx: &mut [T]) {
        let n = dy.len() / self.outputs.max(1);
        let dy = View::rows(dy, [n, self.outputs], self.outputs, 0);
        multiply(dy, self.weight(), &mut ViewMut::rows(dx, [n, self.inputs], self.inputs, 0), 1.0, false);
    }

    /// Gradients of weight and bias.
    pub(super) fn gradients(&self, x: &[T], dy: &[T]) -> [Vec<T>; 2] {
        let n = dy.len() / self.outputs.max(1);
        let x = View::rows(x, [n, self.inputs], self.inputs, 0);
        let dw = product(View::rows(dy, [n, self.outputs], self.outputs, 0).t(), x);
        let mut db = vec![T::zero(); self.outputs];
        rows::add_columns(&mut db, dy, self.outputs, 0);
        [dw, db]
    }
}

struct DenseOp;

impl Operation for DenseOp {
    const NAME: &'static str = "dense";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (x, count, layer) = (inputs[0].data, inputs[0].rows(), Layer::new(&inputs[1], &inputs[2]));
        let y = rows::build(layer.outputs, &rows::all(count), |chunk, y| {
            layer.forward(rows::slice(x, layer.inputs, &chunk), y);
        });
        Ok((y, vec![count, layer.outputs]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        wanted: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let (x, count, layer) = (inputs[0].data, inputs[0].rows(), Layer::new(&inputs[1], &inputs[2]));
        // What a group of rows adds to the gradients of weight and bias.
        let groups = rows::groups(std::slice::from_ref(&(0..count)));
        let dx_width = if wanted[0] { layer.inputs } else { 0 };
        let (dx, shares) = rows::build_onto(Vec::new(), dx_width, &groups, |group, dx| {
            let (x, dy) = (rows::slice(x, layer.inputs, &group), rows::slice(dy, layer.outputs, &group));
            if wanted[0] {
                layer.backward(dy, dx);
            }
            layer.gradients(x, dy)
        });
        let [dw, db] = rows::sum_each([inputs[1].data.len(), inputs[2].data.len()], shares);
        Ok(vec![dx, dw, db])
    }
}
