//! Edge frames: each edge's features seen with its direction as the polar axis.
//!
//! The frames are constants of a geometry (no gradient flows into them), computed once and shared by all layers.

mod rotate;

use super::irreps::concat;
use super::layout::Layout;
use super::wigner::{packed_length, to_polar_axis, wigner_d_packed};
use crate::kernels::{Array, Operation, Real, View, apply, rows};
use crate::{Error, Result};
use candle_core::Tensor;
use nalgebra::Vector3;
use rotate::{Turn, Wigner, add_turned_back, turn_ends, turn_rows, turns};
use std::ops::Range;
use std::sync::Arc;

/// The rotations of all edges of a graph into their frames, and which nodes they join.
#[derive(Debug)]
pub struct EdgeFrames {
    edges: Vec<[usize; 2]>,
    nodes: usize,
    lmax: usize,
    double: Vec<f64>,
    single: Vec<f32>,
    /// For each node its (edge, end) pairs: `ends[starts[n]..starts[n + 1]]`.
    starts: Vec<usize>,
    ends: Vec<(usize, usize)>,
}

impl EdgeFrames {
    /// Frames for edges `[i, j]` among `nodes` with vectors r_j - r_i (angstrom; zero for self-loops, whose frame is
    /// the global one), for features up to degree `lmax`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a node index out of range or lists of different lengths.
    pub fn new(nodes: usize, edges: &[[usize; 2]], vectors: &[[f64; 3]], lmax: usize) -> Result<Self> {
        if edges.len() != vectors.len() || edges.iter().flatten().any(|&n| n >= nodes) {
            return Err(Error::Shape {
                operation: "EdgeFrames",
                expected: format!("as many vectors as edges, nodes below {nodes}"),
                found: format!("{} edges, {} vectors", edges.len(), vectors.len()),
            });
        }
        let mut double = Vec::with_capacity(edges.len() * packed_length(lmax));
        for v in vectors {
            wigner_d_packed(lmax, &to_polar_axis(&Vector3::from(*v)), &mut double);
        }
        let mut starts = vec![0; nodes + 1];
        edges.iter().flatten().for_each(|&n| starts[n + 1] += 1);
        (0..nodes).for_each(|n| starts[n + 1] += starts[n]);
        let mut next = starts.clone();
        let mut ends = vec![(0, 0); 2 * edges.len()];
        for (edge, pair) in edges.iter().enumerate() {
            for (end, &node) in pair.iter().enumerate() {
                ends[next[node]] = (edge, end);
                next[node] += 1;
            }
        }
        let single = double.iter().map(|d| *d as f32).collect();
        Ok(EdgeFrames { edges: edges.to_vec(), nodes, lmax, double, single, starts, ends })
    }

    /// The same rotation for each of `rows` rows: [`to_edge_frame`] then turns all features by it.
    pub fn uniform(rows: usize, rotation: &nalgebra::Matrix3<f64>, lmax: usize) -> Self {
        let mut one = Vec::with_capacity(packed_length(lmax));
        wigner_d_packed(lmax, rotation, &mut one);
        let double = one.repeat(rows);
        let single = double.iter().map(|d| *d as f32).collect();
        let (edges, starts) = (vec![[0, 0]; rows], vec![0, 0]);
        EdgeFrames { edges, nodes: 1, lmax, double, single, starts, ends: Vec::new() }
    }

    /// Number of edges.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Whether there is no edge.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The node pairs.
    pub fn edges(&self) -> &[[usize; 2]] {
        &self.edges
    }

    pub(super) fn check(&self, layout: &Layout, rows: usize, expected: usize) -> Result<()> {
        if layout.lmax() > self.lmax || rows != expected {
            return Err(Error::Shape {
                operation: "edge frames",
                expected: format!("{expected} rows of degree at most {}", self.lmax),
                found: format!("{rows} rows of degree {}", layout.lmax()),
            });
        }
        Ok(())
    }

    /// The (edge, end) pairs of a node.
    fn ends_of(&self, node: usize) -> &[(usize, usize)] {
        &self.ends[self.starts[node]..self.starts[node + 1]]
    }

    /// Those of some edges.
    fn ends_among(&self, node: usize, edges: &Range<usize>) -> &[(usize, usize)] {
        let all = self.ends_of(node);
        let [from, to] = [edges.start, edges.end].map(|edge| all.partition_point(|end| end.0 < edge));
        &all[from..to]
    }

