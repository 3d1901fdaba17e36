//! The autoregressive screenshot model (PTP section 3.6): a decoder reads the patches of a screenshot as it reads tokens,
//! predicts the next patch and, behind the screenshot, the next token.
//!
//! A sequence is a beginning, `<img>`, the patches, a new line, `</img>`, the text. It stands on [`Decoder`]; patches take the
//! place of rows of the embedding, a second matrix reads patches off the hidden states.

use super::masked::{Losses, scalar};
use super::patches::{PATCH, Screenshot, normalised};
use crate::model::decoder::{Decoder, Layout};
use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;
use tesseral_nn::Scope;
use tesseral_nn::attention::varlen::Segments;
use tesseral_nn::layers::Dense;
use tesseral_nn::layers::activation::add;
use tesseral_nn::layers::arrange::{gather, stacked};
use tesseral_nn::layers::cross_entropy::{self, IGNORED, Reduction, cross_entropy, token_losses};
use tesseral_nn::layers::loss::{Power, summed_error};

/// The ids that frame a screenshot, of a model's `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Beginning of a text.
    pub begin: u32,
    /// `<img>`.
    pub open: u32,
    /// Stands where a patch is.
    pub patch: u32,
    /// The new line behind the patches; the model predicts it.
    pub new_line: u32,
    /// `</img>`.
    pub close: u32,
}

impl Frame {
    /// From `bos_token_id`, `img_begin_token_id`, `patch_token_id`, `newline_token_id` and `img_end_token_id`.
    ///
    /// # Errors
    /// [`Error::Config`] for one that is missing or beyond the vocabulary.
    pub fn of(config: &LlamaConfig) -> Result<Self> {
        let id = |key: &str| {
            let value = config.other.get(key);
            let id = value.and_then(|v| v.as_u64()).filter(|id| *id < config.vocab_size as u64);
            let found = value.map_or("nothing".to_string(), ToString::to_string);
            let what = || format!("expected an id below {}, found {found}", config.vocab_size);
            id.map(|id| id as u32).ok_or_else(|| Error::config(key, what()))
        };
        Ok(Frame {
            begin: id("bos_token_id")?,
            open: id("img_begin_token_id")?,
            patch: id("patch_token_id")?,
            new_line: id("newline_token_id")?,
            close: id("img_end_token_id")?,
        })
    }
}

/// Tokens and patches in the order in which they are read.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Ids; the patch's where a patch stands.
    pub ids: Vec<u32>,
    /// Place of each for the rotary angles.
    pub positions: Vec<u32>,
    /// Which may be attended to, and are predicted.
    pub seen: Vec<bool>,
    /// The token that each should predict next, or [`IGNORED`].
    pub targets: Vec<i64>,
    /// The patches; the k-th stands at `first + k`.
    pub screenshot: Screenshot,
    /// Place of the first patch.
    pub first: usize,
}

impl Sequence {
    /// A screenshot and the text after it. `patches`: those of a full image, whose places the text always lies behind.
    pub fn new(frame: &Frame, screenshot: Screenshot, patches: usize, text: &[u32]) -> Self {
        let count = screenshot.len();
        let mut ids = vec![frame.begin, frame.open];
        ids.extend(std::iter::repeat_n(frame.patch, count));
        ids.extend([frame.new_line, frame.close]);
        ids.extend_from_slice(text);
        let behind = 2 + patches.max(count) as u32;
        let places = (0..2 + count as u32).chain(behind..);
        let positions = places.take(ids.len()).collect();
        let mut seen = vec![true; ids.len()];
        seen[2..2 + count].copy_from_slice(&screenshot.seen);
        let framing = [frame.begin, frame.open, frame.patch, frame.close];
        let targets = Self::targets(&ids, |place| {
            let of_frame = place < 2 + count + 2 && framing.contains(&ids[place]);
            seen[place] && !of_frame
        });
        Sequence { ids, positions, seen, targets, screenshot, first: 2 }
    }

