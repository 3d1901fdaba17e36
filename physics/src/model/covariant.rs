//! Stage 1: the network of DeepH-E3 (Gong et al., Nat. Commun. 14, 2848 (2023)), same graph, same parameters, same
//! head, executed in edge frames.
//!
//! Node features live in the global frame, edge features in the frames of their edges, all in layout order.

pub mod convolution;
pub mod update;

use super::geometry::{Execution, Geometry, GeometryOptions};
use super::mismatch::Mismatch;
use crate::hamiltonian::targets::Targets;
use crate::hamiltonian::wigner_eckart::{output_irreps, to_blocks};
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use tesseral_nn::Scope;
use tesseral_nn::equivariant::frame::to_global;
use tesseral_nn::equivariant::irreps::{Convention, Irrep, Irreps, MulIrrep, Parity, concat, couples, sort};
use tesseral_nn::equivariant::layout::Layout;
use tesseral_nn::equivariant::linear::Linear;
use tesseral_nn::equivariant::sparse_map::SparseMap;
use update::{EdgeUpdate, NodeUpdate, UpdateOptions};

/// Widths of stage 1. The defaults are DeepH-E3's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CovariantConfig {
    /// The kind of network; `deeph-e3` is the only one.
    pub kind: Kind,
    /// Pairs of node and edge updates.
    pub blocks: usize,
    /// Scalars of the first node and edge features, such as `64x0e`.
    pub irreps_embed: String,
    /// Node and edge features between blocks.
    pub irreps_mid: String,
    /// Node features after the last node update; empty: as `irreps_mid`, with spin-orbit coupling completed by what
    /// the output needs.
    pub irreps_post_node: String,
    /// Largest degree of the spherical harmonics of the edges.
    pub lmax_harmonics: usize,
    /// Gaussians of the radial weights.
    pub radial_basis: usize,
    /// Range of these Gaussians, angstrom.
    pub radius: f64,
    /// Which e3nn's signs and normalisation: `0.3.5` (published checkpoints) or `0.6`.
    pub e3nn: Convention,
    /// A DeepH-E3 state dict saved as safetensors to start from ([`super::checkpoint_names`]); empty: random weights.
    pub weights: String,
}

/// Kinds of stage 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// DeepH-E3.
    #[default]
    DeephE3,
}

impl Default for CovariantConfig {
    fn default() -> Self {
        CovariantConfig {
            kind: Kind::DeephE3,
            blocks: 3,
            irreps_embed: "64x0e".into(),
            irreps_mid: "64x0e+32x1o+16x2e+8x3o+8x4e".into(),
            irreps_post_node: String::new(),
            lmax_harmonics: 4,
            radial_basis: 128,
            radius: 7.2,
            e3nn: Convention::V035,
            weights: String::new(),
        }
    }
}

impl CovariantConfig {
    /// Everything that is wrong, as `key: reason`.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, text) in [("irreps_embed", &self.irreps_embed), ("irreps_mid", &self.irreps_mid)] {
            match text.parse::<Irreps>() {
                Ok(irreps) if irreps.dim() == 0 => problems.push(format!("{key}: at least one irrep, found none")),
                Ok(irreps) if irreps.lmax() > Some(8) => problems.push(format!("{key}: l at most 8, found {text}")),
                Ok(_) => {}
                Err(e) => problems.push(format!("{key}: irreps such as 64x0e+32x1o, found {text:?} ({e})")),
            }
        }
        if self.irreps_embed.parse::<Irreps>().is_ok_and(|i| i.terms().len() != 1 || !i.terms()[0].ir.is_scalar()) {
            problems.push(format!("irreps_embed: scalars such as 64x0e, found {:?}", self.irreps_embed));
        }
        if self.irreps_post_node.parse::<Irreps>().is_err() {
            problems.push(format!("irreps_post_node: irreps or empty, found {:?}", self.irreps_post_node));
        }
        for (key, value, range) in [
            ("blocks", self.blocks, 1..=16),
            ("lmax_harmonics", self.lmax_harmonics, 0..=8),
            ("radial_basis", self.radial_basis, 2..=4096),
        ] {
            if !range.contains(&value) {
                problems.push(format!("{key}: {} to {}, found {value}", range.start(), range.end()));
            }
        }
        if !(self.radius > 0.0 && self.radius < 1e3) {
            problems.push(format!("radius: angstrom between 0 and 1000, found {}", self.radius));
        }
        problems
    }

    fn irreps(&self, text: &str) -> Result<Irreps> {
        text.parse().map_err(|e| Error::Mismatch {
            what: "irreps".into(),
            expected: "a sum such as 64x0e+32x1o".into(),
            found: format!("{text:?} ({e})"),
        })
    }
}

