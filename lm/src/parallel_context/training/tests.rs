//! Whole stages on made-up text: stopped and continued, handed over, and what they leave alone.

use super::*;
use crate::configuration::Configuration;
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::model::tokenizer::learn::byte_pairs;
use crate::model::weights::save::SaveOptions;
use crate::model::weights::{Storage, Weights};
use crate::parallel_context::files::{ContextWeights, hash};
use candle_core::{DType, Device};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{Silent, on_large_stack};

/// A folder with a decoder of random weights, its tokenizer, and documents that say a word again and again.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text =
        |k: usize| format!("The word of document {k} is {}. ", ["red", "blue", "green", "white"][k % 4]).repeat(6);
    let texts: Vec<String> = (0..12).map(text).collect();
    let lines: String = texts.iter().map(|t| serde_json::json!({"text": t}).to_string() + "\n").collect();
    std::fs::write(folder.path().join("text.jsonl"), lines).unwrap();
    let config = r#"{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": 264, "eos_token_id": 0, "tie_word_embeddings": true}"#;
    let config = LlamaConfig::parse(config, Path::new("c")).unwrap();
    let parameters = Parameters::new(Streams::new(1), DType::F32, &Device::Cpu);
    Decoder::declare(&parameters.root(), &config, 0.2).unwrap();
    let weights = Weights { config, tensors: parameters.snapshot().unwrap(), source: "nowhere".into() };
    weights.save(&folder.path().join("decoder"), SaveOptions::default()).unwrap();
    byte_pairs(&texts, 264, "<end>", &folder.path().join("decoder/tokenizer.json")).unwrap();
    folder
}

const CONFIG: &str = r#"
seed = 3
[data]
paths = ["text.jsonl"]
contexts = 3
context_tokens = 8
decoder_tokens = 16
texts = 2
[data.validation]
samples = 2
[train]
steps = 4
checkpoint_every = 2
validate_every = 2
[train.optimizer]
learning_rate = 1e-2
[train.schedule]
kind = "constant"
warmup_fraction = 0.0
"#;

fn run(folder: &Path, name: &str, resume: bool, set: &[&str]) -> crate::Result<Report> {
    let file = folder.join("c.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    let config = ContextConfig::read(&file, &set)?;
    on_large_stack(|| train(&config, &folder.join(name), resume, &mut Silent, &AtomicBool::new(false))).unwrap()
}

const SHAPE: &str =
    "model.encoder_shape={hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2}";

#[test]
fn stages_follow_each_other_and_leave_the_decoder_alone() {
    let place = workplace();
    let folder = place.path();
    let masked = run(folder, "masked", false, &["stage=masked", "model.decoder=decoder", SHAPE]).unwrap();
    assert_eq!((masked.steps, masked.decoder_sha256), (4, None));
    let parts = ["stage=warm-up", "model.decoder=decoder", "model.encoder=masked", "model.cross_layers=1"];
    let warm = run(folder, "warm-up", false, &parts).unwrap();
    // The encoder came over.
    let warmed = ContextWeights::open(&warm.model, Storage::F32).unwrap();
    assert_eq!((warmed.shape.cross_layers, warmed.shape.encoder.vocab_size), (1, 265));
    let from = ["stage=contexts", "model.init_from=warm-up"];
    let with = |more: &[&'static str]| from.iter().copied().chain(more.iter().copied()).collect::<Vec<_>>();
    let whole = run(folder, "whole", false, &with(&["data.masking={}"])).unwrap();
    // Stopped half-way and continued: the same bytes.
    run(folder, "halves", false, &with(&["data.masking={}", "train.steps=2"])).unwrap();
    run(folder, "halves", true, &with(&["data.masking={}"])).unwrap();
    let bytes = |name: &str| std::fs::read(folder.join(name).join("model/model.safetensors")).unwrap();
    assert_eq!(bytes("whole"), bytes("halves"));
    let retrieved = ["data.supply=retrieved", "data.neighbour=separate", "data.negatives=true"];
    let retrieved = run(folder, "retrieved", false, &with(&retrieved)).unwrap();
    let mut taught = vec!["stage=distil", "model.init_from=warm-up", "model.train_encoder=false"];
    taught.push("distil={top=5, rest={smooth=1e-6}}");
    let taught = run(folder, "taught", false, &taught).unwrap();
    assert!(taught.trained < whole.trained);
    let before = Weights::open(&folder.join("decoder"), Storage::F32).unwrap();
    let before = hash(&before.tensors).unwrap();
    for report in [&warm, &whole, &retrieved, &taught] {
        assert_eq!(report.decoder_sha256.as_ref(), Some(&before));
        let weights = ContextWeights::open(&report.model, Storage::F32).unwrap();
        assert_eq!(hash(&weights.tensors).unwrap(), before);
        assert!(report.last_loss.unwrap().is_finite() && report.best_validation.unwrap() > 0.0);
    }
    let encoder = |report: &Report| {
        let weights = ContextWeights::open(&report.model, Storage::F32).unwrap();
        weights.tensors["encoder.norm.weight"].to_vec1::<f32>().unwrap()
    };
    assert_eq!(encoder(&taught), encoder(&warm));
    assert_ne!(encoder(&whole), encoder(&warm));
}

#[test]
fn what_does_not_fit_is_named_and_nothing_is_written() {
    let place = workplace();
    let folder = place.path();
    for (set, part) in [
        (&["stage=masked", "model.decoder=decoder", "model.encoder_shape={hidden_size=12}"][..], "intermediate_size"),
        (&["stage=contexts", "model.init_from=nowhere"], "nowhere"),
        (&["stage=warm-up", "model.decoder=decoder", SHAPE, "data.decoder_tokens=100000"], "100000 tokens"),
        (&["stage=warm-up", "model.decoder=decoder", SHAPE, "model.cross_layers=3"], "at most 2, found 3"),
    ] {
        let message = run(folder, "none", false, set).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
        assert!(!folder.join("none").exists());
    }
}
