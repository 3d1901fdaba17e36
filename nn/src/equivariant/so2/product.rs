//! The products of features with the matrices, edge by edge or, with the ends of the edges at hand, straight from nodes.
//!
//! Both passes go tile by tile: what is gathered from the nodes never leaves the cache, and is gathered again for the
//! gradients.

use super::{Block, Tables};
use crate::equivariant::frame::Ends;
use crate::kernels::matmul::{multiply, transpose};
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

/// What a group of rows adds to the gradients of what all rows share.
struct Shared<T> {
    matrices: Vec<T>,
    nodes: Vec<T>,
}

impl Product {
    /// The tiles of some rows, none of self-loops and other edges.
    fn tiles(&self, rows: &Range<usize>) -> impl Iterator<Item = (bool, Range<usize>)> {
        let border = self.self_loops.clamp(rows.start, rows.end);
        let parts = [(true, rows.start..border), (false, border..rows.end)];
        parts.into_iter().flat_map(|(loops, part)| rows::tiles(&part).into_iter().map(move |tile| (loops, tile)))
    }

    /// The pair features of a tile: gathered into `space`, or rows of `input`.
    fn pair<'a, T: Real>(&self, tile: &Range<usize>, input: &'a [T], space: &'a mut Vec<T>) -> &'a [T] {
        let d = self.tables.sources[0].dim();
        match &self.ends {
            None => &input[tile.start * d..tile.end * d],
            Some(ends) => {
                space.resize(tile.len() * d, T::zero());
                ends.gather(tile.clone(), input, space);
                space
            }
        }
    }
}

