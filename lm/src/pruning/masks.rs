//! What is masked, the masks that are learned, and their values in one forward pass (arXiv 2310.06694, section 2.1).

use super::hard_concrete::{self, LARGEST, Zeros};
use super::shape::Shape;
use crate::{Error, Result};
use candle_core::{Tensor, Var};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tesseral_nn::layers::arrange::gather;
use tesseral_nn::rng::Streams;
use tesseral_nn::{Init, Parameters};

/// Names of all masks and multipliers begin so.
pub const PREFIX: &str = "pruning";

/// What one mask is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Dimensions of the residual stream, the same in all layers: `[1, hidden]`.
    Hidden,
    /// Groups of heads (single heads where each has its own key head): `[layers, groups]`.
    Head,
    /// Dimensions of the feed-forward parts: `[layers, intermediate]`.
    Intermediate,
    /// Whole layers: `[1, layers]`.
    Layer,
    /// The attention of layers, instead of [`Kind::Layer`]: `[1, layers]`.
    HeadLayer,
    /// The feed-forward parts of layers, instead of [`Kind::Layer`]: `[1, layers]`.
    Mlp,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 6] = [Kind::Hidden, Kind::Head, Kind::Intermediate, Kind::Layer, Kind::HeadLayer, Kind::Mlp];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hidden => "hidden",
            Kind::Head => "head",
            Kind::Intermediate => "intermediate",
            Kind::Layer => "layer",
            Kind::HeadLayer => "head_layer",
            Kind::Mlp => "mlp",
        }
    }

    /// Rows and entries of a row for a model of this shape.
    pub fn sizes(self, shape: &Shape) -> (usize, usize) {
        match self {
            Kind::Hidden => (1, shape.hidden),
            Kind::Head => (shape.layers, shape.groups),
            Kind::Intermediate => (shape.layers, shape.intermediate),
            Kind::Layer | Kind::HeadLayer | Kind::Mlp => (1, shape.layers),
        }
    }

    /// What a model of the first shape is to be masked on to get the second.
    pub fn between(source: &Shape, target: &Shape) -> Vec<Kind> {
        let kinds = [Kind::Hidden, Kind::Head, Kind::Intermediate, Kind::Layer];
        kinds.into_iter().filter(|kind| kind.sizes(source).1 != kind.sizes(target).1).collect()
    }
}

/// Masks whose parameters are variables, `pruning.masks.KIND`.
pub struct LearnedMasks {
    shape: Shape,
    log_alpha: BTreeMap<Kind, Var>,
}

impl LearnedMasks {
    /// Declares them for a model of `shape`, nearly all ones to begin with.
    ///
    /// # Errors
    /// [`Error::Config`] for a mask on layers beside one on their parts.
    pub fn declare(parameters: &Parameters, shape: &Shape, kinds: &[Kind]) -> Result<Self> {
        if kinds.contains(&Kind::Layer) && (kinds.contains(&Kind::HeadLayer) || kinds.contains(&Kind::Mlp)) {
            return Err(Error::config("masks", "expected masks on whole layers or on their parts, found both"));
        }
        let scope = parameters.root().enter(PREFIX).enter("masks");
        let mut log_alpha = BTreeMap::new();
        for kind in kinds {
            scope.parameter(kind.name(), kind.sizes(shape), Init::Constant(LARGEST))?;
            let variable = parameters.get(&format!("{PREFIX}.masks.{}", kind.name()));
            log_alpha.extend(variable.map(|variable| (*kind, variable)));
        }
        Ok(LearnedMasks { shape: *shape, log_alpha })
    }

