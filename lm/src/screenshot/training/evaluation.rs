//! What a trained model has learnt, each figure beside its control: another text's image, an empty one, the largest class.

use super::super::autoregressive::{Frame, ScreenshotLlama, Sequence};
use super::super::classifier::Labels;
use super::super::encoder::View;
use super::super::masked::{Example, MaskedModel};
use super::super::shape::MaskedShape;
use super::config::ScreenshotConfig;
use super::corpus::{Desk, Piece, labels};
use super::model::{Model, views};
use crate::configuration::Configuration;
use crate::{Error, Result};
use candle_core::{DType, Device};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tesseral_nn::Parameters;
use tesseral_nn::kernels::parallel;
use tesseral_nn::rng::Streams;

/// Mean loss of tokens, nats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Mean {
    /// Their mean; NaN (null in JSON) for none.
    pub loss: f64,
    /// Tokens.
    pub tokens: usize,
}

impl Mean {
    fn of(losses: impl Iterator<Item = f64>) -> Self {
        let (sum, tokens) = losses.fold((0.0, 0), |(sum, n), loss| (sum + loss, n + 1));
        Mean { loss: sum / tokens as f64, tokens }
    }
}

/// What [`evaluate`] found.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "objective", rename_all = "lowercase")]
pub enum Evaluation {
    /// A masked model. Text is read from whole images, some words hidden in them.
    Masked {
        /// Texts.
        texts: usize,
        /// Normalised squared error of hidden patches; about 1 for a prediction of nothing.
        pixels: Option<f64>,
        /// Words that are on the image.
        visible: Mean,
        /// Words that are hidden in it.
        hidden: Mean,
        /// Words that would be on the image, which is another text's: the control.
        visible_wrong_image: Mean,
        /// The same with an empty image.
        visible_blank_image: Mean,
    },
    /// An autoregressive model: the text after the screenshot.
    Autoregressive {
        /// Texts.
        texts: usize,
        /// Normalised squared error of the next patch.
        pixels: Option<f64>,
        /// With its screenshot.
        true_image: Mean,
        /// With an empty one of as many patches.
        blank_image: Mean,
        /// With another text's.
        wrong_image: Mean,
        /// Perplexities of the three: exp of the losses.
        perplexity: [f64; 3],
    },
    /// A classifier.
    Classification {
        /// Texts.
        texts: usize,
        /// Share that is right; of values, none.
        accuracy: Option<f64>,
        /// Share of the largest class among them: what no reading gives.
        majority: Option<f64>,
        /// Mean loss.
        loss: f64,
    },
}

impl Evaluation {
    /// A few lines for people.
    pub fn table(&self) -> String {
        let number = |x: &Option<f64>| x.map_or("-".into(), |x| format!("{x:.4}"));
        match self {
            Evaluation::Masked { texts, pixels, visible, hidden, visible_wrong_image, visible_blank_image } => format!(
                "{texts} texts; hidden patches {}\nvisible words {:.4} nats, hidden ones {:.4}\nvisible words with a wrong image {:.4}, with a blank one {:.4}\n",
                number(pixels),
                visible.loss,
                hidden.loss,
                visible_wrong_image.loss,
                visible_blank_image.loss
            ),
            Evaluation::Autoregressive { texts, pixels, perplexity: [own, blank, wrong], .. } => format!(
                "{texts} texts; next patches {}\nperplexity of the text {own:.4}, with a blank image {blank:.4}, with a wrong one {wrong:.4}\n",
                number(pixels)
            ),
            Evaluation::Classification { texts, accuracy, majority, loss } => format!(
                "{texts} texts; accuracy {}, largest class {}; loss {loss:.4}\n",
                number(accuracy),
                number(majority)
            ),
        }
    }
}

/// Evaluates the model of a run folder on `paths`, or, of none, on the texts that it was validated on.
///
/// # Errors
/// Those of the files and the model.
pub fn evaluate(run: &Path, paths: &[PathBuf]) -> Result<Evaluation> {
    let file = run.join("config.toml");
    let text = std::fs::read_to_string(&file).map_err(Error::io(&file))?;
    let mut config = ScreenshotConfig::parse(&text, &file, &[])?;
    (config.model.path, config.model.shape) = (Some(run.join("model")), None);
    let paths = if paths.is_empty() { &config.data.validation_paths } else { paths };
    if paths.is_empty() {
        return Err(Error::config("paths", "expected files to evaluate on, found none, also in data.validation_paths"));
    }
    let desk = Desk::open(&config)?;
    let pieces = desk.pieces(paths, &config.data, config.objective)?;
    let (streams, pages) = (Streams::new(config.seed), config.data.pages);
    let parameters = Parameters::new(streams, DType::F32, &Device::Cpu);
    let model = Model::declare(&parameters, &config, &classes_of(&run.join("model/config.json"))?)?;
    match &model {
        Model::Masked(model) => masked(model, &desk, &pieces, pages, streams),
        Model::Autoregressive(model, frame) => autoregressive(model, frame, &desk, &pieces, pages),
        Model::Classification(model, _, _, names) => {
            let views = views(&desk, &pieces)?;
            let (mut right, mut sum) = (0, 0.0);
            let mut counts = vec![0; names.len()];
            for (views, pieces) in views.chunks(pages).zip(pieces.chunks(pages)) {
                let labels = labels(pieces.iter(), names)?;
                let loss = model.loss(views, &labels)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
                sum += loss * views.len() as f64;
                let Labels::Classes(labels) = labels else { continue };
                labels.iter().for_each(|label| counts[*label as usize] += 1);
                right += model.classes(views)?.iter().zip(&labels).filter(|(a, b)| a == b).count();
            }
            let share = |n: usize| (!names.is_empty()).then(|| n as f64 / pieces.len() as f64);
            let (accuracy, majority) = (share(right), share(counts.iter().copied().max().unwrap_or(0)));
            Ok(Evaluation::Classification { texts: pieces.len(), accuracy, majority, loss: sum / pieces.len() as f64 })
        }
    }
}

