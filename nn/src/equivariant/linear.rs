//! e3nn's Linear on features in [`Layout`] order, and its twin whose weights depend on the class of the row: the
//! fully connected tensor product with a one-hot vector (DeepH-E3's self-connection).

use super::irreps::{Convention, Irreps, sort};
use super::layout::Layout;
use super::slot_map::{Path, SlotMap};
use crate::kernels::operation::added;
use crate::kernels::{Array, Operation, Real, apply, parallel, rows};
use crate::{Init, Result, Scope};
use candle_core::Tensor;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Rows of one class (species, or pair of species), adjacent; the classes of a matrix follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// 0-based class.
    pub class: usize,
    /// Its rows.
    pub rows: Range<usize>,
}

impl Segment {
    /// So many rows of class 0.
    pub fn whole(rows: usize) -> Arc<[Segment]> {
        Arc::from([Segment { class: 0, rows: 0..rows }])
    }

    /// Runs of equal classes.
    pub fn runs(classes: &[usize]) -> Arc<[Segment]> {
        let mut segments: Vec<Segment> = Vec::new();
        for (row, &class) in classes.iter().enumerate() {
            match segments.last_mut() {
                Some(last) if last.class == class => last.rows.end = row + 1,
                _ => segments.push(Segment { class, rows: row..row + 1 }),
            }
        }
        segments.into()
    }
}

/// Block-diagonal linear map between equal irreps: `y_{o,w,m} = sum_{i,u} c_{io} W_{u,s,w} x_{i,u,m} (+ b)`, where `s`
/// is the class of the row (one class: e3nn's `o3.Linear`).
#[derive(Clone, Debug)]
pub struct Linear {
    tables: Arc<Tables>,
    weight: Tensor,
    bias: Option<Tensor>,
}

#[derive(Debug)]
struct Tables {
    map: SlotMap,
    weights: usize,
    /// Where each weight of the map is among the declared ones, if these are in another order.
    order: Option<Vec<usize>>,
    biases: Vec<Range<usize>>, // columns of the 0e slots
}

impl Tables {
    fn new(input: &Irreps, output: &Irreps, classes: usize, convention: Convention) -> Self {
        let (slots_in, slots_out) = (input.terms(), output.terms());
        let mut paths = Vec::new();
        let mut weights = 0;
        for (i, a) in slots_in.iter().enumerate() {
            for (o, b) in slots_out.iter().enumerate().filter(|(_, b)| b.ir == a.ir) {
                let sources: Vec<usize> = slots_in.iter().filter(|t| t.ir == b.ir).map(|t| t.mul * classes).collect();
                let fan_in = match convention {
                    Convention::V06 => sources.iter().sum(),
                    Convention::V035 => a.mul * classes * sources.len(),
                };
                let scale = 1.0 / (fan_in.max(1) as f64).sqrt();
                paths.push(Path { input: i, output: o, shape: [a.mul, b.mul], offset: weights, scale });
                weights += a.mul * classes * b.mul;
            }
        }
        let (input, output) = (Layout::new(input), Layout::new(output));
        let scalars = slots_out.iter().enumerate().filter(|(_, t)| t.ir.is_scalar());
        let biases = scalars.map(|(o, t)| output.columns(o)[0]..output.columns(o)[0] + t.mul).collect();
        let map = SlotMap { input, output, paths, classes };
        Tables { map, weights, order: None, biases }
    }

    /// With equal irreps of the output side by side, and the weights in the order of `output` as it is.
    fn sorted(input: &Irreps, output: &Irreps, convention: Convention) -> Self {
        let (sorted, order) = sort(output);
        let tables = Tables::new(input, &sorted.simplify(), 1, convention);
        let declared = Tables::new(input, output, 1, convention);
        let mut places = Vec::with_capacity(tables.weights);
        for path in &tables.map.paths {
            let irrep = tables.map.output.irreps().terms()[path.output].ir;
            let there = |slot: &&usize| output.terms()[**slot].ir == irrep;
            let parts: Vec<&Path> = order
                .iter()
                .filter(there)
                .filter_map(|slot| declared.map.paths.iter().find(|p| [p.input, p.output] == [path.input, *slot]))
                .collect();
            for u in 0..path.shape[0] {
                places.extend(parts.iter().flat_map(|p| (0..p.shape[1]).map(|w| p.offset + u * p.shape[1] + w)));
            }
        }
        Tables { order: Some(places), ..tables }
    }

