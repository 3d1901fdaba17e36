//! GGUF files of Llama models, as llama.cpp writes them: other names, quantised matrices, and the rows of Q and K in the
//! order of interleaved rotary pairs, which is undone here.

use super::{Storage, Weights, check, kept};
use crate::error::reason;
use crate::model::llama::LlamaConfig;
use crate::{Error, Result};
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Header and metadata of a file, and the file itself.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] for a file that is not GGUF.
pub(crate) fn open(path: &Path) -> Result<(Content, BufReader<File>)> {
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let content = Content::read(&mut file).map_err(|e| Error::format(path, format!("GGUF header: {}", reason(&e))))?;
    Ok((content, file))
}

/// The tokens of a file by id; none where it holds none.
///
/// # Errors
/// As [`open`].
pub(crate) fn tokens(path: &Path) -> Result<Vec<String>> {
    let (content, _) = open(path)?;
    Ok(text_list(&content, "tokenizer.ggml.tokens"))
}

/// The chat template of a file with the texts of its beginning and end of text.
///
/// # Errors
/// As [`open`].
pub(crate) fn chat_template(path: &Path) -> Result<Option<[String; 3]>> {
    let (content, _) = open(path)?;
    let metadata = Metadata { path, values: &content.metadata };
    let Some(template) = metadata.text("tokenizer.chat_template") else { return Ok(None) };
    let tokens = text_list(&content, "tokenizer.ggml.tokens");
    let token = |name: &str| {
        let id = metadata.number(&format!("tokenizer.ggml.{name}_token_id"));
        id.and_then(|id| tokens.get(id as usize)).cloned().unwrap_or_default()
    };
    Ok(Some([template.to_string(), token("bos"), token("eos")]))
}

fn text_list(content: &Content, key: &str) -> Vec<String> {
    let values = content.metadata.get(key).and_then(|value| value.to_vec().ok());
    values.into_iter().flatten().filter_map(|value| value.to_string().ok().cloned()).collect()
}

/// Reads a file; matrices are dequantised.
///
/// # Errors
/// As [`Weights::open`].
pub fn read(path: &Path, storage: Storage) -> Result<Weights> {
    let (content, mut file) = open(path)?;
    let config = config(path, &content)?;
    let mut shapes = BTreeMap::new();
    let mut names = BTreeMap::new();
    for (gguf, info) in &content.tensor_infos {
        if gguf == "rope_freqs.weight" {
            return Err(Error::format(
                path,
                "rope_freqs.weight: expected none (stretched positions are not supported)",
            ));
        }
        let name = hugging_face_name(gguf).unwrap_or_else(|| gguf.clone());
        shapes.insert(name.clone(), info.shape.dims().to_vec());
        names.insert(name, gguf);
    }
    check(path, &config, &shapes)?;
    let mut tensors = BTreeMap::new();
    for (name, gguf) in names {
        let fail = |e: candle_core::Error| Error::format(path, format!("{gguf}: {}", reason(&e)));
        let tensor =
            content.tensor(&mut file, gguf, &Device::Cpu).map_err(fail)?.dequantize(&Device::Cpu).map_err(fail)?;
        let heads = match name.split('.').nth_back(1) {
            Some("q_proj") => Some(config.num_attention_heads),
            Some("k_proj") => Some(config.key_value_heads()),
            _ => None,
        };
        let tensor = heads.map_or(Ok(tensor.clone()), |heads| half_split(&tensor, heads))?;
        tensors.insert(name.clone(), kept(path, &name, &tensor, storage)?);
    }
    Ok(Weights { config, tensors, source: path.into() })
}

/// Rows `2 i + j` of each head, i below half its width and j in {0, 1}, become rows `i + j half`.
fn half_split(rows: &Tensor, heads: usize) -> Result<Tensor> {
    let dims = rows.dims().to_vec();
    let (half, columns) = (dims[0] / heads / 2, rows.elem_count() / dims[0]);
    Ok(rows.reshape((heads, half, 2, columns))?.transpose(1, 2)?.contiguous()?.reshape(dims)?)
}

fn hugging_face_name(gguf: &str) -> Option<String> {
    let whole = match gguf {
        "token_embd.weight" => "model.embed_tokens.weight",
        "output_norm.weight" => "model.norm.weight",
        "output.weight" => "lm_head.weight",
        _ => "",
    };
    if !whole.is_empty() {
        return Some(whole.into());
    }
    let (layer, rest) = gguf.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let part = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{part}.{kind}"))
}

/// The shape, from the metadata.
fn config(path: &Path, content: &Content) -> Result<LlamaConfig> {
    let metadata = Metadata { path, values: &content.metadata };
    let family = metadata.text("general.architecture").unwrap_or_default();
    if family != "llama" {
        return Err(Error::format(path, format!("general.architecture: expected \"llama\", found {family:?}")));
    }
    let embedding = content.tensor_infos.get("token_embd.weight").map(|info| info.shape.dims().to_vec());
    let vocabulary = metadata.number("llama.vocab_size").map(|n| n as usize).or(embedding.map(|d| d[0]));
    let heads = metadata.required("llama.attention.head_count")?;
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": metadata.required("llama.embedding_length")? as u64,
        "intermediate_size": metadata.required("llama.feed_forward_length")? as u64,
        "num_hidden_layers": metadata.required("llama.block_count")? as u64,
        "num_attention_heads": heads as u64,
        "num_key_value_heads": metadata.number("llama.attention.head_count_kv").unwrap_or(heads) as u64,
        "max_position_embeddings": metadata.required("llama.context_length")? as u64,
        "rope_theta": metadata.number("llama.rope.freq_base").unwrap_or(10_000.0),
        "rms_norm_eps": metadata.required("llama.attention.layer_norm_rms_epsilon")?,
        "vocab_size": vocabulary,
        "tie_word_embeddings": !content.tensor_infos.contains_key("output.weight"),
        "attention_bias": content.tensor_infos.contains_key("blk.0.attn_q.bias"),
    });
    for (key, from) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
        if let Some(id) = metadata.number(&format!("tokenizer.ggml.{from}_token_id")) {
            config[key] = (id as u64).into();
        }
    }
    if let Some(width) = metadata.number("llama.attention.key_length") {
        config["head_dim"] = (width as u64).into();
    }
    if metadata.text("llama.rope.scaling.type").is_some_and(|kind| kind != "none") {
        config["rope_scaling"] = json!({"type": metadata.text("llama.rope.scaling.type")});
    }
    LlamaConfig::parse(&config.to_string(), path)
}

struct Metadata<'a> {
    path: &'a Path,
    values: &'a HashMap<String, Value>,
}

impl Metadata<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).and_then(|v| v.to_string().ok()).map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<f64> {
        let value = self.values.get(key)?;
        match value {
            // The shortest decimal of the f32: 1e-5, not 9.999999747378752e-6.
            Value::F32(x) => x.to_string().parse().ok(),
            Value::F64(x) => Some(*x),
            _ => value.to_u64().ok().map(|n| n as f64).or_else(|| value.to_u32().ok().map(f64::from)),
        }
    }

    fn required(&self, key: &str) -> Result<f64> {
        self.number(key).ok_or_else(|| Error::format(self.path, format!("{key}: expected a number, found none")))
    }
}
