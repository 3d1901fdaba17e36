//! Any of the three models behind one face: made, read, written, how pieces are drawn for it, and their loss.

use super::super::autoregressive::{Frame, ScreenshotLlama, Sequence};
use super::super::classifier::{Classifier, Labels, Pool};
use super::super::encoder::View;
use super::super::files::{exported, imported, open, save};
use super::super::masked::{Example, Losses, MaskedModel, scalar};
use super::super::shape::MaskedShape;
use super::config::{Objective, ScreenshotConfig};
use super::corpus::{Desk, Piece, labels};
use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::Tensor;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use tesseral_nn::Parameters;
use tesseral_nn::kernels::parallel;
use tesseral_nn::rng::Streams;

/// A screenshot model.
pub enum Model {
    /// Encoder, pixel decoder, text decoder.
    Masked(Box<MaskedModel>),
    /// A decoder of patches and tokens.
    Autoregressive(Box<ScreenshotLlama>, Frame),
    /// Encoder and head, with the shape, the state that is read, and the names of the classes.
    Classification(Box<Classifier>, Box<MaskedShape>, Pool, Vec<String>),
}

/// Parameters of the autoregressive model that a plain Llama has not.
const PATCH_PARTS: [&str; 2] = ["model.patch_projection.", "patch_head."];

impl Model {
    /// Declares the model of a configuration in `parameters` and gives them the weights of `model.path`. `names`: the classes.
    ///
    /// # Errors
    /// Those of the files; [`Error::Invalid`] for a shape with problems; [`Error::Config`] for an image of another size than
    /// the model's, or tensors that do not fit.
    pub fn declare(parameters: &Parameters, config: &ScreenshotConfig, names: &[String]) -> Result<Self> {
        let root = parameters.root();
        let (path, text, tensors) = match &config.model.path {
            Some(folder) => {
                let (text, tensors) = open(folder)?;
                (folder.join("config.json"), text, Some(tensors))
            }
            None => {
                let text = serde_json::to_string(&config.model.shape)
                    .map_err(|e| Error::config("model.shape", e.to_string()))?;
                ("model.shape".into(), text, None)
            }
        };
        if config.objective == Objective::Autoregressive {
            let llama = LlamaConfig::parse(&text, &path)?;
            let frame = Frame::of(&llama)?;
            let model = ScreenshotLlama::declare(&root, &llama, config.model.initial_deviation)?;
            if let Some(tensors) = tensors {
                overwrite(parameters, tensors, |name| PATCH_PARTS.iter().any(|part| name.starts_with(part)))?;
            }
            return Ok(Model::Autoregressive(Box::new(model), frame));
        }
        let mut shape = MaskedShape::parse(&text, &path)?;
        let image = [config.render.height, config.render.width];
        if tensors.is_some() && shape.vision_config.image_size != image {
            let found = shape.vision_config.image_size;
            return Err(Error::config(
                "render",
                format!("expected the image of the model, {found:?}, found {image:?}"),
            ));
        }
        shape.vision_config.image_size = image;
        let tensors = tensors.map(imported).transpose()?;
        if config.objective == Objective::Masked {
            let model = MaskedModel::declare(&root, &shape)?;
            tensors.map_or(Ok(()), |tensors| parameters.load(&tensors))?;
            return Ok(Model::Masked(Box::new(model)));
        }
        let pool = config.model.pool;
        let model = Classifier::declare(&root, &shape.vision_config, names.len().max(1), pool)?;
        if let Some(mut tensors) = tensors {
            // A masked model brings decoders, a classifier of other classes a head that does not fit.
            let known: BTreeMap<_, _> = parameters.to_vec().into_iter().collect();
            tensors.retain(|name, tensor| known.get(name).is_some_and(|own| own.dims() == tensor.dims()));
            overwrite(parameters, tensors, |name| name.starts_with("classifier."))?;
        }
        Ok(Model::Classification(Box::new(model), Box::new(shape), pool, names.into()))
    }