impl Operation for Product {
    const NAME: &'static str = "edge-product";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (t, count) = (&self.tables, inputs[1].rows());
        let (d1, dout) = (t.sources[1].dim(), t.output.dim());
        let z = rows::build(dout, &rows::border_at(self.self_loops, rows::all(count)), |chunk, z| {
            let mut space = Vec::new();
            for (loops, tile) in self.tiles(&chunk) {
                let z = &mut z[(tile.start - chunk.start) * dout..(tile.end - chunk.start) * dout];
                let pair = self.pair(&tile, inputs[0].data, &mut space);
                let edge = &inputs[1].data[tile.start * d1..tile.end * d1];
                t.multiply(loops, [pair, edge], inputs[2].data, z);
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
        let (t, count) = (&self.tables, inputs[1].rows());
        let ([d0, d1], dout) = ([t.sources[0].dim(), t.sources[1].dim()], t.output.dim());
        let of_features = wanted[0] || wanted[1];
        let transposed = if of_features { t.transposed(inputs[2].data) } else { Vec::new() };
        let groups = rows::border_at(self.self_loops, rows::groups(std::slice::from_ref(&(0..count))));
        let from_nodes = self.ends.as_ref().filter(|_| wanted[0]);
        let widths = [if wanted[0] && self.ends.is_none() { d0 } else { 0 }, if wanted[1] { d1 } else { 0 }];
        let (dpair, dedge, shared) = rows::build_pair_and(widths, &groups, |chunk, mut dpair, mut dedge| {
            let mut shared = Shared {
                matrices: vec![T::zero(); if wanted[2] { inputs[2].data.len() } else { 0 }],
                nodes: vec![T::zero(); if from_nodes.is_some() { inputs[0].data.len() } else { 0 }],
            };
            let (mut space, mut gathered) = (Vec::new(), Vec::new());
            for (loops, tile) in self.tiles(&chunk) {
                let n = tile.len();
                let pair = self.pair(&tile, inputs[0].data, &mut space);
                let edge = &inputs[1].data[tile.start * d1..tile.end * d1];
                let dz = &dz[tile.start * dout..tile.end * dout];
                if wanted[2] {
                    t.add_matrix_gradients(loops, n, [pair, edge], dz, &mut shared.matrices);
                }
                if !of_features {
                    continue;
                }
                let (own_pair, rest) = dpair.split_at_mut(n * widths[0]);
                let (own_edge, others) = dedge.split_at_mut(n * widths[1]);
                (dpair, dedge) = (rest, others);
                gathered.clear();
                gathered.resize(if from_nodes.is_some() { n * d0 } else { 0 }, T::zero());
                let own_pair = if from_nodes.is_some() { gathered.as_mut_slice() } else { own_pair };
                t.multiply_back(loops, n, dz, &transposed, [own_pair, own_edge]);
                if let Some(ends) = from_nodes {
                    ends.add_back(tile, &gathered, &mut shared.nodes);
                }
            }
            shared
        });
        let sum = |length: usize, of: fn(&Shared<T>) -> &[T]| rows::sum(length, shared.iter().map(of).collect());
        let first = match from_nodes {
            Some(_) => sum(inputs[0].data.len(), |shared| &shared.nodes),
            None => dpair,
        };
        let matrices = if wanted[2] { sum(inputs[2].data.len(), |shared| &shared.matrices) } else { Vec::new() };
        Ok(vec![first, dedge, matrices])
    }
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
    fn multiply_back<T: Real>(&self, loops: bool, n: usize, dz: &[T], transposed: &[T], dx: [&mut [T]; 2]) {
        let dout = self.output.dim();
        if loops {
            let weights = &transposed[self.size..];
            let wanted = self.loops.iter().zip(dx).filter(|(_, dx)| !dx.is_empty());
            return wanted.for_each(|(map, dx)| map.add_back(weights, 0, dz, dx));
        }
        let wanted = dx.each_ref().map(|dx| !dx.is_empty());
        for u in self.uses().filter(|u| wanted[u.source]) {
            let d = self.sources[u.source].dim();
            let inputs = u.block.inputs[u.source];
            let dz = View::rows(dz, [n, u.block.outputs], dout, u.to);
            let matrix = View::rows(transposed, [u.block.outputs, inputs], inputs, u.block.start(u.source));
            multiply(dz, matrix, &mut ViewMut::rows(dx[u.source], [n, inputs], d, u.from), u.sign, true);
        }
    }

    /// Adds `x^T dz` of these `n` rows to all matrices, or to the weights of self-loops.
    fn add_matrix_gradients<T: Real>(&self, loops: bool, n: usize, sources: [&[T]; 2], dz: &[T], gradients: &mut [T]) {
        let dout = self.output.dim();
        if loops {
            let gradients = &mut gradients[self.size..];
            return self.loops.iter().zip(sources).for_each(|(map, x)| map.add_gradients([x, dz], gradients));
        }
        for u in self.uses() {
            let d = self.sources[u.source].dim();
            let (inputs, outputs) = (u.block.inputs[u.source], u.block.outputs);
            let x = View::rows(sources[u.source], [n, inputs], d, u.from);
            let dz = View::rows(dz, [n, outputs], dout, u.to);
            let mut to = ViewMut::rows(gradients, [inputs, outputs], outputs, u.block.start(u.source));
            multiply(x.t(), dz, &mut to, u.sign, true);
        }
    }

    /// Each source's part of each block transposed in its place, and the weights of self-loops.
    fn transposed<T: Real>(&self, matrices: &[T]) -> Vec<T> {
        let blocks = self.blocks.iter().flat_map(|block| {
            [0, 1].map(|source| {
                let shape = [block.inputs[source], block.outputs];
                (shape[0] * shape[1], Some((block.start(source), shape)))
            })
        });
        let parts = blocks.chain([(matrices.len() - self.size, None)]);
        rows::build_parts(parts.collect(), |block, out| match block {
            Some((start, [inputs, outputs])) => {
                let from = View::rows(matrices, [inputs, outputs], outputs, start);
                transpose(from, &mut ViewMut::rows(out, [outputs, inputs], inputs, 0));
            }
            None => self.loops.iter().for_each(|map| map.transpose(&matrices[self.size..], out)),
        })
    }
}
