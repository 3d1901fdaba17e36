//! Stage 2: a non-linear graph Transformer that corrects stage 1 (HarmoSE, arXiv 2401.00744: a cascade on the covariant
//! features and the baseline of stage 1, learning equivariance empirically).
//!
//! Tokens are nodes and edges. Each block lets nodes attend over their edges, then updates edges from both ends. Raw
//! components of the covariant features and of H(1) enter, so the maps are not equivariant by construction; training
//! turns them by random rotations (the cached features are rotated, stage 1 does not run again). The last layer starts
//! at zero: refinement starts at the baseline.

pub mod statistics;

use super::covariant::{Covariant, CovariantOutput};
use super::geometry::Geometry;
use crate::Result;
use candle_core::Tensor;
use nalgebra::Matrix3;
use serde::{Deserialize, Serialize};
use statistics::Statistics;
use std::sync::Arc;
use tesseral_nn::Scope;
use tesseral_nn::attention::edges::{Neighbours, edge_attention};
use tesseral_nn::equivariant::frame::{EdgeFrames, to_edge_frame, to_global};
use tesseral_nn::equivariant::irreps::{Irreps, concat};
use tesseral_nn::equivariant::layout::Layout;
use tesseral_nn::equivariant::sparse_map::SparseMap;
use tesseral_nn::equivariant::spherical_harmonics::spherical_harmonics;
use tesseral_nn::layers::Dense;
use tesseral_nn::layers::activation::silu;
use tesseral_nn::layers::norm::LayerNorm;

/// Widths of stage 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RefineConfig {
    /// In which frame the Transformer sees components; `global` is the paper's.
    pub frame: Frame,
    /// Random rotations of training samples.
    pub augmentation: Augmentation,
    /// Width of node and edge tokens.
    pub width: usize,
    /// Attention and edge updates.
    pub blocks: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer of every two-layer map.
    pub hidden: usize,
}

/// Frames of stage 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Frame {
    /// The crystal's axes.
    #[default]
    Global,
}

/// Which rotations a training sample may be turned by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augmentation {
    /// None: accurate in the orientations of the data, wrong in others.
    None,
    /// All rotations.
    #[default]
    Rotations,
}

impl Default for RefineConfig {
    fn default() -> Self {
        RefineConfig {
            frame: Frame::Global,
            augmentation: Augmentation::Rotations,
            width: 128,
            blocks: 2,
            heads: 4,
            hidden: 256,
        }
    }
}

impl RefineConfig {
    /// Everything that is wrong, as `key: reason`.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value, most) in [
            ("width", self.width, 4096),
            ("blocks", self.blocks, 32),
            ("heads", self.heads, 64),
            ("hidden", self.hidden, 16384),
        ] {
            if !(1..=most).contains(&value) {
                problems.push(format!("{key}: 1 to {most}, found {value}"));
            }
        }
        if self.heads > 0 && self.width % self.heads != 0 {
            problems.push(format!("width: a multiple of heads ({}), found {}", self.heads, self.width));
        }
        problems
    }
}

/// What stage 2 reads of one structure: constants once stage 1 is trained.
#[derive(Clone, Debug)]
pub struct RefineInput {
    /// `[N, dim]` node features over their root mean squares, layout order, global frame.
    node: Tensor,
    /// `[E, dim]` edge features, irreps of H(1) and harmonics of the edge, likewise.
    edge: Tensor,
    /// `[E, dim]` size of the correction that is to be expected, per slot and distance, eV.
    scale: Tensor,
    /// `[E, basis]` Gaussians of the distance.
    radial: Tensor,
    /// `[E, columns]` H(1), eV.
    baseline: Tensor,
    /// Edges by their first node.
    neighbours: Arc<Neighbours>,
    /// Nodes at the two ends, `[E]` u32 each.
    ends: [Tensor; 2],
}

struct Block {
    node_norm: LayerNorm,
    edge_norm: LayerNorm,
    query: Dense,
    keys_values: Dense,
    bias: Dense,
    attended: Dense,
    node_hidden: [Dense; 2],
    mix_norm: LayerNorm,
    mix_nodes: Dense,
    edge_hidden: Dense,
    edge_out: Dense,
}

/// Stage 2.
pub struct Refine {
    node_layout: Layout,
    edge_layout: Layout,
    output_layout: Layout,
    lmax: usize,
    to_blocks: SparseMap,
    node_in: Dense,
    edge_in: Dense,
    blocks: Vec<Block>,
    head_norm: LayerNorm,
    head: [Dense; 2],
}

