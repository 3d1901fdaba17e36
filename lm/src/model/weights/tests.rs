//! Folders written and read again, and what is refused.

use super::hugging_face::{INDEX, SINGLE};
use super::save::SaveOptions;
use super::*;
use crate::model::decoder::Decoder;
use candle_core::Device;
use std::fs;
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;

fn tiny(tied: bool) -> Weights {
    let text = format!(
        r#"{{"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": 20, "tie_word_embeddings": {tied}, "architectures": ["LlamaForCausalLM"], "initializer_range": 0.02, "eos_token_id": [2, 3]}}"#
    );
    let config = LlamaConfig::parse(&text, "config.json".as_ref()).unwrap();
    let parameters = Parameters::new(Streams::new(1), DType::F32, &Device::Cpu);
    Decoder::declare(&parameters.root(), &config, 0.1).unwrap();
    Weights { config, tensors: parameters.snapshot().unwrap(), source: "nowhere".into() }
}

fn equal(a: &Weights, b: &Weights) {
    assert_eq!(a.config, b.config);
    assert!(a.tensors.keys().eq(b.tensors.keys()));
    for (name, tensor) in &a.tensors {
        let bits = |t: &Tensor| -> Vec<u64> {
            let t = t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            t.into_iter().map(f64::to_bits).collect()
        };
        assert_eq!(bits(tensor), bits(&b.tensors[name]), "{name}");
    }
}

#[test]
fn written_and_read_again_to_the_bit_in_one_file_and_in_shards() {
    let folder = tempfile::tempdir().unwrap();
    for tied in [true, false] {
        let weights = tiny(tied);
        let (one, many) = (folder.path().join("one"), folder.path().join("many"));
        weights.save(&one, SaveOptions::default()).unwrap();
        assert!(one.join(SINGLE).is_file() && !one.join(INDEX).exists());
        weights.save(&many, SaveOptions { largest_file: 900, ..SaveOptions::default() }).unwrap();
        assert!(fs::read_dir(&many).unwrap().count() > 4 && many.join(INDEX).is_file());
        let read = Weights::open(&one, Storage::F32).unwrap();
        equal(&read, &weights);
        equal(&Weights::open(&many, Storage::F32).unwrap(), &weights);
        assert_eq!(read.config.other["eos_token_id"], serde_json::json!([2, 3]));
        // bf16 on disk is bf16 in memory.
        let half = folder.path().join("half");
        weights.save(&half, SaveOptions { storage: Storage::Bf16, ..SaveOptions::default() }).unwrap();
        let (a, b) = (Weights::open(&half, Storage::Bf16).unwrap(), Weights::open(&half, Storage::F32).unwrap());
        equal(&a, &b);
        assert_eq!(a.tensors["model.embed_tokens.weight"].dtype(), DType::BF16);
    }
}

fn refused(folder: &Path, part: &str) {
    let message = Weights::open(folder, Storage::F32).unwrap_err().to_string();
    assert!(message.contains(part), "{message}");
    assert!(message.starts_with(&folder.display().to_string()), "{message}");
}

#[test]
fn what_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let save = |change: &dyn Fn(&mut Weights)| {
        let mut weights = tiny(true);
        change(&mut weights);
        weights.save(&path, SaveOptions { largest_file: 2000, ..SaveOptions::default() }).unwrap();
    };
    let norm = "model.norm.weight";
    save(&|w| drop(w.tensors.remove(norm)));
    refused(&path, "model.norm.weight: expected shape [8], found no such tensor");
    save(&|w| drop(w.tensors.insert(norm.into(), Tensor::ones(9, DType::F32, &Device::Cpu).unwrap())));
    refused(&path, "model.norm.weight: expected shape [8], found [9]");
    save(&|w| drop(w.tensors.insert("extra".into(), Tensor::ones(9, DType::F32, &Device::Cpu).unwrap())));
    refused(&path, "extra: expected no such tensor, found one");
    save(&|w| {
        let bad = Tensor::new(&[1.0f32, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &Device::Cpu).unwrap();
        w.tensors.insert(norm.into(), bad);
    });
    refused(&path, "model.norm.weight: expected finite numbers");
    save(&|w| {
        let other = w.tensors["model.embed_tokens.weight"].affine(2.0, 0.0).unwrap();
        w.tensors.insert("lm_head.weight".into(), other);
    });
    refused(&path, "lm_head.weight: expected the embedding");
    // A shard that is gone, one that is cut, an index that points outside.
    save(&|_| {});
    let shard =
        fs::read_dir(&path).unwrap().flatten().map(|e| e.path()).find(|p| p.to_string_lossy().contains("00002-of"));
    let shard = shard.unwrap();
    let bytes = fs::read(&shard).unwrap();
    for cut in (0..bytes.len()).step_by(37) {
        fs::write(&shard, &bytes[..cut]).unwrap();
        refused(&path, "expected");
    }
    fs::remove_file(&shard).unwrap();
    refused(&path, "weight_map: expected a file model-00002-of");
    let index = fs::read_to_string(path.join(INDEX)).unwrap().replace("model-00002-of", "../model-00002-of");
    fs::write(path.join(INDEX), index).unwrap();
    refused(&path, "expected names of files in this folder");
    // Every bit of a header turned: an error or the same model, never a panic.
    for position in 0..64 {
        let mut bent = bytes.clone();
        bent[position] ^= 1 << (position % 8);
        fs::write(&shard, &bent).unwrap();
        save(&|_| {});
        fs::write(&shard, &bent).unwrap();
        let _ = Weights::open(&path, Storage::F32);
    }
    fs::remove_file(path.join("config.json")).unwrap();
    refused(&path, "model: expected a config.json or one .gguf file, found neither");
}

#[test]
fn a_file_that_is_not_gguf_or_is_cut_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.gguf");
    fs::write(&file, b"GGUF\x03\0\0\0").unwrap();
    refused(&file, "GGUF header");
    fs::write(&file, b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\x00").unwrap();
    refused(&file, "GGUF header");
    // Also where candle adds a backtrace.
    let message = Weights::open(&file, Storage::F32).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    fs::write(folder.path().join("b.gguf"), b"").unwrap();
    let message = Weights::open(folder.path(), Storage::F32).unwrap_err().to_string();
    assert!(message.ends_with("found several .gguf files"), "{message}");
}
