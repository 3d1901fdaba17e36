//! A tiny Llama against ProLong's own model code: rotary positions, logits, loss, gradients, six steps of AdamW (f32).

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor};
use golden::{difference, file, relative_difference, tensors, values};
use std::collections::BTreeMap;
use std::sync::Arc;
use tesseral_lm::model::decoder::Decoder;
use tesseral_lm::model::llama::LlamaConfig;
use tesseral_lm::objective::{Batch, Recompute, loss_and_gradients, losses};
use tesseral_nn::Parameters;
use tesseral_nn::layers::cross_entropy::Reduction;
use tesseral_nn::layers::rope::{Rotations, frequencies, rotate};
use tesseral_nn::optim::{AdamConfig, AdamW, Clip, Schedule, ScheduleConfig, ScheduleKind};
use tesseral_nn::rng::Streams;

const FAMILY: &str = "prolong";

struct Case {
    config: LlamaConfig,
    weights: BTreeMap<String, Tensor>,
    io: BTreeMap<String, Tensor>,
    losses: serde_json::Value,
}

fn case() -> Option<Case> {
    let config = file(FAMILY, "llama_tiny_config.json")?;
    let text = std::fs::read_to_string(file(FAMILY, "losses.json")?).unwrap();
    Some(Case {
        config: LlamaConfig::read(&config).unwrap(),
        weights: tensors(FAMILY, "llama_tiny")?,
        io: tensors(FAMILY, "llama_tiny_io")?,
        losses: serde_json::from_str(&text).unwrap(),
    })
}

impl Case {
    fn integers(&self, name: &str) -> Vec<i64> {
        self.io[name].to_vec1::<i64>().unwrap()
    }

    fn batch(&self) -> Batch {
        let ids: Vec<u32> = self.integers("input_ids").iter().map(|x| *x as u32).collect();
        Batch::new(&ids, &self.integers("labels"), &self.lengths()).unwrap()
    }

    fn lengths(&self) -> Vec<usize> {
        self.integers("seq_lengths").iter().map(|x| *x as usize).collect()
    }

    fn trainable(&self, dtype: DType) -> (Parameters, Decoder) {
        let parameters = Parameters::new(Streams::new(0), dtype, &Device::Cpu);
        let decoder = Decoder::declare_from(&parameters, &self.config, &self.weights).unwrap();
        (parameters, decoder)
    }
}

#[test]
fn golden_rotary_positions() {
    let Some(golden) = tensors(FAMILY, "rope") else { return };
    let mut tables = 0;
    for (name, table) in golden.iter().filter(|(name, _)| name.starts_with("inv_freq_theta")) {
        let (theta, width) = name.trim_start_matches("inv_freq_theta").split_once("_hd").unwrap();
        let (theta, width): (f64, usize) = (theta.parse().unwrap(), width.parse().unwrap());
        let found = frequencies(width, theta);
        assert!(relative_difference(&values(table), &found) < tolerances::ROPE, "{name}");
        tables += 1;
    }
    assert!(tables > 0);
    for (kind, heads) in [("q", 4), ("k", 2)] {
        let x = golden[kind].reshape((12, heads * 8)).unwrap();
        for offset in [0, 5] {
            let positions: Vec<u32> = (offset..offset + 12).collect();
            let rotations = Arc::new(Rotations::new(&positions, 8, 8e6).unwrap());
            let found = rotate(&x, &rotations).unwrap();
            let expected = golden[&format!("{kind}_rot_off{offset}")].reshape((12, heads * 8)).unwrap();
            assert!(difference(&found, &expected) < tolerances::ROPE, "{kind} {offset}");
        }
    }
}

#[test]
fn golden_logits_of_packed_separate_and_unmasked_sequences() {
    let Some(case) = case() else { return };
    let ids = case.batch().ids;
    for (name, expected) in case.io.iter().filter(|(name, _)| name.starts_with("logits_")) {
        let (kind, theta) = name.trim_start_matches("logits_").split_once("_theta").unwrap();
        let config = LlamaConfig { rope_theta: theta.parse().unwrap(), ..case.config.clone() };
        let decoder = Decoder::from_tensors(&config, &case.weights).unwrap();
        let lengths = if kind == "singleseq" { vec![ids.len()] } else { case.lengths() };
        let hidden = decoder.hidden(&ids, &decoder.layout(&lengths).unwrap()).unwrap();
        let worst = difference(&decoder.logits(&hidden).unwrap(), expected);
        println!("{name}: {worst:.1e}");
        assert!(worst < tolerances::LOGITS, "{name}: {worst:e}");
    }
}

