//! Classes of screenshots: the encoder, one state, a layer with tanh, a layer of classes (PTP's intended head, which its own
//! code cannot construct).

use super::encoder::{Encoder, View};
use super::shape::VisionShape;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tesseral_nn::Scope;
use tesseral_nn::attention::varlen::{Heads, Segments, attention};
use tesseral_nn::layers::Dense;
use tesseral_nn::layers::activation::tanh;
use tesseral_nn::layers::arrange::gather;
use tesseral_nn::layers::cross_entropy::{self, Reduction, cross_entropy};
use tesseral_nn::layers::loss::{Power, summed_error};

/// The state that the classes are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// That of the whole.
    #[default]
    Whole,
    /// The mean of all that may be seen.
    Mean,
}

/// What a screenshot should be called, or valued at.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// Numbers of classes.
    Classes(Vec<u32>),
    /// Values, for a head of one output: its squared error is the loss.
    Values(Vec<f32>),
}

/// Encoder and head.
pub struct Classifier {
    encoder: Encoder,
    dense: Dense,
    out: Dense,
    pool: Pool,
    classes: usize,
}

impl Classifier {
    /// Declares the encoder under PTP's names and the head as `classifier`.
    ///
    /// # Errors
    /// A parameter of the same name and another shape.
    pub fn declare(scope: &Scope, shape: &VisionShape, classes: usize, pool: Pool) -> Result<Self> {
        let (width, sigma, head) = (shape.hidden_size, shape.initializer_range, scope.enter("classifier"));
        Ok(Classifier {
            encoder: Encoder::declare(&scope.enter("encoder"), shape)?,
            dense: Dense::normal(&head.enter("dense"), width, width, sigma)?,
            out: Dense::normal(&head.enter("out_proj"), width, classes, sigma)?,
            pool,
            classes,
        })
    }

    /// `[views, classes]`.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn logits(&self, views: &[View]) -> Result<Tensor> {
        let encoded = self.encoder.forward(views)?;
        let width = encoded.states.dims2()?.1;
        let states = match self.pool {
            Pool::Whole => {
                let starts = encoded.lengths.iter().scan(0, |next, n| Some(std::mem::replace(next, *next + n)));
                gather(&encoded.states, &starts.collect(), 0..width)?
            }
            Pool::Mean => {
                // Attention of equal weights is the mean.
                let ones = vec![1; views.len()];
                let segments = Segments::cross(&ones, &encoded.lengths, false)?.with_key_mask(encoded.seen.clone())?;
                let zeros = encoded.states.detach().zeros_like()?;
                let queries = zeros.narrow(0, 0, views.len())?;
                attention(&queries, &zeros, &encoded.states, &Arc::new(segments), Heads::new(1, 1, width))?
            }
        };
        Ok(self.out.forward(&tanh(&self.dense.forward(&states)?)?)?)
    }

    /// Mean loss: cross-entropy of classes, squared error of values.
    ///
    /// # Errors
    /// [`Error::Config`] for labels that do not fit the views or the head.
    pub fn loss(&self, views: &[View], labels: &Labels) -> Result<Tensor> {
        let logits = self.logits(views)?;
        let count = match labels {
            Labels::Classes(classes) => classes.len(),
            Labels::Values(values) => values.len(),
        };
        if count != views.len() {
            return Err(Error::config("labels", format!("expected {}, found {count}", views.len())));
        }
        match labels {
            Labels::Classes(classes) => {
                let classes: Arc<[i64]> = classes.iter().map(|c| i64::from(*c)).collect();
                let identity = Tensor::eye(self.classes, logits.dtype(), logits.device())?;
                Ok(cross_entropy(&logits, &identity, &classes, Reduction::Mean, cross_entropy::BLOCK)?)
            }
            Labels::Values(values) => {
                let values = Tensor::from_slice(values, (count, 1), logits.device())?.to_dtype(logits.dtype())?;
                Ok(summed_error(&logits, &values, None, Power::Squared, 1.0 / count.max(1) as f64)?)
            }
        }
    }

    /// The class of each view, or its value rounded where the head has one output.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn classes(&self, views: &[View]) -> Result<Vec<u32>> {
        let logits = self.logits(views)?.detach().to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let best =
            |row: &Vec<f64>| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(k, _)| k as u32);
        Ok(logits.iter().map(best).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screenshot::patches::Screenshot;
    use crate::screenshot::render::{RenderConfig, Renderer};
    use candle_core::Device;
    use tesseral_nn::Parameters;
    use tesseral_nn::optim::Gradients;
    use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
    use tesseral_nn::rng::Streams;
    use tesseral_nn::train::gradcheck::worst_directional_error;

    #[test]
    fn every_parameter_has_its_gradient() {
        let shape = VisionShape {
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 12,
            image_size: [16, 96],
            initializer_range: 0.3,
            ..VisionShape::default()
        };
        let renderer = Renderer::new(&RenderConfig { width: 96, ..RenderConfig::default() }).unwrap();
        let view = |text: &&str| View::whole(Screenshot::of_text(&renderer.render(text)).unwrap());
        let views: Vec<View> = ["yes", "no and no"].iter().map(view).collect();
        for (pool, classes, labels) in
            [(Pool::Whole, 3, Labels::Classes(vec![2, 0])), (Pool::Mean, 1, Labels::Values(vec![0.5, -1.0]))]
        {
            let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
            let model = Classifier::declare(&parameters.root(), &shape, classes, pool).unwrap();
            let loss = model.loss(&views, &labels).unwrap();
            assert_eq!(tesseral_nn::kernels::reverse::foreign_operations(&loss), 0);
            let gradients = Gradients::collect(&parameters, &tesseral_nn::kernels::backward(loss).unwrap());
            // Keys move no weight of one mean: their bias alone has no gradient.
            let named = assert_every_variable_has_gradient(&parameters, &gradients);
            named.unwrap();
            let loss = || Ok(model.loss(&views, &labels).unwrap());
            assert!(worst_directional_error(&parameters, Streams::new(1), 4, 1e-5, loss).unwrap() < 1e-6);
            assert_eq!(model.classes(&views).unwrap().len(), 2);
            assert!(model.loss(&views, &Labels::Classes(vec![0])).is_err());
        }
    }
}
