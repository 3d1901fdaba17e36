//! The shape of a masked screenshot model, from the `config.json` of its folder: PTP's keys, and its main configuration as
//! defaults (293M parameters).

use super::patches::{CHANNELS, SIDE};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Encoder of patches, decoder of pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionShape {
    /// Width of the encoder.
    pub hidden_size: usize,
    /// Its layers.
    pub num_hidden_layers: usize,
    /// Its heads.
    pub num_attention_heads: usize,
    /// Width of the hidden layer of its feed-forward parts.
    pub intermediate_size: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Rows and columns of the image, pixels.
    pub image_size: [usize; 2],
    /// Pixels of a side of a patch; 16.
    pub patch_size: usize,
    /// Colours; 3.
    pub num_channels: usize,
    /// Width of the pixel decoder.
    pub decoder_hidden_size: usize,
    /// Its layers.
    pub decoder_num_hidden_layers: usize,
    /// Its heads.
    pub decoder_num_attention_heads: usize,
    /// Width of the hidden layer of its feed-forward parts.
    pub decoder_intermediate_size: usize,
    /// Whether patches are normalised before they are compared.
    pub norm_pix_loss: bool,
    /// Standard deviation of random matrices.
    pub initializer_range: f64,
    /// All other keys.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for VisionShape {
    fn default() -> Self {
        VisionShape {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            layer_norm_eps: 1e-12,
            image_size: [SIDE, 8176],
            patch_size: SIDE,
            num_channels: CHANNELS,
            decoder_hidden_size: 512,
            decoder_num_hidden_layers: 8,
            decoder_num_attention_heads: 16,
            decoder_intermediate_size: 2048,
            norm_pix_loss: true,
            initializer_range: 0.02,
            other: Map::new(),
        }
    }
}

impl VisionShape {
    /// Patches of an image.
    pub fn patches(&self) -> usize {
        (self.image_size[0] / SIDE) * (self.image_size[1] / SIDE)
    }
}

/// Decoder of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextShape {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width.
    pub hidden_size: usize,
    /// Width of a head.
    pub d_kv: usize,
    /// Width of the hidden layer of the feed-forward parts.
    pub d_ff: usize,
    /// Layers.
    pub num_layers: usize,
    /// Heads.
    pub num_heads: usize,
    /// Longest text, tokens.
    pub max_positions: usize,
    /// Added to the variance in layer norms.
    pub layer_norm_epsilon: f64,
    /// Factor of the standard deviations of random matrices.
    pub initializer_factor: f64,
    /// What the decoder reads before the first token.
    pub decoder_start_token_id: u32,
    /// A target that carries no loss, in files.
    pub pad_token_id: u32,
    /// All other keys.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for TextShape {
    fn default() -> Self {
        TextShape {
            vocab_size: 50_265,
            hidden_size: 768,
            d_kv: 64,
            d_ff: 3072,
            num_layers: 12,
            num_heads: 12,
            max_positions: 2048,
            layer_norm_epsilon: 1e-6,
            initializer_factor: 1.0,
            decoder_start_token_id: 0,
            pad_token_id: 1,
            other: Map::new(),
        }
    }
}

/// The whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MaskedShape {
    /// Encoder and pixel decoder.
    pub vision_config: VisionShape,
    /// Text decoder.
    pub text_config: TextShape,
    /// Share of the patches that is hidden.
    pub mask_ratio: f64,
    /// Factor of the pixels' loss; 0: the pixel decoder rests.
    pub mae_weight: f64,
    /// Factor of the text's loss; 0: the text decoder rests.
    pub text_weight: f64,
    /// Family.
    pub model_type: String,
    /// All other keys.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Default for MaskedShape {
    fn default() -> Self {
        MaskedShape {
            vision_config: VisionShape::default(),
            text_config: TextShape::default(),
            mask_ratio: 0.1,
            mae_weight: 1.0,
            text_weight: 1.0,
            model_type: "ptp".into(),
            other: Map::new(),
        }
    }
}

