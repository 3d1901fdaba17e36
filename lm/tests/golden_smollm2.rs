//! SmolLM2-135M-Instruct from its GGUF file against transformers: tokens, logits, losses, greedy text.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/smollm2.rs"]
mod smollm2;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use golden::load;
use tesseral_lm::model::chat::{ChatTemplate, Message};
use tesseral_lm::model::generate::{GenerateOptions, PromptReader, TextModel};
use tesseral_lm::model::tokenizer::Tokenizer;
use tesseral_lm::model::weights::Storage;
use tesseral_lm::objective::{Batch, losses};

#[test]
fn golden_logits_losses_and_greedy_text() {
    let Some((folder, golden)) = smollm2::folder().zip(load("smollm2", "smollm2")) else { return };
    let model = TextModel::open(&folder, Storage::F32).unwrap();
    let gguf = std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.path());
    let gguf = gguf.into_iter().find(|p| p.extension().is_some_and(|e| e == "gguf")).unwrap();
    // The tokenizer of the GGUF alone: the file in a folder without tokenizer.json.
    let alone = tempfile::tempdir().unwrap();
    let link = alone.path().join("model.gguf");
    std::os::unix::fs::symlink(&gguf, &link).unwrap();
    let from_gguf = Tokenizer::open(&link).unwrap();
    // So does its chat template.
    let turns = [Message::new("system", "Be brief."), Message::new("user", "Hello")];
    let [own, beside] =
        [&link, &folder].map(|path| ChatTemplate::open(path).unwrap().unwrap().render(&turns, true).unwrap());
    assert_eq!(own, beside);
    // A tokenizer of another model beside it, with fewer tokens.
    let t5 = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/entailment/t5/tokenizer.json");
    std::fs::copy(t5, alone.path().join("tokenizer.json")).unwrap();
    let message = Tokenizer::open(&link).err().unwrap().to_string();
    assert!(message.contains("tokenizer.json: token 0: expected") && message.contains("model.gguf"), "{message}");
    let cases = golden.json.as_array().unwrap();
    assert!(!cases.is_empty());
    for (k, case) in cases.iter().enumerate() {
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = golden.indices(&format!("ids_{k}")).iter().map(|id| *id as u32).collect();
        assert_eq!(model.tokenizer.encode(text, true).unwrap(), ids, "{text}");
        assert_eq!(from_gguf.encode(text, true).unwrap(), ids, "{text}");
        let mut reader = PromptReader::new(model.decoder.config(), 8);
        let logits = reader.read(&model.decoder, &ids).unwrap();
        let expected = golden.values(&format!("last_logits_{k}"));
        let far = logits.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        println!("case {k}: logits differ by {far:.1e}");
        assert!(far < tolerances::SMOLLM2_LOGITS, "case {k}: {far:e}");
        let losses: Vec<f64> =
            losses(&model.decoder, &Batch::whole(&ids).unwrap()).unwrap().into_iter().flatten().collect();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        assert!((mean / case["mean_nll"].as_f64().unwrap() - 1.0).abs() < tolerances::LOSS, "case {k}: {mean}");
        let greedy: Vec<u32> = golden.indices(&format!("greedy_{k}")).iter().map(|id| *id as u32).collect();
        let options = GenerateOptions { max_tokens: greedy.len(), show_special: true, ..GenerateOptions::default() };
        let mut told = String::new();
        let generated = model.generate(text, &options, &mut |piece| told.push_str(piece)).unwrap();
        assert_eq!(generated.tokens, greedy, "case {k}");
        assert_eq!(generated.text, case["greedy_text"].as_str().unwrap(), "case {k}");
        assert_eq!(told, generated.text);
    }
}

#[test]
fn conversation_stop_strings_and_half_the_memory() {
    let Some(folder) = smollm2::folder() else { return };
    let model = TextModel::open(&folder, Storage::Bf16).unwrap();
    let prompt = model.chat_prompt(&[Message::new("user", "Name three noble gases.")]).unwrap();
    assert!(prompt.starts_with("<|im_start|>system\n") && prompt.ends_with("<|im_start|>assistant\n"), "{prompt}");
    let options = GenerateOptions { max_tokens: 24, stop: vec!["2.".into()], ..GenerateOptions::default() };
    let generated = model.generate(&prompt, &options, &mut |_| ()).unwrap();
    assert!(!generated.text.contains("2."), "{}", generated.text);
    let drawn = GenerateOptions {
        sampling: tesseral_lm::model::sampling::Sampling { temperature: 1.0, top_p: 0.9, seed: 3, top_k: 50 },
        ..GenerateOptions { max_tokens: 12, ..GenerateOptions::default() }
    };
    let [a, b] = [0, 1].map(|_| model.generate(&prompt, &drawn, &mut |_| ()).unwrap().tokens);
    assert_eq!(a, b);
    assert!(model.generate("", &options, &mut |_| ()).is_err());
}

#[test]
fn streamed_text_is_the_text() {
    let Some(folder) = smollm2::folder() else { return };
    let tokenizer = Tokenizer::open(&folder).unwrap();
    for text in ["naïve 東京 🦀🦀 x", "def f(x):\n    return 12345", "<|im_start|>user\né<|im_end|>"] {
        let ids = tokenizer.encode(text, true).unwrap();
        let mut stream = tokenizer.stream(true);
        let mut told: String = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
        assert!(!told.contains('\u{fffd}'));
        told += &stream.finish().unwrap();
        assert_eq!(told, text);
    }
}
