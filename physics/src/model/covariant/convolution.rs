//! DeepH-E3's EquiConv: weighted tensor product with the harmonics of the edge, gate, radial weights.

use crate::Result;
use crate::model::geometry::Geometry;
use candle_core::Tensor;
use tesseral_nn::Scope;
use tesseral_nn::equivariant::frame::gather_rotated;
use tesseral_nn::equivariant::gate::Gate;
use tesseral_nn::equivariant::irreps::{Convention, Irreps, concat};
use tesseral_nn::equivariant::layout::Layout;
use tesseral_nn::equivariant::so2::NodeProduct;
use tesseral_nn::equivariant::tensor_product::{SeparateWeights, TensorProduct};
use tesseral_nn::layers::Perceptron;

/// Width of the two hidden layers of the radial network (fixed in the original).
const HIDDEN: usize = 64;

/// A message on every edge from the features of its two atoms and its own.
pub struct Convolution {
    node: Layout,
    product: NodeProduct,
    reference: TensorProduct,
    weights: SeparateWeights,
    gate: Gate,
    radial: Perceptron,
}

impl Convolution {
    /// From the slots of both ends' `node` and `edge` features to as much of `wanted` as they reach with harmonics up to `lmax_harmonics`;
    /// `basis` radial functions.
    pub fn new(
        scope: &Scope,
        [node, edge]: [&Irreps; 2],
        lmax_harmonics: u32,
        wanted: &Irreps,
        basis: usize,
        convention: Convention,
    ) -> Result<Self> {
        let (input, harmonics) = (concat(&[node, node, edge]), Irreps::spherical_harmonics(lmax_harmonics));
        let gate = Gate::new(&input, &harmonics, wanted);
        let product = NodeProduct::new(node, edge, lmax_harmonics, gate.input().irreps(), convention);
        let reference = TensorProduct::new(&input, &harmonics, gate.input().irreps(), convention);
        Ok(Convolution {
            weights: SeparateWeights::new(&scope.enter("tp"), product.product().paths())?,
            radial: Perceptron::new(&scope.enter("fc"), [basis, HIDDEN, HIDDEN, gate.channels()])?,
            node: Layout::new(node),
            product,
            reference,
            gate,
        })
    }

    /// What the messages are made of.
    pub fn output(&self) -> &Irreps {
        self.gate.output().irreps()
    }

    /// `node` `[N, dim]` in the global frame, `edge` `[E, dim]` in the frames of `geometry`; returns `[E, output dim]`
    /// there.
    pub fn forward(&self, geometry: &Geometry, node: &Tensor, edge: &Tensor) -> Result<Tensor> {
        let (z, r) = self.ungated(geometry, node, edge)?;
        Ok(self.gate.forward_weighted(&z, &r)?)
    }

    /// As [`Self::forward`], summed over the edges that start at each node: `[N, output dim]`, global frame.
    pub fn forward_summed(&self, geometry: &Geometry, node: &Tensor, edge: &Tensor) -> Result<Tensor> {
        let (z, r) = self.ungated(geometry, node, edge)?;
        Ok(self.gate.forward_summed(&geometry.frames, &z, &r)?)
    }

    /// The product and the radial weights.
    fn ungated(&self, geometry: &Geometry, node: &Tensor, edge: &Tensor) -> Result<(Tensor, Tensor)> {
        let (product, weights, frames) = (&self.product, &self.weights, &geometry.frames);
        let z = match &geometry.harmonics {
            None => product.forward(frames, node, edge, weights, geometry.self_loops)?,
            Some(harmonics) => {
                let [pair_layout, edge_layout, _] = product.product().layouts();
                let pair = gather_rotated(frames, &self.node, node)?;
                let x = Tensor::cat(&[pair_layout.to_e3nn().apply(&pair)?, edge_layout.to_e3nn().apply(edge)?], 1)?;
                let z = self.reference.forward(&x, harmonics, &self.weights.full(self.reference.paths())?)?;
                self.gate.input().from_e3nn().apply(&z)?
            }
        };
        Ok((z, self.radial.forward(&geometry.radial_basis)?))
    }
}