    /// The shape of the model that is masked.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What is masked, with the parameters.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &Var)> {
        self.log_alpha.iter().map(|(kind, variable)| (*kind, variable))
    }

    /// Brings the parameters back into their range; to be done before they are read.
    ///
    /// # Errors
    /// Those of candle.
    pub fn clamp(&self) -> Result<()> {
        self.log_alpha.values().try_for_each(hard_concrete::clamp)
    }

    /// Uniform noise for each kind, a function of the counters.
    ///
    /// # Errors
    /// Those of candle.
    pub fn noise(&self, streams: Streams, counters: &[u64]) -> Result<BTreeMap<Kind, Tensor>> {
        let draw = |(kind, variable): (Kind, &Var)| {
            let name = format!("{PREFIX}.noise.{}", kind.name());
            Ok((kind, hard_concrete::noise(variable.as_tensor(), streams, &name, counters)?))
        };
        self.iter().map(draw).collect()
    }

    /// Masks drawn with `noise`, which gradients flow through.
    ///
    /// # Errors
    /// [`Error::Config`] for noise that is missing or of another shape.
    pub fn sample(&self, noise: &BTreeMap<Kind, Tensor>) -> Result<Masks> {
        let missing = |kind: Kind| Error::config("noise", format!("expected that of {}, found none", kind.name()));
        let draw = |(kind, variable): (Kind, &Var)| {
            let noise = noise.get(&kind).ok_or_else(|| missing(kind))?;
            Ok((kind, hard_concrete::sample(variable.as_tensor(), noise)?))
        };
        Ok(Masks(self.iter().map(draw).collect::<Result<_>>()?))
    }

    /// Masks without noise: with as many zeros as are expected, or exactly those that `target` asks for.
    ///
    /// # Errors
    /// Those of candle.
    pub fn deterministic(&self, target: Option<&Shape>) -> Result<Masks> {
        let mask = |(kind, variable): (Kind, &Var)| {
            let zeros = target.map_or(Zeros::Expected, |target| Zeros::AllBut(kind.sizes(target).1));
            Ok((kind, hard_concrete::deterministic(variable.as_tensor(), zeros)?))
        };
        Ok(Masks(self.iter().map(mask).collect::<Result<_>>()?))
    }

    /// The probability that each entry is not zero, by kind; differentiable.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn probabilities(&self) -> Result<BTreeMap<Kind, Tensor>> {
        self.iter().map(|(kind, l)| Ok((kind, hard_concrete::probability(l.as_tensor())?))).collect()
    }
}

/// The values of the masks in one forward pass, by kind, in the shapes of [`Kind`]; what is absent is all ones.
#[derive(Clone, Debug, Default)]
pub struct Masks(pub BTreeMap<Kind, Tensor>);

impl Masks {
    /// The mask on the residual stream, `[1, hidden]`.
    pub fn hidden(&self) -> Option<&Tensor> {
        self.0.get(&Kind::Hidden)
    }

    /// What masks the whole attention of a layer, `[1, 1]`.
    ///
    /// # Errors
    /// A layer beyond the last.
    pub fn attention(&self, layer: usize) -> Result<Option<Tensor>> {
        self.of_layer(Kind::HeadLayer, layer)
    }

    /// What masks the whole feed-forward part of a layer, `[1, 1]`.
    ///
    /// # Errors
    /// A layer beyond the last.
    pub fn feed_forward(&self, layer: usize) -> Result<Option<Tensor>> {
        self.of_layer(Kind::Mlp, layer)
    }

    fn of_layer(&self, part: Kind, layer: usize) -> Result<Option<Tensor>> {
        let mask = self.0.get(&Kind::Layer).or(self.0.get(&part));
        mask.map(|mask| Ok(gather(mask, &Arc::from([0]), layer..layer + 1)?)).transpose()
    }

    /// The row of a layer: of [`Kind::Head`] or [`Kind::Intermediate`].
    ///
    /// # Errors
    /// A layer beyond the last.
    pub fn row(&self, kind: Kind, layer: usize) -> Result<Option<Tensor>> {
        let row = |mask: &Tensor| Ok(gather(mask, &Arc::from([layer]), 0..mask.dims2()?.1)?);
        self.0.get(&kind).map(row).transpose()
    }

    /// Numbers of the entries of a mask that are not zero, row by row; `None` where all are ones.
    ///
    /// # Errors
    /// Those of candle.
    pub fn kept(&self, kind: Kind) -> Result<Option<Vec<Vec<usize>>>> {
        let Some(mask) = self.0.get(&kind) else { return Ok(None) };
        let width = mask.dims2()?.1.max(1);
        let places = |row: &[f64]| (0..row.len()).filter(|k| row[*k] != 0.0).collect();
        Ok(Some(hard_concrete::values(mask)?.chunks(width).map(places).collect()))
    }
}