/// Degrees of the edge's harmonics among the inputs.
const LMAX_DIRECTION: u32 = 2;

impl Refine {
    /// Declares all parameters in `scope`, for inputs from `covariant`.
    ///
    /// # Errors
    /// Parameters of another network in the same scope.
    pub fn new(scope: &Scope, config: &RefineConfig, covariant: &Covariant) -> Result<Self> {
        let (width, hidden) = (config.width, config.hidden);
        let output_layout = covariant.output_layout().clone();
        let node_layout = covariant.node_layout().clone();
        let edge_layout = Layout::new(&edge_irreps(covariant));
        let radial = covariant.geometry_options().radial_basis;
        let make = |k: usize| -> Result<Block> {
            let s = scope.enter("blocks").enter(k);
            Ok(Block {
                node_norm: LayerNorm::new(&s.enter("node_norm"), width)?,
                edge_norm: LayerNorm::new(&s.enter("edge_norm"), width)?,
                query: Dense::new(&s.enter("query"), width, width)?,
                keys_values: Dense::new(&s.enter("keys_values"), 2 * width, 2 * width)?,
                bias: Dense::new(&s.enter("bias"), radial, config.heads)?,
                attended: Dense::new(&s.enter("attended"), width, width)?,
                node_hidden: [
                    Dense::new(&s.enter("node_mlp").enter(0), width, hidden)?,
                    Dense::new(&s.enter("node_mlp").enter(1), hidden, width)?,
                ],
                mix_norm: LayerNorm::new(&s.enter("mix_norm"), width)?,
                mix_nodes: Dense::new(&s.enter("mix_nodes"), width, 2 * hidden)?,
                edge_hidden: Dense::new(&s.enter("edge_mlp").enter(0), width, hidden)?,
                edge_out: Dense::new(&s.enter("edge_mlp").enter(1), hidden, width)?,
            })
        };
        Ok(Refine {
            node_in: Dense::new(&scope.enter("node_in"), node_layout.dim(), width)?,
            edge_in: Dense::new(&scope.enter("edge_in"), edge_layout.dim() + radial, width)?,
            blocks: (0..config.blocks).map(make).collect::<Result<_>>()?,
            head_norm: LayerNorm::new(&scope.enter("head_norm"), width)?,
            head: [
                Dense::new(&scope.enter("head").enter(0), width, hidden)?,
                Dense::zeros(&scope.enter("head").enter(1), hidden, output_layout.dim())?,
            ],
            lmax: covariant.geometry_options().lmax_features.max(LMAX_DIRECTION as usize),
            to_blocks: covariant.to_blocks().clone(),
            node_layout,
            edge_layout,
            output_layout,
        })
    }

