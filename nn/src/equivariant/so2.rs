//! The weighted tensor product with the harmonics of the edge direction, executed in the edge frame.
//!
//! There Y_lm of the edge is sqrt(2l + 1) at m = 0 and zero elsewhere, so the Clebsch-Gordan sum keeps m (even
//! l1 + l2 + l3) or turns it into -m (odd), and the whole product of [`super::tensor_product`] is one matrix product
//! for each order: `z_{l3 m w} = sum A^m_{(l1 u), (l3 w)} x_{l1 m u}` with
//! `A^m = sum_{l2} c_p sqrt(2 l2 + 1) C^{l1 l2 l3}_{m 0 m} a_uw b_w`. Self-loops have no direction: their harmonics are
//! (1, 0, 0, ...), so they use matrices of the l2 = 0 paths alone.

use super::clebsch_gordan::wigner_3j;
use super::irreps::{Convention, Irreps, concat, is_natural};
use super::layout::Layout;
use super::tensor_product::{Path, SeparateWeights, paths};
use crate::kernels::matmul::multiply;
use crate::kernels::{Array, Operation, Real, View, ViewMut, apply, parallel, rows, vectorised};
use crate::{Error, Result};
use candle_core::Tensor;
use std::ops::Range;
use std::sync::Arc;

/// A matrix of `A`: all couplings at order |m| from one parity class to one.
#[derive(Debug)]
struct Block {
    m: i64,
    classes: [usize; 2],
    /// Rows that read the first (node pair) and the second (edge) source.
    inputs: [usize; 2],
    outputs: usize,
    offset: usize,
}

impl Block {
    fn inputs(&self) -> usize {
        self.inputs[0] + self.inputs[1]
    }
    fn len(&self) -> usize {
        self.inputs() * self.outputs
    }
    /// (order of the input, order of the output, sign) of the products that use this matrix.
    fn orders(&self) -> impl Iterator<Item = (i64, i64, f64)> + use<> {
        let (m, odd) = (self.m, self.classes[0] != self.classes[1]);
        let list = match (m, odd) {
            (0, _) => [Some((0, 0, 1.0)), None],
            (m, false) => [Some((m, m, 1.0)), Some((-m, -m, 1.0))],
            (m, true) => [Some((-m, m, 1.0)), Some((m, -m, -1.0))],
        };
        list.into_iter().flatten()
    }
}

/// One path at one order: `A[place + u * stride + w] += value a[u, w] b[w]`.
#[derive(Debug)]
struct Term {
    weights: [usize; 2],
    shape: [usize; 2],
    place: usize,
    stride: usize,
    value: f64,
    scalar_harmonic: bool,
}

#[derive(Debug)]
struct Tables {
    sources: [Layout; 2],
    output: Layout,
    blocks: Vec<Block>,
    size: usize,
    /// By path, as the weights are.
    terms: Vec<Term>,
    /// For each block its terms.
    terms_of_block: Vec<Vec<usize>>,
    paths: Vec<Path>,
}

/// The product `(pair features, edge features) x Y(edge) -> output` with separate weights.
#[derive(Clone, Debug)]
pub struct EdgeProduct {
    tables: Arc<Tables>,
}

impl EdgeProduct {
    /// Inputs are the slots of `pair` then those of `edge`, unsorted, as DeepH-E3 concatenates them; the second factor
    /// is the harmonics up to `lmax_harmonics`, one channel each, of natural parity.
    pub fn new(pair: &Irreps, edge: &Irreps, lmax_harmonics: u32, output: &Irreps, convention: Convention) -> Self {
        let harmonics = Irreps::spherical_harmonics(lmax_harmonics);
        let paths = paths(&concat(&[pair, edge]), &harmonics, output, convention);
        let (sources, output) = ([Layout::new(pair), Layout::new(edge)], Layout::new(output));
        let mut blocks = Vec::new();
        let mut size = 0;
        let lmax_in = sources[0].lmax().max(sources[1].lmax());
        for m in 0..=lmax_in.min(output.lmax()) as i64 {
            for classes in [[0, 0], [1, 1], [0, 1], [1, 0]] {
                let inputs = [0, 1].map(|s: usize| sources[s].panel(m).widths[classes[0]]);
                let block = Block { m, classes, inputs, outputs: output.panel(m).widths[classes[1]], offset: size };
                // Antisymmetric couplings vanish between m = 0 and m = 0.
                if block.len() > 0 && !(m == 0 && classes[0] != classes[1]) {
                    size += block.len();
                    blocks.push(block);
                }
            }
        }
        let terms_of_block = vec![Vec::new(); blocks.len()];
        let mut tables = Tables { sources, output, blocks, size, terms: Vec::new(), terms_of_block, paths };
        tables.terms = tables.terms(convention);
        for (k, term) in tables.terms.iter().enumerate() {
            let block = tables.blocks.partition_point(|b| b.offset <= term.place) - 1;
            tables.terms_of_block[block].push(k);
        }
        EdgeProduct { tables: Arc::new(tables) }
    }

