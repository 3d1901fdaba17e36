//! All constants of one structure that the network reads, computed once.

use crate::Result;
use crate::graph::CrystalGraph;
use candle_core::{DType, Device, Tensor};
use std::ops::Range;
use std::sync::Arc;
use tesseral_nn::equivariant::frame::EdgeFrames;
use tesseral_nn::equivariant::linear::Segment;
use tesseral_nn::equivariant::spherical_harmonics::spherical_harmonics;
use tesseral_nn::layers::gaussian::gaussians;

/// How the weighted tensor products are executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// In each edge's own frame, as matrix products.
    #[default]
    EdgeFrame,
    /// As the sum over Clebsch-Gordan tensors in the global frame: slow, the oracle of the tests.
    ClebschGordan,
}

/// What of the network's configuration a geometry depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeometryOptions {
    /// Largest degree of any feature.
    pub lmax_features: usize,
    /// Largest degree of the harmonics.
    pub lmax_harmonics: usize,
    /// Gaussians of the initial edge features, on 0..6 angstrom.
    pub edge_basis: usize,
    /// Gaussians of the radial weights, on 0..`radius`.
    pub radial_basis: usize,
    /// Angstrom.
    pub radius: f64,
    /// Frames or Clebsch-Gordan sums.
    pub execution: Execution,
}

/// In f32 a Gaussian below this is zero: nothing that a sum of f32 could see, but its products with gradients, and their squares
/// in Adam, would be subnormal numbers, which cost some processors a hundred times as much.
const SMALLEST_GAUSSIAN: f64 = 1e-10;

/// Range of the Gaussians of the initial edge features, angstrom (fixed in the original).
pub const EDGE_BASIS_RANGE: f64 = 6.0;

/// One structure, ready for the network. N atoms, E edges in the order of [`CrystalGraph`].
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Frames of the edges; identities for [`Execution::ClebschGordan`].
    pub frames: Arc<EdgeFrames>,
    /// Real frames of the edges whatever the execution.
    pub edge_frames: Arc<EdgeFrames>,
    /// `[E, (lmax + 1)^2]` harmonics, only for [`Execution::ClebschGordan`].
    pub harmonics: Option<Tensor>,
    /// `[N, species]` one-hot.
    pub one_hot: Tensor,
    /// Atoms by species.
    pub node_classes: Arc<[Segment]>,
    /// Edges by pair of species.
    pub edge_classes: Arc<[Segment]>,
    /// Rows of atoms of each graph (one).
    pub node_graphs: Vec<Range<usize>>,
    /// Rows of edges of each graph (one).
    pub edge_graphs: Vec<Range<usize>>,
    /// `[E, edge_basis]`.
    pub edge_basis: Tensor,
    /// `[E, radial_basis]`.
    pub radial_basis: Tensor,
    /// For each edge the one that runs back, where it is there.
    pub reverse: Vec<Option<usize>>,
    /// Edges of length 0, the first ones.
    pub self_loops: usize,
    /// Edge vectors r_j + R A - r_i, angstrom.
    pub vectors: Vec<[f64; 3]>,
}

impl Geometry {
    /// Computes everything from the graph.
    ///
    /// # Errors
    /// As the primitives; not for a graph made by [`CrystalGraph::new`].
    pub fn new(graph: &CrystalGraph, options: &GeometryOptions, dtype: DType) -> Result<Self> {
        let (atoms, ends) = (graph.species.len(), graph.ends());
        let vectors: Vec<[f64; 3]> = graph.edges.iter().map(|e| e.vector.into()).collect();
        let lengths: Vec<f64> = graph.edges.iter().map(|e| e.vector.norm()).collect();
        let tensor = |values: Vec<f64>, rows: usize| -> Result<Tensor> {
            let columns = values.len() / rows.max(1);
            Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?.to_dtype(dtype)?)
        };
        let smallest = if dtype == DType::F32 { SMALLEST_GAUSSIAN } else { 0.0 };
        let basis = |stop: f64, count: usize| {
            let values = lengths.iter().flat_map(|r| gaussians(*r, stop, count));
            tensor(values.map(|g| if g < smallest { 0.0 } else { g }).collect(), lengths.len())
        };
        let one_hot = graph.species.iter().flat_map(|s| (0..graph.species_count).map(move |k| f64::from(k == *s)));
        let lmax = options.lmax_features;
        let edge_frames = Arc::new(EdgeFrames::new(atoms, &ends, &vectors, lmax)?);
        let (frames, harmonics) = match options.execution {
            Execution::EdgeFrame => (edge_frames.clone(), None),
            Execution::ClebschGordan => {
                let values = vectors.iter().flat_map(|v| spherical_harmonics(options.lmax_harmonics, *v)).collect();
                let identities = EdgeFrames::new(atoms, &ends, &vec![[0.0; 3]; ends.len()], lmax)?;
                (Arc::new(identities), Some(tensor(values, ends.len())?))
            }
        };
        Ok(Geometry {
            frames,
            edge_frames,
            harmonics,
            one_hot: tensor(one_hot.collect(), atoms)?,
            node_classes: Segment::runs(&graph.species),
            edge_classes: Segment::runs(&graph.classes()),
            node_graphs: std::iter::once(0..atoms).collect(),
            edge_graphs: std::iter::once(0..ends.len()).collect(),
            edge_basis: basis(EDGE_BASIS_RANGE, options.edge_basis)?,
            radial_basis: basis(options.radius, options.radial_basis)?,
            reverse: graph.reverse_edges(),
            self_loops: graph.self_loops,
            vectors,
        })
    }
}
