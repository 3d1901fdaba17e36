//! The weighted tensor product with the harmonics of the edge direction, executed in the edge frame.
//!
//! There Y_lm of the edge is sqrt(2l + 1) at m = 0 and zero elsewhere, so the Clebsch-Gordan sum keeps m (even
//! l1 + l2 + l3) or turns it into -m (odd), and the whole product of [`super::tensor_product`] is one matrix product
//! for each order: `z_{l3 m w} = sum A^m_{(l1 u), (l3 w)} x_{l1 m u}` with
//! `A^m = sum_{l2} c_p sqrt(2 l2 + 1) C^{l1 l2 l3}_{m 0 m} a_uw b_w`. Self-loops have no direction: their harmonics are
//! (1, 0, 0, ...), so only the l2 = 0 paths are left, which map slots to slots of the same irrep with weights `a_uw b_w`.

mod matrices;
mod product;

use super::clebsch_gordan::wigner_3j;
use super::frame::{EdgeFrames, EndTurns, Ends};
use super::irreps::{Convention, Irreps, concat, is_natural};
use super::layout::Layout;
use super::slot_map::{self, SlotMap};
use super::tensor_product::{Path, SeparateWeights, paths};
use crate::kernels::{View, apply};
use crate::{Error, Result};
use candle_core::Tensor;
use matrices::Matrices;
use product::Product;
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
    /// Where the rows that read a source begin.
    fn start(&self, source: usize) -> usize {
        self.offset + if source == 0 { 0 } else { self.inputs[0] * self.outputs }
    }
    fn matrix<'a, T>(&self, source: usize, matrices: &'a [T]) -> View<'a, T> {
        View::rows(matrices, [self.inputs[source], self.outputs], self.outputs, self.start(source))
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
}

#[derive(Debug)]
struct Tables {
    sources: [Layout; 2],
    output: Layout,
    blocks: Vec<Block>,
    /// Elements of all blocks; the weights of self-loops follow.
    size: usize,
    /// Self-loops, from either source.
    loops: [SlotMap; 2],
    /// By path, as the weights are.
    terms: Vec<Term>,
    /// What the terms make: blocks, then the weights of self-loops path by path.
    parts: Vec<Part>,
    paths: Vec<Path>,
}

/// Adjacent elements, and the terms that are added there.
#[derive(Debug)]
struct Part {
    start: usize,
    len: usize,
    terms: Vec<usize>,
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
        let loops = [0, 1].map(|source: usize| SlotMap {
            input: sources[source].clone(),
            output: output.clone(),
            paths: Vec::new(),
            classes: 1,
        });
        let parts = blocks.iter().map(|b| Part { start: b.offset, len: b.len(), terms: Vec::new() }).collect();
        let mut tables = Tables { sources, output, blocks, size, loops, terms: Vec::new(), parts, paths };
        tables.add_terms(convention);
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
        self.check([pair.dims2()?, edge.dims2()?], self_loops)?;
        self.apply(pair, edge, weights, self_loops, None)
    }

    fn check(&self, found: [(usize, usize); 2], self_loops: usize) -> Result<()> {
        let t = &self.tables;
        let expected = [t.sources[0].dim(), t.sources[1].dim()];
        if found[0].0 != found[1].0 || [found[0].1, found[1].1] != expected || self_loops > found[0].0 {
            return Err(Error::Shape {
                operation: "EdgeProduct",
                expected: format!("columns {expected:?}, equal rows, at least {self_loops}"),
                found: format!("{found:?}"),
            });
        }
        Ok(())
    }

    fn apply(
        &self,
        first: &Tensor,
        edge: &Tensor,
        weights: &SeparateWeights,
        self_loops: usize,
        ends: Option<Ends>,
    ) -> Result<Tensor> {
        let tables = &self.tables;
        let matrices = apply(Matrices { tables: tables.clone() }, &[&weights.first, &weights.second])?;
        Ok(apply(Product { tables: tables.clone(), self_loops, ends }, &[first, edge, &matrices])?)
    }
}