    /// The paths, in weight order.
    pub fn paths(&self) -> &[Path] {
        &self.tables.paths
    }

    /// The layouts of pair features, edge features and output.
    pub fn layouts(&self) -> [&Layout; 3] {
        let t = &self.tables;
        [&t.sources[0], &t.sources[1], &t.output]
    }

    /// `pair` `[edges, dim]` and `edge` `[edges, dim]`, both in the edge frame, the first `self_loops` rows being
    /// self-loops. Returns `[edges, output dim]` in the edge frame.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(
        &self,
        pair: &Tensor,
        edge: &Tensor,
        weights: &SeparateWeights,
        self_loops: usize,
    ) -> Result<Tensor> {
        let t = &self.tables;
        let (found, expected) = ([pair.dims2()?, edge.dims2()?], [t.sources[0].dim(), t.sources[1].dim()]);
        if found[0].0 != found[1].0 || [found[0].1, found[1].1] != expected || self_loops > found[0].0 {
            return Err(Error::Shape {
                operation: "EdgeProduct",
                expected: format!("columns {expected:?}, equal rows, at least {self_loops}"),
                found: format!("{found:?}"),
            });
        }
        let matrices = apply(Matrices { tables: t.clone() }, &[&weights.first, &weights.second])?;
        Ok(apply(Product { tables: t.clone(), self_loops }, &[pair, edge, &matrices])?)
    }
}

impl Tables {
    fn terms(&self, convention: Convention) -> Vec<Term> {
        let slots_in = concat(&[self.sources[0].irreps(), self.sources[1].irreps()]);
        let split = self.sources[0].irreps().terms().len();
        let (mut first, mut second) = (0, 0);
        let mut terms = Vec::new();
        for path in &self.paths {
            let [i1, _, io] = path.slots;
            let [l1, l2, l3] = path.degrees;
            let classes = [slots_in.terms()[i1].ir, self.output.irreps().terms()[io].ir]
                .map(|irrep| usize::from(!is_natural(irrep)));
            let coupling = wigner_3j(l1, l2, l3, convention);
            for m in 0..=l1.min(l3) as i64 {
                let source_m = if classes[0] == classes[1] { m } else { -m };
                let value = path.coefficient * f64::from(2 * l2 + 1).sqrt() * coupling.at(source_m, 0, m);
                let block = self.blocks.iter().find(|b| b.m == m && b.classes == classes);
                let (Some(block), true) = (block, value.abs() > 1e-14) else { continue };
                let row = if i1 < split {
                    self.sources[0].column_in_part(i1, m)
                } else {
                    block.inputs[0] + self.sources[1].column_in_part(i1 - split, m)
                };
                terms.push(Term {
                    weights: [first, second],
                    shape: [path.shape[0], path.shape[2]],
                    place: block.offset + row * block.outputs + self.output.column_in_part(io, m),
                    stride: block.outputs,
                    value,
                    scalar_harmonic: l2 == 0,
                });
            }
            first += path.shape[0] * path.shape[2];
            second += path.shape[2];
        }
        terms
    }

    /// Calls `f(source, in column, out column, sign, block)` for each product of the convolution.
    fn products(&self) -> impl Iterator<Item = (usize, usize, usize, f64, &Block)> {
        self.blocks.iter().flat_map(move |block| {
            block.orders().flat_map(move |(from, to, sign)| {
                let out = self.output.panel(to).part(block.classes[1]);
                (0..2).filter(|s| block.inputs[*s] > 0).map(move |source| {
                    (source, self.sources[source].panel(from).part(block.classes[0]), out, sign, block)
                })
            })
        })
    }
}