/// The names of the classes in a model's `config.json`; none where it has none.
fn classes_of(config: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(config).map_err(Error::io(config))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| Error::format(config, e.to_string()))?;
    let names = value["classes"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(names.iter().filter_map(|name| name.as_str().map(String::from)).collect())
}

fn masked(model: &MaskedModel, desk: &Desk, pieces: &[Piece], pages: usize, streams: Streams) -> Result<Evaluation> {
    let shape: &MaskedShape = model.shape();
    let numbered: Vec<(u64, &Piece)> = (0..).zip(pieces).collect();
    let draw = |rate: f64, name: &str| -> Result<Vec<(Example, Vec<bool>)>> {
        let examples =
            parallel::map(&numbered, |(number, piece)| desk.masked(piece, rate, &mut streams.stream(name, &[*number])));
        examples.into_iter().collect()
    };
    // Patches are hidden where they are to be recovered, not where text is to be read.
    let (mut pixels, mut batches) = (0.0, 0);
    for batch in draw(shape.mask_ratio, "screenshot/evaluation/patches")?.chunks(pages) {
        let batch: Vec<Example> = batch.iter().map(|(example, _)| example.clone()).collect();
        if let Some(loss) = model.losses(&batch)?.pixels {
            (pixels, batches) = (pixels + loss, batches + 1);
        }
    }
    let read = draw(0.0, "screenshot/evaluation/text")?;
    let own: Vec<Example> = read.iter().map(|(example, _)| example.clone()).collect();
    let with = |view: &dyn Fn(usize) -> View| -> Vec<Example> {
        own.iter().enumerate().map(|(k, example)| Example { view: view(k), text: example.text.clone() }).collect()
    };
    let wrong = with(&|k| own[(k + 1) % own.len()].view.clone());
    let blank = with(&|k| View::whole(own[k].view.screenshot.blank()));
    let losses = |examples: &[Example]| -> Result<Vec<Vec<f64>>> {
        let batches = examples.chunks(pages).map(|batch| model.token_losses(batch)).collect::<Result<Vec<_>>>()?;
        Ok(batches.into_iter().flatten().collect())
    };
    let mean = |losses: &[Vec<f64>], hidden: bool| {
        let of_text = |(losses, (_, mask)): (&Vec<f64>, &(Example, Vec<bool>))| {
            losses.iter().zip(mask).filter(|(_, m)| **m == hidden).map(|(l, _)| *l).collect::<Vec<_>>()
        };
        Mean::of(losses.iter().zip(&read).flat_map(of_text))
    };
    let right = losses(&own)?;
    Ok(Evaluation::Masked {
        texts: pieces.len(),
        pixels: (batches > 0).then(|| pixels / f64::from(batches)),
        visible: mean(&right, false),
        hidden: mean(&right, true),
        visible_wrong_image: mean(&losses(&wrong)?, false),
        visible_blank_image: mean(&losses(&blank)?, false),
    })
}

fn autoregressive(
    model: &ScreenshotLlama,
    frame: &Frame,
    desk: &Desk,
    pieces: &[Piece],
    pages: usize,
) -> Result<Evaluation> {
    let own = parallel::map(pieces, |piece| desk.sequence(piece, frame));
    let own = own.into_iter().collect::<Result<Vec<Sequence>>>()?;
    let with = |k: usize, screenshot| Sequence::new(frame, screenshot, desk.patches(), &pieces[k].following);
    let blank: Vec<Sequence> = own.iter().enumerate().map(|(k, s)| with(k, s.screenshot.blank())).collect();
    let other = |k: usize| own[(k + 1) % own.len()].screenshot.clone();
    let wrong: Vec<Sequence> = (0..own.len()).map(|k| with(k, other(k))).collect();
    let mean = |sequences: &[Sequence]| -> Result<Mean> {
        let mut all = Vec::new();
        for batch in sequences.chunks(pages) {
            let losses = model.token_losses(batch)?;
            let mut start = 0;
            for sequence in batch {
                // Behind the frame: the text alone, without the new line.
                let text = start + sequence.first + sequence.screenshot.len() + 1..start + sequence.ids.len();
                all.extend(losses[text].iter().flatten());
                start += sequence.ids.len();
            }
        }
        Ok(Mean::of(all.into_iter()))
    };
    let (mut pixels, mut batches) = (0.0, 0);
    for batch in own.chunks(pages) {
        if let Some(loss) = model.losses(batch)?.pixels {
            (pixels, batches) = (pixels + loss, batches + 1);
        }
    }
    let [true_image, blank_image, wrong_image] = [mean(&own)?, mean(&blank)?, mean(&wrong)?];
    Ok(Evaluation::Autoregressive {
        texts: pieces.len(),
        pixels: (batches > 0).then(|| pixels / f64::from(batches)),
        true_image,
        blank_image,
        wrong_image,
        perplexity: [true_image, blank_image, wrong_image].map(|mean| mean.loss.exp()),
    })
}
