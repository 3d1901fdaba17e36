//! The tiny masked screenshot model against PTP's own code: encoder, both decoders, losses, gradients, six steps of AdamW.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use candle_core::{DType, Device, Tensor};
use golden::{difference, file, relative_difference, tensors, values};
use serde_json::Value;
use std::collections::BTreeMap;
use tesseral_lm::screenshot::classifier::{Classifier, Pool};
use tesseral_lm::screenshot::encoder::View;
use tesseral_lm::screenshot::files::{exported, imported};
use tesseral_lm::screenshot::masked::{Example, MaskedModel};
use tesseral_lm::screenshot::patches::{PATCH, Screenshot, normalised};
use tesseral_lm::screenshot::shape::MaskedShape;
use tesseral_nn::Parameters;
use tesseral_nn::kernels::backward;
use tesseral_nn::optim::{AdamConfig, AdamW, Clip, Gradients, Schedule, ScheduleConfig, ScheduleKind};
use tesseral_nn::rng::Streams;

const FAMILY: &str = "ptp";

struct Case {
    shape: MaskedShape,
    weights: BTreeMap<String, Tensor>,
    io: BTreeMap<String, Tensor>,
    scalars: Value,
}

fn case() -> Option<Case> {
    let config = file(FAMILY, "ptp_tiny_config.json")?;
    let scalars = std::fs::read_to_string(file(FAMILY, "scalars.json")?).unwrap();
    Some(Case {
        shape: MaskedShape::parse(&std::fs::read_to_string(&config).unwrap(), &config).unwrap(),
        weights: tensors(FAMILY, "ptp_tiny")?,
        io: tensors(FAMILY, "ptp_tiny_io")?,
        scalars: serde_json::from_str(&scalars).unwrap(),
    })
}

impl Case {
    fn trainable(&self, dtype: DType) -> (Parameters, MaskedModel) {
        let parameters = Parameters::new(Streams::new(0), dtype, &Device::Cpu);
        let model = MaskedModel::declare(&parameters.root(), &self.shape).unwrap();
        parameters.load(&imported(self.weights.clone()).unwrap()).unwrap();
        (parameters, model)
    }

    fn rows<T: candle_core::WithDType>(&self, name: &str) -> Vec<Vec<T>> {
        self.io[name].to_vec2::<T>().unwrap()
    }

    fn screenshots(&self) -> Vec<Screenshot> {
        let patches = self.io["flattened_patches"].narrow(2, 2, PATCH).unwrap();
        let seen = self.rows::<f32>("attention_mask");
        seen.iter()
            .enumerate()
            .map(|(k, seen)| Screenshot {
                values: patches.get(k).unwrap().flatten_all().unwrap().to_vec1().unwrap(),
                seen: seen.iter().map(|s| *s > 0.0).collect(),
            })
            .collect()
    }

    /// The patches that the original drew, in its order.
    fn views(&self) -> Vec<View> {
        let kept = self.scalars["len_keep"].as_u64().unwrap() as usize;
        let order = self.rows::<i64>("ids_shuffle");
        let view = |(screenshot, order): (Screenshot, Vec<i64>)| View {
            screenshot,
            kept: order.iter().take(kept).map(|k| *k as usize).collect(),
        };
        self.screenshots().into_iter().zip(order).map(view).collect()
    }

    fn examples(&self) -> Vec<Example> {
        let pad = i64::from(self.shape.text_config.pad_token_id);
        let labels = self.rows::<i64>("labels");
        let text = |labels: &Vec<i64>| labels.iter().take_while(|id| **id != pad).map(|id| *id as u32).collect();
        self.views().into_iter().zip(&labels).map(|(view, labels)| Example { view, text: text(labels) }).collect()
    }
}

