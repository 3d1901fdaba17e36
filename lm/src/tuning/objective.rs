//! What is made smaller: losses and error rates of examples under a model (MeZO, section 3 and appendix on objectives).

use super::example::Example;
use super::tuned::Tuned;
use crate::evaluation::metrics::answer;
use crate::model::decoder::{Branches, Decoder, Prefix, PrefixPositions, Text};
use crate::model::generate::{BLOCK, GenerateOptions, Prompt, next_logits, read_blocks, sample};
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};
use candle_core::{D, Device, Tensor};
use serde::{Deserialize, Serialize};
use tesseral_nn::layers::cross_entropy::token_losses;
use tesseral_nn::layers::linear;

/// What is made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Cross-entropy over the options, whose scores are the mean log-probabilities of their tokens.
    #[default]
    Classification,
    /// Mean loss of the tokens of right options, over all of a batch.
    TeacherForcing,
    /// Minus the share of right choices: no gradient.
    Accuracy,
    /// Minus the mean F1 of generated answers: no gradient.
    F1,
}

/// The log-probability of an option, nats, and its tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likelihood {
    /// Sum over its tokens.
    pub sum: f64,
    /// Tokens.
    pub tokens: usize,
}

impl Likelihood {
    /// Mean over its tokens.
    pub fn mean(self) -> f64 {
        self.sum / self.tokens.max(1) as f64
    }
}

/// Rows and targets of all scored tokens of examples, and where the options end among them.
struct Scoring {
    branches: Branches,
    rows: Vec<u32>,
    targets: Vec<u32>,
    /// Tokens of each option, example by example.
    options: Vec<Vec<usize>>,
}

impl Scoring {
    fn new(examples: &[Example]) -> Result<Self> {
        let texts: Vec<Text> = examples.iter().flat_map(|example| example.texts.clone()).collect();
        let branches = Branches::new(&texts)?;
        let (mut rows, mut targets, mut options) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for example in examples {
            let one = |scored: &super::example::Scored| {
                let predictors = &branches.predictors()[first + scored.text][scored.continuation];
                let ids = &texts[first + scored.text].continuations[scored.continuation];
                let from = ids.len() - scored.tokens;
                rows.extend_from_slice(&predictors[from..]);
                targets.extend_from_slice(&ids[from..]);
                scored.tokens
            };
            options.push(example.options.iter().map(one).collect());
            first += example.texts.len();
        }
        Ok(Scoring { branches, rows, targets, options })
    }

    /// Hidden states of the rows that predict scored tokens.
    fn hidden(&self, decoder: &Decoder, prefix: Option<(&Prefix, PrefixPositions)>) -> Result<Tensor> {
        let hidden = decoder.branched(&self.branches, prefix)?;
        Ok(hidden.index_select(&Tensor::new(&self.rows[..], &Device::Cpu)?, 0)?)
    }
}

/// Likelihoods of all options of all examples, in one batch; no gradient.
///
/// # Errors
/// Those of the model.
pub fn likelihoods(tuned: &Tuned, examples: &[Example]) -> Result<Vec<Vec<Likelihood>>> {
    likelihoods_after(tuned.decoder(), tuned.prefix(), examples)
}

/// The same for any model, after any prefix.
///
/// # Errors
/// Those of the model.
pub fn likelihoods_after(
    decoder: &Decoder,
    prefix: Option<(&Prefix, PrefixPositions)>,
    examples: &[Example],
) -> Result<Vec<Vec<Likelihood>>> {
    let scoring = Scoring::new(examples)?;
    let hidden = scoring.hidden(decoder, prefix)?;
    let targets: Vec<i64> = scoring.targets.iter().map(|id| i64::from(*id)).collect();
    let losses = token_losses(&hidden, decoder.head(), &targets)?;
    let mut losses = losses.into_iter().flatten();
    let mut option = |tokens: &usize| Likelihood { sum: -losses.by_ref().take(*tokens).sum::<f64>(), tokens: *tokens };
    Ok(scoring.options.iter().map(|options| options.iter().map(&mut option).collect()).collect())
}

/// Hidden states at the last token before the options: what a linear probe reads.
///
/// # Errors
/// Those of the model.
pub fn features(tuned: &Tuned, examples: &[Example]) -> Result<Vec<Vec<f64>>> {
    let prompt = |example: &Example| Text { prompt: prompt(example), continuations: vec![vec![0]] };
    let texts: Vec<Text> = examples.iter().map(prompt).collect();
    let branches = Branches::new(&texts)?;
    let rows: Vec<u32> = branches.predictors().iter().map(|text| text[0][0]).collect();
    let hidden = tuned.decoder().branched(&branches, tuned.prefix())?;
    let hidden = hidden.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
    Ok(hidden.to_dtype(candle_core::DType::F64)?.to_vec2()?)
}

/// The likeliest option by the mean over its tokens, the first of equals.
pub fn choice(likelihoods: &[Likelihood]) -> usize {
    let better = |best: usize, k: usize| if likelihoods[k].mean() > likelihoods[best].mean() { k } else { best };
    (0..likelihoods.len()).fold(0, better)
}

