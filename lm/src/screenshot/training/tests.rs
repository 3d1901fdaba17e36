//! Whole runs on made-up words.

use super::config::ScreenshotConfig;
use super::evaluation::{Evaluation, evaluate};
use super::run::{Report, train};
use crate::configuration::Configuration;
use crate::screenshot::text::tests::words;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tesseral_nn::train::{Silent, checkpoint, on_large_stack};

const WORDS: [&str; 10] = ["<s>", "<mask>", "<img>", "</img>", "<patch>", "//", "abc", "def", "ghi", "jkl"];

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("tokenizer.json"), words(&WORDS).to_string()).unwrap();
    let word = |k: usize| WORDS[6 + k % 4];
    let line = |k: usize| {
        let text = format!("{} {} {} {}", word(k), word(k / 4), word(k), word(k / 4));
        json!({"text": text, "label": word(k), "value": (k % 4) as f64 + 0.5})
    };
    fs::write(at("text.jsonl"), (0..16).map(|k| line(k).to_string() + "\n").collect::<String>()).unwrap();
    folder
}

fn config(folder: &Path, objective: &str, more: &[&str]) -> ScreenshotConfig {
    let text = format!(
        r#"objective = "{objective}"
        seed = 3
        [render]
        width = 192
        cell = 32
        [writing]
        prefix = ""
        drawn_mask = "_"
        [data]
        paths = ["text.jsonl"]
        validation_paths = ["text.jsonl"]
        tokenizer = "tokenizer.json"
        tokens = {}
        text_tokens = 2
        pages = 4
        [train]
        steps = 6
        batch = 2
        validate_every = 3
        checkpoint_every = 1
        keep_last = 100
        optimizer.learning_rate = 3e-3
        schedule.minimum_rate = 1e-5
        schedule.kind = "cosine"
        {}"#,
        if objective == "autoregressive" { 2 } else { 4 },
        match objective {
            "autoregressive" => {
                "[model.shape]\nhidden_size = 16\nintermediate_size = 24\nnum_hidden_layers = 1\nnum_attention_heads = 2
                vocab_size = 10\nbos_token_id = 0\nimg_begin_token_id = 2\nimg_end_token_id = 3\npatch_token_id = 4\nnewline_token_id = 5"
            }
            _ => {
                "[model.shape]\nmask_ratio = 0.2\n[model.shape.vision_config]\nhidden_size = 16\nnum_hidden_layers = 1\nnum_attention_heads = 2
                intermediate_size = 24\ndecoder_hidden_size = 8\ndecoder_num_hidden_layers = 1\ndecoder_num_attention_heads = 1
                decoder_intermediate_size = 8\n[model.shape.text_config]\nvocab_size = 10\nhidden_size = 16\nd_kv = 8\nd_ff = 16
                num_layers = 1\nnum_heads = 2\nmax_positions = 8"
            }
        }
    );
    let file = folder.join("run.toml");
    fs::write(&file, text).unwrap();
    let more: Vec<String> = more.iter().map(ToString::to_string).collect();
    ScreenshotConfig::read(&file, &more).unwrap()
}