#[test]
fn golden_encoder_with_and_without_masks() {
    let Some(case) = case() else { return };
    let (_, model) = case.trainable(DType::F32);
    let whole: Vec<View> = case.screenshots().into_iter().map(View::whole).collect();
    let stacked = |x: &Tensor| x.flatten_to(1).unwrap();
    let embedded =
        model.encoder().embed(&whole).unwrap().reshape(case.io["encoder_nomask_hidden_original_order"].dims()).unwrap();
    let patches = embedded.narrow(1, 1, embedded.dim(1).unwrap() - 1).unwrap();
    assert!(difference(&patches, &case.io["emb_with_pos"]) < tolerances::SCREENSHOT);
    for (views, name) in [(whole, "encoder_nomask_hidden_original_order"), (case.views(), "encoder_last_hidden")] {
        let found = model.encoder().forward(&views).unwrap();
        let worst = difference(&found.states, &stacked(&case.io[name]));
        println!("{name}: {worst:.1e}");
        assert!(worst < tolerances::SCREENSHOT, "{name}: {worst:e}");
    }
    let seen = model.encoder().forward(&case.views()).unwrap().seen;
    let expected = case.io["encoder_attention_mask"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(seen.iter().zip(&expected).all(|(a, b)| *a == (*b > 0.0)));
    // The masks that were drawn are those of the order.
    for (view, mask) in case.views().iter().zip(case.rows::<f32>("mask")) {
        assert!(view.hidden().iter().zip(&mask).all(|(a, b)| *a == (*b > 0.0)));
    }
}

#[test]
fn golden_pixels_and_text() {
    let Some(case) = case() else { return };
    let (_, model) = case.trainable(DType::F32);
    let views = case.views();
    let encoded = model.encoder().forward(&views).unwrap();
    let expected = case.io["mae_logits"].flatten_to(1).unwrap();
    let all: Vec<usize> = (0..expected.dim(0).unwrap()).collect();
    let worst = difference(&model.pixels(&encoded, &views, &all).unwrap(), &expected);
    println!("pixels: {worst:.1e}");
    assert!(worst < tolerances::SCREENSHOT, "{worst:e}");
    let examples = case.examples();
    let texts: Vec<&[u32]> = examples.iter().map(|e| e.text.as_slice()).collect();
    let found = model.text_logits(&encoded, &texts).unwrap();
    let mut start = 0;
    for (number, text) in texts.iter().enumerate() {
        let expected = case.io["text_logits"].get(number).unwrap().narrow(0, 0, text.len()).unwrap();
        let worst = difference(&found.narrow(0, start, text.len()).unwrap(), &expected);
        println!("text {number}: {worst:.1e}");
        assert!(worst < tolerances::SCREENSHOT, "{worst:e}");
        start += text.len();
    }
}

#[test]
fn golden_screenshot_loss_and_gradients() {
    let Some(case) = case() else { return };
    for dtype in [DType::F32, DType::F64] {
        let (parameters, model) = case.trainable(dtype);
        let losses = model.losses(&case.examples()).unwrap();
        let total = losses.total.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
        for (found, name) in
            [(total, "loss"), (losses.text.unwrap(), "text_loss"), (losses.pixels.unwrap(), "mae_loss")]
        {
            let expected = case.scalars[name].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < tolerances::LOSS, "{name}: {found} {expected}");
        }
        let gradients = Gradients::collect(&parameters, &backward(losses.total).unwrap());
        let norm = gradients.norm().unwrap() / case.scalars["grad_global_norm"].as_f64().unwrap();
        assert!((norm - 1.0).abs() < tolerances::LM_GRADIENT);
        for (name, expected) in case.io.iter().filter_map(|(n, t)| Some((n.strip_prefix("grad.")?, t))) {
            let far = relative_difference(&values(gradients.get(name).unwrap()), &values(expected));
            assert!(far < tolerances::LM_GRADIENT, "{name}: {far:e}");
        }
    }
}

#[test]
fn golden_screenshot_six_steps_of_adamw() {
    let Some(case) = case() else { return };
    let (parameters, model) = case.trainable(DType::F32);
    let config = AdamConfig { learning_rate: 1e-3, clip: Clip::Norm(1.0), ..AdamConfig::default() };
    let mut optimizer = AdamW::new(&parameters, config).unwrap();
    let steps = case.scalars["adamw_trajectory_lr1e-3_wd0_clip1"].as_array().unwrap();
    for (step, expected) in steps.iter().enumerate() {
        let losses = model.losses(&case.examples()).unwrap();
        let gradients = Gradients::collect(&parameters, &backward(losses.total).unwrap());
        let norm = optimizer.step(&gradients, 1e-3).unwrap().gradient_norm;
        for (found, key) in [(losses.text.unwrap(), "text"), (losses.pixels.unwrap(), "mae"), (norm, "grad_norm")] {
            let expected = expected[key].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < tolerances::TRAJECTORY, "step {step} {key}: {found} {expected}");
        }
    }
}

