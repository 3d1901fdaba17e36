//! The two halves of a DeepH-E3 block: new node features from messages, then new edge features from those.

use super::convolution::Convolution;
use crate::Result;
use crate::model::geometry::Geometry;
use candle_core::Tensor;
use tesseral_nn::Scope;
use tesseral_nn::equivariant::irreps::{Convention, Irreps};
use tesseral_nn::equivariant::linear::{Linear, Segment};
use tesseral_nn::equivariant::norm::{LayerNorm, NormOptions};
use tesseral_nn::layers::activation::add;

/// What both updates are made from.
pub struct UpdateOptions<'a> {
    /// Irreps of the node and edge features that come in.
    pub node: &'a Irreps,
    /// As above.
    pub edge: &'a Irreps,
    /// What should come out.
    pub wanted: &'a Irreps,
    /// Degrees of the harmonics.
    pub lmax_harmonics: u32,
    /// Radial functions.
    pub basis: usize,
    /// Number of species.
    pub species: usize,
    /// Which e3nn.
    pub convention: Convention,
}

/// What follows the convolution in either update: linear map, self-connection by class, norm, skip.
struct Tail {
    post: Linear,
    self_connection: Linear,
    norm: LayerNorm,
    skip: Option<Linear>,
}

impl Tail {
    fn new(scope: &Scope, old: &Irreps, new: &Irreps, classes: usize, convention: Convention) -> Result<Self> {
        let skip_scope = scope.enter("skip_connect").enter("sc");
        let skip = (old != new).then(|| Linear::new(&skip_scope, old, new, 1, false, convention)).transpose()?;
        Ok(Tail {
            post: Linear::new(&scope.enter("lin_post"), new, new, 1, true, convention)?,
            self_connection: Linear::new(&scope.enter("sc"), old, new, classes, false, convention)?,
            norm: LayerNorm::new(&scope.enter("norm"), new, NormOptions::default())?,
            skip,
        })
    }

    /// Before the norm.
    fn mix(&self, message: &Tensor, old: &Tensor, classes: &std::sync::Arc<[Segment]>) -> Result<Tensor> {
        Ok(self.self_connection.forward_added(old, classes, &self.post.forward_plain(message)?)?)
    }

    fn skip(&self, new: Tensor, old: &Tensor) -> Result<Tensor> {
        Ok(match &self.skip {
            Some(linear) => linear.forward_added(old, &Segment::whole(old.dims2()?.0), &new)?,
            None => add(&new, old)?,
        })
    }
}

/// DeepH-E3's NodeUpdateBlock.
pub struct NodeUpdate {
    pre: Linear,
    convolution: Convolution,
    tail: Tail,
}

impl NodeUpdate {
    /// Declares its parameters under the names of the original.
    pub fn new(scope: &Scope, o: &UpdateOptions) -> Result<Self> {
        let convolution = Convolution::new(
            &scope.enter("conv"),
            [o.node, o.edge],
            o.lmax_harmonics,
            o.wanted,
            o.basis,
            o.convention,
        )?;
        Ok(NodeUpdate {
            pre: Linear::new(&scope.enter("lin_pre"), o.node, o.node, 1, true, o.convention)?,
            tail: Tail::new(scope, o.node, convolution.output(), o.species, o.convention)?,
            convolution,
        })
    }

    /// Irreps of the new node features.
    pub fn output(&self) -> &Irreps {
        self.convolution.output()
    }

    /// `node` `[N, dim]` (global frame), `edge` `[E, dim]` (edge frames), layout order; new node features.
    pub fn forward(&self, geometry: &Geometry, node: &Tensor, edge: &Tensor) -> Result<Tensor> {
        let message = self.convolution.forward_summed(geometry, &self.pre.forward_plain(node)?, edge)?;
        let mixed = self.tail.mix(&message, node, &geometry.node_classes)?;
        self.tail.skip(self.tail.norm.forward(&mixed, &geometry.node_graphs, None)?, node)
    }
}

/// DeepH-E3's EdgeUpdateBlock.
pub struct EdgeUpdate {
    pre: Linear,
    convolution: Convolution,
    tail: Tail,
}

impl EdgeUpdate {
    /// Declares its parameters under the names of the original; `o.node` are the irreps after the node update.
    pub fn new(scope: &Scope, o: &UpdateOptions) -> Result<Self> {
        let convolution = Convolution::new(
            &scope.enter("conv"),
            [o.node, o.edge],
            o.lmax_harmonics,
            o.wanted,
            o.basis,
            o.convention,
        )?;
        Ok(EdgeUpdate {
            pre: Linear::new(&scope.enter("lin_pre"), o.edge, o.edge, 1, true, o.convention)?,
            tail: Tail::new(scope, o.edge, convolution.output(), o.species * o.species, o.convention)?,
            convolution,
        })
    }

    /// Irreps of the new edge features.
    pub fn output(&self) -> &Irreps {
        self.convolution.output()
    }

    /// `node` `[N, dim]` already updated, `edge` `[E, dim]`; new edge features (edge frames).
    pub fn forward(&self, geometry: &Geometry, node: &Tensor, edge: &Tensor) -> Result<Tensor> {
        let message = self.convolution.forward(geometry, node, &self.pre.forward_plain(edge)?)?;
        let mixed = self.tail.mix(&message, edge, &geometry.edge_classes)?;
        self.tail.skip(self.tail.norm.forward(&mixed, &geometry.edge_graphs, Some(&geometry.frames))?, edge)
    }
}