/// What stage 1 gives for one structure.
#[derive(Clone, Debug)]
pub struct CovariantOutput {
    /// `[N, dim]` node features after the last block, global frame, layout order of [`Covariant::node_layout`].
    pub node: Tensor,
    /// `[E, dim]` edge features after the last block, each in the frame of its edge, layout order of [`Covariant::edge_layout`].
    pub edge: Tensor,
    /// `[E, dim]` the irreps of H(1), global frame, e3nn's order of [`output_irreps`].
    pub irreps: Tensor,
    /// `[E, columns]` H(1) as flat targets, eV, m = -l..l.
    pub blocks: Tensor,
}

impl CovariantOutput {
    /// The same values without the graph of operations behind them.
    pub fn detached(&self) -> Self {
        CovariantOutput {
            node: self.node.detach(),
            edge: self.edge.detach(),
            irreps: self.irreps.detach(),
            blocks: self.blocks.detach(),
        }
    }
}

/// Stage 1.
pub struct Covariant {
    options: GeometryOptions,
    embedding: Linear,
    node_updates: Vec<NodeUpdate>,
    edge_updates: Vec<EdgeUpdate>,
    node_layout: Layout,
    edge_layout: Layout,
    head: Linear,
    output_layout: Layout,
    to_e3nn: SparseMap,
    to_blocks: SparseMap,
    mismatch: Mismatch,
}

impl Covariant {
    /// Declares all parameters in `scope`, under the original's names (see [`super::checkpoint_names`]).
    ///
    /// # Errors
    /// Irreps that do not parse, or parameters of another network in the same scope.
    pub fn new(scope: &Scope, config: &CovariantConfig, targets: &Targets, species: usize) -> Result<Self> {
        let (embed, mid) = (config.irreps(&config.irreps_embed)?, config.irreps(&config.irreps_mid)?);
        let output = output_irreps(targets);
        let post_edge = sort(&output).0.simplify();
        let harmonics = Irreps::spherical_harmonics(config.lmax_harmonics as u32);
        let post_node = match config.irreps_post_node.as_str() {
            "" if targets.spinful() => completed(&mid, &mid, &harmonics, &post_edge),
            "" => mid.clone(),
            text => config.irreps(text)?,
        };
        let convention = config.e3nn;
        let one_hot = Irreps::new(vec![MulIrrep { mul: species, ir: Irrep::new(0, Parity::Even) }]);
        let embedding = Linear::new(&scope.enter("embedding"), &one_hot, &embed, 1, false, convention)?;
        let (mut node, mut edge) = (embed.clone(), embed.clone());
        let (mut node_updates, mut edge_updates) = (Vec::new(), Vec::new());
        let mut lmax = output.lmax();
        for block in 0..config.blocks {
            let last = block + 1 == config.blocks;
            let (lmax_harmonics, basis) = (config.lmax_harmonics as u32, config.radial_basis);
            let wanted = if last { &post_node } else { &mid };
            let options =
                UpdateOptions { node: &node, edge: &edge, wanted, lmax_harmonics, basis, species, convention };
            let update = NodeUpdate::new(&scope.enter("node_update_blocks").enter(block), &options)?;
            node = update.output().clone();
            node_updates.push(update);
            let wanted = if last { &post_edge } else { &mid };
            let options =
                UpdateOptions { node: &node, edge: &edge, wanted, lmax_harmonics, basis, species, convention };
            let update = EdgeUpdate::new(&scope.enter("edge_update_blocks").enter(block), &options)?;
            edge = update.output().clone();
            edge_updates.push(update);
            lmax = lmax.max(node.lmax()).max(edge.lmax());
        }
        let head = Linear::sorted(&scope.enter("lin_edge"), &edge, &output, true, convention)?;
        Ok(Covariant {
            options: GeometryOptions {
                lmax_features: lmax.unwrap_or(0) as usize,
                lmax_harmonics: config.lmax_harmonics,
                edge_basis: embed.dim(),
                radial_basis: config.radial_basis,
                radius: config.radius,
                execution: Execution::EdgeFrame,
            },
            embedding,
            node_updates,
            edge_updates,
            node_layout: Layout::new(&node),
            edge_layout: Layout::new(&edge),
            to_e3nn: head.output().to_e3nn_of(&output),
            head,
            to_blocks: to_blocks(targets, convention),
            mismatch: Mismatch::new(targets, convention),
            output_layout: Layout::new(&output),
        })
    }