impl MaskedShape {
    /// Parses the text of a `config.json`; `path` is for the messages only.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Invalid`] with all problems.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let shape: Self = serde_json::from_str(text).map_err(|e| Error::format(path, e.to_string()))?;
        let problems = shape.problems();
        if problems.is_empty() { Ok(shape) } else { Err(Error::Invalid { path: path.into(), problems }) }
    }

    /// Everything that is wrong, as `field: expected .., found ..`.
    pub fn problems(&self) -> Vec<String> {
        let (vision, text) = (&self.vision_config, &self.text_config);
        let mut problems = Vec::new();
        let mut require = |holds: bool, field: &str, expected: &str, found: String| {
            if !holds {
                problems.push(format!("{field}: expected {expected}, found {found}"));
            }
        };
        for (field, value) in [
            ("vision_config.hidden_size", vision.hidden_size),
            ("vision_config.intermediate_size", vision.intermediate_size),
            ("vision_config.num_attention_heads", vision.num_attention_heads),
            ("vision_config.decoder_hidden_size", vision.decoder_hidden_size),
            ("vision_config.decoder_intermediate_size", vision.decoder_intermediate_size),
            ("vision_config.decoder_num_attention_heads", vision.decoder_num_attention_heads),
            ("vision_config.image_size", vision.patches()),
            ("text_config.vocab_size", text.vocab_size),
            ("text_config.hidden_size", text.hidden_size),
            ("text_config.d_kv", text.d_kv),
            ("text_config.d_ff", text.d_ff),
            ("text_config.num_heads", text.num_heads),
            ("text_config.max_positions", text.max_positions),
        ] {
            require((1..=1 << 30).contains(&value), field, "1 to 2^30", value.to_string());
        }
        for (part, width, heads) in [
            ("", vision.hidden_size, vision.num_attention_heads),
            ("decoder_", vision.decoder_hidden_size, vision.decoder_num_attention_heads),
        ] {
            let expected = format!("a multiple of the {heads} heads and, for positions, of 4");
            let fits = width.is_multiple_of(heads.max(1)) && width.is_multiple_of(4);
            require(fits, &format!("vision_config.{part}hidden_size"), &expected, width.to_string());
        }
        let sides = vision.image_size.iter().all(|side| side.is_multiple_of(SIDE));
        require(sides, "vision_config.image_size", "multiples of 16", format!("{:?}", vision.image_size));
        let patch = (vision.patch_size, vision.num_channels) == (SIDE, CHANNELS);
        let found = format!("{} and {}", vision.patch_size, vision.num_channels);
        require(patch, "vision_config.patch_size, num_channels", "16 and 3", found);
        let start = (text.decoder_start_token_id as usize) < text.vocab_size;
        require(
            start,
            "text_config.decoder_start_token_id",
            "an id below vocab_size",
            text.decoder_start_token_id.to_string(),
        );
        let width = "text_config.hidden_size";
        // Keys and values are projected from the encoder's states by square matrices.
        let same = text.hidden_size == vision.hidden_size;
        require(same, width, "the width of the encoder", text.hidden_size.to_string());
        require((0.0..1.0).contains(&self.mask_ratio), "mask_ratio", "a number in [0, 1)", self.mask_ratio.to_string());
        for (field, weight) in [("mae_weight", self.mae_weight), ("text_weight", self.text_weight)] {
            require(weight.is_finite() && weight >= 0.0, field, "a number, not negative", weight.to_string());
        }
        for (config, key, known) in [(&vision.other, "hidden_act", "gelu"), (&text.other, "dense_act_fn", "gelu_new")] {
            let found = config.get(key).and_then(Value::as_str).unwrap_or(known);
            require(found == known, key, known, found.into());
        }
        for (config, key, known) in [
            (&vision.other, "embedding_layernorm", false),
            (&vision.other, "qkv_bias", true),
            (&text.other, "emb_layer_norm", true),
            (&text.other, "is_glu", true),
            (&text.other, "tie_word_embeddings", true),
        ] {
            let found = config.get(key).and_then(Value::as_bool).unwrap_or(known);
            require(found == known, key, &known.to_string(), found.to_string());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_main_configuration_and_mistakes_are_told_together() {
        let shape = MaskedShape::parse("{}", "config.json".as_ref()).unwrap();
        assert_eq!((shape.vision_config.patches(), shape.mask_ratio), (511, 0.1));
        let text = r#"{"vision_config": {"hidden_size": 30, "image_size": [16, 100], "hidden_act": "relu"},
            "text_config": {"is_glu": false}, "mask_ratio": 1.0}"#;
        let message = MaskedShape::parse(text, "config.json".as_ref()).unwrap_err().to_string();
        for part in
            ["hidden_size: expected a multiple of the 12", "multiples of 16", "hidden_act", "is_glu", "mask_ratio"]
        {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(MaskedShape::parse(&serde_json::to_string(&shape).unwrap(), "x".as_ref()).unwrap(), shape);
    }
}
