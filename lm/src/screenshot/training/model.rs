//! Any of the three models behind one face: made, read, written, and the loss of some pieces.

use super::super::autoregressive::{Frame, ScreenshotLlama, Sequence};
use super::super::classifier::{Classifier, Pool};
use super::super::encoder::View;
use super::super::files::{exported, imported, open, save};
use super::super::masked::{Losses, MaskedModel, scalar};
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

    /// Draws some pieces and takes their loss; also the seconds of drawing. `random` and its counters name the masks: one
    /// stream for each piece.
    ///
    /// # Errors
    /// Those of the tokenizer and the model.
    pub fn losses(
        &self,
        desk: &Desk,
        pieces: &[Piece],
        (streams, name, counters): (Streams, &str, [u64; 2]),
    ) -> Result<(Losses, f64)> {
        let clock = std::time::Instant::now();
        let numbered: Vec<(u64, &Piece)> = (0..).zip(pieces).collect();
        let losses = match self {
            Model::Masked(model) => {
                let rate = model.shape().mask_ratio;
                let examples = parallel::map(&numbered, |(number, piece)| {
                    let mut random = streams.stream(name, &[counters[0], counters[1], *number]);
                    Ok(desk.masked(piece, rate, &mut random)?.0)
                });
                let examples = examples.into_iter().collect::<Result<Vec<_>>>()?;
                let drawn = clock.elapsed().as_secs_f64();
                (model.losses(&examples)?, drawn)
            }
            Model::Autoregressive(model, frame) => {
                let sequences = parallel::map(&numbered, |(_, piece)| desk.sequence(piece, frame));
                let sequences = sequences.into_iter().collect::<Result<Vec<Sequence>>>()?;
                let drawn = clock.elapsed().as_secs_f64();
                (model.losses(&sequences)?, drawn)
            }
            Model::Classification(model, _, _, names) => {
                let views = views(desk, pieces)?;
                let drawn = clock.elapsed().as_secs_f64();
                let total = model.loss(&views, &labels(pieces.iter(), names)?)?;
                let value = scalar(&total)?;
                (Losses { total, pixels: None, text: Some(value) }, drawn)
            }
        };
        Ok(losses)
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