    /// The weights in the order of the map.
    fn weights<'a, T: Real>(&self, declared: &'a [T]) -> Cow<'a, [T]> {
        match &self.order {
            None => declared.into(),
            Some(order) => order.iter().map(|k| declared[*k]).collect(),
        }
    }

    /// The other way, for their gradients.
    fn declared<T: Real>(&self, weights: Vec<T>) -> Vec<T> {
        let Some(order) = self.order.as_ref().filter(|order| order.len() == weights.len()) else { return weights };
        let mut declared = weights.clone();
        order.iter().zip(weights).for_each(|(k, weight)| declared[*k] = weight);
        declared
    }
}

impl Linear {
    /// Declares `weight` (e3nn's flat order: paths by input then output slot, each `[mul_in, classes, mul_out]`) and,
    /// with `bias`, one number per 0e output channel. e3nn's initialisation: normal, and zero for the bias.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn new(
        scope: &Scope,
        input: &Irreps,
        output: &Irreps,
        classes: usize,
        bias: bool,
        convention: Convention,
    ) -> Result<Self> {
        Self::declare(scope, Tables::new(input, output, classes, convention), bias)
    }

    /// The map of [`Self::new`] with one class, same parameters in the same order, whose output comes sorted and
    /// simplified, in the layout [`Self::output`]; [`Layout::to_e3nn_of`] leads from there to `output`. Worth it where
    /// there are many slots of few channels.
    ///
    /// # Errors
    /// As there.
    pub fn sorted(scope: &Scope, input: &Irreps, output: &Irreps, bias: bool, convention: Convention) -> Result<Self> {
        Self::declare(scope, Tables::sorted(input, output, convention), bias)
    }

    fn declare(scope: &Scope, tables: Tables, bias: bool) -> Result<Self> {
        let weight = scope.parameter("weight", tables.weights, Init::Normal(1.0))?;
        let biases: usize = tables.biases.iter().map(|r| r.len()).sum();
        let bias = if bias { Some(scope.parameter("bias", biases, Init::Constant(0.0))?) } else { None };
        Ok(Linear { tables: Arc::new(tables), weight, bias })
    }

    /// The layout of what comes out.
    pub fn output(&self) -> &Layout {
        &self.tables.map.output
    }

    /// `x`: `[rows, input dim]` in layout order; `segments` cover its rows. Returns `[rows, output dim]`.
    ///
    /// # Errors
    /// Wrong number of columns, or a class out of range.
    pub fn forward(&self, x: &Tensor, segments: &Arc<[Segment]>) -> Result<Tensor> {
        self.check(x, segments)?;
        let operation = LinearOp { tables: self.tables.clone(), segments: segments.clone(), third: Third::Bias };
        Ok(match &self.bias {
            Some(bias) => apply(operation, &[x, &self.weight, bias])?,
            None => apply(operation, &[x, &self.weight])?,
        })
    }

    /// As [`Self::forward`] of a map without bias, added to `base` `[rows, output dim]`.
    ///
    /// # Errors
    /// As there; a map with a bias, a base of another shape.
    pub fn forward_added(&self, x: &Tensor, segments: &Arc<[Segment]>, base: &Tensor) -> Result<Tensor> {
        self.check(x, segments)?;
        let expected = (x.dims2()?.0, self.tables.map.output.dim());
        if self.bias.is_some() || base.dims2()? != expected {
            return Err(crate::Error::Shape {
                operation: "Linear",
                expected: format!("no bias and a base of {expected:?}"),
                found: format!("bias: {}, base {:?}", self.bias.is_some(), base.dims()),
            });
        }
        let operation = LinearOp { tables: self.tables.clone(), segments: segments.clone(), third: Third::Base };
        Ok(apply(operation, &[x, &self.weight, base])?)
    }

    fn check(&self, x: &Tensor, segments: &Arc<[Segment]>) -> Result<()> {
        let map = &self.tables.map;
        if x.dims2()?.1 != map.input.dim() || segments.iter().any(|s| s.class >= map.classes) {
            return Err(crate::Error::Shape {
                operation: "Linear",
                expected: format!("[rows, {}] and classes below {}", map.input.dim(), map.classes),
                found: format!("{:?} and {segments:?}", x.dims()),
            });
        }
        Ok(())
    }

    /// As [`Self::forward`] with all rows of class 0.
    ///
    /// # Errors
    /// As there.
    pub fn forward_plain(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x, &Segment::whole(x.dims2()?.0))
    }
}

/// What a third input is, after rows and weights.
#[derive(Clone, Copy, PartialEq)]
enum Third {
    Bias,
    /// Rows that the result is added to.
    Base,
}

