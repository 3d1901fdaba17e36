//! The decoder against itself: with and without a cache, in blocks and at once.

use super::*;
use candle_core::Device;
use tesseral_nn::Parameters;
use tesseral_nn::rng::Streams;

fn tiny() -> Decoder {
    let text = r#"{"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 3,
        "num_key_value_heads": 1, "vocab_size": 40, "rope_theta": 1000.0, "tie_word_embeddings": true}"#;
    let config = LlamaConfig::parse(text, "config.json".as_ref()).unwrap();
    let parameters = Parameters::new(Streams::new(5), DType::F32, &Device::Cpu);
    let decoder = Decoder::declare(&parameters.root(), &config, 0.2).unwrap();
    assert_eq!(parameters.count() as u64, config.parameters());
    decoder
}

fn far(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
}

#[test]
fn tokens_after_a_cache_are_tokens_of_the_whole() {
    let decoder = tiny();
    let ids: Vec<u32> = (0..50).map(|k| (k * 7 + 1) % 40).collect();
    let whole = decoder.hidden(&Arc::from(&ids[..]), &decoder.layout(&[50]).unwrap()).unwrap();
    for blocks in [&[50][..], &[20, 30], &[1, 1, 47, 1], &[33, 16, 1]] {
        let mut cache = Cache::new(decoder.config(), 8);
        let mut start = 0;
        for n in blocks {
            let hidden = decoder.continue_from(&mut cache, &ids[start..start + n]).unwrap();
            assert!(far(&hidden, &whole.narrow(0, start, *n).unwrap()) < 1e-5);
            start += n;
        }
        assert_eq!(cache.len(), 50);
        assert_eq!(cache.bytes(), 3 * 2 * 50 * 8 * 4);
        // A second continuation of the first ten tokens.
        cache.truncate(10);
        let hidden = decoder.continue_from(&mut cache, &ids[10..13]).unwrap();
        assert!(far(&hidden, &whole.narrow(0, 10, 3).unwrap()) < 1e-5);
    }
}

#[test]
fn weights_in_bf16_are_those_weights_in_f32() {
    let decoder = tiny();
    let parameters = Parameters::new(Streams::new(5), DType::F32, &Device::Cpu);
    Decoder::declare(&parameters.root(), decoder.config(), 0.2).unwrap();
    // Gains stay in f32: they are few, and the norm reads them as they are.
    let run = |dtype: DType| {
        let stored = |(name, t): (String, Tensor)| match t.rank() {
            2 => (name, t.to_dtype(DType::BF16).unwrap().to_dtype(dtype).unwrap()),
            _ => (name, t),
        };
        let tensors = parameters.snapshot().unwrap().into_iter().map(stored).collect();
        let decoder = Decoder::from_tensors(decoder.config(), &tensors).unwrap();
        let hidden = decoder.continue_from(&mut Cache::new(decoder.config(), 8), &[3, 1, 4, 1, 5, 9, 2, 6]).unwrap();
        decoder.logits(&hidden).unwrap()
    };
    assert!(far(&run(DType::F32), &run(DType::BF16)) < 1e-5);
}

#[test]
fn a_compacted_model_gives_the_same_bits() {
    let parameters = Parameters::new(Streams::new(5), DType::F32, &Device::Cpu);
    let plain = tiny();
    Decoder::declare(&parameters.root(), plain.config(), 0.2).unwrap();
    let narrowed = |(name, t): (String, Tensor)| (name, t.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap());
    let tensors = parameters.snapshot().unwrap().into_iter().map(narrowed).collect();
    let plain = Decoder::from_tensors(plain.config(), &tensors).unwrap();
    let compacted = plain.clone().compacted().unwrap();
    assert!(plain.compact_head.is_none() && compacted.compact_head.is_some());
    let run = |decoder: &Decoder| {
        let mut cache = Cache::new(decoder.config(), 8);
        decoder.continue_from(&mut cache, &[3, 1, 4, 1, 5, 9]).unwrap();
        let hidden = decoder.continue_from(&mut cache, &[2]).unwrap();
        decoder.logits(&hidden).unwrap()
    };
    assert_eq!(far(&run(&plain), &run(&compacted)), 0.0);
}

#[test]
fn a_missing_or_wrong_tensor_is_named() {
    let decoder = tiny();
    let message = Decoder::from_tensors(decoder.config(), &BTreeMap::new()).err().unwrap().to_string();
    assert_eq!(message, "model.embed_tokens.weight: expected a tensor of shape [40, 24], found none");
    assert!(decoder.hidden(&Arc::from([40]), &decoder.layout(&[1]).unwrap()).is_err());
    assert!(decoder.hidden(&Arc::from([1, 2]), &decoder.layout(&[1]).unwrap()).is_err());
}