fn run(config: &ScreenshotConfig, folder: &Path, resume: bool) -> crate::Result<Report> {
    on_large_stack(|| train(config, folder, resume, &mut Silent, &AtomicBool::new(false))).unwrap()
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn all_three_train_continue_to_the_bit_and_are_evaluated() {
    let folder = workplace();
    for objective in ["masked", "autoregressive", "classification"] {
        let config = config(folder.path(), objective, &[]);
        let whole = folder.path().join(objective);
        let report = run(&config, &whole, false).unwrap();
        assert_eq!((report.steps, report.texts, report.drawn), (6, 16, 48));
        assert!(report.best_validation.unwrap().is_finite() && report.drawing_seconds < report.seconds);
        let parts = folder.path().join(format!("{objective}-parts"));
        run(&config, &parts, false).unwrap();
        for (step, path) in checkpoint::list(&parts).unwrap() {
            if step > 2 {
                fs::remove_dir_all(path).unwrap();
            }
        }
        run(&config, &parts, true).unwrap();
        assert_eq!(bytes(&parts, "model/model.safetensors"), bytes(&whole, "model/model.safetensors"), "{objective}");
        assert_eq!(bytes(&parts, "metrics.jsonl"), bytes(&whole, "metrics.jsonl"));

        match evaluate(&whole, &[]).unwrap() {
            Evaluation::Masked { texts, visible, hidden, pixels, .. } => {
                assert_eq!((objective, texts, visible.tokens + hidden.tokens), ("masked", 16, 64));
                assert!(visible.loss.is_finite() && pixels.unwrap() > 0.0);
            }
            Evaluation::Autoregressive { true_image, perplexity, .. } => {
                assert_eq!((objective, true_image.tokens), ("autoregressive", 32));
                assert!(perplexity.iter().all(|p| *p > 1.0));
            }
            Evaluation::Classification { accuracy, majority, .. } => {
                assert_eq!((objective, majority), ("classification", Some(0.25)));
                assert!(accuracy.is_some());
            }
        }
    }
    // A masked model gives its encoder to a classifier, a head is new; values have one output.

    let mut tuned = config(folder.path(), "classification", &["data.label=value", "train.steps=1"]);
    tuned.model.path = Some(folder.path().join("masked/model"));
    tuned.model.shape = None;
    let out = folder.path().join("values");
    run(&tuned, &out, false).unwrap();
    assert!(matches!(evaluate(&out, &[]).unwrap(), Evaluation::Classification { accuracy: None, .. }));
    // And goes on as itself.
    let mut further = config(folder.path(), "masked", &["train.steps=1"]);
    further.model.path = tuned.model.path.clone();
    further.model.shape = None;
    run(&further, &folder.path().join("further"), false).unwrap();
    further.render.width = 320;
    let message = run(&further, &folder.path().join("wider"), false).unwrap_err().to_string();
    assert!(message.contains("expected the image of the model"), "{message}");
}

#[test]
fn mistakes_are_told_before_anything_is_written() {
    let folder = workplace();
    let out = folder.path().join("out");
    let fails = |change: &dyn Fn(&mut ScreenshotConfig), part: &str| {
        let mut config = config(folder.path(), "masked", &[]);
        change(&mut config);
        let message = run(&config, &out, false).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert!(!out.exists());
    };
    fails(&|c| c.data.paths = vec!["nowhere.jsonl".into()], "nowhere.jsonl");
    fails(&|c| c.data.field = "body".into(), "body: expected a text");
    fails(&|c| c.data.min_tokens = 5, "expected at least one text");
    fails(&|c| c.render.width = 100, "multiples of 16");
    fails(&|c| c.render.font = Some(folder.path().join("text.jsonl")), "expected a font");
    let text = "objective = \"masked\"\n[dat]\n[render]\nwidth = 0\n[data]\ntext_mask = 1.5\npages = 0";
    let message = ScreenshotConfig::parse(text, "a.toml".as_ref(), &[]).unwrap_err().to_string();
    assert!(message.contains("dat: unknown key; nearest: data"), "{message}");
    let message =
        ScreenshotConfig::parse(&text.replace("[dat]\n", ""), "a.toml".as_ref(), &[]).unwrap_err().to_string();
    for part in
        ["render.width", "model: expected one of", "data.paths", "data.tokenizer", "data.text_mask", "data.pages"]
    {
        assert!(message.contains(part), "{message}");
    }
}

/// Every file of `configs/screenshot` is read.
#[test]
fn configurations_of_the_repository_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/screenshot");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let config = ScreenshotConfig::read(&file, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(ScreenshotConfig::parse(&config.to_toml().unwrap(), &file, &[]).unwrap(), config);
        files += 1;
    }
    assert!(files >= 3);
}