    /// What a [`Geometry`] for this network must be made with.
    pub fn geometry_options(&self) -> &GeometryOptions {
        &self.options
    }

    /// Layout of the last node features.
    pub fn node_layout(&self) -> &Layout {
        &self.node_layout
    }

    /// Layout of the last edge features.
    pub fn edge_layout(&self) -> &Layout {
        &self.edge_layout
    }

    /// Layout of the irreps of H.
    pub fn output_layout(&self) -> &Layout {
        &self.output_layout
    }

    /// How far the blocks are from hermitian.
    pub fn mismatch(&self) -> &Mismatch {
        &self.mismatch
    }

    /// The map from irreps (e3nn's order) to flat targets.
    pub fn to_blocks(&self) -> &SparseMap {
        &self.to_blocks
    }

    /// Runs the network.
    ///
    /// # Errors
    /// A geometry made with other options.
    pub fn forward(&self, geometry: &Geometry) -> Result<CovariantOutput> {
        self.forward_traced(geometry, |_, _, _| Ok(()))
    }

    /// As [`Self::forward`], showing `trace` the features after each block: (block, node, edge), edge in its frame.
    ///
    /// # Errors
    /// As there, and those of `trace`.
    pub fn forward_traced(
        &self,
        geometry: &Geometry,
        mut trace: impl FnMut(usize, &Tensor, &Tensor) -> Result<()>,
    ) -> Result<CovariantOutput> {
        let mut node = self.embedding.forward_plain(&geometry.one_hot)?;
        let mut edge = geometry.edge_basis.clone();
        for (block, (update_node, update_edge)) in self.node_updates.iter().zip(&self.edge_updates).enumerate() {
            node = update_node.forward(geometry, &node, &edge)?;
            edge = update_edge.forward(geometry, &node, &edge)?;
            trace(block, &node, &edge)?;
        }
        let y = self.head.forward_plain(&edge)?;
        let irreps = self.to_e3nn.apply(&to_global(&geometry.frames, self.head.output(), &y)?)?;
        let blocks = self.to_blocks.apply(&irreps)?;
        Ok(CovariantOutput { node: node.detach(), edge: edge.detach(), irreps, blocks })
    }
}

/// `post` with the fewest irreps added that let the last edge update reach all of `output`: spin-orbit coupling needs
/// both parities, features between blocks have one (DeepH-E3, `refine_post_node`).
fn completed(post: &Irreps, mid: &Irreps, harmonics: &Irreps, output: &Irreps) -> Irreps {
    let reach = |from: &Irreps, ir: Irrep| {
        from.terms().iter().any(|a| harmonics.terms().iter().any(|b| couples(a.ir, b.ir, ir)))
    };
    let mut added: Vec<Irrep> = Vec::new();
    for missing in output.terms().iter().filter(|t| !reach(&concat(&[post, mid]), t.ir)) {
        let mut candidates: Vec<Irrep> = harmonics.terms().iter().flat_map(|h| missing.ir.product(h.ir)).collect();
        candidates.sort_by_key(|ir| (ir.l, ir.p.sign()));
        let reachable = candidates.into_iter().find(|ir| reach(mid, *ir));
        added.extend(reachable.filter(|ir| !added.contains(ir)));
    }
    let width = |l: u32| post.terms().iter().find(|t| t.ir.l == l).or(post.terms().last()).map_or(1, |t| t.mul);
    let added = added.into_iter().map(|ir| MulIrrep { mul: width(ir.l), ir }).collect();
    concat(&[post, &Irreps::new(added)])
}