/// The same product with features of nodes in place of pairs: [`gather_rotated`](super::frame::gather_rotated) and
/// [`EdgeProduct`] in one pass.
#[derive(Clone, Debug)]
pub struct NodeProduct {
    product: EdgeProduct,
    turns: Arc<EndTurns>,
}

impl NodeProduct {
    /// As [`EdgeProduct::new`] with the slots of both ends, features of nodes each, for the pair.
    pub fn new(node: &Irreps, edge: &Irreps, lmax_harmonics: u32, output: &Irreps, convention: Convention) -> Self {
        let pair = concat(&[node, node]);
        NodeProduct {
            product: EdgeProduct::new(&pair, edge, lmax_harmonics, output, convention),
            turns: Arc::new(EndTurns::new(&Layout::new(node))),
        }
    }

    /// The product of pairs that it consists of.
    pub fn product(&self) -> &EdgeProduct {
        &self.product
    }

    /// `node` `[nodes, dim]` in the global frame and `edge` `[edges, dim]` in the edge frame, in layout order, the first
    /// `self_loops` edges being self-loops. Returns `[edges, output dim]` in the edge frame.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(
        &self,
        frames: &Arc<EdgeFrames>,
        node: &Tensor,
        edge: &Tensor,
        weights: &SeparateWeights,
        self_loops: usize,
    ) -> Result<Tensor> {
        let (nodes, dim) = node.dims2()?;
        let expected = self.turns.dim();
        if dim != expected {
            return Err(Error::Shape {
                operation: "NodeProduct",
                expected: format!("nodes of {expected} columns"),
                found: format!("{dim}"),
            });
        }
        let ends = Ends::new(frames, &self.turns, nodes)?;
        self.product.check([(frames.len(), 2 * dim), edge.dims2()?], self_loops)?;
        self.product.apply(node, edge, weights, self_loops, Some(ends))
    }
}

impl Tables {
    /// Adds the terms of all paths, and what self-loops take from them.
    fn add_terms(&mut self, convention: Convention) {
        let slots_in = concat(&[self.sources[0].irreps(), self.sources[1].irreps()]);
        let split = self.sources[0].irreps().terms().len();
        let (mut first, mut second, mut loops) = (0, 0, 0);
        for path in &self.paths {
            let [i1, _, io] = path.slots;
            let [l1, l2, l3] = path.degrees;
            let (weights, shape) = ([first, second], [path.shape[0], path.shape[2]]);
            let classes = [slots_in.terms()[i1].ir, self.output.irreps().terms()[io].ir]
                .map(|irrep| usize::from(!is_natural(irrep)));
            let (source, slot) = if i1 < split { (0, i1) } else { (1, i1 - split) };
            let coupling = wigner_3j(l1, l2, l3, convention);
            for m in 0..=l1.min(l3) as i64 {
                let source_m = if classes[0] == classes[1] { m } else { -m };
                let value = path.coefficient * f64::from(2 * l2 + 1).sqrt() * coupling.at(source_m, 0, m);
                let index = self.blocks.iter().position(|b| b.m == m && b.classes == classes);
                let (Some(index), true) = (index, value.abs() > 1e-14) else { continue };
                let block = &self.blocks[index];
                let row = self.sources[source].column_in_part(slot, m);
                let place = block.start(source) + row * block.outputs + self.output.column_in_part(io, m);
                self.parts[index].terms.push(self.terms.len());
                self.terms.push(Term { weights, shape, place, stride: block.outputs, value });
            }
            let len = shape[0] * shape[1];
            if l2 == 0 {
                // Between equal degrees the coupling is the same for all m.
                let scale = path.coefficient * coupling.at(0, 0, 0);
                self.loops[source].paths.push(slot_map::Path { input: slot, output: io, shape, offset: loops, scale });
                let start = self.size + loops;
                self.parts.push(Part { start, len, terms: vec![self.terms.len()] });
                self.terms.push(Term { weights, shape, place: start, stride: shape[1], value: 1.0 });
                loops += len;
            }
            first += len;
            second += shape[1];
        }
    }
}
