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
    /// `to += D from` (or `D^T from`), slot by slot.
    fn rotate<T>(turns: &[Turn], d: &[T], transpose: bool, from: &[T], to: &mut [T]) {
        for turn in turns {
            let d = &d[turn.start..];
            match turn.l {
                0 => {
                    let (a, b) = (turn.from[0], turn.to[0]);
                    let (x, y) = (&from[a..a + turn.channels], &mut to[b..b + turn.channels]);
                    y.iter_mut().zip(x).for_each(|(y, x)| *y += *x);
                }
                1 => rotate_slot::<T, 3>(turn, d, transpose, from, to),
                2 => rotate_slot::<T, 5>(turn, d, transpose, from, to),
                3 => rotate_slot::<T, 7>(turn, d, transpose, from, to),
                4 => rotate_slot::<T, 9>(turn, d, transpose, from, to),
                5 => rotate_slot::<T, 11>(turn, d, transpose, from, to),
                6 => rotate_slot::<T, 13>(turn, d, transpose, from, to),
                l => rotate_any(turn, 2 * l + 1, d, transpose, from, to),
            }
        }
    }
}

const LANES: usize = 8;

#[inline(always)]
fn rotate_slot<T: Real, const N: usize>(turn: &Turn, d: &[T], transpose: bool, from: &[T], to: &mut [T]) {
    let (row, column) = if transpose { (1, N) } else { (N, 1) };
    let mut c = 0;
    while c + LANES <= turn.channels {
        let mut x = [[T::zero(); LANES]; N];
        for (x, start) in x.iter_mut().zip(&turn.from) {
            x.copy_from_slice(&from[start + c..start + c + LANES]);
        }
        for (k, start) in turn.to.iter().enumerate() {
            let y = &mut to[start + c..start + c + LANES];
            let mut sum = [T::zero(); LANES];
            for (j, x) in x.iter().enumerate() {
                let w = d[k * row + j * column];
                for lane in 0..LANES {
                    sum[lane] += w * x[lane];
                }
            }
            for lane in 0..LANES {
                y[lane] += sum[lane];
            }
        }
        c += LANES;
    }
    for c in c..turn.channels {
        for (k, start) in turn.to.iter().enumerate() {
            let mut sum = T::zero();
            for (j, from_start) in turn.from.iter().enumerate() {
                sum += d[k * row + j * column] * from[from_start + c];
            }
            to[start + c] += sum;
        }
    }
}

fn rotate_any<T: Real>(turn: &Turn, n: usize, d: &[T], transpose: bool, from: &[T], to: &mut [T]) {
    let (row, column) = if transpose { (1, n) } else { (n, 1) };
    for (k, b) in turn.to.iter().enumerate() {
        for (j, a) in turn.from.iter().enumerate() {
            for c in 0..turn.channels {
                to[b + c] += d[k * row + j * column] * from[a + c];
            }
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
    frames.check(layout, x.dims2()?.0, frames.nodes)?;
    let pair = pair_layout(layout);
    let slots = layout.irreps().terms().len();
    let turns = [turns(layout, &pair, 0), turns(layout, &pair, slots)];
    Ok(apply(Gather { frames: frames.clone(), turns, dim: layout.dim() }, &[x])?)
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

struct Gather {
    frames: Arc<EdgeFrames>,
    turns: [Vec<Turn>; 2],
    dim: usize,
}

impl Operation for Gather {
    const NAME: &'static str = "gather-rotated";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (d, count, x) = (self.dim, self.frames.len(), inputs[0].data);
        let y = rows::build(2 * d, &rows::all(count), |chunk, out| {
            for (edge, out) in chunk.zip(out.chunks_exact_mut(2 * d)) {
                for (turns, node) in self.turns.iter().zip(self.frames.edges[edge]) {
                    rotate(turns, self.frames.wigner(edge), false, &x[node * d..(node + 1) * d], out);
                }
            }
        });
        Ok((y, vec![count, 2 * d]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let (d, f) = (self.dim, &self.frames);
        let flip = |turns: &Vec<Turn>| -> Vec<Turn> {
            let swap = |t: &Turn| Turn { from: t.to.clone(), to: t.from.clone(), ..*t };
            turns.iter().map(swap).collect()
        };
        let turns = [flip(&self.turns[0]), flip(&self.turns[1])];
        let one_by_one: Vec<_> = (0..f.nodes).map(|n| n..n + 1).collect();
        let dx = rows::build(d, &one_by_one, |node, dx| {
            for &(edge, end) in &f.ends[f.starts[node.start]..f.starts[node.end]] {
                rotate(&turns[end], f.wigner(edge), true, &dy[edge * 2 * d..(edge + 1) * 2 * d], dx);
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
                rotate(&self.turns, f.wigner(edge), true, &x[edge * d..(edge + 1) * d], y);
            }
        });
        Ok((y, vec![f.nodes, d]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let (d, f) = (self.dim, &self.frames);
        let dx = rows::build(d, &rows::all(f.len()), |chunk, dx| {
            for (edge, dx) in chunk.zip(dx.chunks_exact_mut(d)) {
                let node = f.edges[edge][0];
                rotate(&self.turns, f.wigner(edge), false, &dy[node * d..(node + 1) * d], dx);
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
                rotate(&self.turns, f.wigner(edge), transpose, &x[edge * d..(edge + 1) * d], y);
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
