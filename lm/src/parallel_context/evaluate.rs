//! Perplexity of the same tokens by number and kind of contexts.

use super::encoder::Context;
use super::examples::{ContextBatch, Contexts, Selection, pieces};
use super::model::ContextModel;
use super::objective::losses;
use super::replug::mixture;
use super::retrieval::Retriever;
use super::windows::Windows;
use crate::model::decoder::Decoder;
use crate::objective::{self, Batch};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where the contexts of a measurement come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The text before the window.
    Previous,
    /// The same from another document: the control.
    Shuffled,
    /// One token over and over: a control.
    Dummy,
    /// Passages that were looked up.
    Retrieved,
    /// The text before stands in the decoder's own window, which gets longer.
    InWindow,
    /// Each context before the text in a pass of its own, the passes mixed with equal weights.
    Replug,
}

impl Source {
    /// As it is written in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Source::Previous => "previous",
            Source::Shuffled => "shuffled",
            Source::Dummy => "dummy",
            Source::Retrieved => "retrieved",
            Source::InWindow => "in-window",
            Source::Replug => "replug",
        }
    }
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Measure {
    /// Numbers of contexts.
    pub counts: Vec<usize>,
    /// Tokens of a context.
    pub context_tokens: usize,
    /// Tokens of the decoder.
    pub decoder_tokens: usize,
    /// The last so many of them are counted.
    pub counted: usize,
    /// Where contexts come from.
    pub sources: Vec<Source>,
    /// Windows at most, spread over all.
    pub windows: usize,
}

/// Perplexity with so many contexts of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Where they come from.
    pub source: Source,
    /// How many.
    pub contexts: usize,
    /// exp of the mean loss.
    pub perplexity: f64,
    /// Mean over the windows of their mean losses, nats a token.
    pub loss: f64,
    /// Standard error of `loss` over the windows.
    pub error: f64,
    /// Windows.
    pub windows: usize,
}

impl Measure {
    /// Losses for each source and number of contexts.
    ///
    /// # Errors
    /// [`Error::Config`] for no window, no counted token, or `retrieved` without a retriever; those of the model.
    pub fn run(
        &self,
        model: &ContextModel,
        windows: &Windows,
        retriever: Option<&Retriever<'_>>,
    ) -> Result<Vec<Point>> {
        if windows.is_empty() || self.windows == 0 {
            return Err(Error::config("windows", "expected at least one, found none"));
        }
        if self.counted == 0 || self.counted >= self.decoder_tokens {
            let what = format!("expected 1 to {}, found {}", self.decoder_tokens.saturating_sub(1), self.counted);
            return Err(Error::config("counted", what));
        }
        let count = windows.len().min(self.windows);
        let numbers: Vec<usize> = (0..count).map(|k| k * windows.len() / count).collect();
        let mut points = Vec::new();
        for source in &self.sources {
            for contexts in &self.counts {
                let each = numbers.iter().map(|number| {
                    let losses = self.losses(model, windows, *number, *source, *contexts, retriever)?;
                    Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
                });
                let each = each.collect::<Result<Vec<f64>>>()?;
                let n = each.len() as f64;
                let loss = each.iter().sum::<f64>() / n;
                let variance = each.iter().map(|l| (l - loss).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
                let error = (variance / n).sqrt();
                let (source, windows) = (*source, each.len());
                points.push(Point { source, contexts: *contexts, perplexity: loss.exp(), loss, error, windows });
            }
        }
        Ok(points)
    }

    /// Losses of the counted tokens of one window.
    fn losses(
        &self,
        model: &ContextModel,
        windows: &Windows,
        number: usize,
        source: Source,
        count: usize,
        retriever: Option<&Retriever<'_>>,
    ) -> Result<Vec<f64>> {
        let (previous, tokens) = windows.get(number);
        let contexts = match source {
            Source::Dummy => Contexts::Dummy(0),
            Source::InWindow => Contexts::InWindow,
            Source::Previous | Source::Replug => Contexts::Previous,
            Source::Shuffled | Source::Retrieved => Contexts::None,
        };
        let (length, decoder) = (self.context_tokens, self.decoder_tokens);
        let selection = Selection { contexts, count, length, decoder, counted: Some(self.counted) };
        let mut example = selection.example(previous, tokens);
        if source == Source::Shuffled {
            let (other, _) = windows.get(other(windows, number));
            example.contexts = pieces(&other[other.len().saturating_sub(count * length)..], length);
        }
        if source == Source::Retrieved {
            let retriever =
                retriever.ok_or_else(|| Error::config("passages", "expected documents to look up in, found none"))?;
            example.contexts = retriever.find(previous, count, Some(windows.document(number)))?;
        }
        if source == Source::Replug && count > 0 {
            return replug(model.decoder(), &example.contexts, &example.ids, self.counted);
        }
        Ok(losses(model, &ContextBatch::new(&[example])?)?.into_iter().flatten().collect())
    }
}

/// A window of another document, half of them away (the same one where there is no other).
fn other(windows: &Windows, number: usize) -> usize {
    let n = windows.len();
    let away = (0..n).map(|k| (number + n / 2 + k) % n);
    away.into_iter().find(|k| windows.document(*k) != windows.document(number)).unwrap_or(number)
}

/// Losses of the last `counted` tokens of `ids` by the mixture of the passes over each context and `ids` after it.
fn replug(decoder: &Decoder, contexts: &[Context], ids: &[u32], counted: usize) -> Result<Vec<f64>> {
    let mut passes = Vec::new();
    for context in contexts {
        let all: Arc<[u32]> = context.iter().chain(ids).copied().collect();
        let hidden = decoder.hidden(&all, &decoder.layout(&[all.len()])?)?.detach();
        let rows = hidden.narrow(0, all.len() - counted - 1, counted)?.contiguous()?;
        passes.push(decoder.logits(&rows)?.to_vec2::<f32>()?);
    }
    let scores = vec![0.0; contexts.len()];
    let targets = &ids[ids.len() - counted..];
    let loss = |(row, target): (usize, &u32)| -> Result<f64> {
        let rows: Vec<&[f32]> = passes.iter().map(|pass| pass[row].as_slice()).collect();
        Ok(-mixture(&rows, &scores, 1.0)?[*target as usize])
    };
    targets.iter().enumerate().map(loss).collect()
}

/// Mean loss of a decoder on the same windows, without contexts: what the wrapped model does alone.
///
/// # Errors
/// Those of the model.
pub fn alone(decoder: &Decoder, tokens: &[u32], counted: usize) -> Result<f64> {
    let losses = objective::losses(decoder, &Batch::whole(tokens)?)?;
    let end = tokens.len() - 1;
    let counted: Vec<f64> = losses[end - counted.min(end)..end].iter().flatten().copied().collect();
    Ok(counted.iter().sum::<f64>() / counted.len().max(1) as f64)
}