#[test]
fn golden_normalised_pixel_error() {
    let Some((case, io)) = case().zip(tensors(FAMILY, "mae_loss_fixed")) else { return };
    let predicted = io["pred"].to_vec3::<f32>().unwrap();
    let mask = io["mask"].to_vec2::<i64>().unwrap();
    let (_, _, _, width) = io["img"].dims4().unwrap();
    // [images, channels, rows, columns] to patches of rows, columns, channels.
    let patches = io["img"].reshape((mask.len(), 3, 16, width / 16, 16)).unwrap().permute((0, 3, 2, 4, 1)).unwrap();
    let patches = patches.contiguous().unwrap().reshape((mask.len(), width / 16, PATCH)).unwrap();
    let patches = patches.to_vec3::<f32>().unwrap();
    let (mut sums, mut count) = ([0.0; 2], 0.0);
    for (image, patch) in
        (0..mask.len()).flat_map(|i| (0..width / 16).map(move |p| (i, p))).filter(|(i, p)| mask[*i][*p] == 1)
    {
        let (pixels, predicted) = (&patches[image][patch], &predicted[image][patch]);
        let square = |(a, b): (f32, &f32)| f64::from(a - b).powi(2) / PATCH as f64;
        sums[0] += normalised(pixels).zip(predicted).map(square).sum::<f64>();
        sums[1] += pixels.iter().copied().zip(predicted).map(square).sum::<f64>();
        count += 1.0;
    }
    for (sum, name) in sums.iter().zip(["mae_loss_fixed_norm", "mae_loss_fixed_nonorm"]) {
        let expected = case.scalars[name].as_f64().unwrap();
        assert!((sum / count / expected - 1.0).abs() < tolerances::LOSS, "{name}: {} {expected}", sum / count);
    }
}

#[test]
fn golden_initial_deviations_and_names() {
    let Some(case) = case() else { return };
    let parameters = Parameters::new(Streams::new(1), DType::F32, &Device::Cpu);
    MaskedModel::declare(&parameters.root(), &case.shape).unwrap();
    let written = exported(&case.shape, parameters.snapshot().unwrap()).unwrap();
    let shapes =
        |all: &BTreeMap<String, Tensor>| all.iter().map(|(n, t)| (n.clone(), t.dims().to_vec())).collect::<Vec<_>>();
    assert_eq!(shapes(&written), shapes(&case.weights));
    for (name, expected) in case.scalars["init_std_observed_tiny"].as_object().unwrap() {
        let x = values(&written[name]);
        let deviation = (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64).sqrt();
        // Of n numbers the deviation is known to 1 / sqrt(2 n); both sides are samples.
        let error = 5.0 / (x.len() as f64).sqrt();
        assert!((deviation / expected.as_f64().unwrap() - 1.0).abs() < error, "{name}: {deviation} {expected}");
    }
    // There and back.
    let back = exported(&case.shape, imported(case.weights.clone()).unwrap()).unwrap();
    for (name, tensor) in &case.weights {
        assert!(difference(&back[name], tensor) < 1e-6, "{name}");
    }
}

#[test]
fn golden_screenshot_learning_rates() {
    let Some(case) = case() else { return };
    let golden = &case.scalars["lr"];
    let number = |key: &str| golden[key].as_f64().unwrap();
    let config = ScheduleConfig {
        kind: ScheduleKind::Cosine,
        warmup_steps: number("warmup") as u64,
        minimum_rate: number("min"),
        ..ScheduleConfig::default()
    };
    let schedule = Schedule::new(config, number("max"), number("example_total") as u64).unwrap();
    for (step, expected) in golden["at"].as_object().unwrap() {
        let (found, expected) = (schedule.learning_rate(step.parse().unwrap()), expected.as_f64().unwrap());
        assert!((found - expected).abs() < 1e-12, "{step}: {found} {expected}");
    }
}

/// The state of the whole. (The original's mean takes in patches behind the text, which say nothing; ours does not.)
#[test]
fn golden_classification_head() {
    let Some(case) = case() else { return };
    let classes = case.io["cls_out"].dim(1).unwrap();
    let parameters = Parameters::new(Streams::new(0), DType::F32, &Device::Cpu);
    let model = Classifier::declare(&parameters.root(), &case.shape.vision_config, classes, Pool::Whole).unwrap();
    let head = case.io.iter().filter(|(name, _)| name.starts_with("cls_head."));
    let head = head.map(|(name, tensor)| (name.replace("cls_head.", "classifier."), tensor.clone()));
    let encoder = imported(case.weights.clone()).unwrap().into_iter().filter(|(name, _)| name.starts_with("encoder."));
    parameters.load(&encoder.chain(head).collect()).unwrap();
    let views: Vec<View> = case.screenshots().into_iter().map(View::whole).collect();
    assert!(difference(&model.logits(&views).unwrap(), &case.io["cls_out"]) < tolerances::SCREENSHOT);
}