struct LinearOp {
    tables: Arc<Tables>,
    segments: Arc<[Segment]>,
    third: Third,
}

impl LinearOp {
    /// Rows of one class each.
    fn parts(&self) -> Vec<Range<usize>> {
        self.segments.iter().map(|s| s.rows.clone()).collect()
    }

    fn class(&self, row: usize) -> usize {
        self.segments[self.segments.partition_point(|s| s.rows.end <= row)].class
    }

    /// The parts of the segments that lie in some rows.
    fn segments_of(&self, rows: &Range<usize>) -> impl Iterator<Item = Segment> {
        let first = self.segments.partition_point(|s| s.rows.end <= rows.start);
        let there = self.segments[first..].iter().take_while(|s| s.rows.start < rows.end);
        there.map(|s| Segment { class: s.class, rows: s.rows.start.max(rows.start)..s.rows.end.min(rows.end) })
    }
}

impl Operation for LinearOp {
    const NAME: &'static str = "irreps-linear";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, x) = (&self.tables, inputs[0].data);
        let w = &*t.weights(inputs[1].data);
        let (din, dout, count) = (t.map.input.dim(), t.map.output.dim(), inputs[0].rows());
        let y = rows::build(dout, &rows::chunks(&self.parts()), |chunk, out| {
            match (self.third, inputs.get(2)) {
                (Third::Base, Some(base)) => out.copy_from_slice(&base.data[chunk.start * dout..chunk.end * dout]),
                (Third::Bias, Some(bias)) => {
                    for out in out.chunks_exact_mut(dout.max(1)) {
                        let mut bias = bias.data.iter();
                        for range in &t.biases {
                            out[range.clone()].iter_mut().zip(&mut bias).for_each(|(y, b)| *y = *b);
                        }
                    }
                }
                _ => {}
            }
            t.map.add(w, self.class(chunk.start), &x[chunk.start * din..chunk.end * din], out);
        });
        Ok((y, vec![count, dout]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        y: &[T],
        dy: &[T],
        wanted: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        self.backward_added(inputs, y, dy.to_vec(), wanted, vec![Vec::new(); inputs.len()])
    }

    fn backward_added<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: Vec<T>,
        wanted: &[bool],
        sums: Vec<Vec<T>>,
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let mut sums = sums.into_iter();
        let mut next_sum = || sums.next().unwrap_or_default();
        let (t, x) = (&self.tables, inputs[0].data);
        let w = &*t.weights(inputs[1].data);
        let (map, din, dout) = (&t.map, t.map.input.dim(), t.map.output.dim());
        let biases = inputs.get(2).filter(|_| self.third == Third::Bias).map_or(0, |bias| bias.data.len());
        // What a group of rows adds to the gradients of weights and biases.
        let groups = rows::groups(std::slice::from_ref(&(0..x.len() / din.max(1))));
        let (dx_width, weights_wanted) = (if wanted[0] { din } else { 0 }, if wanted[1] { w.len() } else { 0 });
        let (dx, shared) = rows::build_onto(next_sum(), dx_width, &groups, |group, dx| {
            let mut weights = vec![T::zero(); weights_wanted];
            let mut bias = vec![T::zero(); biases];
            let of_rows = |rows: &Range<usize>| (rows::slice(x, din, rows), rows::slice(&dy, dout, rows));
            let add_back = || {
                for Segment { class, rows } in self.segments_of(&group).filter(|_| wanted[0]) {
                    let dx = &mut dx[(rows.start - group.start) * din..(rows.end - group.start) * din];
                    map.add_back(w, class, of_rows(&rows).1, dx);
                }
            };
            let add_gradients = || {
                for Segment { class, rows } in self.segments_of(&group).filter(|_| wanted[1]) {
                    map.add_gradients(class, of_rows(&rows), &mut weights);
                }
            };
            // All rows in one group: then there is a thread for either.
            parallel::both(add_back, add_gradients);
            if biases > 0 {
                let (dy, mut bias) = (&dy[group.start * dout..group.end * dout], bias.as_mut_slice());
                for range in &t.biases {
                    let (own, others) = bias.split_at_mut(range.len());
                    rows::add_columns(own, dy, dout, range.start);
                    bias = others;
                }
            }
            [weights, bias]
        });
        let [weights, bias] = rows::sum_each([weights_wanted, biases], shared);
        let mut gradients = vec![dx, added(next_sum(), t.declared(weights))];
        if inputs.len() == 3 {
            let third = match self.third {
                Third::Bias => bias,
                Third::Base => dy,
            };
            gradients.push(added(next_sum(), third));
        }
        Ok(gradients)
    }
}
