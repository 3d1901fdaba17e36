//! Examples in batches: choices, answers, their share that is right.

use super::example::Example;
use super::objective::{Generation, Likelihood, Objective, choice, likelihoods, likelihoods_after};
use super::tuned::Tuned;
use crate::Result;
use crate::model::decoder::{Prefix, PrefixPositions};
use serde::Serialize;

/// Tokens that go through the model at a time.
const ROWS: usize = 2048;
/// A shared beginning shorter than this is read with each example.
const SHARED: usize = 32;

/// How well examples are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quality {
    /// Share of right choices, or mean F1 of generated answers.
    pub score: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Examples.
    pub examples: usize,
}

impl Quality {
    /// Mean and standard error of the scores of examples.
    pub fn of(scores: &[f64]) -> Self {
        let n = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / n.max(1.0);
        let variance = scores.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Quality { score: mean, standard_error: (variance / n.max(1.0)).sqrt(), examples: scores.len() }
    }
}

/// Likelihoods of all options. What all examples begin with (demonstrations) goes through the model once.
///
/// # Errors
/// Those of the model.
pub fn score(tuned: &Tuned, examples: &[Example]) -> Result<Vec<Vec<Likelihood>>> {
    let shared = Example::shared(examples);
    if shared < SHARED || examples.len() < 2 || tuned.prefix().is_some() {
        return batches(examples, |batch| likelihoods(tuned, batch));
    }
    let beginning = &examples[0].texts[0].prompt[..shared];
    let prefix = Prefix::of_tokens(tuned.decoder(), beginning)?;
    let after: Vec<Example> = examples.iter().map(|example| example.after(shared)).collect();
    batches(&after, |batch| likelihoods_after(tuned.decoder(), Some((&prefix, PrefixPositions::Shifted)), batch))
}

fn batches<R>(examples: &[Example], mut body: impl FnMut(&[Example]) -> Result<Vec<R>>) -> Result<Vec<R>> {
    let size = |example: &Example| -> usize { example.texts.iter().map(|text| text.prompt.len()).sum() };
    let (mut results, mut start, mut rows) = (Vec::with_capacity(examples.len()), 0, 0);
    for (end, example) in examples.iter().enumerate() {
        if end > start && rows + size(example) > ROWS {
            results.extend(body(&examples[start..end])?);
            (start, rows) = (end, 0);
        }
        rows += size(example);
    }
    results.extend(body(&examples[start..])?);
    Ok(results)
}

/// How well a model does examples: the share of right choices, or the mean F1 of its answers where these are generated.
///
/// # Errors
/// Those of the model.
pub fn quality(tuned: &Tuned, examples: &[Example], generates: Option<&Generation>) -> Result<Quality> {
    let scores: Vec<f64> = match generates {
        Some(generation) => {
            let one =
                |example: &Example| Ok(-Objective::F1.value(tuned, std::slice::from_ref(example), Some(generation))?);
            examples.iter().map(one).collect::<Result<_>>()?
        }
        None => {
            let right = |(options, example): (Vec<Likelihood>, &Example)| {
                f64::from(u8::from(example.right.contains(&choice(&options))))
            };
            score(tuned, examples)?.into_iter().zip(examples).map(right).collect()
        }
    };
    Ok(Quality::of(&scores))
}

/// The same with each option's log-probability calibrated by that after a prompt without content.
///
/// # Errors
/// Those of the model.
pub fn calibrated(tuned: &Tuned, examples: &[Example], bare: &[Example]) -> Result<Quality> {
    let (whole, bare) = (score(tuned, examples)?, score(tuned, bare)?);
    let right = |((whole, bare), example): ((&Vec<Likelihood>, &Vec<Likelihood>), &Example)| {
        let gains: Vec<f64> = whole.iter().zip(bare).map(|(a, b)| a.sum - b.sum).collect();
        let best = (0..gains.len()).fold(0, |best, k| if gains[k] > gains[best] { k } else { best });
        f64::from(u8::from(example.right.contains(&best)))
    };
    Ok(Quality::of(&whole.iter().zip(&bare).zip(examples).map(right).collect::<Vec<f64>>()))
}
