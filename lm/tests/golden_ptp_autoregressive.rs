//! The tiny autoregressive screenshot model against PTP's own code: logits, patches, losses, gradients.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor};
use golden::{difference, file, relative_difference, tensors, values};
use std::collections::BTreeMap;
use tesseral_lm::model::llama::LlamaConfig;
use tesseral_lm::screenshot::autoregressive::{Frame, ScreenshotLlama, Sequence};
use tesseral_lm::screenshot::patches::{PATCH, Screenshot};
use tesseral_nn::Parameters;
use tesseral_nn::kernels::backward;
use tesseral_nn::optim::Gradients;
use tesseral_nn::rng::Streams;

const FAMILY: &str = "ptp";

struct Case {
    config: LlamaConfig,
    weights: BTreeMap<String, Tensor>,
    io: BTreeMap<String, Tensor>,
    scalars: serde_json::Value,
}

fn case() -> Option<Case> {
    let scalars = std::fs::read_to_string(file(FAMILY, "scalars.json")?).unwrap();
    let scalars: serde_json::Value = serde_json::from_str(&scalars).unwrap();
    Some(Case {
        config: LlamaConfig::read(&file(FAMILY, "screenshot_llama_tiny_config.json")?).unwrap(),
        weights: tensors(FAMILY, "screenshot_llama_tiny")?,
        io: tensors(FAMILY, "screenshot_llama_tiny_io")?,
        scalars: scalars["ar"].clone(),
    })
}

impl Case {
    fn trainable(&self, dtype: DType) -> (Parameters, ScreenshotLlama) {
        let parameters = Parameters::new(Streams::new(0), dtype, &Device::Cpu);
        let model = ScreenshotLlama::declare(&parameters.root(), &self.config, 0.02).unwrap();
        parameters.load(&self.weights).unwrap();
        (parameters, model)
    }

    fn sequences(&self) -> Vec<Sequence> {
        let frame = Frame::of(&self.config).unwrap();
        let ids = self.io["input_ids"].to_vec2::<i64>().unwrap();
        let seen = self.io["attention_mask"].to_vec2::<i64>().unwrap();
        let sequence = |(number, ids): (usize, &Vec<i64>)| {
            let patches = self.io["flattened_patches"].get(number).unwrap();
            let count = patches.dim(0).unwrap();
            let patches = patches.narrow(1, 2, PATCH).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let seen = seen[number][2..2 + count].iter().map(|s| *s > 0).collect();
            let text: Vec<u32> = ids[count + 4..].iter().map(|id| *id as u32).collect();
            let sequence = Sequence::new(&frame, Screenshot { values: patches, seen }, count, &text);
            assert!(sequence.ids.iter().zip(ids).all(|(a, b)| i64::from(*a) == *b));
            sequence
        };
        ids.iter().enumerate().map(sequence).collect()
    }
}

#[test]
fn golden_autoregressive_logits_and_patches() {
    let Some(case) = case() else { return };
    let (_, model) = case.trainable(DType::F32);
    let sequences = case.sequences();
    let hidden = model.hidden(&sequences).unwrap();
    let near = |found: &Tensor, expected: &Tensor, what: &str| {
        let worst = difference(found, &expected.flatten_to(1).unwrap());
        println!("{what}: {worst:.1e}");
        assert!(worst < tolerances::SCREENSHOT, "{what}: {worst:e}");
    };
    near(&model.decoder().logits(&hidden).unwrap(), &case.io["logits"], "logits");
    let length = sequences[0].ids.len();
    for (number, sequence) in sequences.iter().enumerate() {
        let expected = case.io["patch_logits"].get(number).unwrap();
        for patch in 0..sequence.screenshot.len() {
            let row = number * length + sequence.first + patch - 1;
            let expected = expected.narrow(0, patch, 1).unwrap();
            match sequence.screenshot.seen[patch] {
                true => near(&model.patches(&hidden, &[row]).unwrap(), &expected.unsqueeze(0).unwrap(), "patch"),
                false => assert!(values(&expected).iter().all(|x| *x == 0.0)),
            }
        }
    }
    let texts = case.io["text_only_ids"].to_vec2::<i64>().unwrap();
    let texts = texts.iter().map(|ids| Sequence::of_text(&ids.iter().map(|id| *id as u32).collect::<Vec<_>>()));
    let texts: Vec<Sequence> = texts.collect();
    let hidden = model.hidden(&texts).unwrap();
    near(&model.decoder().logits(&hidden).unwrap(), &case.io["text_only_logits"], "text only");
    let loss = model.losses(&texts).unwrap();
    assert!((loss.text.unwrap() / case.scalars["text_only_loss"].as_f64().unwrap() - 1.0).abs() < tolerances::LOSS);
    assert!(loss.pixels.is_none());
}

#[test]
fn golden_autoregressive_loss_and_gradients() {
    let Some(case) = case() else { return };
    for dtype in [DType::F32, DType::F64] {
        let (parameters, model) = case.trainable(dtype);
        let losses = model.losses(&case.sequences()).unwrap();
        for (found, name) in [(losses.pixels.unwrap(), "pixel_loss"), (losses.text.unwrap(), "text_loss")] {
            let expected = case.scalars[name].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < tolerances::LOSS, "{name}: {found} {expected}");
        }
        let gradients = Gradients::collect(&parameters, &backward(losses.total).unwrap());
        for (name, expected) in case.io.iter().filter_map(|(n, t)| Some((n.strip_prefix("grad.")?, t))) {
            let far = relative_difference(&values(gradients.get(name).unwrap()), &values(expected));
            assert!(far < tolerances::LM_GRADIENT, "{name}: {far:e}");
        }
    }
}