    /// D of all edges from one on, all degrees packed.
    fn wigner_from<T: Real>(&self, edge: usize) -> Wigner<'_, T> {
        let length = packed_length(self.lmax);
        Wigner { all: &T::pick(&self.single, &self.double)[edge * length..], length }
    }

    /// The first `width` of the packed numbers of some edges, a row for each.
    pub(super) fn wigner_of<T: Real>(&self, edges: &Range<usize>, width: usize) -> View<'_, T> {
        let n = packed_length(self.lmax);
        View::rows(T::pick(&self.single, &self.double), [edges.len(), width], n, edges.start * n)
    }
}

/// The layout of the features of both ends, first node's slots then second's.
fn pair_layout(node: &Layout) -> Layout {
    Layout::new(&concat(&[node.irreps(), node.irreps()]))
}

/// Both ends' node features in the edge frame: `x` `[nodes, dim]` (global frame) -> `[edges, 2 dim]` in
/// the layout of the first node's slots followed by the second's.
///
/// # Errors
/// Shapes that do not fit the frames.
pub fn gather_rotated(frames: &Arc<EdgeFrames>, layout: &Layout, x: &Tensor) -> Result<Tensor> {
    let turns = Arc::new(EndTurns::new(layout));
    Ok(apply(Gather(Ends::new(frames, &turns, x.dims2()?.0)?), &[x])?)
}

/// Sums edge features (edge frame) over the edges that start at each node: `[edges, dim]` -> `[nodes, dim]` (global).
///
/// # Errors
/// Shapes that do not fit the frames.
pub fn scatter_rotated(frames: &Arc<EdgeFrames>, layout: &Layout, x: &Tensor) -> Result<Tensor> {
    Ok(apply(Scatter::new(frames, layout, x.dims2()?.0)?, &[x])?)
}

/// Edge features from the edge frame to the global one: `[edges, dim]` -> `[edges, dim]`.
///
/// # Errors
/// Shapes that do not fit the frames.
pub fn to_global(frames: &Arc<EdgeFrames>, layout: &Layout, x: &Tensor) -> Result<Tensor> {
    frames.check(layout, x.dims2()?.0, frames.len())?;
    Ok(apply(Turned { frames: frames.clone(), turns: turns(layout, layout, 0), dim: layout.dim(), back: true }, &[x])?)
}

/// Edge features from the global frame to the edge frame: `[edges, dim]` -> `[edges, dim]`.
///
/// # Errors
/// Shapes that do not fit the frames.
pub fn to_edge_frame(frames: &Arc<EdgeFrames>, layout: &Layout, x: &Tensor) -> Result<Tensor> {
    frames.check(layout, x.dims2()?.0, frames.len())?;
    Ok(apply(Turned { frames: frames.clone(), turns: turns(layout, layout, 0), dim: layout.dim(), back: false }, &[x])?)
}

/// How features turn between nodes and either end of an edge, there and back.
#[derive(Debug)]
pub(super) struct EndTurns {
    there: [Vec<Turn>; 2],
    back: [Vec<Turn>; 2],
    layout: Layout,
}

impl EndTurns {
    /// For features of nodes in `layout`.
    pub(super) fn new(layout: &Layout) -> Self {
        let pair = pair_layout(layout);
        let there = [0, layout.irreps().terms().len()].map(|first| turns(layout, &pair, first));
        let back = there.each_ref().map(|turns| turns.iter().map(Turn::back).collect());
        EndTurns { there, back, layout: layout.clone() }
    }

    /// Columns of the features of nodes.
    pub(super) fn dim(&self) -> usize {
        self.layout.dim()
    }
}

/// The ends of the edges of one graph.
pub(super) struct Ends {
    frames: Arc<EdgeFrames>,
    turns: Arc<EndTurns>,
    dim: usize,
}

impl Ends {
    /// For features of `nodes` nodes.
    pub(super) fn new(frames: &Arc<EdgeFrames>, turns: &Arc<EndTurns>, nodes: usize) -> Result<Self> {
        frames.check(&turns.layout, nodes, frames.nodes)?;
        Ok(Ends { frames: frames.clone(), turns: turns.clone(), dim: turns.layout.dim() })
    }

    /// Fills the rows of `pair` with the features of both ends of these edges.
    pub(super) fn gather<T: Real>(&self, edges: Range<usize>, nodes: &[T], pair: &mut [T]) {
        let (d, f) = (self.dim, &self.frames);
        turn_ends(&self.turns.there, f.wigner_from(edges.start), &f.edges[edges], nodes, d, pair, 2 * d);
    }