    /// Text alone; each token but the first is predicted.
    pub fn of_text(ids: &[u32]) -> Self {
        Sequence {
            ids: ids.into(),
            positions: (0..ids.len() as u32).collect(),
            seen: vec![true; ids.len()],
            targets: Self::targets(ids, |_| true),
            screenshot: Screenshot { values: Vec::new(), seen: Vec::new() },
            first: 0,
        }
    }

    fn targets(ids: &[u32], counted: impl Fn(usize) -> bool) -> Vec<i64> {
        let next = (1..ids.len()).map(|k| if counted(k) { i64::from(ids[k]) } else { IGNORED });
        next.chain([IGNORED]).take(ids.len()).collect()
    }
}

/// A decoder with a way in and a way out for patches.
pub struct ScreenshotLlama {
    decoder: Decoder,
    project: Dense,
    predict: Dense,
}

impl ScreenshotLlama {
    /// Declares every parameter; random matrices of standard deviation `sigma`.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn declare(scope: &Scope, config: &LlamaConfig, sigma: f64) -> Result<Self> {
        let width = config.hidden_size;
        Ok(ScreenshotLlama {
            decoder: Decoder::declare(scope, config, sigma)?,
            project: Dense::normal(&scope.enter("model.patch_projection"), PATCH, width, sigma)?,
            predict: Dense::normal(&scope.enter("patch_head"), width, PATCH, sigma)?,
        })
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Hidden states `[tokens, width]` of sequences, one after the other, after the last norm.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn hidden(&self, sequences: &[Sequence]) -> Result<Tensor> {
        let ids: Arc<[u32]> = sequences.iter().flat_map(|s| s.ids.iter().copied()).collect();
        let positions: Vec<u32> = sequences.iter().flat_map(|s| s.positions.iter().copied()).collect();
        let seen: Vec<bool> = sequences.iter().flat_map(|s| s.seen.iter().copied()).collect();
        let lengths: Vec<usize> = sequences.iter().map(|s| s.ids.len()).collect();
        let mut x = self.decoder.embed(&ids)?;
        let pixels: Vec<f32> = sequences.iter().flat_map(|s| s.screenshot.values.iter().copied()).collect();
        let patches = pixels.len() / PATCH;
        if patches > 0 {
            let pixels = Tensor::from_vec(pixels, (patches, PATCH), x.device())?.to_dtype(x.dtype())?;
            let table = stacked(&[&x, &self.project.forward(&pixels)?])?;
            let mut rows: Vec<usize> = (0..ids.len()).collect();
            let (mut start, mut patch) = (0, ids.len());
            for sequence in sequences {
                for row in &mut rows[start + sequence.first..][..sequence.screenshot.len()] {
                    *row = patch;
                    patch += 1;
                }
                start += sequence.ids.len();
            }
            x = gather(&table, &rows.into(), 0..self.decoder.config().hidden_size)?;
        }
        let segments = Segments::packed(&lengths, true).with_key_mask(seen)?;
        let layout = Layout::new(segments, &positions, self.decoder.config())?;
        for layer in self.decoder.layers() {
            x = layer.forward(&x, &layout)?;
        }
        self.decoder.finish(&x)
    }

    /// Patches `[rows, 768]` that these rows of hidden states predict next.
    ///
    /// # Errors
    /// A row out of range.
    pub fn patches(&self, hidden: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Arc<[usize]> = rows.into();
        Ok(self.predict.forward(&gather(hidden, &rows, 0..hidden.dims2()?.1)?)?)
    }

