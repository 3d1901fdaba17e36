//! Edge frames: each edge's features seen with its direction as the polar axis.
//!
//! The frames are constants of a geometry (no gradient flows into them), computed once and shared by all layers.

use super::irreps::concat;
use super::layout::Layout;
use super::wigner::{packed_length, to_polar_axis, wigner_d_packed};
use crate::kernels::{Array, Operation, Real, apply, rows, vectorised};
use crate::{Error, Result};
use candle_core::Tensor;
use nalgebra::Vector3;
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

    fn check(&self, layout: &Layout, rows: usize, expected: usize) -> Result<()> {
        if layout.lmax() > self.lmax || rows != expected {
            return Err(Error::Shape {
                operation: "edge frames",
                expected: format!("{expected} rows of degree at most {}", self.lmax),
                found: format!("{rows} rows of degree {}", layout.lmax()),
            });
        }
        Ok(())
    }

    /// D of one edge, all degrees packed.
    pub(super) fn wigner<T: Real>(&self, edge: usize) -> &[T] {
        let n = packed_length(self.lmax);
        &T::pick(&self.single, &self.double)[edge * n..(edge + 1) * n]
    }
}

/// A slot as the rotation kernel needs it: degree, channels, columns by m in source and destination.
struct Turn {
    l: usize,
    /// Where D_l starts in the packed matrices.
    start: usize,
    channels: usize,
    from: Vec<usize>,
    to: Vec<usize>,
}

fn turns(from: &Layout, to: &Layout, first_slot_of_to: usize) -> Vec<Turn> {
    let slots = from.irreps().terms().iter().enumerate();
    slots
        .map(|(s, t)| Turn {
            l: t.ir.l as usize,
            start: if t.ir.l == 0 { 0 } else { packed_length(t.ir.l as usize - 1) },
            channels: t.mul,
            from: from.columns(s).to_vec(),
            to: to.columns(first_slot_of_to + s).to_vec(),
        })
        .collect()
}

vectorised! {
    /// `to = D from` (or `D^T from`), slot by slot; added to what is there with `add`.
    fn rotate<T>(turns: &[Turn], d: &[T], transpose: bool, add: bool, from: &[T], to: &mut [T]) {
        for turn in turns {
            let d = &d[turn.start..];
            match turn.l {
                0 => {
                    let (a, b) = (turn.from[0], turn.to[0]);
                    let (x, y) = (&from[a..a + turn.channels], &mut to[b..b + turn.channels]);
                    match add {
                        true => y.iter_mut().zip(x).for_each(|(y, x)| *y += *x),
                        false => y.copy_from_slice(x),
                    }
                }
                1 => rotate_slot::<T, 3>(turn, d, transpose, add, from, to),
                2 => rotate_slot::<T, 5>(turn, d, transpose, add, from, to),
                3 => rotate_slot::<T, 7>(turn, d, transpose, add, from, to),
                4 => rotate_slot::<T, 9>(turn, d, transpose, add, from, to),
                5 => rotate_slot::<T, 11>(turn, d, transpose, add, from, to),
                6 => rotate_slot::<T, 13>(turn, d, transpose, add, from, to),
                l => rotate_columns(turn, 2 * l + 1, 0, d, transpose, add, from, to),
            }
        }
    }
}

#[inline(always)]
fn rotate_slot<T: Real, const N: usize>(turn: &Turn, d: &[T], transpose: bool, add: bool, from: &[T], to: &mut [T]) {
    let mut c = 0;
    while c + 16 <= turn.channels {
        rotate_lanes::<T, N, 16>(turn, c, d, transpose, add, from, to);
        c += 16;
    }
    while c + 8 <= turn.channels {
        rotate_lanes::<T, N, 8>(turn, c, d, transpose, add, from, to);
        c += 8;
    }
    if c < turn.channels {
        rotate_columns(turn, N, c, d, transpose, add, from, to);
    }
}

/// Some adjacent channels from `c` on.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "as its caller")]
fn rotate_lanes<T: Real, const N: usize, const LANES: usize>(
    turn: &Turn,
    c: usize,
    d: &[T],
    transpose: bool,
    add: bool,
    from: &[T],
    to: &mut [T],
) {
    let (row, column) = if transpose { (1, N) } else { (N, 1) };
    let mut x = [[T::zero(); LANES]; N];
    for (x, start) in x.iter_mut().zip(&turn.from) {
        x.copy_from_slice(&from[start + c..start + c + LANES]);
    }
    for (k, start) in turn.to.iter().enumerate() {
        let y = &mut to[start + c..start + c + LANES];
        let mut sum = [T::zero(); LANES];
        if add {
            sum.copy_from_slice(y);
        }
        for (j, x) in x.iter().enumerate() {
            let w = d[k * row + j * column];
            for lane in 0..LANES {
                sum[lane] = w.mul_add(x[lane], sum[lane]);
            }
        }
        y.copy_from_slice(&sum);
    }
}

/// The channels from `first` on, any number of them, of any degree with `n` orders.
#[allow(clippy::too_many_arguments, reason = "as its caller")]
fn rotate_columns<T: Real>(
    turn: &Turn,
    n: usize,
    first: usize,
    d: &[T],
    transpose: bool,
    add: bool,
    from: &[T],
    to: &mut [T],
) {
    let (row, column) = if transpose { (1, n) } else { (n, 1) };
    for (k, b) in turn.to.iter().enumerate() {
        for c in first..turn.channels {
            let mut sum = if add { to[b + c] } else { T::zero() };
            for (j, a) in turn.from.iter().enumerate() {
                sum += d[k * row + j * column] * from[a + c];
            }
            to[b + c] = sum;
        }
    }
}