#[test]
fn golden_hidden_states_layer_by_layer() {
    let Some(case) = case() else { return };
    let decoder = Decoder::from_tensors(&case.config, &case.weights).unwrap();
    let layout = decoder.layout(&case.lengths()).unwrap();
    let mut x = decoder.embed(&case.batch().ids).unwrap();
    for (k, layer) in decoder.layers().iter().enumerate() {
        assert!(difference(&x, &case.io[&format!("hidden_{k}_theta8e6")]) < tolerances::LOGITS, "before layer {k}");
        x = layer.forward(&x, &layout).unwrap();
    }
    assert!(difference(&decoder.finish(&x).unwrap(), &case.io["hidden_2_theta8e6"]) < tolerances::LOGITS);
}

#[test]
fn golden_loss_and_gradients() {
    let Some(case) = case() else { return };
    let batch = case.batch();
    for dtype in [DType::F32, DType::F64] {
        let (parameters, decoder) = case.trainable(dtype);
        for recompute in [Recompute::None, Recompute::Layers] {
            let (mean, gradients) =
                loss_and_gradients(&decoder, &parameters, &batch, Reduction::Mean, recompute).unwrap();
            assert!((mean / case.losses["mean"].as_f64().unwrap() - 1.0).abs() < tolerances::LOSS);
            let norm = gradients.norm().unwrap() / case.losses["grad_global_norm_mean"].as_f64().unwrap();
            assert!((norm - 1.0).abs() < tolerances::LM_GRADIENT);
            for (name, expected) in case.io.iter().filter_map(|(n, t)| Some((n.strip_prefix("grad.")?, t))) {
                let far = relative_difference(&values(gradients.get(name).unwrap()), &values(expected));
                assert!(far < tolerances::LM_GRADIENT, "{name}: {far:e}");
            }
        }
        let sum: f64 = losses(&decoder, &batch).unwrap().iter().flatten().sum();
        assert!((sum / case.losses["token_scaled_sum"].as_f64().unwrap() - 1.0).abs() < tolerances::LOSS);
    }
}

#[test]
fn golden_six_steps_of_adamw() {
    let Some((case, after)) = case().zip(tensors(FAMILY, "llama_tiny_after6")) else { return };
    let (parameters, decoder) = case.trainable(DType::F32);
    let config = AdamConfig {
        learning_rate: 1e-2,
        betas: (0.9, 0.95),
        weight_decay: 0.1,
        clip: Clip::Norm(1.0),
        ..AdamConfig::default()
    };
    let schedule =
        ScheduleConfig { kind: ScheduleKind::Cosine, warmup_steps: 1, minimum_rate: 1e-3, ..ScheduleConfig::default() };
    let schedule = Schedule::new(schedule, config.learning_rate, 10).unwrap();
    let mut optimizer = AdamW::new(&parameters, config).unwrap();
    for (k, expected) in case.losses["adamw_trajectory"].as_array().unwrap().iter().enumerate() {
        let (loss, gradients) =
            loss_and_gradients(&decoder, &parameters, &case.batch(), Reduction::Mean, Recompute::None).unwrap();
        let rate = schedule.learning_rate(k as u64);
        let near = |found: f64, key: &str| {
            let expected = expected[key].as_f64().unwrap();
            assert!((found - expected).abs() <= tolerances::TRAJECTORY * expected.abs(), "step {k} {key}: {found}");
        };
        near(loss, "loss");
        near(rate, "lr");
        near(optimizer.step(&gradients, rate).unwrap().gradient_norm, "grad_norm_before_clip");
    }
    for (name, expected) in &after {
        let found = parameters.get(name).unwrap();
        let far = relative_difference(&values(found.as_tensor()), &values(expected));
        assert!(far < tolerances::AFTER_SIX_STEPS, "{name}: {far:e}");
    }
}
