//! Whole runs on made-up facts.

use super::*;
use crate::configuration::Configuration;
use crate::objective::Batch;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tesseral_nn::train::{Event, Observer, Silent, checkpoint, on_large_stack};

const CONFIG: &str = r#"
seed = 7
[model.shape]
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 2
vocab_size = 17
rope_theta = 100.0
max_position_embeddings = 64
[[data.recall]]
keys = 8
values = 8
facts = 3
questions = 2
documents = 4
batches = 12
[data.validation_recall.seen]
keys = 8
values = 8
facts = 3
questions = 2
documents = 2
batches = 3
seed = 1
[train]
steps = 6
batch = 3
validate_every = 3
checkpoint_every = 1
keep_last = 100
[train.optimizer]
learning_rate = 1e-3
[train.schedule]
minimum_rate = 1e-4
"#;

fn config(set: &[&str]) -> LmConfig {
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    LmConfig::parse(CONFIG, Path::new("test.toml"), &set).unwrap()
}

fn run(config: &LmConfig, folder: &Path, resume: bool) -> crate::Result<Report> {
    on_large_stack(|| train(config, folder, resume, &mut Silent, &AtomicBool::new(false))).unwrap()
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_stopped_run_continues_to_the_bit_and_recompute_is_the_same_function() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let report = run(&config(&[]), &whole, false).unwrap();
    assert_eq!((report.steps, report.rows), (6, 12));
    assert_eq!(report.recall["seen"].questions, 12);
    for stop in 1..6 {
        let parts = folder.path().join(format!("stop-{stop}"));
        // A run that ended at a step, put there as the whole one had it.
        run(&config(&[]), &parts, false).unwrap();
        for (step, path) in checkpoint::list(&parts).unwrap() {
            if step > stop {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        run(&config(&[]), &parts, true).unwrap();
        assert_eq!(bytes(&parts, "model/model.safetensors"), bytes(&whole, "model/model.safetensors"));
        assert_eq!(bytes(&parts, "metrics.jsonl"), bytes(&whole, "metrics.jsonl"));
    }
    let again = folder.path().join("again");
    let other = run(&config(&["recompute=layers"]), &again, false).unwrap();
    assert!((other.last_loss.unwrap() - report.last_loss.unwrap()).abs() < 1e-5);
}

#[test]
fn stages_hand_over_and_low_bases_are_warned_of() {
    struct Messages(Vec<String>);
    impl Observer for Messages {
        fn on_event(&mut self, event: Event<'_>) {
            if let Event::Message(text) = event {
                self.0.push(text.into());
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    run(&config(&[]), &first, false).unwrap();
    let mut second = config(&["model.max_positions=256", "train.steps=2"]);
    second.model.shape = None;
    second.model.init_from = Some(first.clone());
    let mut heard = Messages(Vec::new());
    let (stage, stop) = (folder.path().join("second"), AtomicBool::new(false));
    train(&second, &stage, false, &mut heard, &stop).unwrap();
    assert!(
        heard.0.iter().any(|m| m.starts_with("rope_theta: ") && m.contains("256 tokens after 64")),
        "{:?}",
        heard.0
    );
    let saved = crate::model::llama::LlamaConfig::read(&stage.join("model/config.json")).unwrap();
    assert_eq!(saved.max_position_embeddings, 256);
    // Adam goes on counting where the first stage ended.
    let last = checkpoint::load(&checkpoint::latest(&stage).unwrap().unwrap()).unwrap();
    let steps = last.optimizer["adam.step.model.norm.weight"].to_scalar::<i64>().unwrap();
    assert_eq!((last.step, steps), (2, 8));
    second.model.init_from = Some(folder.path().join("nowhere"));
    assert!(train(&second, &folder.path().join("third"), false, &mut heard, &stop).is_err());
    assert!(!folder.path().join("third").exists());
}

#[test]
fn a_step_is_the_mean_over_tokens_however_they_fall_into_rows() {
    let sequence = |from: u32, n: u32| -> Vec<u32> { (from..from + n).map(|k| k % 17).collect() };
    let (long, short) = (sequence(3, 11), sequence(5, 4));
    let joined: Vec<u32> = long.iter().chain(&short).copied().collect();
    let labels: Vec<i64> = joined.iter().map(|id| i64::from(*id)).collect();
    let together = vec![Batch::new(&joined, &labels, &[11, 4]).unwrap()];
    let apart = vec![Batch::whole(&long).unwrap(), Batch::whole(&short).unwrap()];
    let gradients = |corpus: &Vec<Batch>| {
        let parameters = tesseral_nn::Parameters::new(
            tesseral_nn::rng::Streams::new(1),
            candle_core::DType::F64,
            &candle_core::Device::Cpu,
        );
        let shape = serde_json::to_string(&config(&[]).model.shape).unwrap();
        let shape = crate::model::llama::LlamaConfig::parse(&shape, Path::new("shape")).unwrap();
        let decoder = Decoder::declare(&parameters.root(), &shape, 0.3).unwrap();
        let mut task = LmTask { decoder, corpus, validation: Vec::new(), recompute: Recompute::None, shards: 1 };
        let context = StepContext { step: 1, micro_batch: 0, epoch: 0, streams: tesseral_nn::rng::Streams::new(1) };
        let (mut sum, mut weights) = (Gradients::new(), 0.0);
        for sample in 0..corpus.len() {
            let (_, mut part) = task.loss_and_gradients(sample, &context, &parameters).unwrap();
            part.scale(task.weight(sample)).unwrap();
            weights += task.weight(sample);
            sum.accumulate(&part).unwrap();
        }
        sum.scale(1.0 / weights).unwrap();
        sum
    };
    let (together, apart) = (gradients(&together), gradients(&apart));
    for (name, gradient) in together.iter() {
        let far = (gradient - apart.get(name).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
        assert!(far.to_scalar::<f64>().unwrap() < 1e-13, "{name}");
    }
}
