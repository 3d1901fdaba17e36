//! Scores against the losses of training, independence of answers, and prefixes read once.

use super::*;
use crate::model::chat::{ChatTemplate, Message};
use crate::model::decoder::Decoder;
use crate::model::llama::LlamaConfig;
use crate::objective::{Batch, losses};
use candle_core::{DType, Device};
use serde_json::json;
use tesseral_nn::{Parameters, rng::Streams};

/// Characters from blank to `~` by themselves, and an end, 95.
fn tokenizer() -> Tokenizer {
    let vocabulary: serde_json::Map<_, _> = (0..95u8).map(|id| (char::from(32 + id).to_string(), json!(id))).collect();
    let value = json!({"version": "1.0", "added_tokens": [{"id": 95, "content": "<end>", "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "decoder": {"type": "Fuse"}});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokenizer.json");
    fs::write(&file, value.to_string()).unwrap();
    Tokenizer::read(&file).unwrap()
}

fn local() -> Local {
    let text = r#"{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 128, "rope_theta": 100.0, "max_position_embeddings": 400,
        "eos_token_id": 95}"#;
    let config = LlamaConfig::parse(text, "config.json".as_ref()).unwrap();
    let parameters = Parameters::new(Streams::new(5), DType::F32, &Device::Cpu);
    let decoder = Decoder::declare(&parameters.root(), &config, 0.5).unwrap();
    let template =
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[a]{% endif %}";
    let chat = Some(ChatTemplate::new(template, "t".as_ref(), "", ""));
    Local::new(TextModel { decoder, tokenizer: tokenizer(), chat }, "tiny".into())
}

fn answers(local: &Local, requests: &[Request]) -> Vec<Response> {
    let mut found = vec![None; requests.len()];
    let mut tell = |place: usize, response| {
        found[place] = Some(response);
        Ok(())
    };
    local.answer(requests, &mut tell).unwrap();
    found.into_iter().map(Option::unwrap).collect()
}

/// Sum of the losses of the last `scored` tokens, by the code that trains.
fn by_losses(local: &Local, text: &str, scored: usize) -> f64 {
    let ids = local.model.tokenizer.encode(text, true).unwrap();
    let all = losses(&local.model.decoder, &Batch::whole(&ids).unwrap()).unwrap();
    -all[ids.len() - scored - 1..ids.len() - 1].iter().flatten().sum::<f64>()
}

#[test]
fn log_likelihoods_are_the_losses_of_training() {
    let local = local();
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(7);
    let asked = [Request::log_likelihood("A question:", " yes"), Request::log_likelihood(long.as_str(), "or not")];
    let found = answers(&local, &asked);
    assert!((found[0].sum() - by_losses(&local, "A question: yes", 4)).abs() < 1e-5);
    // The blank at the end of the prompt is scored with the continuation.
    assert!((found[1].sum() - by_losses(&local, &format!("{long}or not"), 7)).abs() < 1e-5);
    assert!(matches!(found[1], Response::LogLikelihood { tokens: 7, .. }));
    // From nothing: after the end token. Two windows of a text longer than the model's length.
    let text = "abcdefgh ".repeat(60);
    let rolled = answers(&local, &[Request::Rolling { text: text.clone() }]);
    let first = by_losses(&local, &format!("<end>{}", &text[..399]), 399);
    let second = by_losses(&local, &text[398..], text.len() - 399);
    assert!((rolled[0].sum() - first - second).abs() < 1e-4, "{} {first} {second}", rolled[0].sum());
}

#[test]
fn the_most_probable_continuation_is_greedy() {
    let local = local();
    let asked = [Request::generate("Once", Decoding::greedy(6, &[]))];
    let text = answers(&local, &asked)[0].text().to_string();
    assert!(!text.is_empty());
    let scored = answers(&local, &[Request::log_likelihood("Once", &text), Request::log_likelihood("Once", "zzz")]);
    assert!(matches!(scored[0], Response::LogLikelihood { greedy: true, .. }));
    assert!(matches!(scored[1], Response::LogLikelihood { greedy: false, .. }));
}

#[test]
fn an_answer_does_not_depend_on_the_others() {
    let local = local();
    let rules = "Rules of this game are long and dull. ".repeat(8);
    let ask = |k: usize| match k % 3 {
        0 => Request::generate(format!("{rules}Case {k}:"), Decoding::greedy(4, &[])),
        _ => Request::log_likelihood(format!("{rules}Case {}:", k / 3), ["no", "yes"][k % 2]),
    };
    let requests: Vec<Request> = (0..12).map(ask).collect();
    let together = answers(&local, &requests);
    let work = local.work();
    let alone: Vec<Response> = requests.iter().flat_map(|r| answers(&local, std::slice::from_ref(r))).collect();
    // To the bit, not within a tolerance: a resumed run writes the same bytes.
    assert_eq!(together, alone);
    // 304 tokens of rules, 256 of them in a whole block, which is read once.
    assert!(work + 11 * 256 <= local.work() - work, "{work} of {}", local.work());
    let backwards: Vec<Request> = requests.iter().rev().cloned().collect();
    assert_eq!(answers(&local, &backwards).into_iter().rev().collect::<Vec<_>>(), together);
}

#[test]
fn a_turn_of_the_assistant_is_continued() {
    let local = local();
    let turns = |answer: Option<&str>| {
        let said = answer.map(|text| Message::new("assistant", text));
        [Message::new("user", "Which?")].into_iter().chain(said).collect::<Vec<_>>()
    };
    let chat = answers(&local, &[Request::log_likelihood(turns(Some("Output (")), "a")]);
    let text = answers(&local, &[Request::log_likelihood("[user]Which?[a]Output (", "a")]);
    assert_eq!(chat, text);
    assert_eq!(local.text(&Prompt::Chat(turns(None))).unwrap().0, "[user]Which?[a]");
}

#[test]
fn what_cannot_be_asked_is_told() {
    let local = local();
    let message = |request: Request| local.answer(&[request], &mut |_, _| Ok(())).unwrap_err().to_string();
    assert!(message(Request::log_likelihood("a", "")).contains("expected a text that adds a token"));
    let long = "x".repeat(401);
    let found = message(Request::generate(long, Decoding::default()));
    assert!(found.contains("at most the 400 tokens") && found.contains("401"), "{found}");
}
