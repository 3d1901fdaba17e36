//! Stage 2: a non-linear graph Transformer that corrects stage 1 (HarmoSE, arXiv 2401.00744: a cascade on the covariant
//! features and the baseline of stage 1, learning equivariance empirically).
//!
//! Tokens are nodes and edges. Each block lets nodes attend over their edges, then updates edges from both ends. Raw
//! components of the covariant features and of H(1) enter, so the maps are not equivariant by construction; training
//! turns them by random rotations (the cached features are rotated, stage 1 does not run again). The correction has two
//! parts: raw components from the Transformer, and linear candidates from the covariant features, weighted by it. The
//! second is equivariant as far as the weights are invariant, which the norms of all channels, fed beside the raw
//! components, make easy to learn. The last layer starts at zero: refinement starts at the baseline.

pub mod statistics;

use super::covariant::{Covariant, CovariantOutput};
use super::geometry::Geometry;
use super::mismatch::Mismatch;
use crate::Result;
use candle_core::{DType, Tensor};
use nalgebra::Matrix3;
use serde::{Deserialize, Serialize};
use statistics::Statistics;
use std::sync::Arc;
use tesseral_nn::Scope;
use tesseral_nn::attention::edges::{Neighbours, edge_attention};
use tesseral_nn::equivariant::frame::{EdgeFrames, to_edge_frame, to_global};
use tesseral_nn::equivariant::irreps::{Convention, Irreps, concat};
use tesseral_nn::equivariant::layout::Layout;
use tesseral_nn::equivariant::linear::Linear;
use tesseral_nn::equivariant::mixture::Mixture;
use tesseral_nn::equivariant::sparse_map::SparseMap;
use tesseral_nn::equivariant::spherical_harmonics::spherical_harmonics;
use tesseral_nn::layers::Dense;
use tesseral_nn::layers::activation::{add, silu, times_constant};
use tesseral_nn::layers::arrange::{gather, side_by_side};
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
    /// Covariant candidates for each irrep of the correction; 0: raw components alone.
    pub candidates: usize,
    /// Whether raw components are part of the correction.
    pub raw: bool,
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
            candidates: 4,
            raw: true,
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
        if self.candidates > 64 {
            problems.push(format!("candidates: at most 64, found {}", self.candidates));
        }
        if self.candidates == 0 && !self.raw {
            problems.push("raw: true where there are no candidates, found false".into());
        }
        if self.heads > 0 && !self.width.is_multiple_of(self.heads) {
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
    /// `[E, dim]` edge features, irreps of H(1), its deviation from hermiticity and harmonics of the edge, likewise.
    edge: Tensor,
    /// `[N, channels]` and `[E, channels]` norms of all channels with l > 0.
    node_norms: Tensor,
    edge_norms: Tensor,
    /// `[E, dim]` what candidates are made from: edge inputs and the features of both ends, layout order.
    covariant: Tensor,
    /// `[E, dim]` size of the correction that is to be expected, per slot and distance, eV.
    scale: Tensor,
    /// `[E, basis]` Gaussians of the distance.
    radial: Tensor,
    /// `[E, columns]` H(1), eV.
    baseline: Tensor,
    /// Edges by their first node.
    neighbours: Arc<Neighbours>,
    /// Nodes at the two ends, `[E]` each.
    ends: [Arc<[usize]>; 2],
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
    mismatch: Mismatch,
    node_in: Dense,
    edge_in: Dense,
    blocks: Vec<Block>,
    head_norm: LayerNorm,
    head: Dense,
    raw: Option<Dense>,
    steered: Option<Steered>,
}