/// The layout of the features of both ends, first node's slots then second's.
pub fn pair_layout(node: &Layout) -> Layout {
    Layout::new(&concat(&[node.irreps(), node.irreps()]))
}

/// Both ends' node features in the edge frame: `x` `[nodes, dim]` (global frame) -> `[edges, 2 dim]` in
/// [`pair_layout`].
///
/// # Errors
/// Shapes that do not fit the frames.
pub fn gather_rotated(frames: &Arc<EdgeFrames>, layout: &Layout, x: &Tensor) -> Result<Tensor> {
    Ok(apply(Gather(Ends::new(frames, layout, x.dims2()?.0)?), &[x])?)
}

/// Sums edge features (edge frame) over the edges that start at each node: `[edges, dim]` -> `[nodes, dim]` (global).
///
/// # Errors
/// Shapes that do not fit the frames.
pub fn scatter_rotated(frames: &Arc<EdgeFrames>, layout: &Layout, x: &Tensor) -> Result<Tensor> {
    frames.check(layout, x.dims2()?.0, frames.len())?;
    Ok(apply(Scatter { frames: frames.clone(), turns: turns(layout, layout, 0), dim: layout.dim() }, &[x])?)
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

/// Which nodes the edges join, and how their features turn on the way.
pub(super) struct Ends {
    frames: Arc<EdgeFrames>,
    /// For either end from node to pair, and back.
    turns: [Vec<Turn>; 2],
    back: [Vec<Turn>; 2],
    dim: usize,
}

impl Ends {
    /// For features of `nodes` nodes in `layout`.
    pub(super) fn new(frames: &Arc<EdgeFrames>, layout: &Layout, nodes: usize) -> Result<Self> {
        frames.check(layout, nodes, frames.nodes)?;
        let pair = pair_layout(layout);
        let turns = [0, layout.irreps().terms().len()].map(|first| turns(layout, &pair, first));
        let flip = |t: &Turn| Turn { from: t.to.clone(), to: t.from.clone(), ..*t };
        let back = [0, 1].map(|end: usize| turns[end].iter().map(flip).collect());
        Ok(Ends { frames: frames.clone(), turns, back, dim: layout.dim() })
    }

    /// Fills the rows of `pair` with the features of both ends of these edges.
    pub(super) fn gather<T: Real>(&self, edges: Range<usize>, nodes: &[T], pair: &mut [T]) {
        let d = self.dim;
        for (edge, pair) in edges.zip(pair.chunks_exact_mut(2 * d)) {
            for (turns, node) in self.turns.iter().zip(self.frames.edges[edge]) {
                rotate(turns, self.frames.wigner(edge), false, false, &nodes[node * d..(node + 1) * d], pair);
            }
        }
    }

    /// Adds gradients of the rows of these edges to those of their nodes.
    pub(super) fn add_back<T: Real>(&self, edges: Range<usize>, pair: &[T], nodes: &mut [T]) {
        let d = self.dim;
        for (edge, pair) in edges.zip(pair.chunks_exact(2 * d)) {
            for (turns, node) in self.back.iter().zip(self.frames.edges[edge]) {
                rotate(turns, self.frames.wigner(edge), true, true, pair, &mut nodes[node * d..(node + 1) * d]);
            }
        }
    }
}

struct Gather(Ends);

impl Operation for Gather {
    const NAME: &'static str = "gather-rotated";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (d, count) = (self.0.dim, self.0.frames.len());
        let y = rows::build(2 * d, &rows::all(count), |chunk, out| self.0.gather(chunk, inputs[0].data, out));
        Ok((y, vec![count, 2 * d]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let (d, f) = (self.0.dim, &self.0.frames);
        let one_by_one: Vec<_> = (0..f.nodes).map(|n| n..n + 1).collect();
        let dx = rows::build(d, &one_by_one, |node, dx| {
            for &(edge, end) in &f.ends[f.starts[node.start]..f.starts[node.end]] {
                rotate(&self.0.back[end], f.wigner(edge), true, true, &dy[edge * 2 * d..(edge + 1) * 2 * d], dx);
            }
        });
        Ok(vec![dx])
    }
}

struct Scatter {
    frames: Arc<EdgeFrames>,
    turns: Vec<Turn>,
    dim: usize,
}

impl Operation for Scatter {
    const NAME: &'static str = "scatter-rotated";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (d, f, x) = (self.dim, &self.frames, inputs[0].data);
        let one_by_one: Vec<_> = (0..f.nodes).map(|n| n..n + 1).collect();
        let y = rows::build(d, &one_by_one, |node, y| {
            for &(edge, _) in f.ends[f.starts[node.start]..f.starts[node.end]].iter().filter(|e| e.1 == 0) {
                rotate(&self.turns, f.wigner(edge), true, true, &x[edge * d..(edge + 1) * d], y);
            }
        });
        Ok((y, vec![f.nodes, d]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let (d, f) = (self.dim, &self.frames);
        let dx = rows::build(d, &rows::all(f.len()), |chunk, dx| {
            for (edge, dx) in chunk.zip(dx.chunks_exact_mut(d)) {
                let node = f.edges[edge][0];
                rotate(&self.turns, f.wigner(edge), false, false, &dy[node * d..(node + 1) * d], dx);
            }
        });
        Ok(vec![dx])
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
            for (edge, y) in chunk.zip(y.chunks_exact_mut(d)) {
                rotate(&self.turns, f.wigner(edge), transpose, false, &x[edge * d..(edge + 1) * d], y);
            }
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
