//! The products of features with the matrices, edge by edge or, with the ends of the edges at hand, straight from nodes.
//!
//! What is gathered from the nodes never leaves the cache, and is gathered again for the gradients: the forward pass goes
//! tile by tile, the backward pass batch by batch, which splits the rows of features over the threads, and then those of
//! the matrices.

use super::{Block, SlotMap, Tables};
use crate::equivariant::frame::Ends;
use crate::equivariant::layout::Layout;
use crate::kernels::matmul::multiply;
use crate::kernels::operation::added;
use crate::kernels::{Array, Operation, Real, View, ViewMut, rows};
use std::ops::Range;
use std::sync::Arc;

/// `(pair or nodes, edge, matrices) -> z`.
pub(super) struct Product {
    pub(super) tables: Arc<Tables>,
    pub(super) self_loops: usize,
    /// With these the first input are features of nodes.
    pub(super) ends: Option<Ends>,
}

/// Some rows, apart those of self-loops, the first `loops` of all, and others.
fn apart(loops: usize, rows: &Range<usize>) -> [(bool, Range<usize>); 2] {
    let border = loops.clamp(rows.start, rows.end);
    [(true, rows.start..border), (false, border..rows.end)]
}

/// The tiles of some rows, each of self-loops or of others.
fn tiles(loops: usize, rows: &Range<usize>) -> impl Iterator<Item = (bool, Range<usize>)> {
    let parts = apart(loops, rows).into_iter();
    parts.flat_map(|(loops, part)| rows::tiles(&part).into_iter().map(move |tile| (loops, tile)))
}

/// `all` and then `part`.
fn append<T: Real>(all: &mut Vec<T>, part: Vec<T>) {
    if all.is_empty() {
        *all = part;
    } else {
        all.extend(part);
    }
}

impl Operation for Product {
    const NAME: &'static str = "edge-product";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, count) = (&self.tables, inputs[1].rows());
        let ([d0, d1], dout) = ([t.sources[0].dim(), t.sources[1].dim()], t.output.dim());
        let z = rows::build(dout, &rows::border_at(self.self_loops, rows::all(count)), |chunk, z| {
            let mut space = Vec::new();
            for (loops, tile) in tiles(self.self_loops, &chunk) {
                let z = &mut z[(tile.start - chunk.start) * dout..(tile.end - chunk.start) * dout];
                let edge = &inputs[1].data[tile.start * d1..tile.end * d1];
                let pair = match &self.ends {
                    None => &inputs[0].data[tile.start * d0..tile.end * d0],
                    Some(ends) => {
                        space.resize(tile.len() * d0, T::zero());
                        ends.gather(tile, inputs[0].data, &mut space);
                        space.as_slice()
                    }
                };
                t.multiply(loops, [pair, edge], inputs[2].data, z);
            }
        });
        Ok((z, vec![count, dout]))
    }

    fn backward<T: Real>(
        &self,
        inputs: &[Array<T>],
        z: &[T],
        dz: &[T],
        wanted: &[bool],
    ) -> candle_core::Result<Vec<Vec<T>>> {
        self.backward_added(inputs, z, dz.to_vec(), wanted, vec![Vec::new(); 3])
    }

    fn backward_added<T: Real>(
        &self,
        inputs: &[Array<T>],
        _: &[T],
        dz: Vec<T>,
        wanted: &[bool],
        sums: Vec<Vec<T>>,
    ) -> candle_core::Result<Vec<Vec<T>>> {
        let (t, count) = (&self.tables, inputs[1].rows());
        let ([d0, d1], dout) = ([t.sources[0].dim(), t.sources[1].dim()], t.output.dim());
        let widths = [if wanted[0] { d0 } else { 0 }, if wanted[1] { d1 } else { 0 }];
        let mut sums = sums.into_iter();
        let mut next_sum = || sums.next().unwrap_or_default();
        let (mut first, mut dedge, mut matrices) = (next_sum(), next_sum(), next_sum());
        let mut pairs = Vec::new();
        let onto_edge = !dedge.is_empty();
        for batch in rows::batches(count) {
            let [edge, dz] = [(inputs[1].data, d1), (&dz, dout)].map(|(x, d)| &x[batch.start * d..batch.end * d]);
            let loops = self.self_loops.clamp(batch.start, batch.end) - batch.start;
            if wanted[2] {
                let gathered = self.ends.as_ref().map(|ends| ends.pairs(&batch, inputs[0].data));
                let pair = gathered.as_deref().unwrap_or_else(|| &inputs[0].data[batch.start * d0..batch.end * d0]);
                rows::add_to_parts(&mut matrices, t.parts_of_matrices(), |part, out| {
                    t.add_matrix_gradients(part, loops, [pair, edge], dz, out);
                });
            }
            if wanted[0] || wanted[1] {
                // One chunk a thread: each writes the matrices down transposed.
                let chunks = rows::border_at(loops, rows::all_up_to(batch.len(), batch.len()));
                let multiply_back = |chunk: Range<usize>, mut of_pair: &mut [T], mut of_edge: &mut [T]| {
                    for (loops, rows) in apart(loops, &chunk) {
                        let (own_pair, rest) = of_pair.split_at_mut(rows.len() * widths[0]);
                        let (own_edge, others) = of_edge.split_at_mut(rows.len() * widths[1]);
                        let dz = &dz[rows.start * dout..rows.end * dout];
                        t.multiply_back(loops, rows.len(), dz, inputs[2].data, [own_pair, own_edge]);
                        (of_pair, of_edge) = (rest, others);
                    }
                };
                let of_pair = if onto_edge {
                    let edge_rows = &mut dedge[batch.start * widths[1]..batch.end * widths[1]];
                    rows::build_beside(widths, &chunks, edge_rows, multiply_back)
                } else {
                    let (of_pair, of_edge) = rows::build_pair(widths, &chunks, multiply_back);
                    append(&mut dedge, of_edge);
                    of_pair
                };
                match &self.ends {
                    Some(ends) if wanted[0] => ends.add_back(&batch, &of_pair, &mut first),
                    _ => append(&mut pairs, of_pair),
                }
            }
        }
        first = added(first, pairs);
        // Of no edge at all.
        first.resize(if wanted[0] { inputs[0].data.len() } else { 0 }, T::zero());
        matrices.resize(if wanted[2] { inputs[2].data.len() } else { 0 }, T::zero());
        Ok(vec![first, dedge, matrices])
    }
}

