//! Keys and values that stand before every text (prefix tuning, Li and Liang 2021; MeZO's form of it).

use super::{Cache, Decoder};
use crate::Result;
use candle_core::{DType, Tensor};
use std::sync::Arc;

/// For each layer the keys, already turned to the positions 0 .. P, and the values of P places: `[P, key heads * width]`.
#[derive(Clone)]
pub struct Prefix {
    /// Keys by layer.
    pub keys: Vec<Tensor>,
    /// Values by layer.
    pub values: Vec<Tensor>,
}

impl Prefix {
    /// What the tokens of a text leave behind: text after this prefix is read as if it followed them.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn of_tokens(decoder: &Decoder, ids: &[u32]) -> Result<Self> {
        let layout = decoder.layout(&[ids.len()])?;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut x = decoder.embed(&Arc::from(ids))?.detach();
        for layer in decoder.layers() {
            let [_, k, v] = layer.queries_keys_values(&x, &layout)?;
            keys.push(k.detach());
            values.push(v.detach());
            x = layer.forward(&x, &layout)?.detach();
        }
        Ok(Prefix { keys, values })
    }

    /// Places.
    pub fn len(&self) -> usize {
        self.keys.first().and_then(|k| k.dims().first().copied()).unwrap_or(0)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cache that begins with it, with room for `tokens` more.
    ///
    /// # Errors
    /// Those of candle.
    pub fn cache(&self, decoder: &Decoder, tokens: usize) -> Result<Cache> {
        let mut cache = Cache::new(decoder.config(), self.len() + tokens);
        for ((k, v), layer) in self.keys.iter().zip(&self.values).zip(cache.layers()) {
            let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            layer.extend(&flat(k)?, &flat(v)?);
        }
        cache.advance(self.len());
        Ok(cache)
    }
}