    /// The features of both ends of these edges, `[edges, 2 dim]`.
    pub(super) fn pairs<T: Real>(&self, edges: &Range<usize>, nodes: &[T]) -> Vec<T> {
        rows::build_by_row(2 * self.dim, &rows::all(edges.len()), |chunk, out| {
            self.gather(edges.start + chunk.start..edges.start + chunk.end, nodes, out);
        })
    }

    /// Adds gradients of the rows of these edges, `[edges, 2 dim]`, to those of all nodes; to zero if there are none yet.
    pub(super) fn add_back<T: Real>(&self, edges: &Range<usize>, pairs: &[T], nodes: &mut Vec<T>) {
        let (d, f) = (self.dim, &self.frames);
        rows::add_to_parts(nodes, (0..f.nodes).map(|node| (d, node)), |node, sum| {
            let ends = f.ends_among(node, edges);
            add_turned_back(&self.turns.back, f.wigner_from(0), ends, edges.start, pairs, 2 * d, sum);
        });
    }
}

struct Gather(Ends);

impl Operation for Gather {
    const NAME: &'static str = "gather-rotated";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let count = self.0.frames.len();
        Ok((self.0.pairs(&(0..count), inputs[0].data), vec![count, 2 * self.0.dim]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let mut dx = Vec::new();
        self.0.add_back(&(0..self.0.frames.len()), dy, &mut dx);
        Ok(vec![dx])
    }
}

/// From edges to the nodes that they start at.
pub(super) struct Scatter {
    frames: Arc<EdgeFrames>,
    /// Of the first end alone.
    turns: [Vec<Turn>; 1],
    dim: usize,
}

impl Scatter {
    /// For `edges` rows of features in `layout`.
    pub(super) fn new(frames: &Arc<EdgeFrames>, layout: &Layout, edges: usize) -> Result<Self> {
        frames.check(layout, edges, frames.len())?;
        Ok(Scatter { frames: frames.clone(), turns: [turns(layout, layout, 0)], dim: layout.dim() })
    }

    /// Number of nodes.
    pub(super) fn nodes(&self) -> usize {
        self.frames.nodes
    }

    /// The edges that start at a node, in runs of at most `most` that follow each other.
    pub(super) fn runs(&self, node: usize, most: usize) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for &(edge, _) in self.frames.ends_of(node).iter().filter(|(_, end)| *end == 0) {
            match runs.last_mut() {
                Some(run) if run.end == edge && run.len() < most => run.end += 1,
                _ => runs.push(edge..edge + 1),
            }
        }
        runs
    }

    /// Adds those of the rows of `edges` that start at `node` to its features `y`.
    pub(super) fn add<T: Real>(&self, node: usize, edges: &Range<usize>, rows: &[T], y: &mut [T]) {
        let (d, f) = (self.dim, &self.frames);
        add_turned_back(&self.turns, f.wigner_from(0), f.ends_among(node, edges), edges.start, rows, d, y);
    }

    /// Fills the rows of `edges` with the features `dy` of the nodes that they start at.
    pub(super) fn fill<T: Real>(&self, edges: Range<usize>, dy: &[T], rows: &mut [T]) {
        let (d, f) = (self.dim, &self.frames);
        turn_ends(&self.turns, f.wigner_from(edges.start), &f.edges[edges], dy, d, rows, d);
    }
}

/// All nodes, one by one.
pub(super) fn one_by_one(nodes: usize) -> Vec<Range<usize>> {
    (0..nodes).map(|node| node..node + 1).collect()
}

impl Operation for Scatter {
    const NAME: &'static str = "scatter-rotated";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let all = 0..self.frames.len();
        let y =
            rows::build(self.dim, &one_by_one(self.nodes()), |node, y| self.add(node.start, &all, inputs[0].data, y));
        Ok((y, vec![self.nodes(), self.dim]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        Ok(vec![rows::build(self.dim, &rows::all(self.frames.len()), |chunk, dx| self.fill(chunk, dy, dx))])
    }
}

struct Turned {
    frames: Arc<EdgeFrames>,
    turns: Vec<Turn>,
    dim: usize,
    back: bool,
}

impl Turned {
    fn run<T: Real>(&self, x: &[T], transpose: bool) -> Vec<T> {
        let (d, f) = (self.dim, &self.frames);
        rows::build(d, &rows::all(f.len()), |chunk, y| {
            turn_rows(&self.turns, f.wigner_from(chunk.start), transpose, &x[chunk.start * d..chunk.end * d], d, y);
        })
    }
}

impl Operation for Turned {
    const NAME: &'static str = "rotate-edges";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        Ok((self.run(inputs[0].data, self.back), inputs[0].dims.to_vec()))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        Ok(vec![self.run(dy, !self.back)])
    }
}