impl Objective {
    /// Its value on a batch; no gradient.
    ///
    /// # Errors
    /// Those of the model.
    pub fn value(self, tuned: &Tuned, batch: &[Example], generation: Option<&Generation>) -> Result<f64> {
        let n = batch.len().max(1) as f64;
        match self {
            Objective::Classification => {
                let likelihoods = likelihoods(tuned, batch)?;
                let losses = likelihoods.iter().zip(batch).map(|(options, example)| {
                    let right = options[example.right[0]].mean();
                    let top = options.iter().map(|o| o.mean()).fold(f64::NEG_INFINITY, f64::max);
                    top + options.iter().map(|o| (o.mean() - top).exp()).sum::<f64>().ln() - right
                });
                Ok(losses.sum::<f64>() / n)
            }
            Objective::TeacherForcing => {
                let right = batch.iter().map(Example::right_alone).collect::<Result<Vec<_>>>()?;
                let all = likelihoods(tuned, &right)?.concat();
                let tokens: usize = all.iter().map(|option| option.tokens).sum();
                Ok(-all.iter().map(|option| option.sum).sum::<f64>() / tokens.max(1) as f64)
            }
            Objective::Accuracy => {
                let right =
                    likelihoods(tuned, batch)?.iter().zip(batch).filter(|(o, e)| e.right.contains(&choice(o))).count();
                Ok(-(right as f64) / n)
            }
            Objective::F1 => {
                let missing = || Error::config("objective", "expected a task whose answers are generated, for F1");
                let generation = generation.ok_or_else(missing)?;
                let mut sum = 0.0;
                for example in batch {
                    let text = generation.answer(tuned, &prompt(example))?;
                    sum += answer::matches(&text, &example.answers)["f1"];
                }
                Ok(-sum / n)
            }
        }
    }

    /// The same as a scalar with a gradient.
    ///
    /// # Errors
    /// Those of the model; [`Error::Config`] for an objective that has none.
    pub fn tensor(self, tuned: &Tuned, batch: &[Example]) -> Result<Tensor> {
        let right;
        let batch = match self {
            Objective::Classification => batch,
            Objective::TeacherForcing => {
                right = batch.iter().map(Example::right_alone).collect::<Result<Vec<_>>>()?;
                &right
            }
            _ => return Err(Error::config("objective", format!("expected one with a gradient, found {self:?}"))),
        };
        let scoring = Scoring::new(batch)?;
        let decoder = tuned.tracked();
        let logits = linear(&scoring.hidden(decoder, tuned.tracked_prefix())?, decoder.head())?;
        let log_probabilities = pick(&logits, &scoring.targets)?;
        if self == Objective::TeacherForcing {
            return Ok(log_probabilities.mean_all()?.neg()?);
        }
        let (mut start, mut sum) = (0, None);
        for (options, example) in scoring.options.iter().zip(batch) {
            let mut scores = Vec::new();
            for tokens in options {
                scores.push(log_probabilities.narrow(0, start, *tokens)?.mean_all()?);
                start += tokens;
            }
            let loss = pick(&Tensor::stack(&scores, 0)?.unsqueeze(0)?, &[example.right[0] as u32])?.neg()?;
            sum = Some(match sum {
                None => loss,
                Some(sum) => (sum + loss)?,
            });
        }
        let sum = sum.ok_or_else(|| Error::config("batch", "expected at least one example, found none"))?;
        Ok((sum / batch.len() as f64)?.sum_all()?)
    }
}

/// log softmax of each row, at its target.
fn pick(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let top = logits.max_keepdim(D::Minus1)?.detach();
    let shifted = logits.broadcast_sub(&top)?;
    let sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let targets = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
    Ok((shifted.gather(&targets, 1)? - sums)?.squeeze(1)?)
}

/// The prompt of an example, its options left out.
fn prompt(example: &Example) -> Vec<u32> {
    let Some(scored) = example.options.first() else { return Vec::new() };
    let text = &example.texts[scored.text];
    let continuation = &text.continuations[scored.continuation];
    [&text.prompt[..], &continuation[..continuation.len() - scored.tokens]].concat()
}

/// How answers are generated: greedily, up to a number of tokens, an end token or a text.
pub struct Generation<'a> {
    /// The model's.
    pub tokenizer: &'a Tokenizer,
    /// Most tokens, and the texts that an answer ends before.
    pub options: GenerateOptions,
    /// Ids that end it.
    pub end: &'a [u32],
}

impl Generation<'_> {
    /// The trimmed answer to a prompt.
    ///
    /// # Errors
    /// Those of the model.
    pub fn answer(&self, tuned: &Tuned, prompt: &[u32]) -> Result<String> {
        let mut cache = tuned.cache(prompt.len() + self.options.max_tokens)?;
        let logits = read_blocks(tuned.decoder(), &mut cache, prompt, BLOCK)?;
        let read = Prompt { tokens: prompt.len(), seconds: 0.0, logits };
        let mut next = |id| next_logits(tuned.decoder(), &mut cache, id);
        let found = sample(self.tokenizer, read, self.end, &self.options, &mut next, &mut |_| ())?;
        Ok(found.text.trim().to_string())
    }
}