    /// The cached input from what stage 1 gave for a structure.
    ///
    /// # Errors
    /// Statistics of another network.
    pub fn input(&self, covariant: &CovariantOutput, geometry: &Geometry, s: &Statistics) -> Result<RefineInput> {
        let device = covariant.node.device();
        let edge = edge_components(covariant, geometry, &self.edge_layout, &self.output_layout)?;
        let rows = |values: Vec<f64>| -> Result<Tensor> {
            let count = values.len();
            Ok(Tensor::from_vec(values, (1, count), device)?.to_dtype(edge.dtype())?)
        };
        let inverse = |rms: &[f64], layout: &Layout| rows(s.spread(rms, layout, |x| 1.0 / x));
        let lengths = geometry.vectors.iter().map(|v| (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt());
        let scale: Vec<f64> = lengths.flat_map(|r| s.residual_scale(r, &self.output_layout)).collect();
        let shape = (geometry.vectors.len(), self.output_layout.dim());
        let ends = |k: usize| {
            let list: Vec<u32> = geometry.edge_frames.edges().iter().map(|e| e[k] as u32).collect();
            Tensor::new(list, device)
        };
        let sources: Vec<usize> = geometry.edge_frames.edges().iter().map(|e| e[0]).collect();
        Ok(RefineInput {
            node: covariant.node.broadcast_mul(&inverse(&s.node_rms, &self.node_layout)?)?.detach(),
            edge: edge.broadcast_mul(&inverse(&s.edge_rms, &self.edge_layout)?)?.detach(),
            scale: Tensor::from_vec(scale, shape, device)?.to_dtype(edge.dtype())?,
            radial: geometry.radial_basis.clone(),
            baseline: covariant.blocks.detach(),
            neighbours: Arc::new(Neighbours::new(geometry.edge_frames.nodes(), &sources)?),
            ends: [ends(0)?, ends(1)?],
        })
    }

    /// The refined blocks `[E, columns]`, eV. With `rotation` the network sees the turned crystal and its answer is
    /// turned back.
    ///
    /// # Errors
    /// An input made by another network.
    pub fn forward(&self, input: &RefineInput, rotation: Option<&Matrix3<f64>>) -> Result<Tensor> {
        let (nodes, edges) = (input.node.dims()[0], input.edge.dims()[0]);
        let turn = |rows| rotation.map(|r| Arc::new(EdgeFrames::uniform(rows, r, self.lmax)));
        let (node_frames, edge_frames) = (turn(nodes), turn(edges));
        let turned = |frames: &Option<Arc<EdgeFrames>>, layout: &Layout, x: &Tensor| -> Result<Tensor> {
            frames.as_ref().map_or_else(|| Ok(x.clone()), |f| Ok(to_edge_frame(f, layout, x)?))
        };
        let mut n = self.node_in.forward(&turned(&node_frames, &self.node_layout, &input.node)?)?;
        let x = turned(&edge_frames, &self.edge_layout, &input.edge)?;
        let mut e = self.edge_in.forward(&Tensor::cat(&[&x, &input.radial], 1)?)?;
        for block in &self.blocks {
            (n, e) = block.forward(input, &n, &e)?;
        }
        let y = self.head[1].forward(&silu(&self.head[0].forward(&self.head_norm.forward(&e)?)?)?)?;
        let mut y = (y * &input.scale)?;
        if let Some(frames) = &edge_frames {
            y = to_global(frames, &self.output_layout, &y)?;
        }
        let correction = self.to_blocks.apply(&self.output_layout.to_e3nn().apply(&y)?)?;
        Ok((&input.baseline + correction)?)
    }
}

impl Block {
    fn forward(&self, input: &RefineInput, n: &Tensor, e: &Tensor) -> Result<(Tensor, Tensor)> {
        let (ns, es) = (self.node_norm.forward(n)?, self.edge_norm.forward(e)?);
        let far = ns.index_select(&input.ends[1], 0)?;
        let kv = self.keys_values.forward(&Tensor::cat(&[far, es.clone()], 1)?)?;
        let bias = self.bias.forward(&input.radial)?;
        let a = edge_attention(&input.neighbours, &self.query.forward(&ns)?, &kv, &bias)?;
        let n = (n + self.attended.forward(&a)?)?;
        let hidden = silu(&self.node_hidden[0].forward(&n)?)?;
        let n = (n + self.node_hidden[1].forward(&hidden)?)?;
        // A linear map of [n_i, n_j, e_ij], the node parts computed once a node.
        let parts = self.mix_nodes.forward(&self.mix_norm.forward(&n)?)?;
        let hidden = parts.dims2()?.1 / 2;
        let near = parts.narrow(1, 0, hidden)?.contiguous()?.index_select(&input.ends[0], 0)?;
        let far = parts.narrow(1, hidden, hidden)?.contiguous()?.index_select(&input.ends[1], 0)?;
        let mixed = ((self.edge_hidden.forward(&es)? + near)? + far)?;
        let e = (e + self.edge_out.forward(&silu(&mixed)?)?)?;
        Ok((n, e))
    }
}

/// Irreps of the edge inputs: features, H(1), harmonics of the direction.
fn edge_irreps(covariant: &Covariant) -> Irreps {
    let direction = Irreps::spherical_harmonics(LMAX_DIRECTION);
    concat(&[covariant.edge_layout().irreps(), covariant.output_layout().irreps(), &direction])
}

/// The edge inputs before normalisation, `[E, dim]` in `layout`.
fn edge_components(
    covariant: &CovariantOutput,
    geometry: &Geometry,
    layout: &Layout,
    output: &Layout,
) -> Result<Tensor> {
    let split = layout.irreps().terms().len() - output.irreps().terms().len() - LMAX_DIRECTION as usize - 1;
    let features = Layout::new(&Irreps::new(layout.irreps().terms()[..split].to_vec()));
    let values: Vec<f64> =
        geometry.vectors.iter().flat_map(|v| spherical_harmonics(LMAX_DIRECTION as usize, *v)).collect();
    let shape = (geometry.vectors.len(), values.len() / geometry.vectors.len().max(1));
    let direction =
        Tensor::from_vec(values, shape, covariant.edge.device())?.to_dtype(covariant.edge.dtype())?;
    let parts = [features.to_e3nn().apply(&covariant.edge)?, covariant.irreps.clone(), direction];
    Ok(layout.from_e3nn().apply(&Tensor::cat(&parts, 1)?)?)
}