/// Some of the gradients of the matrices.
#[derive(Clone)]
enum MatrixPart<'a> {
    /// Of the rows that read a source, some.
    Rows(&'a Block, usize, Range<usize>),
    /// Of the weights of self-loops, all.
    Loops,
}

/// A product of columns `from` of a source with one matrix.
struct Use<'a> {
    source: usize,
    from: usize,
    to: usize,
    sign: f64,
    block: &'a Block,
}

impl Tables {
    fn uses(&self) -> impl Iterator<Item = Use<'_>> {
        self.blocks.iter().flat_map(move |block| {
            block.orders().flat_map(move |(from, to, sign)| {
                let to = self.output.panel(to).part(block.classes[1]);
                (0..2).filter(|s| block.inputs[*s] > 0).map(move |source| {
                    let from = self.sources[source].panel(from).part(block.classes[0]);
                    Use { source, from, to, sign, block }
                })
            })
        })
    }

    /// Adds to the rows of `z` those of both sources times the matrices, or as self-loops.
    fn multiply<T: Real>(&self, loops: bool, sources: [&[T]; 2], matrices: &[T], z: &mut [T]) {
        let dout = self.output.dim();
        let n = z.len() / dout.max(1);
        if loops {
            let weights = &matrices[self.size..];
            return self.loops.iter().zip(sources).for_each(|(map, x)| map.add(weights, 0, x, z));
        }
        for u in self.uses() {
            let d = self.sources[u.source].dim();
            let x = View::rows(sources[u.source], [n, u.block.inputs[u.source]], d, u.from);
            let mut z = ViewMut::rows(z, [n, u.block.outputs], dout, u.to);
            multiply(x, u.block.matrix(u.source, matrices), &mut z, u.sign, true);
        }
    }

    /// Adds to the `n` rows of each of `dx` that is not empty what follows from those of `dz`.
    fn multiply_back<T: Real>(&self, loops: bool, n: usize, dz: &[T], matrices: &[T], dx: [&mut [T]; 2]) {
        let dout = self.output.dim();
        if loops {
            let weights = &matrices[self.size..];
            let wanted = self.loops.iter().zip(dx).filter(|(_, dx)| !dx.is_empty());
            return wanted.for_each(|(map, dx)| map.add_back(weights, 0, dz, dx));
        }
        let wanted = dx.each_ref().map(|dx| !dx.is_empty());
        for u in self.uses().filter(|u| wanted[u.source]) {
            let d = self.sources[u.source].dim();
            let inputs = u.block.inputs[u.source];
            let dz = View::rows(dz, [n, u.block.outputs], dout, u.to);
            let matrix = u.block.matrix(u.source, matrices).t();
            multiply(dz, matrix, &mut ViewMut::rows(dx[u.source], [n, inputs], d, u.from), u.sign, true);
        }
    }

    /// The gradients of the matrices part by part: adjacent numbers, those of a part enough for a task.
    fn parts_of_matrices(&self) -> impl Iterator<Item = (usize, MatrixPart<'_>)> + Clone {
        const ROWS: usize = 64;
        let sources = self.blocks.iter().flat_map(|block| [0, 1].map(|source| (block, source)));
        let rows = sources.flat_map(|(block, source)| {
            let pieces = (0..block.inputs[source]).step_by(ROWS);
            pieces.map(move |start| (block, source, start..(start + ROWS).min(block.inputs[source])))
        });
        let loops = self.loops.iter().map(SlotMap::weights).sum();
        let parts =
            rows.map(|(block, source, rows)| (rows.len() * block.outputs, MatrixPart::Rows(block, source, rows)));
        parts.chain([(loops, MatrixPart::Loops)])
    }

    /// Adds `x^T dz` to a part of all matrices or of the weights of self-loops, which the first `loops` rows are.
    fn add_matrix_gradients<T: Real>(
        &self,
        part: MatrixPart,
        loops: usize,
        sources: [&[T]; 2],
        dz: &[T],
        gradients: &mut [T],
    ) {
        let (d, dout) = (self.sources.each_ref().map(Layout::dim), self.output.dim());
        let count = dz.len() / dout.max(1);
        let (block, source, inputs) = match part {
            MatrixPart::Rows(block, source, inputs) => (block, source, inputs),
            MatrixPart::Loops => {
                let maps = self.loops.iter().zip(sources).zip(d);
                return maps
                    .for_each(|((map, x), d)| map.add_gradients(0, (&x[..loops * d], &dz[..loops * dout]), gradients));
            }
        };
        for (from, to, sign) in block.orders() {
            let from = self.sources[source].panel(from).part(block.classes[0]) + inputs.start;
            let to = self.output.panel(to).part(block.classes[1]);
            let x = View::rows(&sources[source][loops * d[source]..], [count - loops, inputs.len()], d[source], from);
            let dz = View::rows(&dz[loops * dout..], [count - loops, block.outputs], dout, to);
            let mut out = ViewMut::rows(gradients, [inputs.len(), block.outputs], block.outputs, 0);
            multiply(x.t(), dz, &mut out, sign, true);
        }
    }
}