impl Block {
    fn matrix<'a, T>(&self, source: usize, matrices: &'a [T]) -> View<'a, T> {
        let first = if source == 0 { 0 } else { self.inputs[0] };
        View::rows(matrices, [self.inputs[source], self.outputs], self.outputs, self.offset + first * self.outputs)
    }
}

/// `(a, b) -> [2, size]`: the matrices of ordinary edges, then those of self-loops.
struct Matrices {
    tables: Arc<Tables>,
}

impl Operation for Matrices {
    const NAME: &'static str = "edge-matrices";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, a, b) = (&self.tables, inputs[0].data, inputs[1].data);
        // Terms of one block write to it alone.
        let blocks = || t.blocks.iter().zip(&t.terms_of_block);
        let parts = [false, true].into_iter().flat_map(|loops| blocks().map(move |(b, of)| (b.len(), (b, of, loops))));
        let out = rows::build_parts(parts.collect(), |(block, terms, loops), out| {
            add_terms(&t.terms, terms, loops, block.offset, a, b, out);
        });
        Ok((out, vec![2, t.size]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dy: &[T],
        _: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let (t, a, b) = (&self.tables, inputs[0].data, inputs[1].data);
        let (mut da, mut db) = (vec![T::zero(); a.len()], vec![T::zero(); b.len()]);
        let (general, loops) = dy.split_at(t.size);
        // Groups of whole paths, whose weights are adjacent.
        let (mut rest_a, mut rest_b) = (da.as_mut_slice(), db.as_mut_slice());
        let mut tasks = Vec::new();
        let mut terms = t.terms.as_slice();
        let mut start = [0, 0];
        while let Some(first) = terms.first() {
            let full = terms.partition_point(|x| x.weights[0] < first.weights[0] + GRADIENT_WEIGHTS);
            let (mine, others) = terms.split_at(full);
            let end = others.first().map_or([a.len(), b.len()], |x| x.weights);
            let (mine_a, others_a) = rest_a.split_at_mut(end[0] - start[0]);
            let (mine_b, others_b) = rest_b.split_at_mut(end[1] - start[1]);
            tasks.push((start, mine, mine_a, mine_b));
            (rest_a, rest_b, terms, start) = (others_a, others_b, others, end);
        }
        parallel::for_each(tasks, |(start, terms, da, db): ([usize; 2], &[Term], &mut [T], &mut [T])| {
            term_gradients(terms, start, a, b, general, loops, da, db);
        });
        Ok(vec![da, db])
    }
}

vectorised! {
    fn add_terms<T>(
        all: &[Term], terms: &[usize], scalar_harmonic_alone: bool, offset: usize, a: &[T], b: &[T], out: &mut [T],
    ) {
        for term in terms.iter().map(|k| &all[*k]).filter(|term| term.scalar_harmonic || !scalar_harmonic_alone) {
            let [rows, width] = term.shape;
            let value = T::of(term.value);
            let b = &b[term.weights[1]..][..width];
            for u in 0..rows {
                let a = &a[term.weights[0] + u * width..][..width];
                let place = term.place - offset + u * term.stride;
                let out = &mut out[place..][..width];
                for w in 0..width {
                    out[w] += value * a[w] * b[w];
                }
            }
        }
    }
}

vectorised! {
    fn term_gradients<T>(
        terms: &[Term], start: [usize; 2], a: &[T], b: &[T], general: &[T], loops: &[T], da: &mut [T], db: &mut [T],
    ) {
        for term in terms {
            let [rows, width] = term.shape;
            let value = T::of(term.value);
            let (b, db) = (&b[term.weights[1]..][..width], &mut db[term.weights[1] - start[1]..][..width]);
            for u in 0..rows {
                let (first, place) = (term.weights[0] + u * width, term.place + u * term.stride);
                let (a, da) = (&a[first..][..width], &mut da[first - start[0]..][..width]);
                for g in [general, loops].into_iter().take(1 + usize::from(term.scalar_harmonic)) {
                    let g = &g[place..][..width];
                    for w in 0..width {
                        let g = value * g[w];
                        da[w] += g * b[w];
                        db[w] += g * a[w];
                    }
                }
            }
        }
    }
}

struct Product {
    tables: Arc<Tables>,
    self_loops: usize,
}

impl Product {
    fn chunks(&self, count: usize) -> Vec<Range<usize>> {
        rows::chunks(&[0..self.self_loops, self.self_loops..count])
    }