    /// Writes the model's folder, with the tokenizer of the folder `tokenizer`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&self, folder: &Path, parameters: &Parameters, tokenizer: &Path) -> Result<()> {
        let tensors = parameters.snapshot()?;
        let value = |shape: &MaskedShape| serde_json::to_value(shape).map_err(|e| Error::format(folder, e.to_string()));
        match self {
            Model::Masked(model) => {
                let shape = model.shape();
                save(folder, &value(shape)?, &exported(shape, tensors)?, tokenizer)
            }
            Model::Autoregressive(model, _) => {
                let config = serde_json::to_value(model.decoder().config());
                let mut config = config.map_err(|e| Error::format(folder, e.to_string()))?;
                config["patch_embed_size"] = json!(super::super::patches::PATCH);
                save(folder, &config, &tensors, tokenizer)
            }
            Model::Classification(_, shape, pool, names) => {
                let mut config = value(shape)?;
                (config["classes"], config["pool"]) = (json!(names), json!(pool));
                let mut tensors = exported(shape, tensors)?;
                tensors.retain(|name, _| !name.starts_with("mae_decoder."));
                save(folder, &config, &tensors, tokenizer)
            }
        }
    }

    /// What its batches are drawn as.
    pub fn drawing(&self) -> Drawing {
        match self {
            Model::Masked(model) => Drawing::Examples { patch_mask: model.shape().mask_ratio },
            Model::Autoregressive(_, frame) => Drawing::Sequences(*frame),
            Model::Classification(_, _, _, names) => Drawing::Views(names.clone()),
        }
    }

    /// The loss of a batch that [`Self::drawing`] drew.
    ///
    /// # Errors
    /// Those of the model; a batch of another objective.
    pub fn losses(&self, batch: &Batch) -> Result<Losses> {
        match (self, batch) {
            (Model::Masked(model), Batch::Examples(examples)) => model.losses(examples),
            (Model::Autoregressive(model, _), Batch::Sequences(sequences)) => model.losses(sequences),
            (Model::Classification(model, ..), Batch::Views(views, labels)) => {
                let total = model.loss(views, labels)?;
                let value = scalar(&total)?;
                Ok(Losses { total, pixels: None, text: Some(value) })
            }
            _ => Err(Error::config("objective", "expected a batch of the model's objective, found another's")),
        }
    }
}

/// How the pieces of a batch are drawn: apart from the model, so that a thread of its own can do it.
#[derive(Clone, Debug)]
pub enum Drawing {
    /// For the masked model, with this share of the patches hidden.
    Examples {
        /// The share.
        patch_mask: f64,
    },
    /// For the autoregressive one.
    Sequences(Frame),
    /// For classification among these names (none: values).
    Views(Vec<String>),
}

/// Pieces that are drawn.
#[derive(Debug)]
pub enum Batch {
    /// For the masked model.
    Examples(Vec<Example>),
    /// For the autoregressive one.
    Sequences(Vec<Sequence>),
    /// For classification.
    Views(Vec<View>, Labels),
}

impl Drawing {
    /// Draws some pieces. `random` and its counters name the masks: one stream for each piece.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn draw(
        &self,
        desk: &Desk,
        pieces: &[Piece],
        (streams, name, counters): (Streams, &str, [u64; 2]),
    ) -> Result<Batch> {
        Ok(match self {
            Drawing::Examples { patch_mask } => {
                let numbered: Vec<(u64, &Piece)> = (0..).zip(pieces).collect();
                let examples = parallel::map(&numbered, |(number, piece)| {
                    let mut random = streams.stream(name, &[counters[0], counters[1], *number]);
                    Ok(desk.masked(piece, *patch_mask, &mut random)?.0)
                });
                Batch::Examples(examples.into_iter().collect::<Result<_>>()?)
            }
            Drawing::Sequences(frame) => {
                let sequences = parallel::map(pieces, |piece| desk.sequence(piece, frame));
                Batch::Sequences(sequences.into_iter().collect::<Result<_>>()?)
            }
            Drawing::Views(names) => Batch::Views(views(desk, pieces)?, labels(pieces.iter(), names)?),
        })
    }
}

/// Draws pieces that are classified.
pub(super) fn views(desk: &Desk, pieces: &[Piece]) -> Result<Vec<View>> {
    parallel::map(pieces, |piece| desk.view(piece)).into_iter().collect()
}

/// Gives the parameters the tensors of their names; those of `optional` names stay as they are where there is none.
fn overwrite(
    parameters: &Parameters,
    tensors: BTreeMap<String, Tensor>,
    optional: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut all = parameters.snapshot()?;
    all.retain(|name, _| optional(name));
    all.extend(tensors);
    Ok(parameters.load(&all)?)
}
