//! A tiny model of random weights with a tokenizer and a chat template, made through the command, and documents.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot make its model must fail")]

use super::outside::json;
use assert_cmd::Command;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// `tesseral lm -q`.
pub fn tesseral() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tesseral"));
    command.args(["lm", "-q"]);
    command
}

/// A tokenizer of bytes (as GPT-2 writes them) and an end of text, 256.
pub fn tokenizer(more: usize) -> Value {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut unprintable = 0;
    let mut vocabulary = serde_json::Map::new();
    for byte in 0..256_u32 {
        let code = if printable(byte) { byte } else { 256 + unprintable };
        unprintable += u32::from(!printable(byte));
        vocabulary.insert(char::from_u32(code).unwrap().to_string(), byte.into());
    }
    for extra in 0..more {
        vocabulary.insert(format!("extra{extra}"), (257 + extra).into());
    }
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": 256, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "pre_tokenizer": level.clone(), "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []}
    })
}

const TEMPLATE: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}\
    {% if add_generation_prompt %}<assistant>{% endif %}";

/// A folder with a model of random weights and a tokenizer (`model`), and documents (`text.jsonl`, `chat.jsonl`).
pub fn workplace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = "[model.shape]\nhidden_size = 16\nintermediate_size = 24\nnum_hidden_layers = 2\nnum_attention_heads = 2\n\
        vocab_size = 257\nrope_theta = 100.0\nmax_position_embeddings = 64\neos_token_id = 256\n\
        [[data.recall]]\nbatches = 1\n[train]\nsteps = 1\n";
    fs::write(at("random.toml"), config).unwrap();
    json(tesseral().args(["train", "--json", "--out"]).arg(at("random")).arg(at("random.toml")));
    fs::rename(at("random/model"), at("model")).unwrap();
    fs::write(at("model/tokenizer.json"), tokenizer(0).to_string()).unwrap();
    fs::write(at("model/chat_template.jinja"), TEMPLATE).unwrap();
    let text = |k: usize| json!({"text": format!("Document {k} is about the number {}. ", k * k).repeat(3)});
    write_lines(&at("text.jsonl"), (0..40).map(text));
    let turns = |k: usize| {
        json!({"messages": [{"role": "user", "content": format!("What is {k}?")},
            {"role": "assistant", "content": format!("A number, {k}.")}]})
    };
    write_lines(&at("chat.jsonl"), (0..40).map(turns));
    folder
}

/// Writes JSON lines.
pub fn write_lines(file: &Path, lines: impl Iterator<Item = Value>) {
    fs::write(file, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}