    /// The matrices that the rows of a chunk use.
    fn matrices<'a, T>(&self, chunk: &Range<usize>, both: &'a [T]) -> &'a [T] {
        let (general, loops) = both.split_at(self.tables.size);
        if chunk.start < self.self_loops { loops } else { general }
    }
}

/// Weights whose gradients one task computes, at least.
const GRADIENT_WEIGHTS: usize = 8192;
/// Rows of a gradient matrix that one task computes.
const GRADIENT_ROWS: usize = 96;

impl Operation for Product {
    const NAME: &'static str = "edge-product";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, count) = (&self.tables, inputs[0].rows());
        let (dims, dout) = ([inputs[0].dims[1], inputs[1].dims[1]], t.output.dim());
        let z = rows::build(dout, &self.chunks(count), |chunk, z| {
            let matrices = self.matrices(&chunk, inputs[2].data);
            for (source, from, to, sign, block) in t.products() {
                let (n, d) = (chunk.len(), dims[source]);
                let x = View::rows(&inputs[source].data[chunk.start * d..], [n, block.inputs[source]], d, from);
                let mut z = ViewMut::rows(z, [n, block.outputs], dout, to);
                multiply(x, block.matrix(source, matrices), &mut z, sign, true);
            }
        });
        Ok((z, vec![count, dout]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dz: &[T],
        wanted: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let (t, count) = (&self.tables, inputs[0].rows());
        let (dims, dout) = ([inputs[0].dims[1], inputs[1].dims[1]], t.output.dim());
        let (dx0, dx1) = rows::build_pair(dims, &self.chunks(count), |chunk, dx0, dx1| {
            let matrices = self.matrices(&chunk, inputs[2].data);
            let dx = [dx0, dx1];
            for (source, from, to, sign, block) in t.products().filter(|p| wanted[p.0]) {
                let n = chunk.len();
                let dz = View::rows(&dz[chunk.start * dout..], [n, block.outputs], dout, to);
                let mut dx = ViewMut::rows(dx[source], [n, block.inputs[source]], dims[source], from);
                multiply(dz, block.matrix(source, matrices).t(), &mut dx, sign, true);
            }
        });
        let da = if wanted[2] { self.matrix_gradients(inputs, dims, dz, count) } else { Vec::new() };
        Ok(vec![dx0, dx1, da])
    }
}

impl Product {
    /// `x^T dz` for all blocks, cut into tasks of whole rows so that the result does not depend on the threads.
    fn matrix_gradients<T: Real>(&self, inputs: &[Array<T>], dims: [usize; 2], dz: &[T], count: usize) -> Vec<T> {
        let (t, dout) = (&self.tables, self.tables.output.dim());
        let mut parts = Vec::new();
        for edges in [self.self_loops..count, 0..self.self_loops] {
            for block in &t.blocks {
                for source in [0, 1] {
                    let mut row = 0;
                    while row < block.inputs[source] {
                        let n = GRADIENT_ROWS.min(block.inputs[source] - row);
                        parts.push((n * block.outputs, (edges.clone(), block, source, row, n)));
                        row += n;
                    }
                }
            }
        }
        rows::build_parts(parts, |(edges, block, source, row, n), da| {
            for (from, to, sign) in block.orders() {
                let d = dims[source];
                let column = t.sources[source].panel(from).part(block.classes[0]) + row;
                let x = View::rows(&inputs[source].data[edges.start * d..], [edges.len(), n], d, column);
                let out = t.output.panel(to).part(block.classes[1]);
                let dz = View::rows(&dz[edges.start * dout..], [edges.len(), block.outputs], dout, out);
                multiply(x.t(), dz, &mut ViewMut::rows(da, [n, block.outputs], block.outputs, 0), sign, true);
            }
        })
    }
}