    /// Mean normalised error of the patches that are seen, mean loss of the tokens, and their sum.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn losses(&self, sequences: &[Sequence]) -> Result<Losses> {
        let hidden = self.hidden(sequences)?;
        let targets: Arc<[i64]> = sequences.iter().flat_map(|s| s.targets.iter().copied()).collect();
        let text = cross_entropy(&hidden, self.decoder.head(), &targets, Reduction::Mean, cross_entropy::BLOCK)?;
        let text_value = scalar(&text)?;
        let (mut rows, mut values, mut start) = (Vec::new(), Vec::new(), 0);
        for sequence in sequences {
            for patch in (0..sequence.screenshot.len()).filter(|k| sequence.screenshot.seen[*k]) {
                rows.push(start + sequence.first + patch - 1);
                values.extend(normalised(sequence.screenshot.patch(patch)));
            }
            start += sequence.ids.len();
        }
        if rows.is_empty() {
            return Ok(Losses { total: text, pixels: None, text: Some(text_value) });
        }
        let predicted = self.patches(&hidden, &rows)?;
        let values = Tensor::from_vec(values, (rows.len(), PATCH), hidden.device())?.to_dtype(hidden.dtype())?;
        let pixels = summed_error(&predicted, &values, None, Power::Squared, 1.0 / (rows.len() * PATCH) as f64)?;
        Ok(Losses { pixels: Some(scalar(&pixels)?), text: Some(text_value), total: add(&pixels, &text)? })
    }

    /// Loss of each token of the sequences, `None` where it predicts none; no gradient.
    ///
    /// # Errors
    /// As [`Self::hidden`].
    pub fn token_losses(&self, sequences: &[Sequence]) -> Result<Vec<Option<f64>>> {
        let targets: Vec<i64> = sequences.iter().flat_map(|s| s.targets.iter().copied()).collect();
        Ok(token_losses(&self.hidden(sequences)?.detach(), self.decoder.head(), &targets)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screenshot::render::{RenderConfig, Renderer};
    use candle_core::{DType, Device};
    use tesseral_nn::Parameters;
    use tesseral_nn::optim::Gradients;
    use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
    use tesseral_nn::rng::Streams;
    use tesseral_nn::train::gradcheck::worst_directional_error;

    const TEXT: &str = r#"{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 20, "bos_token_id": 1, "img_begin_token_id": 16, "img_end_token_id": 17, "patch_token_id": 18,
        "newline_token_id": 2}"#;

    fn sequences(frame: &Frame) -> Vec<Sequence> {
        let renderer = Renderer::new(&RenderConfig { width: 96, ..RenderConfig::default() }).unwrap();
        let of = |text: &str| Screenshot::of_text(&renderer.render(text)).unwrap();
        vec![
            Sequence::new(frame, of("abc de"), 6, &[4, 5, 6]),
            Sequence::of_text(&[7, 8, 9]),
            Sequence::new(frame, of("x"), 6, &[2]),
        ]
    }

    #[test]
    fn every_parameter_has_its_gradient_and_white_patches_change_nothing() {
        let config = LlamaConfig::parse(TEXT, "config.json".as_ref()).unwrap();
        let frame = Frame::of(&config).unwrap();
        let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
        let model = ScreenshotLlama::declare(&parameters.root(), &config, 0.3).unwrap();
        let losses = model.losses(&sequences(&frame)).unwrap();
        assert_eq!(tesseral_nn::kernels::reverse::foreign_operations(&losses.total), 0);
        let gradients = Gradients::collect(&parameters, &tesseral_nn::kernels::backward(losses.total).unwrap());
        assert_every_variable_has_gradient(&parameters, &gradients).unwrap();
        let loss = || Ok(model.losses(&sequences(&frame)).unwrap().total);
        assert!(worst_directional_error(&parameters, Streams::new(1), 4, 1e-5, loss).unwrap() < 1e-6);

        // White patches behind the mark, not seen: but for the new line, which the last of them would have to predict.
        let short = sequences(&frame).remove(0);
        let mut screenshot = short.screenshot.clone();
        screenshot.values.resize(6 * PATCH, 1.0);
        screenshot.seen.resize(6, false);
        let long = Sequence::new(&frame, screenshot, 6, &[4, 5, 6]);
        let of = |sequence: &Sequence| model.token_losses(std::slice::from_ref(sequence)).unwrap();
        let (a, b) = (of(&short), of(&long));
        let last = |x: &[Option<f64>]| x.iter().rev().flatten().take(3).copied().collect::<Vec<_>>();
        assert!(last(&a).iter().zip(last(&b)).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(a.iter().flatten().count(), 4);
        let without = TEXT.replace("\"patch_token_id\": 18,", "");
        let config = LlamaConfig::parse(&without, "config.json".as_ref()).unwrap();
        assert!(Frame::of(&config).unwrap_err().to_string().starts_with("patch_token_id: expected an id below 20"));
    }
}