/// The part of the correction made from covariant candidates.
struct Steered {
    candidates: Linear,
    weights: Dense,
    mixture: Mixture,
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
            node_in: Dense::new(&scope.enter("node_in"), node_layout.dim() + turning(&node_layout), width)?,
            edge_in: Dense::new(&scope.enter("edge_in"), edge_layout.dim() + turning(&edge_layout) + radial, width)?,
            blocks: (0..config.blocks).map(make).collect::<Result<_>>()?,
            head_norm: LayerNorm::new(&scope.enter("head_norm"), width)?,
            head: Dense::new(&scope.enter("head"), width, hidden)?,
            raw: config.raw.then(|| Dense::zeros(&scope.enter("raw"), hidden, output_layout.dim())).transpose()?,
            steered: (config.candidates > 0)
                .then(|| -> Result<Steered> {
                    let mixture = Mixture::new(output_layout.irreps(), config.candidates);
                    let from = covariant_irreps(covariant);
                    let (to, scope) = (mixture.input().irreps().clone(), scope.enter("steered"));
                    Ok(Steered {
                        candidates: Linear::new(&scope.enter("candidates"), &from, &to, 1, false, Convention::V06)?,
                        weights: Dense::zeros(&scope.enter("weights"), hidden, mixture.weights())?,
                        mixture,
                    })
                })
                .transpose()?,
            lmax: covariant.geometry_options().lmax_features.max(LMAX_DIRECTION as usize),
            to_blocks: covariant.to_blocks().clone(),
            mismatch: covariant.mismatch().clone(),
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
        let mismatch = self.mismatch.of(&covariant.blocks, geometry)?;
        let edge = edge_components(covariant, geometry, mismatch, &self.edge_layout, &self.output_layout)?;
        let rows = |values: Vec<f64>| -> Result<Tensor> {
            let count = values.len();
            Ok(Tensor::from_vec(values, (1, count), device)?.to_dtype(edge.dtype())?)
        };
        let inverse = |rms: &[f64], layout: &Layout| rows(s.spread(rms, layout, |x| 1.0 / x));
        let lengths = geometry.vectors.iter().map(|v| (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt());
        let scale: Vec<f64> = lengths.flat_map(|r| s.residual_scale(r, &self.output_layout)).collect();
        let shape = (geometry.vectors.len(), self.output_layout.dim());
        let ends =
            [0, 1].map(|k: usize| -> Arc<[usize]> { geometry.edge_frames.edges().iter().map(|e| e[k]).collect() });
        let sources: Vec<usize> = geometry.edge_frames.edges().iter().map(|e| e[0]).collect();
        let node = covariant.node.broadcast_mul(&inverse(&s.node_rms, &self.node_layout)?)?.detach();
        let edge = edge.broadcast_mul(&inverse(&s.edge_rms, &self.edge_layout)?)?.detach();
        let (node_e3nn, edge_e3nn) =
            (self.node_layout.to_e3nn().apply(&node)?, self.edge_layout.to_e3nn().apply(&edge)?);
        let end_features = |k: usize| gather(&node_e3nn, &ends[k], 0..self.node_layout.dim());
        let parts = [edge_e3nn, end_features(0)?, end_features(1)?];
        let irreps = [self.edge_layout.irreps(), self.node_layout.irreps(), self.node_layout.irreps()];
        Ok(RefineInput {
            node_norms: norms(&node, &self.node_layout)?,
            edge_norms: norms(&edge, &self.edge_layout)?,
            covariant: Layout::new(&concat(&irreps)).from_e3nn().apply(&Tensor::cat(&parts, 1)?)?.detach(),
            node,
            edge,
            scale: Tensor::from_vec(scale, shape, device)?.to_dtype(covariant.edge.dtype())?,
            radial: geometry.radial_basis.clone(),
            baseline: covariant.blocks.detach(),
            neighbours: Arc::new(Neighbours::new(geometry.edge_frames.nodes(), &sources)?),
            ends,
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
        let x = turned(&node_frames, &self.node_layout, &input.node)?;
        let mut n = self.node_in.forward(&side_by_side(&[&x, &input.node_norms])?)?;
        let x = turned(&edge_frames, &self.edge_layout, &input.edge)?;
        let mut e = self.edge_in.forward(&side_by_side(&[&x, &input.edge_norms, &input.radial])?)?;
        for block in &self.blocks {
            (n, e) = block.forward(input, &n, &e)?;
        }
        let hidden = silu(&self.head.forward(&self.head_norm.forward(&e)?)?)?;
        let raw = self.raw.as_ref().map(|layer| -> Result<Tensor> {
            let y = layer.forward(&hidden)?;
            edge_frames.as_ref().map_or_else(|| Ok(y.clone()), |f| Ok(to_global(f, &self.output_layout, &y)?))
        });
        let steered = self.steered.as_ref().map(|s| -> Result<Tensor> {
            let candidates = s.candidates.forward_plain(&input.covariant)?;
            Ok(s.mixture.forward(&candidates, &s.weights.forward(&hidden)?)?)
        });
        let y = match (raw.transpose()?, steered.transpose()?) {
            (Some(a), Some(b)) => add(&a, &b)?,
            (Some(y), None) | (None, Some(y)) => y,
            (None, None) => input.scale.zeros_like()?,
        };
        // The scale is one number a slot, so it commutes with the rotation that raw components came back through.
        let y = times_constant(&y, &input.scale)?;
        let correction = self.to_blocks.apply(&self.output_layout.to_e3nn().apply(&y)?)?;
        Ok(add(&input.baseline, &correction)?)
    }
}

impl Block {
    fn forward(&self, input: &RefineInput, n: &Tensor, e: &Tensor) -> Result<(Tensor, Tensor)> {
        let (ns, es) = (self.node_norm.forward(n)?, self.edge_norm.forward(e)?);
        let far = gather(&ns, &input.ends[1], 0..ns.dims2()?.1)?;
        let kv = self.keys_values.forward(&side_by_side(&[&far, &es])?)?;
        let bias = self.bias.forward(&input.radial)?;
        let a = edge_attention(&input.neighbours, &self.query.forward(&ns)?, &kv, &bias)?;
        let n = add(n, &self.attended.forward(&a)?)?;
        let hidden = silu(&self.node_hidden[0].forward(&n)?)?;
        let n = add(&n, &self.node_hidden[1].forward(&hidden)?)?;
        // A linear map of [n_i, n_j, e_ij], the node parts computed once a node.
        let parts = self.mix_nodes.forward(&self.mix_norm.forward(&n)?)?;
        let hidden = parts.dims2()?.1 / 2;
        let near = gather(&parts, &input.ends[0], 0..hidden)?;
        let far = gather(&parts, &input.ends[1], hidden..2 * hidden)?;
        let mixed = add(&add(&self.edge_hidden.forward(&es)?, &near)?, &far)?;
        let e = add(e, &self.edge_out.forward(&silu(&mixed)?)?)?;
        Ok((n, e))
    }
}

/// Channels with l > 0.
fn turning(layout: &Layout) -> usize {
    layout.irreps().terms().iter().filter(|t| t.ir.l > 0).map(|t| t.mul).sum()
}

/// `sqrt(sum_m x_m^2 / (2l + 1))` of every channel with l > 0: `[rows, channels]`.
fn norms(x: &Tensor, layout: &Layout) -> Result<Tensor> {
    let rows: Vec<Vec<f64>> = x.to_dtype(DType::F64)?.to_vec2()?;
    let (count, mut out) = (rows.len(), Vec::with_capacity(rows.len() * turning(layout)));
    for row in &rows {
        for (slot, term) in layout.irreps().terms().iter().enumerate().filter(|(_, t)| t.ir.l > 0) {
            for channel in 0..term.mul {
                let squares: f64 = layout.columns(slot).iter().map(|c| row[c + channel].powi(2)).sum();
                out.push((squares / term.ir.dim() as f64).sqrt());
            }
        }
    }
    Ok(Tensor::from_vec(out, (count, turning(layout)), x.device())?.to_dtype(x.dtype())?)
}

/// Irreps that candidates are made from: edge inputs and the features of both ends.
fn covariant_irreps(covariant: &Covariant) -> Irreps {
    let node = covariant.node_layout().irreps();
    concat(&[&edge_irreps(covariant), node, node])
}

/// Irreps of the edge inputs: features, H(1), its deviation from hermiticity, harmonics of the direction.
fn edge_irreps(covariant: &Covariant) -> Irreps {
    let direction = Irreps::spherical_harmonics(LMAX_DIRECTION);
    let output = covariant.output_layout().irreps();
    concat(&[covariant.edge_layout().irreps(), output, output, &direction])
}

/// The edge inputs before normalisation, `[E, dim]` in `layout`.
fn edge_components(
    covariant: &CovariantOutput,
    geometry: &Geometry,
    mismatch: Tensor,
    layout: &Layout,
    output: &Layout,
) -> Result<Tensor> {
    let split = layout.irreps().terms().len() - 2 * output.irreps().terms().len() - LMAX_DIRECTION as usize - 1;
    let features = Layout::new(&Irreps::new(layout.irreps().terms()[..split].to_vec()));
    let values: Vec<f64> =
        geometry.vectors.iter().flat_map(|v| spherical_harmonics(LMAX_DIRECTION as usize, *v)).collect();
    let shape = (geometry.vectors.len(), values.len() / geometry.vectors.len().max(1));
    let direction = Tensor::from_vec(values, shape, covariant.edge.device())?.to_dtype(covariant.edge.dtype())?;
    let edge = to_global(&geometry.frames, &features, &covariant.edge)?;
    let parts = [features.to_e3nn().apply(&edge)?, covariant.irreps.clone(), mismatch, direction];
    Ok(layout.from_e3nn().apply(&Tensor::cat(&parts, 1)?)?)
}
