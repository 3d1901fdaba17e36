//! One layer of the decoder.

use super::cache::LayerCache;
use super::layout::Layout;
use super::low_rank::{Additions, LowRank};
use crate::Result;
use crate::model::llama::LlamaConfig;
use candle_core::Tensor;
use tesseral_nn::attention::varlen::attention;
use tesseral_nn::layers::rope::rotate;
use tesseral_nn::layers::{Compact, activation::add, add_bias, linear, rms_norm, swiglu};

/// Gives the tensor of a name and shape.
pub(crate) type Tensors<'a> = dyn FnMut(&str, &[usize]) -> Result<Tensor> + 'a;

/// `x W^T`, plus a bias where the model has them, plus a low-rank addition where one was made.
#[derive(Clone)]
struct Projection {
    weight: Tensor,
    /// The weight in fewer bytes, for few tokens.
    compact: Option<Compact>,
    bias: Option<Tensor>,
    addition: Option<LowRank>,
}

impl Projection {
    fn build(path: &str, [outputs, inputs]: [usize; 2], bias: bool, tensor: &mut Tensors<'_>) -> Result<Self> {
        let weight = tensor(&format!("{path}.weight"), &[outputs, inputs])?;
        let bias = if bias { Some(tensor(&format!("{path}.bias"), &[outputs])?) } else { None };
        Ok(Projection { weight, compact: None, bias, addition: None })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = match &self.compact {
            Some(compact) => compact.linear(x)?,
            None => linear(x, &self.weight)?,
        };
        if let Some(bias) = &self.bias {
            y = add_bias(&y, bias)?;
        }
        if let Some(addition) = &self.addition {
            y = add(&y, &addition.forward(x)?)?;
        }
        Ok(y)
    }
}

/// Attention and feed-forward part, each behind a norm and added to its input.
#[derive(Clone)]
pub struct Layer {
    attention_norm: Tensor,
    query: Projection,
    key: Projection,
    value: Projection,
    output: Projection,
    mlp_norm: Tensor,
    gate: Projection,
    up: Projection,
    down: Projection,
    epsilon: f64,
}

impl Layer {
    pub(super) fn build(number: usize, config: &LlamaConfig, tensor: &mut Tensors<'_>) -> Result<Self> {
        let (width, hidden) = (config.hidden_size, config.intermediate_size);
        let queries = config.num_attention_heads * config.head_width();
        let keys = config.key_value_heads() * config.head_width();
        let path = |name: &str| format!("model.layers.{number}.{name}");
        let mut project =
            |name: &str, shape: [usize; 2], bias: bool| Projection::build(&path(name), shape, bias, tensor);
        let (biased, mlp_biased) = (config.attention_bias, config.mlp_bias);
        Ok(Layer {
            query: project("self_attn.q_proj", [queries, width], biased)?,
            key: project("self_attn.k_proj", [keys, width], biased)?,
            value: project("self_attn.v_proj", [keys, width], biased)?,
            output: project("self_attn.o_proj", [width, queries], biased)?,
            gate: project("mlp.gate_proj", [hidden, width], mlp_biased)?,
            up: project("mlp.up_proj", [hidden, width], mlp_biased)?,
            down: project("mlp.down_proj", [width, hidden], mlp_biased)?,
            attention_norm: tensor(&path("input_layernorm.weight"), &[width])?,
            mlp_norm: tensor(&path("post_attention_layernorm.weight"), &[width])?,
            epsilon: config.rms_norm_eps,
        })
    }

    /// The matrices with their names.
    fn projections(&mut self) -> [(&'static str, &mut Projection); 7] {
        [
            ("self_attn.q_proj", &mut self.query),
            ("self_attn.k_proj", &mut self.key),
            ("self_attn.v_proj", &mut self.value),
            ("self_attn.o_proj", &mut self.output),
            ("mlp.gate_proj", &mut self.gate),
            ("mlp.up_proj", &mut self.up),
            ("mlp.down_proj", &mut self.down),
        ]
    }

    /// Looks for smaller forms of the matrices.
    pub(super) fn compact(&mut self) -> Result<()> {
        for (_, projection) in self.projections() {
            projection.compact = Compact::of(&projection.weight)?;
        }
        Ok(())
    }

    /// Asks for additions to the matrices of layer `number`.
    pub(super) fn add_low_rank(&mut self, number: usize, find: &mut Additions<'_>) -> Result<()> {
        for (name, projection) in self.projections() {
            let (outputs, inputs) = projection.weight.dims2()?;
            projection.addition = find(&format!("model.layers.{number}.{name}"), [outputs, inputs])?;
        }
        Ok(())
    }

    /// `[tokens, width]` -> `[tokens, width]`.
    ///
    /// # Errors
    /// Another number of tokens than the layout has.
    pub fn forward(&self, x: &Tensor, layout: &Layout) -> Result<Tensor> {
        self.feed_forward(&self.attention(x, layout)?)
    }

    /// The first half: attention, added to its input.
    pub(crate) fn attention(&self, x: &Tensor, layout: &Layout) -> Result<Tensor> {
        let [q, k, v] = self.queries_keys_values(x, layout)?;
        self.attended(x, &attention(&q, &k, &v, &layout.segments, layout.heads)?)
    }

    /// The same for tokens that follow those in the cache.
    pub(super) fn attention_cached(&self, x: &Tensor, layout: &Layout, cache: &mut LayerCache) -> Result<Tensor> {
        let [q, k, v] = self.queries_keys_values(x, layout)?;
        self.attended(x, &cache.attend(&q, &k, &v, layout)?)
    }

    /// Queries, keys (both turned to their positions) and values of the normed input.
    pub(crate) fn queries_keys_values(&self, x: &Tensor, layout: &Layout) -> Result<[Tensor; 3]> {
        let n = rms_norm(x, &self.attention_norm, self.epsilon)?;
        let q = rotate(&self.query.forward(&n)?, &layout.rotations)?;
        let k = rotate(&self.key.forward(&n)?, &layout.rotations)?;
        Ok([q, k, self.value.forward(&n)?])
    }

    /// What attention gave, through the output matrix and added to its input.
    pub(crate) fn attended(&self, x: &Tensor, seen: &Tensor) -> Result<Tensor> {
        Ok(add(x, &self.output.forward(seen)?)?)
    }

    /// The second half: the feed-forward part, added to its input.
    pub(crate) fn feed_forward(&self, x: &Tensor) -> Result<Tensor> {
        let n = rms_norm(x, &self.mlp_norm, self.epsilon)?;
        let gated = swiglu(&self.gate.forward(&n)?, &self.up.forward(&n)?)?;
        Ok(add(x, &self.down.forward(&gated)?)?)
    }
}
